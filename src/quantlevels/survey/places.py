"""Where checkpoints are: one record for each that a store holds, before any of its headers is read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeAlias, final

from attrs import frozen

#: how a program lays out its models on disk, or where a URL leads
Store: TypeAlias = Literal["tree", "huggingface", "ollama", "lmstudio", "llamacpp", "docker", "hub", "bucket", "web"]

#: what makes files the same: the device and inode of a local file, or the digest of a blob
Identity: TypeAlias = tuple[int, int] | str


@final
@frozen(kw_only=True)
class CheckpointPlace:
    """One checkpoint in a store.

    Args:
        root: the folder that is surveyed, as the caller named it.
        store: the program whose layout it is in.
        name: what users call it: ``org/model``, ``name:tag``, a path below the root.
        path: what `inspect` reads; of a URL, without what may be secret in it.
        url: what is read in place of the path: a URL as the caller gave it, at the commit that was listed; empty for a
            path on this machine.
        revision: the commit or digest, if the store has one.
        version: changes when the files do: a commit, a digest, or sizes and times.
        file_bytes: bytes of its files with weights; of a link, of the file it leads to.
        identities: what its files are, to count the same bytes once.
        same_as: path of an earlier place that has the very same files; None if this is the first.
        error: why it cannot be read at all; empty if that is not known yet.
        certain: whether it has the name of a checkpoint; if not, a file that is not one gives no row.
    """

    root: str
    store: Store
    name: str
    path: str
    url: str = ""
    revision: str | None = None
    version: str = ""
    file_bytes: int = 0
    identities: frozenset[Identity] = frozenset()
    same_as: str | None = None
    error: str = ""
    certain: bool = True

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from every other place, in every survey of the same roots."""
        return self.root, self.name, self.path


def stamp(files: Iterable[Path | str]) -> tuple[str, int, frozenset[Identity]]:
    """Version, bytes and identities of local files; those that are gone, or dangling links, count as no bytes."""
    # sizes and times, not contents: to hash all weights of a survey would take hours
    count = total = newest = 0
    identities: set[Identity] = set()
    for file in files:
        count += 1
        try:
            status = os.stat(file)  # noqa: PTH116  # of many thousands of files, a Path for each takes longer
        except OSError:
            continue
        total += status.st_size
        newest = max(newest, status.st_mtime_ns)
        identities.add((status.st_dev, status.st_ino))
    return f"{count}-{total}-{newest}", total, frozenset(identities)


@final
@frozen
class Listing:
    """What is in a folder.

    Args:
        folder: its path.
        names: of all there is.
        files: names of all but folders, sorted; links that lead nowhere are among them.
        folders: those that are neither hidden nor links, sorted.
    """

    folder: Path
    names: frozenset[str]
    files: tuple[str, ...]
    folders: tuple[Path, ...]

    @classmethod
    def of(cls, folder: Path) -> Listing:
        """What is in a folder, by one look at it: what an entry is comes with the listing.

        Raises:
            OSError: if it cannot be read.
        """
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
            folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            files = [entry.name for entry in entries if not _leads_to_folder(entry)]
        return cls(
            folder,
            frozenset(entry.name for entry in entries),
            tuple(files),
            tuple(folder / name for name in folders if not name.startswith(".")),
        )


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
