"""A remote file as a `Source`: few requests, each of a window of bytes, and no byte fetched twice."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, final

from quantlevels.container import TruncatedError

# A request takes the time of about 1 MB (50 ms, 25 MB/s): windows are the balance of both. 128 KiB hold the header of
# most files. An ONNX model of 86 MB, with headers between payloads, took 75 requests and 5 MB with windows of 64 KiB,
# and 51 of each with 1 MiB.
_FIRST: Final = 128 << 10
_SMALLEST: Final = 64 << 10
_LARGEST: Final = 4 << 20
#: bytes that are fetched along with what is asked for behind them, rather than in a request of their own
_GAP: Final = 64 << 10
#: bytes of a file that are kept, as readers go back a little
_KEPT: Final = 16 << 20


class Ranges(Protocol):
    """A remote file that gives ranges of its bytes."""

    @property
    def path(self) -> str:
        """As it is shown."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes in it; None before the first range if it is not from a listing."""
        ...

    @property
    def version(self) -> str | None:
        """A mark that changes with the content."""
        ...

    def fetch(self, offset: int, count: int) -> bytes:
        """The bytes from an offset, fewer only at the end of the file."""
        ...

    def check_unchanged(self) -> None:
        """Raise CheckpointError if it may have changed while it was read."""
        ...


@final
class RemoteFile:
    """A file that is fetched by ranges.

    The first window has 128 KiB. While reading goes on without a gap, windows double up to 4 MiB; after a jump they
    begin at 64 KiB again. What a reader announces, and what is more than a window, is one request of its size.

    Args:
        file: fetches ranges.
        name: path of the file within the folder of the checkpoint.
        sibling_size: bytes in another file of the folder, None if it is missing.
    """

    def __init__(self, file: Ranges, name: str, sibling_size: Callable[[str], int | None]) -> None:
        self._file = file
        self.name: str = name
        self.path: str = file.path
        self.is_local: bool = False
        #: start and bytes of what was fetched, the newest last
        self._segments: list[tuple[int, bytes]] = []
        self._window = _FIRST
        self._promised = 0
        self._sibling_size = sibling_size
        self._fill(0, 0)

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._file.size or 0

    @property
    def version(self) -> str | None:
        """The ETag of the file, if the server gives a strong one."""
        return self._file.version

    def sibling_size(self, name: str) -> int | None:
        """Bytes in another file of the same folder; None if it is missing.

        Raises:
            CheckpointError: if the name leads out of the folder.
        """
        return self._sibling_size(name)

    def prefetch(self, offset: int, least: int) -> None:
        """Have the next request reach at least so far."""
        self._promised = min(offset + least, self.size)

    def read(self, offset: int, count: int) -> bytes:
        """Exactly ``count`` bytes from ``offset``.

        Raises:
            TruncatedError: if the file ends before.
            CheckpointError: if the server does not give them.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            remain = max(self.size - offset, 0)
            raise TruncatedError(self.path, f"truncated: {count:,} bytes are needed, {remain:,} remain", offset)
        if not count:
            return b""
        while True:
            start, segment = self._segment_at(offset)
            if start <= offset and offset + count <= start + len(segment):
                return segment[offset - start : offset - start + count]
            self._fill(offset, count)

    def _segment_at(self, offset: int) -> tuple[int, bytes]:
        """What was fetched around an offset; an empty segment there if nothing was."""
        for start, segment in reversed(self._segments):
            if start <= offset < start + len(segment):
                return start, segment
        return offset, b""

    def _fill(self, offset: int, count: int) -> None:
        """Fetch what is missing for a read."""
        start, segment = self._segment_before(offset)
        begin, needed = start + len(segment), offset + count
        end = self._window_end(begin, needed, goes_on=bool(segment))
        following = min((kept for kept in self._segments if begin < kept[0] <= end), default=None)
        if following is not None:  # what was fetched before is not fetched again
            end = following[0]
        fetched = self._file.fetch(begin, end - begin)
        if begin < needed and not fetched:
            raise TruncatedError(self.path, "ended while it was read", begin)
        if segment:
            self._segments = [kept for kept in self._segments if kept[0] != start]
        if following is not None and begin + len(fetched) == following[0]:
            self._segments.remove(following)
            fetched += following[1]
        self._keep(start, segment + fetched, offset)

    def _segment_before(self, offset: int) -> tuple[int, bytes]:
        """The segment that a fetch goes on from: around an offset, or shortly before; else an empty one there."""
        start, segment = self._segment_at(offset)
        if not segment and self._segments:
            last_start, last = self._segments[-1]
            if 0 <= offset - (last_start + len(last)) <= _GAP:
                return last_start, last
        return start, segment

    def _window_end(self, begin: int, needed: int, *, goes_on: bool) -> int:
        """Where the next fetch ends: windows grow while a reader goes on, and begin small where it jumps to."""
        if goes_on:
            self._window = min(2 * self._window, _LARGEST)
        elif self._segments:
            self._window = _SMALLEST
        if 0 < needed <= self._promised:  # the reader knows how much follows: neither less nor more is of use
            end = max(needed, min(self._promised, begin + _LARGEST))
        else:
            end = max(needed, begin + self._window)
        self._window = max(self._window, min(end - begin, _LARGEST))
        return end

    def _keep(self, start: int, segment: bytes, offset: int) -> None:
        """Keep a segment in which an offset was asked for, and not more in all than `_KEPT` bytes."""
        # a file that is read from one end to the other is not kept whole
        spare = min(max(len(segment) - _KEPT, 0), offset - start)
        self._segments.append((start + spare, segment[spare:]))
        while len(self._segments) > 1 and sum(len(kept) for _, kept in self._segments) > _KEPT:
            del self._segments[0]

    def close(self) -> None:
        """Forget what was fetched."""
        self._segments.clear()

    def _end(self, error: BaseException | None) -> None:
        if error is None:
            self._file.check_unchanged()
        self.close()

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)
