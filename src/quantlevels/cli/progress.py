"""A bar on stderr while many files of one checkpoint are read, if that takes long."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Final

#: seconds of silence before a bar appears
PATIENCE: Final = 0.5
#: a bar of one step tells nothing
_FEW: Final = 2


def progress_bar(files: Sequence[str], patience: float = PATIENCE) -> Iterator[str]:
    """The files one by one; on a terminal a bar counts them, and is wiped away in the end."""
    if len(files) < _FEW or not sys.stderr.isatty():
        yield from files
        return
    # rich is imported only once it has taken long: most folders are read before a bar could be seen
    began = monotonic()
    for done, file in enumerate(files):
        if monotonic() - began > patience:
            yield from _counted(files, done)
            return
        yield file


def _counted(files: Sequence[str], done: int) -> Iterator[str]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("reading headers"), BarColumn(), MofNCompleteColumn(), TextColumn("files")
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(files), completed=done)
        for file in files[done:]:
            yield file
            progress.advance(task)
