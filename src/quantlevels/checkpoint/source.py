"""Local files and folders as a checkpoint's reader sees them: bounded reads, never more than a file has."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from ntpath import splitdrive
from reprlib import Repr
from types import TracebackType
from typing import Final, final

from attrs import field, frozen

from quantlevels.container import TruncatedError
from quantlevels.errors import CheckpointError

_QUOTE = Repr()
#: characters; names of tensors are shorter, and a hostile file could fill the screen
_QUOTE.maxstring = 100
#: O_BINARY for Windows; O_NONBLOCK so that a pipe that took the place of a file does not block
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def shown(value: object) -> str:
    """A value from a file as an error quotes it: escaped, and cut if it is long or deep."""
    return _QUOTE.repr(value)


def is_inside(name: str) -> bool:
    """Whether a path that a file names stays in the folder of that file, on every system."""
    # the rules of both kinds of systems: a checkpoint made on one is read on the other
    parts = [part for part in name.split("/") if part not in ("", ".")]
    leads_out = not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name
    return not (leads_out or splitdrive(name)[0])


@final
class LocalFile:
    """A regular file open for bounded reads. Nothing is read but what is asked for.

    Args:
        folder: the folder of the checkpoint.
        name: path of the file within it.

    Raises:
        CheckpointError: if it cannot be opened or is not a regular file.
    """

    __slots__ = ("_descriptor", "folder", "is_local", "name", "path", "size", "version")

    def __init__(self, folder: LocalFolder, name: str) -> None:
        self.folder: LocalFolder = folder
        self.name: str = name
        self.path: str = os.path.join(folder.path, name)  # noqa: PTH118  # a Path for each costs more than opening it
        try:
            # checked before opening: opening a device or a pipe can already change it
            if not stat.S_ISREG(os.stat(self.path).st_mode):  # noqa: PTH116  # as above
                raise CheckpointError(self.path, "is not a regular file")
            self._descriptor = os.open(self.path, _FLAGS)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise CheckpointError(self.path, f"cannot be opened: {reason}") from error
        self.version: str | None = None
        self.is_local: bool = True
        status = os.fstat(self._descriptor)
        #: bytes in the file
        self.size: int = status.st_size
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        if folder.stamps.setdefault(name, stamp) != stamp:
            os.close(self._descriptor)
            raise CheckpointError(self.path, "was changed or replaced while the checkpoint was read; try again")

    def read(self, offset: int, count: int) -> bytes:
        """Exactly ``count`` bytes from ``offset``.

        Raises:
            TruncatedError: if the file ends before, with the offset.
            CheckpointError: if the system cannot read it.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            remain = max(self.size - offset, 0)
            raise TruncatedError(self.path, f"truncated: {count:,} bytes are needed, {remain:,} remain", offset)
        chunks: list[bytes] = []
        try:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            while count:  # Linux returns at most 2 GiB for one call, network file systems less
                chunk = os.read(self._descriptor, count)
                if not chunk:
                    raise TruncatedError(self.path, "shrank while it was read", offset)
                chunks.append(chunk)
                count -= len(chunk)
        except OSError as error:
            raise CheckpointError(self.path, f"cannot be read: {error.strerror}", offset) from error
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def fileno(self) -> int:
        """The number of the open file, for the system; it is closed with this object."""
        return self._descriptor

    def prefetch(self, offset: int, least: int) -> None:
        """Nothing: a local read costs no round trip."""

    def sibling_size(self, name: str) -> int | None:
        """Bytes in another file of the same folder; None if it is missing.

        Raises:
            CheckpointError: if the name leads out of the folder, or names a device or a folder.
        """
        if not is_inside(name):
            raise CheckpointError(self.path, f"refers to {shown(name)}, which is not inside this folder")
        return self.folder.size(name)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _leads_below(folder: str, top: str) -> bool:
    """Whether a folder, links followed, is another folder or lies below it."""
    top, folder = os.path.realpath(top), os.path.realpath(folder)
    return folder == top or folder.startswith(os.path.join(top, ""))  # noqa: PTH118  # `join` ends it in a separator


def _holds(chosen: Callable[[os.DirEntry[str]], bool], entry: os.DirEntry[str]) -> bool:
    try:
        return chosen(entry)
    except OSError:  # a link that leads to itself
        return False


@final
@frozen(eq=False, repr=False)
class LocalFolder:
    """A folder on this machine."""

    path: str

    is_local: bool = field(default=True, init=False, repr=False)
    #: file → inode, bytes and time of change when it was first opened: later reads must be of the same version
    stamps: dict[str, tuple[int, int, int]] = field(
        factory=dict[str, tuple[int, int, int]], init=False, eq=False, repr=False
    )

    @property
    def name(self) -> str:
        """The last part of its path."""
        return os.path.basename(os.path.abspath(self.path))  # noqa: PTH100, PTH119  # here and below: no Path

    def names(self) -> tuple[str, ...]:
        """Names of the regular files in it, sorted; links to files count, links that lead nowhere do not.

        Raises:
            CheckpointError: if the folder cannot be read.
        """
        return self._entries(lambda entry: entry.is_file())

    def folders(self) -> tuple[str, ...]:
        """Names of the folders in it, sorted; links to folders count.

        Raises:
            CheckpointError: if the folder cannot be read.
        """
        return self._entries(lambda entry: entry.is_dir())

    def dangling(self) -> tuple[str, ...]:
        """Names of the links in it that lead nowhere, sorted.

        Raises:
            CheckpointError: if the folder cannot be read.
        """
        return self._entries(lambda entry: entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110

    def others(self) -> tuple[str, ...]:
        """Names of what is in it and is not a regular file: folders, pipes, devices.

        Raises:
            CheckpointError: if the folder cannot be read.
        """
        return self._entries(lambda entry: not entry.is_file() and os.path.exists(entry.path))  # noqa: PTH110

    def subfolder(self, name: str) -> LocalFolder:
        """One of its folders."""
        return LocalFolder(os.path.join(self.path, name))  # noqa: PTH118

    def _entries(self, chosen: Callable[[os.DirEntry[str]], bool]) -> tuple[str, ...]:
        try:
            with os.scandir(self.path) as entries:
                return tuple(sorted(entry.name for entry in entries if _holds(chosen, entry)))
        except OSError as error:
            raise CheckpointError(self.path, f"cannot be read: {error.strerror}") from error

    def size(self, name: str) -> int | None:
        """Bytes in a file, by its path within the folder; None if it is missing.

        A file may be a link to elsewhere, as in the cache of Hugging Face; a folder on the way to it may not.

        Raises:
            CheckpointError: if a folder on the way leads elsewhere, or it is not a regular file.
        """
        path = os.path.join(self.path, name)  # noqa: PTH118
        try:
            # of a model of 99,999 parts; a Path for each would take longer than the question
            status = os.stat(path)  # noqa: PTH116
        except (OSError, ValueError):
            return None
        if "/" in name and not _leads_below(os.path.dirname(path), self.path):  # noqa: PTH120
            raise CheckpointError(path, "is outside the folder of the checkpoint")
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(path, "is not a regular file")
        return status.st_size

    def open(self, name: str) -> LocalFile:
        """One of its files, by its path within the folder.

        Raises:
            CheckpointError: if it cannot be opened or is not a regular file.
        """
        return LocalFile(self, name)
