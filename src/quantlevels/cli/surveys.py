"""The command `survey`: rows into a file or a pipe, their totals on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, final

from attrs import frozen

from quantlevels.cli.progress import PATIENCE
from quantlevels.cli.render import Bar, Cell, CellValue, Column, Facts, Line, PageBlock, Style, Table, short_size, show
from quantlevels.config.writing import replacing, write_file
from quantlevels.errors import SurveyError
from quantlevels.survey.page import page
from quantlevels.survey.stores import default_roots
from quantlevels.survey.summary import Changes, Summary, changes, unfinished_downloads
from quantlevels.survey.surveying import survey
from quantlevels.survey.workers import WorkerProcesses
from quantlevels.survey.writers import FORMATS as ROW_FORMATS
from quantlevels.survey.writers import RowFormat, read_rows, writer

if TYPE_CHECKING:
    from quantlevels.inspection.records import SurveyRow

Format: TypeAlias = Literal["table"] | RowFormat
FORMATS: Final = ("table", *ROW_FORMATS)

#: how many names a list shows
_NAMED: Final = 5
#: rank of a trouble (`quantlevels.survey.summary`) → how it looks; 3 is a checkpoint that cannot be read
_STYLES: Final[dict[int, Style]] = {3: "bad", 2: "bad", 1: "warning"}


@final
@frozen(kw_only=True)
class Options:
    """What the command was asked for.

    Args:
        roots: what to survey; nothing for the stores of this user.
        format: what to print, or to write to ``out``.
        out: the file for the rows; None for standard output.
        html: the file for the page, if one is wanted.
        since: an earlier survey in NDJSON, if there is one.
        workers: processes that read; 0 for this one.
        dask: the address of a Dask scheduler, if there is one.
    """

    roots: tuple[str, ...]
    format: Format
    out: Path | None
    html: Path | None
    since: Path | None
    workers: int
    dask: str | None


def survey_command(options: Options, counts: Check | None) -> int:
    """Survey, and give the exit status: 1 if a row fails the check, else 0.

    Raises:
        SurveyError: if a root cannot be read, a library is missing, or workers do not fit together.
    """
    roots = options.roots or tuple(map(str, default_roots()))
    if not roots:
        raise SurveyError("no store of models was found for this user; name a folder")
    earlier = list(read_rows(options.since)) if options.since else []
    summary, kept, failed = Summary(), [], 0
    with ExitStack() as stack:
        executor, workers = stack.enter_context(_executor(options))
        rows: Iterable[SurveyRow] = survey(roots, executor=executor, workers=workers, earlier=earlier)
        out = stack.enter_context(_rows_out(options)) if options.format != "table" or options.out else None
        for row in _counted(rows):
            summary.add(row)
            failed += counts is not None and counts.fails(row)
            # only the page and the changes need all rows at once; else memory does not grow with their number
            if options.html or options.since:
                kept.append(row)
            if out:
                out.write(row)
    if options.html:
        write_file(options.html, page(kept, roots).encode())
    if options.format == "table":
        show(*_page(summary, roots))
    if options.since:  # on stderr: rows on stdout stay rows
        _tell_changes(changes(earlier, kept))
    return int(failed > 0)


@final
@frozen
class Check:
    """Which rows fail the survey.

    Args:
        strict: whether warnings count too.
        select: beginnings of the finding codes that count; nothing for all.
        ignore: beginnings of finding codes that do not count.
    """

    strict: bool
    select: tuple[str, ...]
    ignore: tuple[str, ...]

    def fails(self, row: SurveyRow) -> bool:
        """Whether a row has an error, or a finding that counts."""
        severities = {"error", "warning"} if self.strict else {"error"}
        return row["error"] is not None or any(
            finding["severity"] in severities
            and finding["code"].startswith(self.select or ("",))
            and not (self.ignore and finding["code"].startswith(self.ignore))
            for finding in row["findings"]
        )


@contextmanager
def _executor(options: Options) -> Generator[tuple[Executor | None, int]]:
    """Where to read the headers, and how many tasks run there at once."""
    if options.dask:
        try:
            distributed: Any = import_module("distributed")  # Any: dask brings no types
        except ImportError as error:
            raise SurveyError("--dask needs dask's scheduler: pip install 'quantlevels[dask]'") from error
        with distributed.Client(options.dask) as client:
            # not pure: equal calls are different tasks, since files change between them
            yield client.get_executor(pure=False), max(len(client.scheduler_info()["workers"]), 1)
    elif options.workers:
        with WorkerProcesses(options.workers) as pool:
            yield pool, options.workers
    else:
        yield None, 1


@contextmanager
def _rows_out(options: Options) -> Generator[Any]:  # Any: the protocol of a RowWriter
    format: RowFormat = "ndjson" if options.format == "table" else options.format
    if options.out is None:
        with writer(format, sys.stdout.buffer) as rows:
            yield rows
    else:
        with replacing(options.out) as stream, writer(format, stream) as rows:
            yield rows


def _counted(rows: Iterable[SurveyRow]) -> Iterator[SurveyRow]:
    """The rows; on a terminal their number is shown on stderr when it takes long."""
    if not sys.stderr.isatty():  # a log keeps every number that a terminal would write over
        yield from rows
        return
    began, count = monotonic(), 0
    try:
        for count, row in enumerate(rows, 1):
            if monotonic() - began > PATIENCE:
                sys.stderr.write(f"\r{count:,} checkpoints")
            yield row
    finally:
        sys.stderr.write("\r\x1b[K")


def _tell_changes(found: Changes) -> None:
    for what, names in (("added", found.added), ("removed", found.removed), ("changed", found.changed)):
        line = f"{what} {len(names):,}"
        if names:
            # ascii(): names come from files, and may hold what moves a terminal's cursor
            line += f": {', '.join(ascii(name)[1:-1] for name in names[:_NAMED])}"
        if len(names) > _NAMED:
            line += f" and {len(names) - _NAMED:,} more"
        sys.stderr.write(f"{line}\n")


def _page(summary: Summary, roots: Sequence[str]) -> list[list[PageBlock]]:
    """The totals of a survey."""
    return [_head(summary), _levels(summary), _stores(summary), _troubles(summary), _savings(summary, roots)]


def _head(summary: Summary) -> list[PageBlock]:
    nbytes = sum(store.nbytes for store in summary.stores.values())
    parameters = sum(level.parameters for level in summary.levels.values())
    broken = sum(store.broken for store in summary.stores.values())
    facts: dict[str, CellValue] = {
        "checkpoints": summary.checkpoints,
        "size": f"{short_size(nbytes)} ({nbytes:,} B)",
        "parameters": parameters,
        "cannot be read": _count(broken, "bad"),
        "with errors": _count(summary.severities["error"], "bad"),
        "with warnings": _count(summary.severities["warning"], "warning"),
    }
    return [Facts(facts)]


def _count(number: int, style: Style) -> Cell:
    """A number that is in a style unless it is 0."""
    if number:
        return Cell(f"{number:,}", style)
    return Cell("0")


def _levels(summary: Summary) -> list[PageBlock]:
    total = sum(level.nbytes for level in summary.levels.values())
    if not total:
        return []
    rows = [
        (name, level.checkpoints, level.parameters, short_size(level.nbytes), Bar(Fraction(level.nbytes, total)))
        for name, level in sorted(summary.levels.items(), key=lambda item: -item[1].nbytes)
    ]
    columns = (
        Column("level", style="strong"),
        Column("checkpoints", right=True),
        Column("parameters", right=True),
        Column("size", right=True),
        Column("share", right=True),
    )
    return [Table(columns, rows)]


def _stores(summary: Summary) -> list[PageBlock]:
    rows = [(name, store.checkpoints, store.broken, short_size(store.nbytes)) for name, store in summary.stores.items()]
    columns = (
        Column("store"),
        Column("checkpoints", right=True),
        Column("cannot be read", right=True),
        Column("size", right=True),
    )
    return _table(columns, rows)


def _troubles(summary: Summary) -> list[PageBlock]:
    rows = [
        (Cell(trouble.name, _STYLES[trouble.rank]), short_size(trouble.nbytes), trouble.reason)
        for trouble in summary.worst()
    ]
    columns = (
        Column("worst", shrinks="keeps end"),
        Column("size", right=True),
        Column("why", shrinks="keeps start"),
    )
    return _table(columns, rows)


def _table(columns: Sequence[Column], rows: Sequence[Sequence[CellValue]]) -> list[PageBlock]:
    """A table, unless it would have no rows."""
    if rows:
        return [Table(columns, rows)]
    return []


def _savings(summary: Summary, roots: Sequence[str]) -> list[PageBlock]:
    """What takes space twice, or for nothing."""
    blocks: list[PageBlock] = []
    if summary.same_count:
        text = f"{summary.same_count:,} checkpoints have the same files as another, {short_size(summary.same_bytes)}"
        blocks.append(Line((f"{text}; links to the same file take no space",)))
    unfinished = list(unfinished_downloads(roots))
    if unfinished:
        nbytes = sum(size for _, size in unfinished)
        blocks.append(Line((f"{len(unfinished):,} downloads are unfinished, {short_size(nbytes)}",)))
        blocks += [Line((str(path),), indent=2) for path, _ in unfinished[:_NAMED]]
    return blocks
