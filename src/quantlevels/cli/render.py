"""How things look: facts, tables and lines, for a terminal or for a pipe.

Commands put a page together from blocks; `show` writes it. Everything passes `visible` on its way out, so that nothing
a file says can move a cursor or change a color.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias
from unicodedata import combining, east_asian_width

from quantlevels.findings import Finding, Severity

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.measure import Measurement
    from rich.table import Table as RichTable
    from rich.text import Text

#: characters of one piece of text; a file may name a tensor with a megabyte
LONGEST: Final = 300
#: of a whole message
LONG: Final = 4000
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB")
_KIB: Final = 1024

#: the least a column that shrinks keeps
_NARROW: Final = 12
#: columns; a terminal that has fewer, or says it has none, breaks the lines itself
_LEAST: Final = 40
#: how wide a bar may be: shorter than this it shows nothing, longer it only takes the eye further from the figures
_BARS: Final = range(6, 31)
#: columns that the widest bar leaves to the rest of its row
_BESIDE_A_BAR: Final = 66
#: columns of ``100.0%`` and a space before it
_PERCENT_WIDTH: Final = 7

Style: TypeAlias = Literal["", "strong", "faint", "quantized", "plain", "good", "warning", "bad"]

Shrinks: TypeAlias = Literal["", "wraps", "keeps start", "keeps end"]

_JUSTIFY: Final[dict[bool, Literal["right", "left"]]] = {True: "right", False: "left"}
#: what a style is on a terminal: the terminal's own colors, which its theme makes readable on light and dark
_THEME: Final[dict[Style, str]] = {
    "": "",
    "strong": "bold",
    "faint": "dim",
    "quantized": "cyan",
    "plain": "magenta",
    "good": "green",
    "warning": "yellow",
    "bad": "bold red",
}


def visible(text: object, longest: int = LONGEST) -> str:
    """Text as it may reach a terminal: what does not print is escaped, what is overlong is cut.

    Control characters, newlines, bidirectional overrides and lone surrogates all count as not printing.
    """
    string = str(text)
    # cut before it is escaped: a megabyte of control characters would become six
    if len(string) > longest:
        string = f"{string[:longest]}…"
    if string.isprintable():
        return string
    return "".join(map(_printable, string))


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    return char.encode("unicode_escape").decode("ascii")


def width(text: str) -> int:
    """Columns that text takes: two for a wide character, none for one that joins the one before it."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(char: str) -> int:
    if combining(char):
        return 0
    return 2 if east_asian_width(char) in "WF" else 1


def beginning(text: str, room: int) -> str:
    """As much of the text as so many columns hold."""
    ends = accumulate(map(_columns, text))
    return text[: sum(end <= room for end in ends)]


def end(text: str, room: int) -> str:
    """As much of the text, from its end, as so many columns hold."""
    return beginning(text[::-1], room)[::-1]


