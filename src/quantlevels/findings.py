"""Verdicts: where what is declared and what is stored disagree, and whether a checkpoint is what was asked for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from fractions import Fraction
from os import PathLike
from typing import TYPE_CHECKING, Final

from quantlevels.checkpoint.tensor import Checkpoint, UnknownType
from quantlevels.errors import VerificationError
from quantlevels.finding import Finding
from quantlevels.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.schemes.patterns import Names

if TYPE_CHECKING:
    from quantlevels.inspection import Inspection, Stored
    from quantlevels.schemes.declaration import Declared
    from quantlevels.schemes.folding import Folding, Part

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
    if declared and declared.dtype:
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
    if declared is None or not declared.levels:
        return
    expected = declared.levels[0].level
    counts: Counter[object] = Counter()
    rest: Counter[object] = Counter()
    for module, parts in folding:
        for part in parts:
            mine = rest if module.startswith(_EMBEDDINGS) else counts
            if part.quantized or expected.bits_per_param >= 16:
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


def verify(
    path: str | PathLike[str],
    *,
    level: QuantizationLevel | None = None,
    max_bits_per_weight: Fraction | int | None = None,
    parameters: int | None = None,
    strict: bool = False,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
) -> Inspection:
    """Inspect a checkpoint, and refuse it if it is not what it says or not what is asked for.

    Args:
        path: what ``inspect`` takes.
        level: the level most of its quantized parameters must have, or most of all where none are quantized.
        max_bits_per_weight: the most bits a parameter may take over the whole checkpoint.
        parameters: how many parameters it must have.
        strict: whether warnings count too.
        select: prefixes of the only codes that count; none for all.
        ignore: prefixes of codes that do not count.

    Raises:
        VerificationError: with the findings that count, if there are any.
        CheckpointError, ConfigError: as ``inspect``.
    """
    from quantlevels.inspection import inspect

    inspection = inspect(path)
    found = (*inspection.findings, *expectations(inspection, level, max_bits_per_weight, parameters))
    chosen, left_out = tuple(select) or ("",), tuple(ignore)
    counted = {"error", "warning"} if strict else {"error"}
    failed = tuple(
        one
        for one in found
        if one.severity in counted and one.code.startswith(chosen) and not (left_out and one.code.startswith(left_out))
    )
    if failed:
        raise VerificationError(inspection.path, failed)
    return inspection


def expectations(
    inspection: Inspection,
    level: QuantizationLevel | None,
    max_bits_per_weight: Fraction | int | None,
    parameters: int | None,
) -> Iterator[Finding]:
    """Findings where a checkpoint is not what somebody expects of it; nothing is stored in a config file alone."""
    stored = inspection.stored
    if stored is None:
        return
    if level is not None:
        counts: Counter[QuantizationLevel | UnknownType] = Counter()
        for one in stored.levels:
            if one.quantized or not stored.quantized_parameters:
                counts[one.level] += one.parameters
        if 2 * counts[level] <= counts.total():
            most = ", ".join(f"{count:,} are {name}" for name, count in counts.most_common(2))
            yield Finding("QL501", f"expected {level}, but of {counts.total():,} parameters {most}")
    bits = stored.bits_per_weight
    if max_bits_per_weight is not None and bits is not None and bits > max_bits_per_weight:
        allowed = stored.parameters * max_bits_per_weight / BITS_PER_BYTE
        yield Finding(
            "QL502",
            f"{float(bits):.4g} bits per weight, at most {float(max_bits_per_weight):g} are allowed: "
            f"{stored.tensor_bytes - int(allowed):,} bytes too many",
        )
    if parameters is not None and parameters != stored.parameters:
        yield Finding("QL503", f"expected {parameters:,} parameters, found {stored.parameters:,}")
