"""The pages of `inspect` and `verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from quantlevels.cli.pages.words import (
    bits_per_weight,
    declared_line,
    levels_table,
    notes,
    read_on,
    share_of,
    stored_line,
    title,
)
from quantlevels.cli.render import Cell, CellValue, Column, Facts, Line, Note, PageBlock, Style, Table, short_size, size
from quantlevels.cli.values import reading, values_page
from quantlevels.findings import Finding, Severity, pluralize

if TYPE_CHECKING:
    from quantlevels.inspection.records import WeightRecord
    from quantlevels.inspection.report import Inspection
    from quantlevels.inspection.totals import StoredLevel, StoredTotals, Tally
    from quantlevels.inspection.verification import Requirements
    from quantlevels.schemes.declaration import Declared

#: whether an error was found → the style of what is stored
_STORED_STYLE: Final[dict[bool, Style]] = {True: "bad", False: "strong"}
_LEVEL_STYLE: Final[dict[bool, Style]] = {True: "quantized", False: "plain"}
#: severity → that of a finding that does not fail the verification: an error that is not selected is only a note
_NOTED: Final[dict[Severity, Severity]] = {"error": "info", "warning": "warning", "info": "info"}


def inspection(report: Inspection) -> list[list[PageBlock]]:
    """Declared beside stored, totals, levels, findings."""
    declared: dict[str, CellValue] = {} if report.components else _declared(report.declared)  # each declares its own
    head: list[PageBlock] = [title(report), Facts({**declared, **_stored(report)})]
    levels: list[PageBlock] = []
    if report.stored and report.stored.levels:
        levels.append(_levels(report.stored))
    found = notes(report.findings) or [Line((Cell("no findings", "good"),))]
    return [head, levels, _components(report), values_page(report), found, read_on(report.findings)]


def _declared(declared: Declared | None) -> dict[str, CellValue]:
    if declared is None:
        return {"declared": "nothing"}
    return {"declared": Cell(declared_line(declared), "strong"), "by": _by(declared)}


def _by(declared: Declared) -> str:
    words = declared.source
    if declared.method:
        words = f"{declared.method} in {words}"
    if not declared.known:
        words = f"{words}, a method quantlevels does not know"
    if declared.kv_cache:
        words = f"{words}, key-value cache {declared.kv_cache}"
    return words


def _stored(report: Inspection) -> dict[str, CellValue]:
    stored = report.stored
    if stored is None:
        return {}
    is_wrong = any(finding.severity == "error" for finding in report.findings)
    parameters = f"{stored.parameters:,}"
    if stored.parameters:
        parameters += f", {share_of(stored.quantized_parameters, stored.parameters)} of them quantized"
    return {
        "stored": Cell(stored_line(stored), _STORED_STYLE[is_wrong]),
        "parameters": parameters,
        "size": f"{size(stored.tensor_bytes)}, {pluralize(stored.tensors, 'tensor')}",
        "bits/weight": bits_per_weight(stored.bits_per_weight),
        "buffers": _tally(stored.buffers),
        "unexplained": _tally(stored.unexplained),
    }


def _tally(tally: Tally) -> str | None:
    if not tally.tensors:
        return None
    return f"{pluralize(tally.tensors, 'tensor')}, {size(tally.nbytes)}"


def _levels(stored: StoredTotals) -> Table:
    rows: list[tuple[CellValue, StoredLevel, Style]] = []
    for level in stored.levels:
        style = _LEVEL_STYLE[level.quantized]
        rows.append((Cell(str(level.level), style), level, style))
    return levels_table(rows, stored.tensor_bytes)


def _components(report: Inspection) -> list[PageBlock]:
    """One row per model of a folder that holds several."""
    if not report.components:
        return []
    columns = (
        Column("component", style="strong"),
        Column("declared", shrinks="wraps"),
        Column("stored", shrinks="wraps"),
        Column("parameters", right=True),
        Column("size", right=True),
    )
    rows: list[Sequence[CellValue]] = []
    for component in report.components:
        declared, stored = "nothing", "nothing"
        parameters, nbytes = 0, 0
        if component.declared:
            declared = declared_line(component.declared)
        if component.stored:
            stored = stored_line(component.stored)
            parameters, nbytes = component.stored.parameters, component.stored.tensor_bytes
        rows.append((component.path_within(report.location), declared, stored, parameters, short_size(nbytes)))
    return [Table(columns, rows)]


def verdict(report: Inspection, failed: Sequence[Finding], requirements: Requirements) -> list[list[PageBlock]]:
    """What fails, what is only noted, and the verdict; what the caller ignores is counted."""
    noted: list[PageBlock] = []
    ignored = 0
    for finding in report.findings:
        if requirements.is_ignored(finding):
            ignored += 1
        elif finding not in failed:
            noted.append(Note(finding, _NOTED[finding.severity]))
    pieces = [Cell("ok", "good"), Cell(report.location, "strong")]
    if failed:
        pieces[0] = Cell(f"failed: {pluralize(len(failed), 'finding')}", "bad")
    if report.stored:
        pieces.append(Cell(f"({stored_line(report.stored)})", "faint"))
    if report.values:
        pieces.append(Cell(f"(values: {reading(report.values)})", "faint"))
    if ignored:
        pieces.append(Cell(f"({pluralize(ignored, 'finding')} ignored)", "faint"))
    return [notes(failed), noted, read_on(failed), [Line(tuple(pieces))]]


def tensors(report: Inspection, pattern: str) -> list[list[PageBlock]]:
    """One row per weight whose name matches."""
    rows = [_weight_row(record) for record in report.weight_records(pattern)]
    if not rows:
        return [[title(report)], [Line((Cell(f"no weight is called {pattern}", "warning"),))]]
    columns = (
        Column("weight", style="strong", shrinks="keeps end"),
        Column("level"),
        Column("group", right=True, from_width=80),
        Column("shape", style="faint", from_width=100),
        Column("parameters", right=True),
        Column("size", right=True),
        Column("bytes", right=True, style="faint", from_width=120),
    )
    return [[title(report)], [Table(columns, rows)]]


def _weight_row(record: WeightRecord) -> Sequence[CellValue]:
    shapes = ["x".join(map(str, tensor["shape"])) for tensor in record["tensors"]]
    return (
        record["name"],
        record["label"],
        record["group_size"],
        next(iter(shapes), None),  # of the codes, if there are scales beside them
        record["parameters"],
        short_size(record["bytes"]),
        record["bytes"],
    )
