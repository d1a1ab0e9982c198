"""Phrases and tables that several pages share."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from quantlevels.cli.render import (
    Bar,
    Cell,
    CellValue,
    Column,
    Line,
    Note,
    PageBlock,
    Style,
    Table,
    decimal,
    percent,
    short_size,
)
from quantlevels.vocabulary.builtin import FP32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlevels.container import UnknownType
    from quantlevels.findings import Finding
    from quantlevels.inspection.report import Inspection
    from quantlevels.inspection.sizing.sizes import SizedLevel
    from quantlevels.inspection.totals import StoredLevel, StoredTotals
    from quantlevels.scheme import DeclaredLevel
    from quantlevels.schemes.declaration import Declared
    from quantlevels.vocabulary.level import QuantizationLevel

#: levels named in one line: mixtures of llama.cpp have three or four, layer-wise searches a dozen
MOST_LEVELS: Final = 4
_SYMMETRY: Final = {True: "symmetric", False: "asymmetric", None: ""}


def against_fp32(bits_per_weight: Fraction | None) -> tuple[str, str]:
    """How many times smaller than FP32, or how many times its size: ``3.49x``, ``smaller than FP32``."""
    if not bits_per_weight:
        return "-", "smaller than FP32"
    larger = bits_per_weight / FP32.bits_per_weight
    if larger >= 1:
        return f"{float(larger):.2f}x", "the size of FP32"
    return f"{float(1 / larger):.2f}x", "smaller than FP32"


def bits_per_weight(exact: Fraction | None) -> str | None:
    """Bits per weight and what they save: ``9.1556, 3.50x smaller than FP32``; None if they are not known."""
    if not exact:
        return None
    return f"{decimal(exact)}, {' '.join(against_fp32(exact))}"


def share_of(part: int, whole: int) -> str:
    """A share in words: ``none``, ``all``, ``86.9%``."""
    if part == 0:
        return "none"
    if part == whole:
        return "all"
    return percent(Fraction(part, whole))


def signed_size(nbytes: int) -> str:
    """A change in bytes: ``+1.31 GiB``; ``=`` for none."""
    if nbytes == 0:
        return "="
    if nbytes < 0:
        return f"-{short_size(-nbytes)}"
    return f"+{short_size(nbytes)}"


def at(level: QuantizationLevel | UnknownType, bits: Fraction | None) -> str:
    """A level and what it takes: ``INT4 at 4.125 bits``."""
    if bits is None:
        return str(level)
    return f"{level} at {float(round(bits, 4)):g} bits"


def declared_line(declared: Declared) -> str:
    """The levels that are declared, in one line."""
    levels = [_declared_level(level) for level in declared.levels[:MOST_LEVELS]]
    if declared.dtype and (not levels or len(declared.levels) < MOST_LEVELS):
        levels.append(str(declared.dtype))
    if len(declared.levels) > MOST_LEVELS:
        levels.append(f"{len(declared.levels) - MOST_LEVELS} more")
    return " + ".join(levels) or "a level that is not known"


def _declared_level(declared: DeclaredLevel) -> str:
    words = [at(declared.level, declared.bits_per_weight)]
    if declared.group_size and declared.group_size > 0:
        words.append(f"groups of {declared.group_size}")
    if declared.block:
        words.append(f"blocks of {'x'.join(map(str, declared.block))}")
    if declared.symmetric is not None:
        words.append(_SYMMETRY[declared.symmetric])
    return ", ".join(words)


def stored_line(stored: StoredTotals) -> str:
    """The levels of the stored weights, in one line."""
    # without parameters: what no scheme explains, which has a line of its own
    levels = [_stored_level(level) for level in stored.levels if level.parameters]
    named = levels[:MOST_LEVELS]
    if len(levels) > MOST_LEVELS:
        named.append(f"{len(levels) - MOST_LEVELS} more")
    return " + ".join(named) or "no weights"


def _stored_level(stored: StoredLevel) -> str:
    if stored.quantized:
        return at(stored.level, stored.bits_per_weight)
    return str(stored.level)


def title(report: Inspection) -> Line:
    """The path, and what it is."""
    what = report.format
    if len(report.files) > 1:
        what = f"{what}, {len(report.files):,} files"
    return Line((Cell(report.location, "strong"), Cell(f"({what})", "faint")))


def notes(found: Iterable[Finding]) -> list[PageBlock]:
    """One note per finding."""
    return [Note(finding, finding.severity) for finding in found]


def read_on(found: Sequence[Finding]) -> list[PageBlock]:
    """Which command explains the first finding."""
    if not found:
        return []
    return [faint(f"Run `quantlevels explain {found[0].code}` for cause and fix.")]


def faint(text: str) -> Line:
    """A line that is not important."""
    return Line((Cell(text, "faint"),))


def levels_table(rows: Iterable[tuple[CellValue, StoredLevel | SizedLevel, Style]], nbytes: int) -> Table:
    """What each level takes of all bytes.

    Args:
        rows: how a level is called, the weights at it, and the style of its bar.
        nbytes: all bytes.
    """
    columns = (
        Column("level"),
        Column("group", right=True, from_width=70),
        Column("weights", right=True, from_width=100),
        Column("parameters", right=True),
        Column("size", right=True),
        Column("bytes", right=True, style="faint", from_width=110),
        Column("bits/weight", right=True),
        Column("share"),
    )
    cells = [
        (
            name,
            level.group_size,
            level.weights,
            level.parameters,
            short_size(level.nbytes),
            level.nbytes,
            decimal(level.bits_per_weight),
            Bar(Fraction(level.nbytes, nbytes or 1), style),
        )
        for name, level, style in rows
    ]
    return Table(columns, cells)
