"""Claims about the checkpoint as a whole: QL103, QL104, QL105, QL107."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from quantlevels.findings import Finding
from quantlevels.scheme import UNQUANTIZED_BITS
from quantlevels.vocabulary.level import QuantizationLevel

if TYPE_CHECKING:
    from quantlevels.inspection.disagreements.evidence import Evidence
    from quantlevels.schemes.declaration import Declared
    from quantlevels.schemes.folding import FoldedWeight

#: keys of a container's metadata that claim a number of parameters
_PARAMETER_CLAIMS: Final = ("total_parameters", "general.parameter_count")
#: a longer number is not a count of anything
_MOST_DIGITS: Final = 20


def parameter_claim(evidence: Evidence) -> Iterator[Finding]:
    """QL107: the metadata claims another number of parameters than the tensors hold."""
    if evidence.is_partial or not evidence.stored.parameters_known:
        return
    parameters = evidence.stored.parameters
    for key in _PARAMETER_CLAIMS:
        claim = evidence.checkpoint.metadata.get(key)
        text = str(claim)  # an integer in GGUF, a string in safetensors
        is_true = text.isdecimal() and len(text) < _MOST_DIGITS and int(text) == parameters
        if claim is not None and not is_true:
            yield Finding("QL107", f"{key} claims {text:.40} parameters, but the tensors hold {parameters:,}")


def undeclared_quantization(evidence: Evidence) -> Iterator[Finding]:
    """QL104: packed weights that no config speaks of."""
    declared = evidence.declared
    if evidence.describes_itself or (declared and declared.method):
        return
    dtype = declared and declared.dtype
    found = [(weight, modules) for weight, modules in evidence.quantized() if weight.level != dtype]
    if found:
        total = sum(weight.parameters * len(modules) for weight, modules in found)
        kinds = ", ".join(sorted({str(weight.level) for weight, _ in found}))
        message = f"{total:,} parameters are stored as {kinds}, and no config declares a quantization"
        yield Finding("QL104", message, found[0][1][0])


def not_quantized(evidence: Evidence) -> Iterator[Finding]:
    """QL103: a quantized declaration over plain tensors. Not judged if tensors are missing or could not be read."""
    declared, stored = evidence.declared, evidence.stored
    if not (evidence.claims_levels and declared) or stored.quantized_parameters:
        return
    if evidence.is_partial or evidence.has_problems or not stored.tensors:
        return
    levels = ", ".join(str(level.level) for level in declared.levels)
    kinds = ", ".join(dict.fromkeys(str(level.level) for level in stored.levels if level.parameters))
    fact = f"all {stored.parameters:,} parameters are stored as {kinds}" if kinds else "no weights are stored"
    yield Finding("QL103", f"{declared.method} is declared with {levels}, but {fact}", declared.source)


def dtype_mismatch(evidence: Evidence) -> Iterator[Finding]:
    """QL105: most unquantized weights are of another dtype than is declared.

    Beside quantized weights only another width counts: quantizers choose the dtype of what they leave.
    """
    declared = evidence.declared
    if evidence.is_gguf or declared is None or declared.dtype is None:
        return
    sizes = _unquantized_bytes(evidence, declared, declared.dtype)
    other = Counter({level: size for level, size in sizes.items() if _is_other(level, declared, declared.dtype)})
    # by bytes, and only if most: norms, routers and rotary tables in FP32 are usual beside BF16
    if 2 * other.total() > sizes.total():
        kinds = " and ".join(str(level) for level, _ in other.most_common())
        message = (
            f"declared {declared.dtype}, but {other.total():,} of {sizes.total():,} bytes of unquantized weights "
            f"are {kinds}"
        )
        yield Finding("QL105", message, declared.source)


def _unquantized_bytes(evidence: Evidence, declared: Declared, dtype: QuantizationLevel) -> Counter[QuantizationLevel]:
    sizes: Counter[QuantizationLevel] = Counter()
    for weights, modules in evidence.folding.alike:
        for weight in weights:
            if isinstance(weight.level, QuantizationLevel) and _has_a_dtype(weight, declared, dtype):
                sizes[weight.level] += weight.nbytes * len(modules)
    return sizes


def _has_a_dtype(weight: FoldedWeight, declared: Declared, dtype: QuantizationLevel) -> bool:
    """Whether the declared dtype covers a weight.

    If it is itself below 16 bits, as of plain FP8 weights, it covers all. Quantizers keep norms and biases in FP32.
    """
    if not weight.parameters or (declared.method and weight.vector):
        return False
    return dtype.bits_per_param < UNQUANTIZED_BITS or not weight.quantized


def _is_other(level: QuantizationLevel, declared: Declared, dtype: QuantizationLevel) -> bool:
    if declared.method:  # quantizers choose FP16 or BF16 by themselves
        return level.bits_per_param != dtype.bits_per_param
    return level != dtype
