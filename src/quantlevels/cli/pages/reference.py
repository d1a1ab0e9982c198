"""The pages of `list`, `show`, `explain` and `plugins`."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from quantlevels.cli.pages.words import faint
from quantlevels.cli.render import Cell, CellValue, Column, Facts, Line, PageBlock, Style, Table, decimal

if TYPE_CHECKING:
    from quantlevels.findings import Severity
    from quantlevels.inspection.records import ExplanationRecord
    from quantlevels.vocabulary.level import Block, QuantizationLevel
    from quantlevels.vocabulary.plugins import PluginStatus

_SEVERITY_STYLE: Final[dict[Severity, Style]] = {"error": "bad", "warning": "warning", "info": "faint"}


def listing(levels: Sequence[QuantizationLevel]) -> list[list[PageBlock]]:
    """One row per level."""
    if not levels:
        return [[Line(("no level has that width and kind",))]]
    columns = (
        Column("name", style="strong"),
        Column("bits", right=True),
        Column("bits/weight", right=True),
        Column("memory_reduction_factor", right=True, from_width=140),
        Column("exact_reduction_factor", right=True, from_width=120),
        Column("kind", style="faint", from_width=100),
        Column("summary", shrinks="keeps start"),
    )
    rows = [
        (
            level.name,
            level.bits_per_param,
            decimal(level.bits_per_weight),
            f"{level.memory_reduction_factor:.2f}",
            f"{level.exact_reduction_factor:.2f}",
            level.kind,
            level.summary,
        )
        for level in levels
    ]
    return [[Table(columns, rows)]]


def description(level: QuantizationLevel) -> list[list[PageBlock]]:
    """Everything known about one level, and its names in every dialect."""
    exact = level.bits_per_weight
    facts: dict[str, CellValue] = {
        "name": Cell(level.name, "strong"),
        "label": level.label,
        "summary": level.summary or None,
        "kind": level.kind,
        "bits": level.bits_per_param,
        "bits/weight": _fraction(exact),
        "block": _block(level.block),
        "memory_reduction_factor": f"{level.memory_reduction_factor:g} (nominal: 32 / {level.bits_per_param} bits)",
        "exact_reduction_factor": f"{level.exact_reduction_factor:.4g} (as stored: 32 / {decimal(exact)} bits)",
        "aliases": ", ".join(level.aliases) or None,
        "source": level.source or None,
    }
    spellings = [(dialect, ", ".join(map(str, words))) for dialect, words in sorted(level.spellings.items())]
    columns = Column("dialect", style="faint"), Column("spelling")
    tables: list[PageBlock] = []
    if spellings:
        tables.append(Table(columns, spellings))
    return [[Facts(facts)], tables]


def _fraction(exact: Fraction) -> str:
    if exact.denominator == 1:
        return str(exact)
    return f"{float(exact)} ({exact})"


def _block(block: Block) -> str | None:
    if block.weights == 1:
        return None
    words = f"{block.weights:,} weights in {block.bits:,} bits"
    if block.row_bits:
        words += f", and {block.row_bits:,} bits per row"
    return words


def explanation(record: ExplanationRecord) -> list[list[PageBlock]]:
    """The finding, and the paragraphs on it."""
    severity = Cell(f"({record['severity']})", "faint")
    head = Line((Cell(record["code"], "strong"), Cell(record["slug"], "strong"), severity))
    paragraphs = record["text"].split("\n\n")
    lines: list[PageBlock] = [Line((text.lstrip(),), len(text) - len(text.lstrip())) for text in paragraphs]
    return [[head], *([line] for line in lines)]


def explanations(records: Sequence[ExplanationRecord]) -> list[list[PageBlock]]:
    """One row per finding, with the first sentence on it."""
    columns = (
        Column("code", style="strong"),
        Column("severity"),
        Column("name"),
        Column("meaning", shrinks="keeps start", style="faint"),
    )
    rows = [
        (
            record["code"],
            Cell(record["severity"], _SEVERITY_STYLE[record["severity"]]),
            record["slug"],
            record["text"].partition("\n")[0].partition(". ")[0].rstrip("."),
        )
        for record in records
    ]
    return [[Table(columns, rows)], [faint("Run `quantlevels explain CODE` for cause and fix.")]]


def plugins(found: Sequence[PluginStatus]) -> list[list[PageBlock]]:
    """One row per plugin, and what to do about those in trouble."""
    if not found:
        return [[Line(("no plugins are installed",))]]
    columns = (
        Column("plugin", style="strong"),
        Column("version", style="faint", from_width=80),
        Column("brings", style="faint"),
        Column("state"),
        Column("import", right=True, from_width=80),
        Column("installed", style="faint", from_width=100),
    )
    rows = [_plugin_row(plugin) for plugin in found]
    troubles: list[list[PageBlock]] = [
        [Line((Cell(bad.name, "strong"), Cell(bad.state, "bad"))), Line((bad.reason,), 2), Line((bad.remedy,), 2)]
        for bad in found
        if not bad.fine
    ]
    return [[Table(columns, rows)], *troubles]


def _plugin_row(plugin: PluginStatus) -> Sequence[CellValue]:
    style: Style = ""
    if not plugin.fine:
        style = "bad"
    elif plugin.state == "loaded":
        style = "good"
    seconds = how = None
    if plugin.seconds is not None:
        seconds = f"{1000 * plugin.seconds:.1f} ms"
    if plugin.editable:
        how = "editable"
    kind = plugin.group.rpartition(".")[2]
    return plugin.name, plugin.version, kind, Cell(plugin.state, style), seconds, how
