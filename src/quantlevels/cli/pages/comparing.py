"""The page of `compare`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from quantlevels.cli.pages.words import faint, signed_size
from quantlevels.cli.render import Cell, CellValue, Column, Line, PageBlock, Style, Table, decimal, short_size, size
from quantlevels.vocabulary.level import QuantizationLevel

if TYPE_CHECKING:
    from quantlevels.inspection.comparison import Change, Comparison, Delta, StoredAs

#: numbers of layers and experts, which stand between dots
_NUMBERS = re.compile(r"(?<=\.)\d+(?=\.)")


def comparison(report: Comparison, most: int) -> list[list[PageBlock]]:
    """Totals side by side, levels in bytes, and the weights that differ.

    Args:
        report: the comparison.
        most: how many rows of weights to show.
    """
    verdict = Cell("stored differently", "warning")
    if report.same:
        verdict = Cell("stored alike", "good")
    return [
        [_totals(report)],
        [_levels(report.levels)],
        _changed(report.changed, most),
        _only("before", report.only_before, most),
        _only("after", report.only_after, most),
        [Line((verdict,))],
    ]


def _totals(report: Comparison) -> Table:
    before, after = report.before, report.after
    assert before.stored  # a config file alone is not compared
    assert after.stored
    old, new = before.stored, after.stored
    columns = (
        Column("", style="faint"),
        Column("before", shrinks="wraps"),
        Column("after", shrinks="wraps"),
        Column("change", right=True),
    )
    rows: list[Sequence[CellValue]] = [
        ("path", Cell(str(before.path), "strong"), Cell(str(after.path), "strong"), ""),
        ("format", before.format, after.format, ""),
        ("parameters", f"{old.parameters:,}", f"{new.parameters:,}", _signed(new.parameters - old.parameters, "=")),
        (
            "size",
            size(old.tensor_bytes),
            size(new.tensor_bytes),
            signed_size(new.tensor_bytes - old.tensor_bytes),
        ),
        (
            "bits/weight",
            decimal(old.bits_per_weight),
            decimal(new.bits_per_weight),
            _ratio(old.bits_per_weight, new.bits_per_weight),
        ),
    ]
    return Table(columns, rows)


def _signed(change: int, none: str) -> str:
    return f"{change:+,}" if change else none


def _ratio(before: Fraction | None, after: Fraction | None) -> str:
    if not before or not after or after == before:  # also if either side cannot be counted
        return "="
    return f"{float(after / before):.2f}x"


def _levels(deltas: Iterable[Delta]) -> Table:
    columns = (
        Column("level"),
        Column("group", right=True),
        Column("before", right=True),
        Column("after", right=True),
        Column("change", right=True),
        Column("bytes", right=True, style="faint", from_width=100),
    )
    rows = [
        (
            str(delta.level),
            delta.group_size,
            size_or_none(delta.before),
            size_or_none(delta.after),
            Cell(signed_size(delta.gained), _growth(delta.gained)),
            _signed(delta.gained, "0"),
        )
        for delta in deltas
    ]
    return Table(columns, rows)


def size_or_none(nbytes: int) -> str | None:
    """A size; None for no bytes at all."""
    return short_size(nbytes) if nbytes else None


def _growth(nbytes: int) -> Style:
    if nbytes == 0:
        return "faint"
    if nbytes > 0:
        return "warning"
    return "good"


def _changed(changes: Iterable[Change], most: int) -> list[PageBlock]:
    """Weights that both sides have but not alike; those that differ in layer numbers alone share a row."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for change in changes:
        before, after = stored_as(change.before), stored_as(change.after)
        if change.parameters_before != change.parameters_after:
            before += f" x {change.parameters_before:,}"
            after += f" x {change.parameters_after:,}"
        alike.setdefault((alike_name(change.name), before, after), []).append(change.bytes_after - change.bytes_before)
    if not alike:
        return []
    columns = (
        Column("weights", shrinks="keeps end"),
        Column("count", right=True),
        Column("before"),
        Column("after"),
        Column("change", right=True),
    )
    rows = [
        (name, len(gained), before, after, signed_size(sum(gained)))
        for (name, before, after), gained in list(alike.items())[:most]
    ]
    return [Table(columns, rows), *_more(len(alike), most)]


def _only(side: str, names: Sequence[str], most: int) -> list[PageBlock]:
    """Weights that one side alone has."""
    if not names:
        return []
    counts = Counter(map(alike_name, names))
    columns = Column(f"only {side}", shrinks="keeps end"), Column("count", right=True)
    return [Table(columns, list(counts.items())[:most]), *_more(len(counts), most)]


def alike_name(name: str) -> str:
    """A name without its numbers, the same in all layers: ``model.layers.*.mlp.up_proj``."""
    return _NUMBERS.sub("*", name)


def _more(rows: int, most: int) -> list[PageBlock]:
    if rows <= most:
        return []
    return [faint(f"... and {rows - most:,} more rows; --all shows them")]


def stored_as(several: Iterable[StoredAs]) -> str:
    """How weights are stored, in short: ``INT4 g128 asymmetric``."""
    return " + ".join(map(_stored_as, several))


def _stored_as(stored: StoredAs) -> str:
    words = [str(stored.level)]
    if stored.group_size:
        words.append(f"g{stored.group_size}")
    if stored.symmetric is False:
        words.append("asymmetric")
    if stored.code_bits is not None and _is_padded(stored, stored.code_bits):
        words.append(f"in {float(stored.code_bits):g} bits")
    return " ".join(words)


def _is_padded(stored: StoredAs, code_bits: Fraction) -> bool:
    """Whether a code takes more bits than its level needs."""
    return isinstance(stored.level, QuantizationLevel) and code_bits > stored.level.block.bits_per_weight
