"""Bytes of a file, never more than it has."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from reprlib import Repr
from types import TracebackType
from typing import final

from quantlevels.errors import CheckpointError


@final
class TruncatedError(CheckpointError):
    """A file that ends before what its header promises."""


_QUOTE = Repr()
_QUOTE.maxstring = 100


def shown(value: object) -> str:
    """What a file says, as an error quotes it: escaped, and cut where it is long or deep."""
    return _QUOTE.repr(value)


def exists(path: Path) -> bool:
    """Whether something is at a path that a file names, or at what it links to; no name is too long to ask."""
    try:
        return path.exists()
    except OSError:
        return False


@final
class Source:
    """A regular file open for bounded reads; nothing is read but what is asked for.

    Args:
        path: the file; devices, pipes and folders are refused.

    Raises:
        CheckpointError: if it cannot be opened or is no regular file.
    """

    __slots__ = ("_descriptor", "path", "size")

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # asked first: to open a device, or a pipe, is to use it
                raise CheckpointError(path, "is not a regular file")
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
        except OSError as error:
            raise CheckpointError(path, f"cannot be opened: {error.strerror}") from error
        #: bytes in the file
        self.size: int = os.fstat(self._descriptor).st_size

    def read(self, offset: int, count: int) -> bytes:
        """Exactly ``count`` bytes from ``offset``.

        Raises:
            TruncatedError: if the file ends before, with the offset where it was short.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            raise TruncatedError(
                self.path, f"truncated: {count:,} bytes are needed, {max(self.size - offset, 0):,} remain", offset
            )
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        chunks: list[bytes] = []
        while count:
            chunk = os.read(self._descriptor, count)
            if not chunk:
                raise TruncatedError(self.path, "shrank while it was read", offset)
            chunks.append(chunk)
            count -= len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
