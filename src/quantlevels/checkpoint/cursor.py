"""Reads that follow one another, for formats that keep each tensor's header just before its bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, final

from quantlevels.container import TruncatedError
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from quantlevels.container import Source

#: bytes read at once: headers are short, and what follows them is skipped
_WINDOW: Final = 1 << 12


@final
class Cursor:
    """A position in a source that moves forward, with the next few KiB read ahead.

    Args:
        source: the open file.
        offset: where to begin, in bytes.
    """

    __slots__ = ("_at", "_start", "_window", "source")

    def __init__(self, source: Source, offset: int = 0) -> None:
        self.source: Source = source
        self._start = offset
        #: the place within the window; beyond its end after a skip
        self._at = 0
        self._window = b""

    @property
    def offset(self) -> int:
        """The position in the file, in bytes."""
        return self._start + self._at

    @property
    def remaining(self) -> int:
        """Bytes between the position and the end of the file."""
        return self.source.size - self.offset

    def expect(self, count: int, least: int, what: str) -> None:
        """Check that ``count`` items of at least ``least`` bytes each can follow.

        Raises:
            TruncatedError: if they cannot.
        """
        if count * least > self.remaining:
            reason = f"truncated or malformed: {count:,} {what} cannot be in the {self.remaining:,} bytes that remain"
            raise TruncatedError(self.source.path, reason, self.offset)

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes.

        Raises:
            TruncatedError: if the file ends before.
        """
        if self._at + count > len(self._window):
            self.expect(count, 1, "bytes")
            start = self.offset
            self._window = self.source.read(start, min(max(count, _WINDOW), self.source.size - start))
            self._start, self._at = start, 0
        self._at += count
        return self._window[self._at - count : self._at]

    def unpack(self, format: str) -> tuple[int, ...]:
        """The next little-endian numbers, as `struct` writes their types: ``"II"``.

        Raises:
            TruncatedError: if the file ends before.
        """
        return struct.unpack(f"<{format}", self.take(struct.calcsize(f"<{format}")))

    def skip(self, count: int) -> None:
        """Move forward by ``count`` bytes, which are not read.

        Raises:
            TruncatedError: if the file ends before.
        """
        self.expect(count, 1, "bytes")
        self._at += count

    def text(self, count: int, what: str) -> str:
        """The next ``count`` bytes as UTF-8.

        Raises:
            TruncatedError: if the file ends before.
            CheckpointError: if they are not UTF-8.
        """
        here = self.offset
        try:
            return self.take(count).decode()
        except UnicodeDecodeError as error:
            raise CheckpointError(self.source.path, f"{what} is not UTF-8", here) from error
