"""Files that commands write: pictures, never over what was read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from quantlevels.config.writing import write_file

if TYPE_CHECKING:
    from quantlevels.inspection.report import Inspection


def write_picture(path: Path, picture: str, *reports: Inspection) -> None:
    """Write a picture, whole or not at all.

    Raises:
        UsageError: if it would replace a file of a checkpoint that it shows.
        OSError: naming the path, if it cannot be written.
    """
    # links resolved on both sides: in a cache the file of a snapshot is a link to a blob
    target = path.resolve()
    for report in reports:
        if not isinstance(report.path, Path):  # a URL: nothing here can be replaced
            continue
        folder = report.path if report.path.is_dir() else report.path.parent
        if any(target == (folder / file.path).resolve() for file in report.files):
            raise click.UsageError(f"--svg {str(path)!r} is a file of the checkpoint")
    write_file(path, picture.encode())
