"""Pictures of an inspection, a comparison and a fit: one self-contained SVG each, light and dark.

Figures stand in a monospaced font, whose width is known, so that nothing overlaps whatever font a viewer has.
"""

from __future__ import annotations

from fractions import Fraction
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from quantlevels.cli.pages.comparing import size_or_none
from quantlevels.cli.pages.planning import candidate_names, candidate_size, same_size
from quantlevels.cli.pages.words import against_fp32, declared_line, signed_size, stored_line
from quantlevels.cli.render import beginning, decimal, end, percent, short_size, size, visible, width

if TYPE_CHECKING:
    from quantlevels.inspection.comparison import Comparison, Delta
    from quantlevels.inspection.planning import Fit
    from quantlevels.inspection.report import Inspection
    from quantlevels.inspection.totals import StoredTotals

_WIDTH: Final = 860
_EDGE: Final = 28
_RIGHT: Final = _WIDTH - _EDGE
#: pixels that a character of the monospaced font takes at 13 px
_CHARACTER: Final = 7.83
#: pixels that a character of a large figure takes at most
_LARGE: Final = 14.5
#: pixels from one row of a table to the next
_ROW: Final = 24

_SEVERE: Final = {"error": "bad strong", "warning": "warn strong", "info": "faint"}

Anchor: TypeAlias = Literal["start", "middle", "end"]

# Colors are variables with a second set for dark pages, and fonts are the viewer's own: a picture loads nothing, and
# GitHub shows it in both themes.
_STYLE: Final = """
svg{--paper:#ffffff;--ink:#1f2328;--faint:#656d76;--track:#eaeef2;--good:#1a7f37;--bad:#cf222e;--warn:#9a6700;
--c0:#0969da;--c1:#8250df;--c2:#1a7f37;--c3:#bf3989;--c4:#bc4c00;--c5:#0e7490;--c6:#6e7781;--c7:#a0770b}
@media (prefers-color-scheme:dark){svg{--paper:#0d1117;--ink:#e6edf3;--faint:#8d96a0;--track:#21262d;--good:#3fb950;
--bad:#f85149;--warn:#d29922;--c0:#4493f8;--c1:#a371f7;--c2:#3fb950;--c3:#db61a2;--c4:#f0883e;--c5:#39c5cf;--c6:#8b949e;
--c7:#e3b341}}
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:var(--ink)}
.title{font:600 19px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
.big{font:600 23px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
.small{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:var(--faint)}
.faint{fill:var(--faint)}.good{fill:var(--good)}.bad{fill:var(--bad)}.warn{fill:var(--warn)}.strong{font-weight:600}
"""


class _Canvas:
    """Elements from the top down; ``y`` is where the next goes."""

    def __init__(self) -> None:
        self.y = 0
        self.elements: list[str] = []

    def text(self, x: float, content: str, style: str = "", anchor: Anchor = "start", *, room: float = _WIDTH) -> None:
        """Text on the line at ``y``, without its middle where it needs more than ``room`` pixels of monospaced font."""
        content = visible(content)
        most = int(room / _CHARACTER)
        if width(content) > most:
            content = f"{beginning(content, most // 2)}…{end(content, most - most // 2 - 1)}"
        attributes = f'x="{x:g}" y="{self.y}"'
        if anchor != "start":
            attributes += f' text-anchor="{anchor}"'
        if style:
            attributes += f' class="{style}"'
        self.elements.append(f"<text {attributes}>{escape(content)}</text>")

    def paragraph(self, x: float, content: str, style: str = "", *, room: float) -> None:
        """Text over as many lines as it needs, up to six; ``y`` ends at the last."""
        most = int(room / _CHARACTER)
        lines = wrap(visible(content), most, max_lines=6, placeholder=" …", break_on_hyphens=False)
        for number, line in enumerate(lines):
            if number:
                self.y += 18
            self.text(x, line, style, room=room)

    def bar(self, x: float, width: float, fill: str, *, above: int = 9, height: int = 8, round_: float = 2) -> None:
        """A bar beside the text at ``y``; what is there at all is at least a pixel wide."""
        self.elements.append(
            f'<rect x="{x:.2f}" y="{self.y - above}" width="{max(width, 1):.2f}" height="{height}" rx="{round_:g}" '
            f'fill="var(--{fill})"/>'
        )

    def cut(self, x: float, *, above: int = 9, height: int = 8) -> None:
        """A mark at the end of a bar that would go on."""
        for offset in (-10, -5):
            self.elements.append(
                f'<line x1="{x + offset - 2:g}" x2="{x + offset + 2:g}" y1="{self.y - above + height + 2}" '
                f'y2="{self.y - above - 2}" stroke="var(--paper)" stroke-width="2"/>'
            )

    def svg(self, title: str) -> str:
        """The picture, as high as what was drawn."""
        height = self.y + _EDGE
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
            f'height="{height}" role="img"><title>{escape(visible(title))}</title><style>{_STYLE}</style>'
            f'<rect width="{_WIDTH}" height="{height}" rx="10" fill="var(--paper)"/>'
        )
        return "\n".join((head, *self.elements, "</svg>\n"))

    def heading(self, title: str, what: str) -> None:
        """The title, and in small letters what it is."""
        self.y += 44
        self.text(_EDGE, title, "title", room=_CHARACTER * 56)
        self.text(_RIGHT, what, "small", "end", room=_CHARACTER * 34)
        self.y += 8

    def fact(self, name: str, value: str, style: str = "") -> None:
        """A line with a label."""
        self.y += 22
        self.text(_EDGE, name, "small")
        self.text(_EDGE + 78, value, style, room=_RIGHT - _EDGE - 78)

    def figures(self, *figures: tuple[str, str]) -> None:
        """Large figures side by side, each with what it is below."""
        self.y += 46
        step = (_RIGHT - _EDGE) / len(figures)
        for column, (figure, caption) in enumerate(figures):
            x = min(_EDGE + column * step, _RIGHT - _LARGE * len(figure))
            self.text(x, figure, "big")
            self.y += 19
            self.text(x, caption, "small")
            self.y -= 19
        self.y += 19

    def titles(self, *titles: tuple[float, str, Anchor]) -> None:
        """What stands above the columns of a table."""
        self.y += 36
        for x, title, anchor in titles:
            self.text(x, title, "small", anchor)
        self.y += 4


