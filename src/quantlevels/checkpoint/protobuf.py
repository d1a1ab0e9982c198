"""The protobuf wire format, walked without a schema and without touching the payloads nobody asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, final

from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlevels.checkpoint.source import Source

#: key, value, end. A varint has its value, as an unsigned number; any other field spans value to end in the file.
Field: TypeAlias = tuple[int, int, int]

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5

_LONGEST_VARINT: Final = 10
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
        CheckpointError: from all of its methods, for bytes that are no protobuf, and lengths past the end.
    """

    __slots__ = ("_buffer", "_source", "_start")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer = b""
        self._start = 0

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message that spans ``start`` to ``end``; groups, long deprecated, are refused."""
        while start < end:
            # a key and a length take at most two varints
            if not 0 <= (at := start - self._start) <= len(self._buffer) - 2 * _LONGEST_VARINT:
                self._fill(start)
                at = 0
            key = self._buffer[at]
            at += 1
            if key & 0x80:
                key, at = self._varint(at - 1, end)
            kind = key & 7
            if kind in (_LENGTH, _VARINT):
                if at >= len(self._buffer):
                    raise self._broken("a field ends early", start)
                value = self._buffer[at]
                at += 1
                if value & 0x80:
                    value, at = self._varint(at - 1, end)
                position = self._start + at
                if kind == _LENGTH:
                    value, position = position, position + value
            elif kind in (_FIXED32, _FIXED64):
                value = self._start + at
                position = value + (4 if kind == _FIXED32 else 8)
            else:
                raise self._broken(f"wire type {kind} is not one in use", start)
            if position > end:
                raise self._broken(f"a field of {position - start:,} bytes where {end - start:,} are left", start)
            if key < 8:
                raise self._broken("field number 0", start)
            start = position
            yield key, value, position

    def varints(self, start: int, end: int) -> Iterator[int]:
        """The values of a packed field."""
        while start < end:
            if not 0 <= (at := start - self._start) <= len(self._buffer) - _LONGEST_VARINT:
                self._fill(start)
                at = 0
            value, at = self._varint(at, end)
            start = self._start + at
            yield value

    def count_varints(self, start: int, end: int) -> int:
        """How many values a packed field holds, told by the bytes that end one."""
        return sum(
            len(self._source.read(at, min(_CHUNK, end - at)).translate(None, _CONTINUED))
            for at in range(start, end, _CHUNK)
        )

    def text(self, start: int, end: int) -> str:
        """A length-delimited field as text."""
        if end - start > _LONGEST_TEXT:
            raise self._broken(f"a name of {end - start:,} bytes", start)
        at = start - self._start
        inside = at >= 0 and end - self._start <= len(self._buffer)
        raw = self._buffer[at : end - self._start] if inside else self._source.read(start, end - start)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self._broken("a name that is not UTF-8", start) from error

    def _fill(self, start: int) -> None:
        self._start = start
        self._buffer = self._source.read(start, min(_WINDOW, self._source.size - start))

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """The varint at an index of the window, and the index behind it."""
        value = 0
        for shift, byte in enumerate(self._buffer[at : min(at + _LONGEST_VARINT, end - self._start)]):
            value |= (byte & 0x7F) << 7 * shift
            if byte < 0x80:
                if value >> 64:
                    break
                return value, at + shift + 1
        raise self._broken("a number that does not end within 64 bits", self._start + at)

    def _broken(self, reason: str, offset: int) -> CheckpointError:
        return CheckpointError(self._source.path, f"is no protobuf message: {reason}", offset)
