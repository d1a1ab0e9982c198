"""The pages of `size` and `fit`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

from quantlevels.cli.pages.words import bits_per_weight, levels_table, signed_size
from quantlevels.cli.render import Bar, Cell, CellValue, Column, Facts, PageBlock, Style, Table, short_size, size

if TYPE_CHECKING:
    from quantlevels.inspection.planning import Candidate, Fit
    from quantlevels.inspection.sizing.sizes import Fallback, SizedLevel, Sizing

#: what a size is based on → what that means for it
_BASIS: Final = {
    "tensors": Cell("exact: every tensor as it would be stored", "faint"),
    "shapes": Cell(
        "idealized: no scheme is named, so only the scales and zero points of the options are added to the weights",
        "warning",
    ),
    "count": Cell(
        "idealized: computed from a number of parameters, without padding and without weights at another level",
        "warning",
    ),
}
_ONLY_WEIGHTS: Final = "weights only: no key-value cache, no activations"
_ESTIMATED: Final = "~ means idealized: computed from the number of parameters, without the scales that a scheme adds"


def sizing(report: Sizing, source: str) -> list[list[PageBlock]]:
    """Totals, levels, and the tensors that cannot have the level that was asked for."""
    facts: dict[str, CellValue] = {
        "from": Cell(source, "strong"),
        "level": str(report.target.level),
        "scheme": report.target.scheme,
        "recipe": report.target.recipe,
        "parameters": report.parameters,
        "size": Cell(size(report.nbytes), "strong"),
        "bits/weight": bits_per_weight(report.bits_per_weight),
        "": _BASIS[report.basis],
    }
    levels: list[PageBlock] = []
    if report.basis != "count":
        rows = [_sized_row(level, report) for level in report.levels]
        levels.append(levels_table(rows, report.nbytes))
    return [[Facts(facts)], levels, _fallbacks(report.fallbacks)]


def _sized_row(level: SizedLevel, report: Sizing) -> tuple[CellValue, SizedLevel, Style]:
    style: Style = "quantized" if level.level == report.target.level else "plain"
    return str(level.level), level, style


def _fallbacks(fallbacks: Sequence[Fallback]) -> list[PageBlock]:
    if not fallbacks:
        return []
    columns = (
        Column("tensor", shrinks="keeps end"),
        Column("row", right=True),
        Column("cannot be", style="faint"),
        Column("becomes", style="warning"),
    )
    rows = [(fallback.tensor, fallback.columns, str(fallback.wanted), str(fallback.given)) for fallback in fallbacks]
    return [Table(columns, rows)]


def same_size(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """Candidates that take the same bytes, together; the checkpoint as it is stands by itself."""
    groups: dict[tuple[bool, int], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.way.level is None, candidate.nbytes), []).append(candidate)
    return list(groups.values())


def candidate_names(group: Iterable[Candidate]) -> str:
    """What candidates of one size are called."""
    return ", ".join(dict.fromkeys(candidate.way.name for candidate in group))


def candidate_size(candidate: Candidate) -> str:
    """The size of a candidate, with a mark if it is only estimated."""
    mark = "" if candidate.way.exact else "~"
    return f"{mark}{short_size(candidate.nbytes)}"


def fit(report: Fit, source: str, memory: str) -> list[list[PageBlock]]:
    """The checkpoint as it is, then from the largest to the smallest, with the budget drawn where it falls."""
    # the row of the budget stands behind what does not fit, and the checkpoint as it is stays at the top
    groups = same_size(report.candidates)
    rows = [_candidate_row(group, report.budget) for group in groups]
    as_stored = sum(group[0].way.level is None for group in groups)
    too_large = sum(not group[0].fits for group in groups[as_stored:])
    rows.insert(as_stored + too_large, _budget_row(report))
    columns = (
        Column(""),
        Column("stored as", shrinks="wraps"),
        Column("size", right=True),
        Column("margin", right=True),
        Column("devices", right=True, from_width=80),
        Column("of budget"),
    )
    return [[Facts(_fit_facts(report, source, memory))], [Table(columns, rows)]]


def _fit_facts(report: Fit, source: str, memory: str) -> dict[str, CellValue]:
    budget, remark = size(report.budget), _ONLY_WEIGHTS
    if report.reserve:
        budget += f", {float(100 * report.reserve):g}% reserved"
    if not all(candidate.way.exact for candidate in report.candidates):
        remark += f"; {_ESTIMATED}"
    return {"from": Cell(source, "strong"), "memory": memory, "budget": budget, "": Cell(remark, "faint")}


def _budget_row(report: Fit) -> Sequence[CellValue]:
    style: Style = "warning"
    return (
        "",
        Cell("budget", style),
        Cell(short_size(report.budget), style),
        "",
        Cell(f"{report.devices:,}", style),
        Bar(Fraction(1), style),
    )


class _Look(NamedTuple):
    """How a candidate is shown."""

    answer: Cell
    text: Style
    margin: Style
    bar: Style


_LOOKS: Final[dict[bool, _Look]] = {
    True: _Look(Cell("fits", "good"), text="", margin="good", bar="quantized"),
    False: _Look(Cell("no", "faint"), text="faint", margin="faint", bar="faint"),
}


def _candidate_row(group: Sequence[Candidate], budget: int) -> Sequence[CellValue]:
    first = group[0]
    look = _LOOKS[first.fits]
    return (
        look.answer,
        Cell(candidate_names(group), look.text),
        Cell(candidate_size(first), look.text),
        Cell(signed_size(first.margin), look.margin),
        Cell(f"{first.devices_needed:,}", look.text),
        Bar(Fraction(first.nbytes, budget or 1), look.bar),
    )
