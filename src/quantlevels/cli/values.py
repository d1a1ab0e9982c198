"""The options that read weights, and what the page shows of them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from quantlevels.cli.render import Bar, Cell, CellValue, Column, Facts, PageBlock, Table, percent, short_size, size
from quantlevels.findings import pluralize
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from quantlevels.inspection.report import Inspection
    from quantlevels.values.records import Checksum, Effective, Values

P = ParamSpec("P")
R = TypeVar("R")


def values_options(command: Callable[P, R]) -> Callable[P, R]:
    """The options ``--values`` and ``--no-checksums``."""
    words = click.Choice(["sample", "all"])
    command = click.option(
        "--no-checksums", "checksums", flag_value=False, default=True, help="With --values all: do not compare digests."
    )(command)
    return click.option("--values", type=words, help="Also read the weights, a sample or all, and look for damage.")(
        command
    )


def values_page(report: Inspection) -> list[PageBlock]:
    """Per level how much of it was read, what it holds, and which digests were compared."""
    values = report.values
    if values is None:
        return []
    facts: dict[str, CellValue] = {"values": _how_much(values)}
    if values.effective:
        facts["content"] = "; ".join(map(_shown, values.effective))
    if values.checksums:
        facts["checksums"] = _compared(values.checksums)
    if values.unread:
        facts["not read"] = f"{_unread(values)} {_why_unread(report)}: {values.unread[0]}"
    rows = [
        (
            _label(level.level),
            level.weights,
            short_size(level.bytes_read),
            Bar(Fraction(level.bytes_read, level.nbytes or 1), "plain"),
        )
        for level in values.read
    ]
    columns = (Column("level"), Column("weights", right=True), Column("read", right=True), Column("share"))
    return [Facts(facts), Table(columns, rows)] if rows else [Facts(facts)]


def _how_much(values: Values) -> CellValue:
    return Cell(f"{_share_read(values)}, {size(values.bytes_read)}", "strong")


def reading(values: Values) -> str:
    """How much was read, so that a clean sample is not taken for a clean file: ``sample: 0.3% of the bytes read``."""
    if values.unread:
        return f"{_share_read(values)}, {_unread(values)} not read"
    return _share_read(values)


def _share_read(values: Values) -> str:
    if values.complete:
        return "all read"
    share = percent(min(Fraction(values.bytes_read, values.nbytes or 1), Fraction(1)))
    return f"{values.mode}: {share} of the bytes read"


def _unread(values: Values) -> str:
    return pluralize(len(values.unread), "tensor")


def _why_unread(report: Inspection) -> str:
    """Why tensors have no known place: of a remote archive only the directory is read, which does not have it."""
    if "://" in str(report.path):
        return "not stored as a plain array, or in an archive to download first"
    return "not stored as a plain array"


def _shown(effective: Effective) -> str:
    what = f"{effective.bits} bits"
    if effective.level:
        what = _label(effective.level)
    if effective.group_size:
        what += f" in groups of {effective.group_size}"
    if effective.block:
        what += f" in blocks of {effective.block[0]}x{effective.block[1]}"
    return f"{pluralize(effective.weights, 'weight')} of {_label(effective.stored)} hold {what}"


def _label(name: str) -> str:
    level = levels.get(name)
    if level is None:  # a type that no level has is in the record by its own name
        return name
    return level.label


def _compared(checksums: tuple[Checksum, ...]) -> CellValue:
    wrong = sum(not checksum.matches for checksum in checksums)
    if wrong:
        return Cell(f"{wrong:,} of {len(checksums):,} do not match", "bad")
    return Cell(f"{len(checksums):,} compared, all match", "good")


@contextmanager
def values_bar(*, shown: bool) -> Generator[Callable[[int], Callable[[int], None]]]:
    """On a terminal a bar with bytes, rate and time left while weights are read, wiped away in the end."""
    import sys

    if not (shown and sys.stderr.isatty()):
        yield lambda total: lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("reading values"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def started(total: int) -> Callable[[int], None]:
            task = progress.add_task("", total=total)
            return lambda count: progress.advance(task, count)

        yield started
