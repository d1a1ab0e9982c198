"""Verdicts: where what is declared and what is stored disagree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from quantlevels.checkpoint.tensor import Checkpoint
from quantlevels.finding import Finding
from quantlevels.level import QuantizationLevel
from quantlevels.schemes.base import UNQUANTIZED_BITS
from quantlevels.schemes.patterns import Names

if TYPE_CHECKING:
    from quantlevels.schemes.declaration import Declared
    from quantlevels.schemes.folding import Folding, Part
    from quantlevels.stored import Stored

#: Weights of a GGUF that its label does not speak of: quantizers give them a type of their own.
_EMBEDDINGS: Final = ("token_embd", "output", "per_layer_token_embd")


def disagreements(
    checkpoint: Checkpoint, declared: Declared | None, stored: Stored | None, folding: Folding
) -> Iterator[Finding]:
    """Every finding that the declaration and the weights of a checkpoint give together, each with its evidence."""
    if stored is None:
        return
    yield from _problems(folding)
    if _is_adapter(checkpoint):
        yield Finding("QL401", "low-rank matrices to add to a model, not a model; its size is not the model's")
        return
    yield from _parameter_claim(checkpoint, stored)
    if checkpoint.format == "gguf":
        yield from _label(declared, folding)
    elif declared is None or declared.method is None:
        yield from _undeclared(checkpoint, declared, folding)
    elif declared.levels and declared.stored:
        if stored.quantized_parameters:
            yield from _widths(declared, folding)
            yield from _named(declared, folding)
        else:
            yield Finding("QL103", f"{declared.method} is declared, but no weight is quantized", declared.source)
    if declared and declared.dtype and checkpoint.format != "gguf":
        yield from _dtype(declared, stored)


def _problems(folding: Folding) -> Iterator[Finding]:
    """Layouts that cannot be told, one finding for all modules with the same trouble."""
    modules: dict[tuple[str, str], list[str]] = defaultdict(list)
    for module, parts in folding:
        for part in parts:
            if part.problem:
                modules[part.problem].append((module + part.name).removeprefix("."))
    for (code, message), names in modules.items():
        yield Finding(code, message + _and_others(names), names[0])


def _and_others(names: list[str]) -> str:
    return f" (and {len(names) - 1:,} more alike)" if len(names) > 1 else ""


def _is_adapter(checkpoint: Checkpoint) -> bool:
    low_rank = sum(1 for tensor in checkpoint.tensors if ".lora_" in tensor.name)
    return "adapter_config.json" in checkpoint.configs or 2 * low_rank > len(checkpoint.tensors)


def _parameter_claim(checkpoint: Checkpoint, stored: Stored) -> Iterator[Finding]:
    claim = checkpoint.metadata.get("total_parameters")
    text = str(claim)
    if claim is not None and not (text.isdecimal() and len(text) < 20 and int(text) == stored.parameters):
        yield Finding("QL107", f"metadata claims {text:.40} parameters, the tensors hold {stored.parameters:,}")


def _undeclared(checkpoint: Checkpoint, declared: Declared | None, folding: Folding) -> Iterator[Finding]:
    """Packed weights that no config speaks of; an ONNX graph says itself how it is quantized."""
    said = declared.dtype if declared else None
    found = [(module, part) for module, part in _quantized(folding) if part.level != said]
    if found and checkpoint.format != "onnx":
        total = sum(part.parameters for _, part in found)
        kinds = ", ".join(sorted({str(part.level) for _, part in found}))
        yield Finding("QL104", f"{total:,} parameters are stored as {kinds}, and nothing declares it", found[0][0])


def _quantized(folding: Folding) -> Iterator[tuple[str, Part]]:
    for module, parts in folding:
        for part in parts:
            if part.quantized and part.code_bits is not None:
                yield (module + part.name).removesuffix(".weight").removeprefix("."), part


def _widths(declared: Declared, folding: Folding) -> Iterator[Finding]:
    """Codes that take a whole bit more or less than their declared level."""
    skipped = Names(declared.skipped)
    off: dict[tuple[str, QuantizationLevel, str, Fraction], list[tuple[str, Part]]] = defaultdict(list)
    for module, part in _quantized(folding):
        said = declared.level_of(module)
        if said is None or part.code_bits is None or said.average or module in skipped:
            continue
        excess = part.code_bits - said.level.bits_per_param
        if abs(excess) >= 1:
            off["QL101" if excess > 0 else "QL102", said.level, str(part.level), part.code_bits].append((module, part))
    for (code, level, stored, bits), found in off.items():
        size = sum(part.nbytes for _, part in found)
        yield Finding(
            code,
            f"declared {level} ({level.bits_per_param} bits), stored as {stored} with {float(bits):g} bits a code: "
            f"{len(found):,} weights, {size:,} bytes",
            found[0][0],
        )


def _named(declared: Declared, folding: Folding) -> Iterator[Finding]:
    """Modules the config leaves out that are quantized, and modules it names that are not."""
    quantized = {module for module, _ in _quantized(folding)}
    skipped = Names(declared.skipped)
    wrongly = [module for module in quantized if module in skipped]
    if wrongly:
        wrongly.sort()
        yield Finding("QL108", "the config leaves it out, but it is quantized" + _and_others(wrongly), wrongly[0])
    named = {target for level in declared.levels for target in level.targets or ()} - quantized
    plain = sorted(
        module
        for module, parts in folding
        if module in named and any(part.name == ".weight" and part.parameters for part in parts)
    )
    if plain:
        yield Finding("QL109", "the config gives it a level, but it is not quantized" + _and_others(plain), plain[0])


def _dtype(declared: Declared, stored: Stored) -> Iterator[Finding]:
    """Unquantized weights of another dtype; beside quantized ones, only another width: quantizers choose their own."""
    sizes: Counter[QuantizationLevel] = Counter()
    for one in stored.levels:
        if not one.quantized and one.parameters and isinstance(one.level, QuantizationLevel):
            sizes[one.level] += one.nbytes
    if not sizes or declared.dtype is None:
        return
    ((level, size),) = sizes.most_common(1)
    same = level.bits_per_param == declared.dtype.bits_per_param if declared.method else level == declared.dtype
    if not same and 2 * size > sizes.total():
        yield Finding(
            "QL105",
            f"declared {declared.dtype}, but {size:,} of {sizes.total():,} bytes of unquantized weights are {level}",
            declared.source,
        )


def _label(declared: Declared | None, folding: Folding) -> Iterator[Finding]:
    """A GGUF whose ``general.file_type`` names a level that other levels outweigh."""
    expected = declared and (declared.levels[0].level if declared.levels else declared.dtype)
    if declared is None or expected is None:
        return
    counts: Counter[object] = Counter()
    rest: Counter[object] = Counter()
    for module, parts in folding:
        for part in parts:
            mine = rest if module.startswith(_EMBEDDINGS) else counts
            if part.quantized or expected.bits_per_param >= UNQUANTIZED_BITS:
                mine[part.level] += part.parameters
    counts = counts or rest
    most = max(counts.values(), default=0)
    if most and counts[expected] < most:
        level, parameters = counts.most_common(1)[0]
        yield Finding(
            "QL106",
            f"general.file_type says {expected}, but of {counts.total():,} quantized parameters {parameters:,} are "
            f"{level} and {counts[expected]:,} are {expected}",
            declared.source,
        )
