"""Which file of a path stands for the checkpoint."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from quantlevels.checkpoint.catalogue import is_weights
from quantlevels.checkpoint.names import INDEX_SUFFIX, PROJECTOR, STANDARD_NAMES, ShardName, numbered
from quantlevels.checkpoint.source import LocalFolder
from quantlevels.container import CONFIG_FILES
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: how many folders an error lists
_LISTED: Final = 5


def main_file(folder: LocalFolder, names: Sequence[str]) -> str | None:
    """The file that stands for the checkpoint in a folder: an index, a single file, or the first numbered part.

    An index comes first, then the names that loaders look for, then the only model there is. None for a folder with
    config files alone.

    Args:
        folder: the folder.
        names: its files.

    Raises:
        CheckpointError: if it holds nothing to read, or several models of which none has such a name.
    """
    present = set(names)
    standard = [name for name in STANDARD_NAMES if name in present]
    models = standard[:1] or [name for name in names if name.endswith(INDEX_SUFFIX)] or _models(names)
    if len(models) > 1:
        models = [name for name in models if PROJECTOR not in name.lower()] or models
    if len(models) > 1:
        listed = ", ".join(map(repr, models))
        raise CheckpointError(folder.path, f"holds {len(models)} models, name one of them: {listed}")
    if models:
        return models[0]
    if present.isdisjoint(CONFIG_FILES):
        raise CheckpointError(folder.path, f"holds no weights or quantization config{_below(folder.path)}")
    return None


def _below(path: Path) -> str:
    """Where the weights are that a pipeline of several models keeps in folders of their own."""
    found: list[str] = []
    with os.scandir(path) as entries:
        folders = sorted(entry.name for entry in entries if entry.is_dir())
    for folder in folders:
        try:
            names = LocalFolder(path / folder).names()
        except CheckpointError:  # not readable, so nothing that can be recommended
            continue
        if any(map(is_weights, names)):
            found.append(repr(folder))
    more = f" and {len(found) - _LISTED:,} more" if len(found) > _LISTED else ""
    return f"; name one of its folders that do: {', '.join(found[:_LISTED])}{more}" if found else ""


def _models(names: Sequence[str]) -> list[str]:
    """The files with weights; of the numbered parts of one model only the first that is there."""
    first: dict[str | ShardName, str] = {}
    for name in filter(is_weights, names):
        part = numbered(name)
        first.setdefault(part._replace(number=1) if part else name, name)
    return list(first.values())
