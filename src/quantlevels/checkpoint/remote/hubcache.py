"""What this machine's cache of the Hugging Face Hub has of a repository at one commit.

Layout: ``models--org--name/{refs,snapshots,trees}``; huggingface_hub 2.4.0 ``file_download.py``, ``_tree_cache.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, final

from attrs import frozen

from quantlevels.checkpoint.remote.addresses import is_safe_name
from quantlevels.errors import CheckpointError

#: characters of a commit: 40, or 64 with sha256; the file may hold anything
_LONGEST_COMMIT: Final = 64
#: bytes: as of a listing that the Hub sends
_LARGEST_LISTING: Final = 64 << 20


@final
@frozen
class CachedRepository:
    """The folder of a repository in the cache; it need not exist.

    Args:
        folder: ``models--org--name``.
    """

    folder: Path

    def commit(self, revision: str) -> str | None:
        """The commit that a branch or tag had when it was fetched last; None if it never was."""
        if not is_safe_name(revision):
            return None
        try:
            with (self.folder / "refs" / revision).open() as file:
                commit = file.read(_LONGEST_COMMIT).strip()
        except (OSError, ValueError):
            return None
        return commit if is_safe_name(commit) else None

    def listing(self, commit: str) -> dict[str, int] | None:
        """The size of each file at a commit, of all that the Hub has; None if the cache has no list of them."""
        path = self.folder / "trees" / f"{commit}.json"
        try:
            if path.stat().st_size > _LARGEST_LISTING:
                return None
            files = json.loads(path.read_bytes())["files"]
            return {name: int(entry["size"]) for name, entry in files.items() if is_safe_name(name)}
        # whatever is wrong with it, the Hub can be asked; to check each step would say no more
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def fetched(self, commit: str) -> dict[str, int]:
        """The size of each file at a commit that is in the cache."""
        snapshot = self.folder / "snapshots" / commit
        files = (path for path in snapshot.rglob("*") if path.is_file())
        return {path.relative_to(snapshot).as_posix(): path.stat().st_size for path in files}

    def file(self, commit: str, name: str, shown: str) -> CachedFile | None:
        """A file at a commit; None if it is not in the cache.

        Args:
            commit: full hash.
            name: path within the repository.
            shown: path for errors.
        """
        path = self.folder / "snapshots" / commit / name
        if not path.is_file():  # not fetched, or a link to a blob that was deleted
            return None
        return CachedFile(path, shown, path.stat().st_size)


@final
@frozen
class CachedFile:
    """A file in the cache, in the place of the same file at the Hub.

    Args:
        local: where it is.
        path: as it is shown.
        size: bytes in it.
    """

    local: Path
    path: str
    size: int
    version: str | None = None

    def fetch(self, offset: int, count: int) -> bytes:
        """The bytes from an offset, fewer only at the end of the file.

        Raises:
            CheckpointError: if it cannot be read.
        """
        try:
            with self.local.open("rb") as file:
                file.seek(offset)
                return file.read(count)
        except OSError as error:
            raise CheckpointError(self.path, f"its copy in the cache cannot be read: {error.strerror}") from error

    def check_unchanged(self) -> None:
        """Nothing: files of a commit never change."""