def _color(index: int) -> str:
    return f"c{index % 8}"


#: whether something is wrong or fits → how it looks
_STORED_STYLE: Final = {True: "bad", False: ""}
_FIT_BAR: Final = {True: "c0", False: "track"}
_FIT_TEXT: Final = {True: "", False: "faint"}
_MARGIN_TEXT: Final = {True: "good", False: "faint"}
#: sign of a change in bytes → its style
_CHANGE_STYLE: Final = {1: "warn", 0: "faint", -1: "good"}


def inspection(report: Inspection) -> str:
    """Declared beside stored, the levels with their shares, and the findings."""
    canvas = _Canvas()
    canvas.heading(Path(report.location).resolve().name, report.format)
    if report.declared:
        canvas.fact("declared", declared_line(report.declared))
    if report.stored:
        is_wrong = any(finding.severity == "error" for finding in report.findings)
        _draw_totals(canvas, report.stored, _STORED_STYLE[is_wrong])
        if report.stored.levels:
            _draw_strip(canvas, report.stored)
            _draw_levels(canvas, report.stored)
    if report.findings:
        canvas.y += 14
    for finding in report.findings:
        canvas.y += _ROW
        canvas.text(_EDGE, finding.code, _SEVERE[finding.severity])
        canvas.paragraph(_EDGE + 60, f"{finding.slug}: {finding.message}", room=_RIGHT - _EDGE - 60)
    return canvas.svg(f"{Path(report.location).name}: what it declares and what it stores")


def _draw_totals(canvas: _Canvas, stored: StoredTotals, style: str) -> None:
    canvas.fact("stored", stored_line(stored), style)
    canvas.figures(
        (short_size(stored.tensor_bytes), f"{stored.tensor_bytes:,} bytes"),
        (decimal(stored.bits_per_weight), "bits per weight"),
        against_fp32(stored.bits_per_weight),
        (f"{stored.parameters:,}", "parameters"),
    )


def _draw_strip(canvas: _Canvas, stored: StoredTotals) -> None:
    """One strip for all bytes, in which each level has its color."""
    canvas.y += 34
    x = float(_EDGE)
    for index, level in enumerate(stored.levels):
        width = float(Fraction(level.nbytes, stored.tensor_bytes or 1)) * (_RIGHT - _EDGE)
        if width >= 1:
            canvas.bar(x, width - 1, _color(index), above=14, height=14)
        x += width


