"""Verdicts: where what is declared and what is stored disagree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from quantlevels.checkpoint.tensor import Checkpoint
from quantlevels.finding import Finding
from quantlevels.level import QuantizationLevel
from quantlevels.schemes.base import UNQUANTIZED_BITS
from quantlevels.schemes.patterns import Names

if TYPE_CHECKING:
    from quantlevels.schemes.base import DeclaredLevel
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
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for parts, modules in folding.alike:
        for part in parts:
            if part.problem:
                found[part.problem] += [(module + part.name).removeprefix(".") for module in modules]
    for (code, message), names in found.items():
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
    found = [(part, modules) for part, modules in _quantized(folding) if part.level != said]
    if found and checkpoint.format != "onnx":
        total = sum(part.parameters * len(modules) for part, modules in found)
        kinds = ", ".join(sorted({str(part.level) for part, _ in found}))
        message = f"{total:,} parameters are stored as {kinds}, and nothing declares it"
        yield Finding("QL104", message, found[0][1][0])


def _quantized(folding: Folding) -> Iterator[tuple[Part, list[str]]]:
    """Each quantized part, and the modules that have one like it."""
    for parts, modules in folding.alike:
        for part in parts:
            if part.code_bits is not None:
                base = part.name.removesuffix(".weight")
                yield part, [module + base for module in modules] if base else modules


def _widths(declared: Declared, folding: Folding) -> Iterator[Finding]:
    """Codes that take a whole bit more or less than their declared level."""
    skipped = Names(declared.skipped)
    off: dict[tuple[str, QuantizationLevel, str, Fraction], list[tuple[str, int]]] = defaultdict(list)
    for part, modules in _quantized(folding):
        for said, named in _by_declaration(declared, modules):
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
            f"{len(found):,} weights, {sum(nbytes for _, nbytes in found):,} bytes",
            found[0][0],
        )


def _by_declaration(declared: Declared, modules: list[str]) -> Iterable[tuple[DeclaredLevel | None, list[str]]]:
    """The modules with the same declaration, together."""
    if not declared.overrides:
        return [(declared.general, modules)]
    groups: dict[int, tuple[DeclaredLevel | None, list[str]]] = {}
    for module in modules:
        said = declared.level_of(module)
        groups.setdefault(id(said), (said, []))[1].append(module)
    return groups.values()


def _named(declared: Declared, folding: Folding) -> Iterator[Finding]:
    """Modules the config leaves out that are quantized, and modules it names that are not."""
    skipped = Names(declared.skipped)
    wrongly = sorted(module for _, modules in _quantized(folding) for module in skipped.among(modules))
    if wrongly:
        yield Finding("QL108", "the config leaves it out, but it is quantized" + _and_others(wrongly), wrongly[0])
    targets = {target for level in declared.levels for target in level.targets or ()}
    plain = sorted(
        module
        for parts, modules in folding.alike
        if any(part.name == ".weight" and not part.quantized for part in parts)
        for module in targets.intersection(modules)
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
    for parts, modules in folding.alike:
        embeddings = sum(module.startswith(_EMBEDDINGS) for module in modules)
        for part in parts:
            if part.quantized or expected.bits_per_param >= UNQUANTIZED_BITS:
                counts[part.level] += part.parameters * (len(modules) - embeddings)
                rest[part.level] += part.parameters * embeddings
    counts = counts if counts.total() else rest
    most = max(counts.values(), default=0)
    if most and counts[expected] < most:
        level, parameters = counts.most_common(1)[0]
        yield Finding(
            "QL106",
            f"general.file_type says {expected}, but of {counts.total():,} quantized parameters {parameters:,} are "
            f"{level} and {counts[expected]:,} are {expected}",
            declared.source,
        )
