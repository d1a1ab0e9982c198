"""Config files beside one checkpoint, against each other: QL113."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from quantlevels.findings import Finding
from quantlevels.inspection.disagreements.formats import groups, is_other_format, symmetry

if TYPE_CHECKING:
    from quantlevels.inspection.disagreements.evidence import Evidence
    from quantlevels.schemes.declaration import Declared


def configs_disagree(evidence: Evidence) -> Iterator[Finding]:
    """QL113: another config file claims another quantization than the one that is believed."""
    believed = evidence.declared
    if believed is None:
        return
    for other in believed.others:
        difference = "; ".join(_differences(believed, other))
        if difference:
            yield Finding("QL113", difference, other.source)


def _differences(believed: Declared, other: Declared) -> Iterator[str]:
    """Where both files say something, and not the same."""
    if believed.scheme and other.scheme and not _share_a_packing(believed, other):
        yield f"declares the method {other.method}, but {believed.source} declares {believed.method}"
    # only the general levels: overrides by module name are written in ways that differ between files
    ours, theirs = believed.general, other.general
    if ours is None or theirs is None:
        return
    if ours.level.bits_per_param != theirs.level.bits_per_param or is_other_format(ours.level, theirs.level):
        yield f"declares {theirs.level}, but {believed.source} declares {ours.level}"
    if ours.group_size and theirs.group_size and ours.group_size != theirs.group_size:
        yield f"declares {groups(theirs.group_size)}, but {believed.source} declares {groups(ours.group_size)}"
    if ours.symmetric is not None and theirs.symmetric is not None and ours.symmetric != theirs.symmetric:
        yield f"{symmetry(theirs.symmetric)}, but {symmetry(ours.symmetric)} in {believed.source}"


def _share_a_packing(believed: Declared, other: Declared) -> bool:
    """Whether weights may be stored alike under both methods, as those of auto-round and gptq are."""
    assert believed.scheme
    assert other.scheme
    if believed.scheme.method == other.scheme.method:
        return True
    return bool({*map(id, believed.scheme.packings)} & {*map(id, other.scheme.packings)})
