"""How quantized weights are stored, against how they are declared: QL101, QL102, QL111, QL112, and layouts (QL303)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from quantlevels.container import UnknownType
from quantlevels.findings import Finding, pluralize
from quantlevels.inspection.disagreements.evidence import and_others
from quantlevels.inspection.disagreements.formats import groups, is_other_format, symmetry
from quantlevels.scheme import PER_ROW
from quantlevels.vocabulary.level import QuantizationLevel

if TYPE_CHECKING:
    from quantlevels.inspection.disagreements.evidence import Evidence, Judged
    from quantlevels.scheme import DeclaredLevel
    from quantlevels.schemes.folding import FoldedWeight

#: whether weights are stored symmetric → what stands beside them
_ZERO_POINTS: Final = {True: "without zero points", False: "with zero points"}


def layout_problems(evidence: Evidence) -> Iterator[Finding]:
    """Layouts that cannot be read, one finding for all modules with the same trouble.

    Missing side tensors are not reported while a shard is missing: they may be in it.
    """
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for weights, modules in evidence.folding.alike:
        for weight in weights:
            # a level shows that the codes are there, and only what stands beside them is missing
            may_be_elsewhere = evidence.is_partial and isinstance(weight.level, QuantizationLevel)
            if weight.problem and not may_be_elsewhere:
                found[weight.problem] += [(module + weight.name).removeprefix(".") for module in modules]
    for (code, message), names in found.items():
        yield Finding(code, message + and_others(names[1:]), names[0])


def other_width(evidence: Evidence) -> Iterator[Finding]:
    """QL101 and QL102: codes take at least one whole bit more or less than their declared level."""
    found: dict[tuple[str, QuantizationLevel, str, Fraction], list[tuple[str, int]]] = defaultdict(list)
    for judged in evidence.judged:
        weight, level = judged.weight, judged.declared.level
        if weight.code_bits is None or not _is_other_width(judged):
            continue
        code = "QL101" if weight.code_bits > level.bits_per_param else "QL102"
        modules = evidence.not_skipped(judged.modules)
        if modules:
            found[code, level, str(weight.level), weight.code_bits] += [(module, weight.nbytes) for module in modules]
    for (code, level, stored, bits), sizes in found.items():
        count, nbytes = pluralize(len(sizes), "weight"), sum(nbytes for _, nbytes in sizes)
        message = (
            f"declared {level} ({level.bits_per_param} bits), stored as {stored} in {float(bits):g} bits each: "
            f"{count}, {nbytes:,} bytes"
        )
        yield Finding(code, message, sizes[0][0])


def _is_other_width(judged: Judged) -> bool:
    bits = judged.weight.code_bits
    if bits is None or judged.declared.average:  # EXL2 and EXL3 reach their declared width on the whole only
        return False
    # a whole bit: padding of odd widths (3-bit codes, ten of them in 32 bits) is not another width
    return abs(bits - judged.declared.level.bits_per_param) >= 1


def other_format(evidence: Evidence) -> Iterator[Finding]:
    """QL111: codes of the declared width, but of another number format."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for judged in evidence.judged:
        if not _is_other_width(judged) and _is_other_format(judged):
            modules = evidence.not_skipped(judged.modules)
            if modules:
                found[str(judged.declared.level), str(judged.weight.level)] += modules
    for (declared, stored), modules in found.items():
        message = f"declared {declared}, stored as {stored}, another format of the same width"
        yield Finding("QL111", message + and_others(modules[1:]), modules[0])


def _is_other_format(judged: Judged) -> bool:
    stored = judged.weight.level
    return not isinstance(stored, UnknownType) and is_other_format(judged.declared.level, stored)


def other_layout(evidence: Evidence) -> Iterator[Finding]:
    """QL112: scales or zero points are laid out otherwise than declared."""
    found: dict[str, list[str]] = defaultdict(list)
    for judged in evidence.judged:
        differences = "; ".join(_layout_differences(judged.declared, judged.weight))
        # a weight of another level is QL101, QL102 or QL111: its layout then says nothing new
        if differences and not _is_other_width(judged) and not _is_other_format(judged):
            found[differences] += evidence.not_skipped(judged.modules)
    for differences, modules in found.items():
        if modules:
            yield Finding("QL112", differences + and_others(modules[1:]), modules[0])


def _layout_differences(declared: DeclaredLevel, stored: FoldedWeight) -> Iterator[str]:
    if _has_own_blocks(declared.level) or _has_own_blocks(stored.level):
        return  # the format fixes its groups
    if declared.block is None and not declared.usual_group and _is_other_group(declared.group_size, stored.group_size):
        yield f"declared {groups(declared.group_size)}, stored with {groups(stored.group_size)}"
    if declared.block and stored.block and declared.block != stored.block:
        yield f"declared blocks of {list(declared.block)}, stored with {list(stored.block)}"
    if declared.symmetric is not None and stored.symmetric is not None and declared.symmetric != stored.symmetric:
        yield f"declared {symmetry(declared.symmetric)}, stored {_ZERO_POINTS[stored.symmetric]}"


def _has_own_blocks(level: QuantizationLevel | UnknownType) -> bool:
    return isinstance(level, UnknownType) or level.block.weights > 1


def _is_other_group(declared: int | None, stored: int | None) -> bool:
    """A config that does not say a group size declares none."""
    if not declared:
        return False
    if declared == PER_ROW:
        return stored is not None
    return declared != stored
