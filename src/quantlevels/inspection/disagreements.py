"""Verdicts: where what is declared and what is stored disagree."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from quantlevels.checkpoint.locate import numbered
from quantlevels.container import Checkpoint, UnknownType
from quantlevels.findings import Finding, pluralize
from quantlevels.llamacpp import UNLABELLED, WIDENED_BY_MIXTURES
from quantlevels.scheme import UNQUANTIZED_BITS
from quantlevels.schemes.names import Names
from quantlevels.vocabulary.level import QuantizationLevel

if TYPE_CHECKING:
    from quantlevels.inspection.totals import StoredTotals
    from quantlevels.schemes.declaration import Declared
    from quantlevels.schemes.folding import FoldedWeight, Folding

#: Findings of a container that lacks a part, so that what is not there may be elsewhere.
_LACKING: Final = frozenset({"QL201", "QL206"})


def disagreements(
    checkpoint: Checkpoint, declared: Declared | None, stored: StoredTotals | None, folding: Folding
) -> Iterator[Finding]:
    """Every finding that the declaration and the weights of a checkpoint give together, each with its evidence."""
    if stored is None:
        return
    partial = _is_partial(checkpoint)
    problems = list(_problems(folding, partial))
    yield from problems
    if _is_adapter(checkpoint, stored):
        yield Finding("QL401", "low-rank matrices to add to a model, not a model; its size is not the model's")
        return
    if not partial and stored.parameters_known:
        yield from _parameter_claim(checkpoint, stored)
    if declared is None or declared.method is None:
        yield from _undeclared(checkpoint, declared, folding)
    elif declared.levels and declared.quantized_on_disk:
        if not stored.quantized_parameters:
            if not (partial or problems):
                yield _not_quantized(declared, stored)
        elif checkpoint.format != "gguf":
            yield from _widths(declared, folding)
            yield from _named(declared, folding)
    if declared and checkpoint.format == "gguf":
        if not partial:
            yield from _label(checkpoint, declared)
    elif declared and declared.dtype:
        yield from _dtype(declared, declared.dtype, folding)


def _problems(folding: Folding, partial: bool) -> Iterator[Finding]:
    """Layouts that cannot be told, one finding for all modules with the same trouble.

    Codes without what belongs to them are none where a part of the checkpoint is lacking: it may be there.
    """
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for parts, modules in folding.alike:
        for part in parts:
            if part.problem and not (partial and isinstance(part.level, QuantizationLevel)):
                found[part.problem] += [(module + part.name).removeprefix(".") for module in modules]
    for (code, message), names in found.items():
        yield Finding(code, message + _and_others(names[1:]), names[0])


def _and_others(others: Sequence[object]) -> str:
    return f" (and {len(others):,} more alike)" if others else ""


def _is_adapter(checkpoint: Checkpoint, stored: StoredTotals) -> bool:
    """Whether what was read is an adapter; one that lies beside a model, or in it, makes no adapter of the model."""
    low_rank = sum(tensor.nbytes for tensor in checkpoint.tensors if ".lora_" in tensor.name)
    return 2 * low_rank > stored.tensor_bytes or any(file.path.startswith("adapter") for file in checkpoint.files)


def _is_partial(checkpoint: Checkpoint) -> bool:
    """Whether it is one file of several, or not all of them are there."""
    return not _LACKING.isdisjoint(one.code for one in checkpoint.findings) or (
        checkpoint.format != "gguf" and numbered(checkpoint.path.name) is not None
    )


def _parameter_claim(checkpoint: Checkpoint, stored: StoredTotals) -> Iterator[Finding]:
    claim = checkpoint.metadata.get("total_parameters")
    text = str(claim)
    if claim is not None and not (text.isdecimal() and len(text) < 20 and int(text) == stored.parameters):
        yield Finding("QL107", f"metadata claims {text:.40} parameters, the tensors hold {stored.parameters:,}")


def _undeclared(checkpoint: Checkpoint, declared: Declared | None, folding: Folding) -> Iterator[Finding]:
    """Packed weights that no config speaks of; an ONNX graph and a GGUF say themselves how they are quantized."""
    said = declared.dtype if declared else None
    found = [(part, modules) for part, modules in _quantized(folding) if part.level != said]
    if found and checkpoint.format not in ("onnx", "gguf"):
        total = sum(part.parameters * len(modules) for part, modules in found)
        kinds = ", ".join(sorted({str(part.level) for part, _ in found}))
        message = f"{total:,} parameters are stored as {kinds}, and nothing declares it"
        yield Finding("QL104", message, found[0][1][0])


def _quantized(folding: Folding) -> Iterator[tuple[FoldedWeight, list[str]]]:
    """Each quantized part, and the modules that have one like it."""
    for parts, modules in folding.alike:
        for part in parts:
            if part.code_bits is not None:
                base = part.name.removesuffix(".weight")
                yield part, [(module + base).removeprefix(".") for module in modules] if base else modules


def _not_quantized(declared: Declared, stored: StoredTotals) -> Finding:
    said = ", ".join(str(one.level) for one in declared.levels)
    kinds = ", ".join(dict.fromkeys(str(one.level) for one in stored.levels if one.parameters))
    where = f"all {stored.parameters:,} parameters are stored as {kinds}" if kinds else "no weights are stored"
    message = f"{declared.method} is declared with {said}, but {where}"
    return Finding("QL103", message, declared.source)


def _widths(declared: Declared, folding: Folding) -> Iterator[Finding]:
    """Codes that take a whole bit more or less than their declared level."""
    skipped = Names(declared.skipped)
    off: dict[tuple[str, QuantizationLevel, str, Fraction], list[tuple[str, int]]] = defaultdict(list)
    for part, modules in _quantized(folding):
        for said, named in declared.by_level(modules):
            bits = part.code_bits
            if said is None or said.average or bits is None or abs(bits - said.level.bits_per_param) < 1:
                continue
            code = "QL101" if bits > said.level.bits_per_param else "QL102"
            mine = [(module, part.nbytes) for module in named if module not in skipped]
            if mine:
                off[code, said.level, str(part.level), bits] += mine
    for (code, level, stored, bits), found in off.items():
        yield Finding(
            code,
            f"declared {level} ({level.bits_per_param} bits), stored as {stored} with {float(bits):g} bits a code: "
            f"{pluralize(len(found), 'weight')}, {sum(nbytes for _, nbytes in found):,} bytes",
            found[0][0],
        )


def _named(declared: Declared, folding: Folding) -> Iterator[Finding]:
    """Modules the config leaves out that are quantized, and modules it names that are not."""
    skipped = Names(declared.skipped)
    wrongly = sorted(
        (module, str(part.level)) for part, modules in _quantized(folding) for module in skipped.among(modules)
    )
    if wrongly:
        (module, level), *others = wrongly
        yield Finding("QL108", f"the config leaves it out, but it is stored as {level}{_and_others(others)}", module)
    targets = {target: one.level for one in declared.levels for target in one.targets or ()}
    plain = sorted(
        (module, str(part.level))
        for parts, modules in folding.alike
        for part in parts
        if part.name == ".weight" and not part.quantized
        for module in targets.keys() & modules
    )
    if plain:
        (module, level), *others = plain
        message = f"the config gives it {targets[module]}, but it is stored as {level}{_and_others(others)}"
        yield Finding("QL109", message, module)


def _dtype(declared: Declared, said: QuantizationLevel, folding: Folding) -> Iterator[Finding]:
    """Unquantized weights of another dtype than is declared.

    Beside quantized ones only matrices of another width: quantizers choose the dtype of what they leave, and keep norms
    in FP32. Where the declared dtype is itself below 16 bits, as of plain FP8 weights, all count.
    """
    sizes: Counter[QuantizationLevel] = Counter()
    for parts, modules in folding.alike:
        for part in parts:
            counts = part.parameters and (said.bits_per_param < UNQUANTIZED_BITS or not part.quantized)
            if counts and isinstance(part.level, QuantizationLevel) and not (declared.method and part.vector):
                sizes[part.level] += part.nbytes * len(modules)
    other = Counter(
        {
            level: size
            for level, size in sizes.items()
            if (level.bits_per_param != said.bits_per_param if declared.method else level != said)
        }
    )
    if 2 * other.total() > sizes.total():
        kinds = " and ".join(str(level) for level, _ in other.most_common())
        yield Finding(
            "QL105",
            f"declared {said}, but {other.total():,} of {sizes.total():,} bytes of unquantized weights are {kinds}",
            declared.source,
        )


def _label(checkpoint: Checkpoint, declared: Declared) -> Iterator[Finding]:
    """A GGUF whose ``general.file_type`` names a level that other levels outweigh.

    No lie are the wider types that mixtures give to some tensors, all that is no stack of experts under MXFP4_MOE, nor
    those of rows that blocks of the level do not tile: llama.cpp takes another type for them.
    """
    expected = declared.levels[0].level if declared.levels else declared.dtype
    if expected is None:
        return
    bound: Counter[QuantizationLevel | UnknownType] = Counter()
    free: Counter[QuantizationLevel | UnknownType] = Counter()
    for name, dtype, shape, _ in checkpoint.tensors:
        width, exact = (dtype.bits_per_param, dtype.bits_per_weight) if isinstance(dtype, QuantizationLevel) else (0, 0)
        unquantized = width >= UNQUANTIZED_BITS > expected.bits_per_param
        if unquantized or not shape or shape[-1] % expected.block.weights:
            continue
        wider = exact > expected.bits_per_weight
        spared = (
            name.startswith(UNLABELLED)
            or (wider and any(part in name for part in WIDENED_BY_MIXTURES))
            or (expected.name == "MXFP4" and len(shape) <= 2)
        )
        (free if spared else bound)[dtype] += math.prod(shape)
    counts = bound if bound.total() else free
    ((level, most),) = counts.most_common(1) or [(expected, 0)]
    if counts[expected] < most:
        yield Finding(
            "QL106",
            f"general.file_type says {expected}, but of {counts.total():,} parameters that it speaks of {most:,} are "
            f"{level} and {counts[expected]:,} are {expected}",
            declared.source,
        )
