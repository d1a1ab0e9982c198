"""The protobuf wire format, read without a schema; payloads that are not needed are never read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, final

from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlevels.container import Source

#: key, value, end. A varint has its value, as an unsigned number; any other field spans value to end in the file.
Field: TypeAlias = tuple[int, int, int]

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5

_FIXED: Final = {_FIXED32: 4, _FIXED64: 8}
_LONGEST_VARINT: Final = 10
#: the longest key and length, or key and number
_HEADER: Final = 2 * _LONGEST_VARINT
#: the smallest key: field numbers begin with 1
_FIRST_KEY: Final = 1 << 3
#: bytes read at once: small, as what follows a header is often megabytes of payload to step over
_WINDOW: Final = 1 << 13
_LONGEST_TEXT: Final = 1 << 20
_CHUNK: Final = 1 << 16
#: every byte that is not the last of its varint
_CONTINUED: Final = bytes(range(0x80, 0x100))


def varint(number: int) -> int:
    """The key of a field that holds a number."""
    return number << 3 | _VARINT


def span(number: int) -> int:
    """The key of a length-delimited field: a text, bytes, a message, or packed numbers."""
    return number << 3 | _LENGTH


def fixed32(number: int) -> int:
    """The key of a field of 4 bytes."""
    return number << 3 | _FIXED32


def fixed64(number: int) -> int:
    """The key of a field of 8 bytes."""
    return number << 3 | _FIXED64


def signed(value: int) -> int:
    """A varint as the ``int64`` or ``int32`` it stands for."""
    return value - (1 << 64) if value >> 63 else value


@final
class Wire:
    """Fields of messages in a file, read through a small window.

    Args:
        source: the open file.

    Raises:
        CheckpointError: from all of its methods, for bytes that are not protobuf, and lengths past the end.
    """

    __slots__ = ("_buffer", "_source", "_start")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer = b""
        self._start = 0

    # Long, and with the case of one byte written out three times: nearly all keys, lengths and numbers take one byte,
    # and a function call for each is what would take the time.
    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message that spans ``start`` to ``end``; groups, long deprecated, are refused."""
        buffer, base = self._buffer, self._start
        usable = len(buffer) - _HEADER
        while start < end:
            at = start - base
            if not 0 <= at <= usable:
                # the caller may have read inside the last field, which moves the window
                if not 0 <= start - self._start <= len(self._buffer) - _HEADER:
                    self._fill(start)
                buffer, base = self._buffer, self._start
                usable = len(buffer) - _HEADER
                at = start - base
            key = buffer[at]
            at += 1
            if key >= 0x80:
                key, at = self._varint(buffer, at - 1)
            kind = key & 7
            if kind == _LENGTH:
                length = buffer[at]
                at += 1
                if length >= 0x80:
                    length, at = self._varint(buffer, at - 1)
                value = base + at
                following = value + length
            elif kind == _VARINT:
                value = buffer[at]
                at += 1
                if value >= 0x80:
                    value, at = self._varint(buffer, at - 1)
                following = base + at
            elif kind in _FIXED:
                value = base + at
                following = value + _FIXED[kind]
            else:
                raise self._broken(f"wire type {kind} is not one in use", start)
            if following > end or key < _FIRST_KEY:
                raise self._broken(f"a field of {following - start:,} bytes, {end - start:,} remain", start)
            start = following
            yield key, value, following

    def varints(self, start: int, end: int) -> Iterator[int]:
        """The values of a packed field."""
        while start < end:
            if not 0 <= start - self._start <= len(self._buffer) - _HEADER:
                self._fill(start)
            value, at = self._varint(self._buffer, start - self._start)
            start = self._start + at
            yield value

    def count_varints(self, start: int, end: int) -> int:
        """How many values a packed field holds: the number of bytes that end one."""
        return sum(
            len(self._source.read(at, min(_CHUNK, end - at)).translate(None, _CONTINUED))
            for at in range(start, end, _CHUNK)
        )

    def text(self, start: int, end: int) -> str:
        """A length-delimited field as text."""
        raw = self._buffer[start - self._start : end - self._start] if start >= self._start else b""
        if len(raw) != end - start:
            if end - start > _LONGEST_TEXT:
                raise self._broken(f"a name of {end - start:,} bytes", start)
            raw = self._source.read(start, end - start)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self._broken("a name that is not UTF-8", start) from error

    def _fill(self, start: int) -> None:
        count = min(_WINDOW, self._source.size - start)
        self._start = start
        # what ends with the file is read as if it went on, and found too long
        self._buffer = self._source.read(start, count) + bytes(_WINDOW - count and _HEADER)

    def _varint(self, buffer: bytes, at: int) -> tuple[int, int]:
        """The varint at an index of a window, and the index behind it."""
        value = shift = 0
        while True:
            byte = buffer[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift == 7 * _LONGEST_VARINT:
                break
        if value >> 64:
            raise self._broken("a number that does not end within 64 bits", self._start + at)
        return value, at

    def _broken(self, reason: str, offset: int) -> CheckpointError:
        return CheckpointError(self._source.path, f"is not a protobuf message: {reason}", offset)