def _draw_levels(canvas: _Canvas, stored: StoredTotals) -> None:
    canvas.titles(
        (_EDGE + 18, "level", "start"),
        (244, "group", "end"),
        (386, "parameters", "end"),
        (486, "size", "end"),
        (574, "bits/weight", "end"),
        (_RIGHT, "share", "end"),
    )
    for index, level in enumerate(stored.levels):
        share = Fraction(level.nbytes, stored.tensor_bytes or 1)
        canvas.y += _ROW
        canvas.bar(_EDGE, 10, _color(index), above=10, height=10)
        canvas.text(_EDGE + 18, str(level.level), "strong", room=165)
        canvas.text(244, str(level.group_size or "-"), "faint", "end")
        canvas.text(386, f"{level.parameters:,}", anchor="end")
        canvas.text(486, short_size(level.nbytes), anchor="end")
        canvas.text(574, decimal(level.bits_per_weight), anchor="end")
        canvas.bar(594, 178, "track")
        canvas.bar(594, 178 * float(share), _color(index))
        canvas.text(_RIGHT, percent(share), anchor="end")


def comparison(report: Comparison) -> str:
    """Both totals, and each level's bytes before and after."""
    canvas = _Canvas()
    before, after = report.before.stored, report.after.stored
    assert before
    assert after
    canvas.heading("before and after", "stored alike" if report.same else "stored differently")
    for name, path, color in (("before", report.before.path, "c6"), ("after", report.after.path, "c0")):
        canvas.fact(name, str(path))
        canvas.bar(_EDGE + 54, 10, color, above=10, height=10)
    change = after.tensor_bytes - before.tensor_bytes
    canvas.figures(
        (short_size(before.tensor_bytes), f"before, {decimal(before.bits_per_weight)} bits/weight"),
        (short_size(after.tensor_bytes), f"after, {decimal(after.bits_per_weight)} bits/weight"),
        (signed_size(change), f"{change:+,} bytes"),
        (f"{len(report.changed) + len(report.only_before) + len(report.only_after):,}", "weights that differ"),
    )
    canvas.titles(
        (_EDGE, "level", "start"),
        (258, "group", "end"),
        (366, "before", "end"),
        (466, "after", "end"),
        (_RIGHT, "change", "end"),
    )
    most = max((max(delta.before, delta.after) for delta in report.levels), default=1) or 1
    for delta in report.levels:
        _draw_delta(canvas, delta, most)
    return canvas.svg("two checkpoints, level by level")


def _draw_delta(canvas: _Canvas, delta: Delta, most: int) -> None:
    """A level's bytes before and after, on a scale that ends at ``most``."""
    canvas.y += _ROW + 2
    canvas.text(_EDGE, str(delta.level), "strong", room=185)
    canvas.text(258, str(delta.group_size or "-"), "faint", "end")
    for x, nbytes, color, above in ((366, delta.before, "c6", 11), (466, delta.after, "c0", 4)):
        canvas.text(x, size_or_none(nbytes) or "-", anchor="end")
        if nbytes:
            canvas.bar(486, 230 * nbytes / most, color, above=above, height=6)
    sign = (delta.gained > 0) - (delta.gained < 0)
    canvas.text(_RIGHT, signed_size(delta.gained), _CHANGE_STYLE[sign], "end")


def fit(report: Fit, source: str, memory: str) -> str:
    """The checkpoint as it is, then from the largest to the smallest, against the budget."""
    canvas = _Canvas()
    canvas.heading("what fits", "weights only")
    canvas.fact("weights", source)
    canvas.fact("memory", memory)
    left, right = 360, 726
    # the budget at two thirds: what does not fit is seen to exceed it, and bars that would go on are cut at the edge
    budget_x = left + (right - left) * 2 / 3
    canvas.titles(
        (_EDGE, "stored as", "start"),
        (342, "size", "end"),
        (budget_x, f"budget {short_size(report.budget)}", "middle"),
        (_RIGHT, "margin", "end"),
    )
    top = canvas.y + 6
    for group in same_size(report.candidates):
        first = group[0]
        length = (budget_x - left) * first.nbytes / (report.budget or 1)
        canvas.y += _ROW - 3
        canvas.text(342, candidate_size(first), _FIT_TEXT[first.fits], "end")
        canvas.bar(left, min(length, right - left), _FIT_BAR[first.fits])
        if length > right - left:
            canvas.cut(right)
        canvas.text(_RIGHT, signed_size(first.margin), _MARGIN_TEXT[first.fits], "end")
        canvas.paragraph(_EDGE, candidate_names(group), _FIT_TEXT[first.fits], room=222)
    canvas.elements.append(
        f'<line x1="{budget_x:.2f}" x2="{budget_x:.2f}" y1="{top}" y2="{canvas.y + 4}" stroke="var(--bad)" '
        f'stroke-width="1.5"/>'
    )
    return canvas.svg(f"what fits {size(report.budget)}")
