"""Bounded reads of a file's bytes into memory that is used again."""

from __future__ import annotations

import os
from contextlib import ExitStack
from io import FileIO
from typing import TYPE_CHECKING, final

import numpy as np

from quantlevels.checkpoint.source import LocalFile
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from types import TracebackType

    from quantlevels.container import Folder
    from quantlevels.values.arrays import Bytes


@final
class FileReader:
    """A file of a checkpoint, open for reading into buffers.

    Args:
        folder: the folder of the checkpoint.
        name: path of the file within it.

    Raises:
        CheckpointError: if it cannot be opened or is not a regular file.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self._stack = ExitStack()
        self._source = self._stack.enter_context(folder.open(name))
        self.name = name
        #: bytes in the file
        self.size: int = self._source.size
        #: bytes that were read so far
        self.bytes_read: int = 0
        self._file: FileIO | None = None
        #: when a local file was last changed, in seconds since 1970; None for a remote one
        self.modified: float | None = None
        if isinstance(self._source, LocalFile):
            # the same open file, which can be read into memory in use; opened again by its path it may be another one
            self._file = FileIO(self._source.fileno(), closefd=False)
            self.modified = os.fstat(self._source.fileno()).st_mtime

    def read(self, offset: int, count: int) -> Bytes:
        """So many bytes from an offset, in new memory.

        Raises:
            CheckpointError: as `read_into`.
        """
        buffer = np.empty(count, np.uint8)
        self.read_into(offset, buffer)
        return buffer

    def read_into(self, offset: int, buffer: Bytes) -> None:
        """Fill a buffer from an offset.

        Raises:
            CheckpointError: if the file cannot be read, or ends before.
        """
        self.bytes_read += buffer.size
        if self._file is None:  # remote
            buffer[:] = np.frombuffer(self._source.read(offset, buffer.size), np.uint8)
            return
        try:
            _fill(self._file, offset, buffer)
        except EOFError as error:
            raise CheckpointError(self._source.path, "shrank while it was read", offset) from error
        except OSError as error:
            raise CheckpointError(self._source.path, f"cannot be read: {error.strerror}", offset) from error

    def holes(self) -> list[tuple[int, int]]:
        """Ranges that were never written, as the file system knows them: begin and end of each."""
        if self._file is None or not hasattr(os, "SEEK_HOLE"):
            return []
        try:
            return _holes(self._file.fileno(), self.size)
        except OSError:  # the file system does not know
            return []

    def __enter__(self) -> FileReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _fill(file: FileIO, offset: int, buffer: Bytes) -> None:
    file.seek(offset)
    view = buffer.data
    while view.nbytes:
        count = file.readinto(view)
        if not count:  # the end, although the file had enough bytes when it was opened
            raise EOFError
        view = view[count:]


def _holes(descriptor: int, size: int) -> list[tuple[int, int]]:
    """The holes of a file, found without reading it: 720 holes in 150 GiB take 5 ms.

    Raises:
        OSError: if the file system cannot tell.
    """
    found: list[tuple[int, int]] = []
    end = 0
    while end < size:
        begin = os.lseek(descriptor, end, os.SEEK_HOLE)
        if begin >= size:  # the end of a file counts as a hole
            break
        try:
            end = os.lseek(descriptor, begin, os.SEEK_DATA)
        except OSError:  # no data comes after it
            end = size
        found.append((begin, min(end, size)))
    return found