def short_size(nbytes: int) -> str:
    """Bytes in the largest binary unit that fits: ``8.56 GiB``."""
    if abs(nbytes) < _KIB:
        return f"{nbytes} B"
    power = min((abs(nbytes).bit_length() - 1) // 10, len(_UNITS))
    return f"{nbytes / _KIB**power:.2f} {_UNITS[power - 1]}"


def size(nbytes: int) -> str:
    """Bytes for reading and for reckoning: ``8.56 GiB (9,190,252,544 B)``."""
    if abs(nbytes) < _KIB:
        return short_size(nbytes)
    return f"{short_size(nbytes)} ({nbytes:,} B)"


def decimal(number: Fraction | None) -> str:
    """A figure of bits per weight, to four places: ggml's are exact in four."""
    if number is None:
        return "-"
    return f"{float(number):.4f}"


def percent(share: Fraction) -> str:
    """A share of the whole: ``77.1%``; what is there is never ``0.0%``."""
    if 0 < share < Fraction(1, 1000):
        return "<0.1%"
    return f"{float(100 * share):.1f}%"


# named tuples here: a class of attrs takes three times as long to make, and every run of the program makes these


class Cell(NamedTuple):
    """A piece of text in a style."""

    text: str
    style: Style = ""


class Bar(NamedTuple):
    """A share of the whole, a bar on a terminal."""

    share: Fraction
    style: Style = "quantized"


CellValue: TypeAlias = Cell | Bar | str | int | None


class Column(NamedTuple):
    """A column of a table.

    Args:
        title: what stands above it.
        right: whether its cells end where it ends, as figures do.
        style: of its cells that have none of their own.
        from_width: the terminal width below which it is left out; pipes always have it.
        shrinks: what its cells do when the terminal is narrow: nothing, wrap, lose their end, lose their beginning.
    """

    title: str
    right: bool = False
    style: Style = ""
    from_width: int = 0
    shrinks: Shrinks = ""


class Table(NamedTuple):
    """Rows under titles."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[CellValue]]


class Facts(NamedTuple):
    """Labels and what they stand for, one a line; those without a value are left out."""

    facts: Mapping[str, CellValue]


class Line(NamedTuple):
    """A line of pieces, set apart by a space."""

    pieces: tuple[Cell | str, ...]
    indent: int = 0


class Note(NamedTuple):
    """Something found: a mark and a heading, and below them what it is; one line in a pipe.

    Args:
        finding: what was found.
        severity: how badly it counts here.
    """

    finding: Finding
    severity: Severity


PageBlock: TypeAlias = Table | Facts | Line | Note

_MARKS: Final[dict[Severity, Cell]] = {
    "error": Cell("✗", "bad"),
    "warning": Cell("!", "warning"),
    "info": Cell("i", "faint"),
}


def text_of(value: CellValue, longest: int = LONGEST) -> str:
    """A value as plain text; ``-`` for None."""
    match value:
        case None:
            return "-"
        case Bar(share):
            return percent(share)
        case Cell(text):
            return visible(text, longest)
        case int():
            return f"{value:,}"
        case str():
            return visible(value, longest)


def show(*pages: Iterable[PageBlock], after_another: bool = False) -> None:
    """Write pages of blocks to standard output, an empty line between two pages.

    Args:
        pages: what to write; a page without blocks is left out.
        after_another: whether other pages stand above.
    """
    filled = list(filter(None, map(list, pages)))
    if not _is_colorful():
        # a pipe gets plain columns without rich, whose import takes longer than most commands
        if after_another:
            sys.stdout.write("\n")
        sys.stdout.write("\n".join(map(_plain_page, filled)))
        return
    console = _console()
    for page in filled:
        console.print()
        for block in page:
            console.print(_rich(block, console))
    console.print()


def _plain_page(page: Iterable[PageBlock]) -> str:
    lines = chain.from_iterable(map(_plain, page))
    return "".join(f"{line}\n" for line in lines)


def _is_colorful() -> bool:
    """Whether tables with bars and colors are wanted: on a terminal, or if ``FORCE_COLOR`` is set (force-color.org)."""
    return sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR"))


def show_json(record: object, *, one_line: bool = False) -> None:
    """Write a record to standard output as JSON; what JSON has no number for is null.

    Args:
        record: the record.
        one_line: whether it stands on a line of its own among others, or indented by itself.
    """
    indent = None if one_line else 2
    try:
        text = json.dumps(record, indent=indent, allow_nan=False)
    except ValueError:  # seldom: metadata of a hostile file may hold NaN, which JSON cannot
        text = json.dumps(_finite(record), indent=indent, allow_nan=False)
    sys.stdout.write(f"{text}\n")


def _finite(record: object) -> object:
    match record:
        case float() if not math.isfinite(record):
            return None
        case dict():
            return {key: _finite(value) for key, value in record.items()}
        case list() | tuple():
            return [_finite(value) for value in record]
        case _:
            return record


def _plain(block: PageBlock) -> list[str]:
    match block:
        case Line(pieces, indent):
            return [" " * indent + " ".join(text_of(piece, LONG) for piece in pieces)]
        case Note(found, severity):
            words = [found.code, severity, f"{found.slug}:", visible(found.message, LONG)]
            if found.where:
                words.insert(3, f"{visible(found.where)}:")
            return [" ".join(words)]
        case Facts(facts):
            stated = [[label, text_of(value)] for label, value in facts.items() if value is not None]
            return _aligned(stated, (False, False))
        case Table(columns, rows):
            lines = [[column.title for column in columns], *([text_of(value) for value in row] for row in rows)]
            return _aligned(lines, [column.right for column in columns])


def _aligned(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    widths = [max(map(width, cells)) for cells in zip(*lines, strict=True)]
    return ["  ".join(map(_aligned_cell, line, widths, right)).rstrip() for line in lines]


def _aligned_cell(cell: str, most: int, right: bool) -> str:
    room = " " * (most - width(cell))
    if right:
        return room + cell
    return cell + room


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    console.width = max(console.width, _LEAST)
    return console


def _rich(block: PageBlock, console: Console) -> RenderableType:
    match block:
        case Line(pieces, indent):
            from rich.padding import Padding
            from rich.text import Text

            line = Text(" ").join(_rich_text(piece, longest=LONG) for piece in pieces)
            return Padding(line, (0, 1, 0, 1 + indent))
        case Note(found, severity):
            from rich.console import Group
            from rich.padding import Padding

            mark = _MARKS[severity]
            head = Line((mark, Cell(found.code, mark.style), Cell(found.slug, "strong")))
            body: list[Cell | str] = [found.message]
            if found.where:
                body.append(Cell(found.where, "faint"))
            lines = [Padding(_rich(Line((piece,)), console), (0, 0, 0, 2)) for piece in body]
            return Group(_rich(head, console), *lines)
        case Facts(facts):
            grid = _grid()
            for label, value in facts.items():
                if value is not None:
                    grid.add_row(_rich_text(Cell(label, "faint")), _rich_text(value))
            return grid
        case Table():
            return _rich_table(block, console)


def _grid() -> RichTable:
    from rich.table import Table as RichTable

    return RichTable(box=None, show_header=False, padding=(0, 1))


def _rich_table(table: Table, console: Console) -> RichTable:
    """The table. If its narrowest form is too wide for the terminal, cells fold instead of losing a figure."""
    from rich.table import Table as RichTable

    shown = [(index, column) for index, column in enumerate(table.columns) if column.from_width <= console.width]
    titles = [column.title for _, column in shown]
    # Three steps, each only if the one before was not enough: titles break at their slashes, bars give way, and at last
    # cells fold. Rich alone would cut figures with an ellipsis.
    cells = _cells(table, shown)
    room = console.width - _narrowest(titles, cells, shown)
    if room < 0:
        titles = [title.replace("/", "/\n") for title in titles]
        room = console.width - _narrowest(titles, cells, shown)
    bar = min(console.width - _BESIDE_A_BAR, room - 2, _BARS[-1])  # percentages beside bars are wider by 2
    if bar in _BARS and not console.options.ascii_only:
        cells = _cells(table, shown, bar)
    grid = RichTable(box=None, padding=(0, 1), header_style="dim")
    for title, (_, column) in zip(titles, shown, strict=True):
        grid.add_column(
            title,
            justify=_JUSTIFY[column.right],
            style=_THEME[column.style],
            no_wrap=room >= 0 and not column.shrinks,
            overflow="fold",
        )
    for row in cells:
        grid.add_row(*(_shrinking(text, column) for text, (_, column) in zip(row, shown, strict=True)))
    return grid


def _shrinking(text: Text, column: Column) -> Text | _Cut:
    if column.shrinks.startswith("keeps"):
        return _Cut(text, column.shrinks)
    return text


def _cells(table: Table, shown: Sequence[tuple[int, Column]], bar: int = 0) -> list[list[Text]]:
    return [[_rich_text(row[index], bar) for index, _ in shown] for row in table.rows]


def _narrowest(titles: Sequence[str], cells: Sequence[Sequence[Text]], shown: Sequence[tuple[int, Column]]) -> int:
    """The fewest columns of the terminal that the table takes if no figure is folded."""
    total = 2 * len(shown)  # padding
    for at, (title, (_, column)) in enumerate(zip(titles, shown, strict=True)):
        if column.shrinks:
            total += _NARROW
        else:
            total += max(*map(len, title.split("\n")), *(row[at].cell_len for row in cells), 0)
    return total


class _Cut(NamedTuple):
    """Text that loses its end, or its beginning, if there is not enough room."""

    text: Text
    shrinks: Shrinks

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        return Measurement(min(self.text.cell_len, _NARROW), self.text.cell_len)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        text, room = self.text.plain, options.max_width
        if width(text) > room and self.shrinks == "keeps end":
            text = f"…{end(text, room - 1)}"
        elif width(text) > room:
            text = f"{beginning(text, room - 1)}…"
        yield Text(text, self.text.style)


def _rich_text(value: CellValue, bar: int = 20, longest: int = LONGEST) -> Text:
    from rich.text import Text

    match value:
        case Bar():
            return _rich_bar(value, bar)
        case Cell(_, style):
            return Text(text_of(value, longest), _THEME[style])
        case _:
            return Text(text_of(value, longest))


def _rich_bar(value: Bar, room: int) -> Text:
    """A bar in so many columns, and its share of the whole; the share alone without room for a bar."""
    from rich.text import Text

    if room == 0:
        return Text(percent(value.share))
    halves = round(2 * room * min(value.share, Fraction(1)))
    if value.share:
        halves = max(halves, 1)  # what is there at all is seen
    filled = "━" * (halves // 2) + "╸" * (halves % 2)
    if value.share > 1:
        filled = f"{filled[:-1]}▸"  # it would go on
    return Text.assemble(
        (filled, _THEME[value.style]), " " * (room - len(filled)), percent(value.share).rjust(_PERCENT_WIDTH)
    )
