"""An inspection, and what the weights themselves show: the only module that reads more than headers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import evolve

from quantlevels.errors import CheckpointError
from quantlevels.values.records import Mode, Values

if TYPE_CHECKING:
    from quantlevels.container import Checkpoint
    from quantlevels.findings import Finding
    from quantlevels.inspection.report import Inspection, Started


def with_values(
    inspection: Inspection,
    checkpoint: Checkpoint,
    mode: Mode,
    *,
    checksums: bool,
    started: Started | None,
) -> Inspection:
    """The inspection of a checkpoint, completed by reading its weights.

    Args:
        inspection: made of the headers.
        checkpoint: what was inspected.
        mode: ``sample`` or ``all``.
        checksums: whether ``all`` compares digests too.
        started: as in `quantlevels.values.examination.examine`.

    Raises:
        CheckpointError: if a file cannot be read, or numpy is missing.
    """
    try:
        from quantlevels.values.examination import examine  # here: only this needs numpy
    except ImportError as error:
        reason = "reading values needs numpy: pip install 'quantlevels[values]'"
        raise CheckpointError(checkpoint.path, reason) from error
    if checkpoint.components:
        return _with_components(inspection, checkpoint, mode, checksums=checksums, started=started)
    # the default of `examine` is its own: only a caller's bar is handed on
    weights = inspection._folded()
    if started is None:
        values = examine(checkpoint, weights, mode, checksums=checksums)
    else:
        values = examine(checkpoint, weights, mode, checksums=checksums, started=started)
    return evolve(inspection, values=values, findings=_sorted((*inspection.findings, *values.findings)))


def _with_components(
    inspection: Inspection,
    checkpoint: Checkpoint,
    mode: Mode,
    *,
    checksums: bool,
    started: Started | None,
) -> Inspection:
    """Each model of several read by itself; names get the path of their model before them."""
    components = tuple(
        with_values(component, part, mode, checksums=checksums, started=started)
        for component, part in zip(inspection.components, checkpoint.components, strict=True)
    )
    placed = [
        component.values.placed_in(component.path_within(checkpoint.path))
        for component in components
        if component.values
    ]
    values = Values.combined(mode, placed)
    findings = _sorted((*inspection.findings, *values.findings))
    return evolve(inspection, values=values, components=components, findings=findings)


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: (finding.code, finding.where)))
