"""safetensors: one file's header.

The rules are those of the reference implementation, ``safetensors/src/tensor.rs`` of safetensors 0.8.
"""

from __future__ import annotations

import json
import re
from array import array
from functools import partial
from itertools import accumulate, chain
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from quantlevels.checkpoint.jsonfile import CONTROL_CHARACTERS, decoded, finite, unique
from quantlevels.checkpoint.source import shown
from quantlevels.container import MARKERS, Contents, Places, Tensors, TruncatedError, UnknownType
from quantlevels.errors import CheckpointError
from quantlevels.vocabulary.level import BITS_PER_BYTE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from quantlevels.container import JSON, Form, Source, TypeLookup

_form_bytes: Callable[[Form], int] = itemgetter(2)
#: elements of a tensor stay below it: the reference implementation counts them in 64 bits
_LIMIT: Final = 1 << 64
#: bytes of the little-endian integer before the header, which says its length
_PREFIX: Final = 8
#: bytes that the reference implementation allows
_MAX_HEADER: Final = 100_000_000
#: bytes of the header that the fast scan takes at a time, and the most that metadata may have there
_PIECE: Final = 1 << 16
_METADATA: Final = "__metadata__"
#: most bytes that are read of one marker, and of all markers of a file
_LARGEST_MARKER: Final = 1 << 12
_MOST_MARKER_BYTES: Final = 1 << 22
#: dtypes of text, by the names of their levels
_TEXT: Final = frozenset({"UInt8", "Int8"})
_JSON_SPACE: Final = " \t\n\r"

#: start of a header in which the metadata comes first, as writers put it; the value follows
_TO_METADATA: Final = re.compile(rb'\{[ \t\n\r]*"__metadata__"[ \t\n\r]*:[ \t\n\r]*')
_SPEC: Final = r'(?P<spec>"dtype"[^\]]{1,256}+\])'
_OFFSETS: Final = r'"data_offsets":~\[(?P<begin>[^,]{1,20}+),~(?P<end>[^\]]{1,20}+)\]'
#: An entry with the comma before it, as safetensors writes it and with sorted keys (MLX); ``~`` stands for a space if
#: the writer puts some. ``spec`` is JSON that is parsed later; a name must have no escapes and no control characters;
#: begin and end are compared with what they must be. Every repetition is possessive and soon ends, so that no hostile
#: header makes a match slow.
_ORDERS: Final = (
    rf',~?"(?P<name>[^"]*+)":~\{{{_SPEC},~{_OFFSETS}\}}',
    rf',~?"(?P<name>[^"]*+)":~\{{{_OFFSETS},~{_SPEC}\}}',
)
#: Without spaces, and as ``json.dumps`` has them: optional spaces would take a tenth of the time of a match. Texts, as
#: most headers need only the first, and `re` takes a while to compile one.
_ENTRIES: Final = (
    *(order.replace("~?", "").replace("~", "") for order in _ORDERS),
    *(order.replace("~", " ") for order in _ORDERS),
)


class _Header(NamedTuple):
    """A header that keeps all rules of the format; whether its tensors fill the file is still to be checked."""

    metadata: Mapping[str, str]
    tensors: Tensors
    #: each form that occurs, once or more often
    forms: Collection[Form]
    #: where each tensor begins in the file
    begins: array[int] | list[int]
    #: bytes of all tensors together
    nbytes: int


def read_safetensors(source: Source, level_of: TypeLookup) -> Contents:
    """The tensors of one safetensors file, by its header.

    Raises:
        CheckpointError: if the header breaks a rule of the format, with the tensor that does.
        TruncatedError: if the file ends before its header or its last tensor does.
    """
    path = source.path
    length = int.from_bytes(source.read(0, _PREFIX), "little")
    if length > _MAX_HEADER:
        raise CheckpointError(
            path, f"not safetensors: a header of {length:,} bytes; at most {_MAX_HEADER:,} are allowed", 0
        )
    source.prefetch(_PREFIX, length)
    raw = source.read(_PREFIX, length)
    start = _PREFIX + length
    size = source.size - start
    describe = partial(_describe, level_of)
    try:
        header = _FastScan(raw, start, describe).header() or _parse(raw.decode(), start, describe)
    except RecursionError as error:
        raise CheckpointError(path, "malformed header: nested too deeply") from error
    except ValueError as error:
        raise CheckpointError(path, f"malformed header: {error}") from error
    if header.nbytes > size:
        raise TruncatedError(
            path, f"truncated: its tensors take {header.nbytes:,} bytes, but the file holds only {size:,} of them"
        )
    if header.nbytes < size:
        raise CheckpointError(path, f"{size - header.nbytes:,} bytes after the last tensor belong to no tensor")
    places = Places.in_file(source.name, header.begins)
    return Contents(
        tensors=header.tensors,
        places=places,
        metadata=header.metadata,
        markers=_markers(source, header, places),
    )


def _markers(source: Source, header: _Header, places: Places) -> dict[str, bytes]:
    """The contents of the small tensors that hold text about other tensors."""
    markers: dict[str, bytes] = {}
    if not any(dtype.name in _TEXT and nbytes <= _LARGEST_MARKER for dtype, _, nbytes in header.forms):
        return markers  # most files have none, and going through all names takes time
    remain = _MOST_MARKER_BYTES
    for tensor, place in zip(header.tensors, places, strict=True):
        if place is None or tensor.dtype.name not in _TEXT or tensor.name.rpartition(".")[2] not in MARKERS:
            continue
        if tensor.nbytes <= min(_LARGEST_MARKER, remain):
            markers[tensor.name] = source.read(place.offset, tensor.nbytes)
            remain -= tensor.nbytes
    return markers


class _FastScan:
    """Reads a header in the usual spelling, in a tenth of the time of `_parse` and less than ``json.loads`` takes.

    Nearly all writers use that spelling. Anything unusual or wrong ends the scan without a verdict: `_parse` decides.

    Args:
        raw: the header.
        start: bytes of the file before the data of the tensors.
        describe: makes level, shape and bytes of the JSON that describes a tensor.
    """

    def __init__(self, raw: bytes, start: int, describe: Callable[[JSON], Form]) -> None:
        self.raw = raw
        self.start = start
        self.describe = describe
        self.metadata: Mapping[str, str] = {}
        self.names: list[str] = []
        self.forms: list[Form] = []
        self.begins: array[int] = array("q")
        #: JSON of dtype and shape → what it describes; models repeat a few of them
        self.described: dict[str, Form] = {}
        #: where the tensors end that lie in the order in which they are listed, in bytes from the start of the data
        self.end = 0
        #: begin, end and size in bytes of the others
        self.loose: list[tuple[int, int, int]] = []

    def header(self) -> _Header | None:
        """The header; None if it has to be parsed."""
        stop = self.raw.rfind(b"}")
        if not self.raw.startswith(b"{") or self.raw[stop + 1 :].strip(b" \t\n\r"):
            return None
        try:
            start = self.read_metadata(stop)
            pattern = None
            for piece in _pieces(self.raw, start, stop):
                pattern = pattern or _pattern_of(piece)
                if pattern is None or "\\" in piece:
                    return None
                self.read_entries(pattern, piece)
        except (ValueError, OverflowError, RecursionError):
            return None
        nbytes = _tiled(self.loose, self.end)
        # two tensors of one name, or one with the name of the metadata, make the set smaller
        if len({_METADATA, *self.names}) != len(self.names) + 1 or nbytes is None:
            return None
        return _Header(self.metadata, Tensors(self.names, self.forms), self.described.values(), self.begins, nbytes)

    def read_metadata(self, stop: int) -> int:
        """Read the metadata, if the header begins with it, and return where the entries begin.

        Raises:
            ValueError: if it is not valid, or nothing follows it.
        """
        match = _TO_METADATA.match(self.raw)
        if match is None:
            return 1
        text = self.raw[match.end() : match.end() + _PIECE].decode()
        value, length = _DECODER.raw_decode(text)
        self.metadata = _checked_metadata(value)
        comma = match.end() + len(text[:length].encode())
        if self.raw[comma : comma + 1] != b"," or comma + 1 == stop:
            raise ValueError
        return comma + 1

    def read_entries(self, pattern: re.Pattern[str], piece: str) -> None:
        """Read a piece of the header that has nothing but entries of this pattern.

        Raises:
            ValueError: if it has anything else.
        """
        # split() gives the text before the first entry, then for each entry its four groups and the text after it:
        # these texts have to be empty
        columns = pattern.split(piece)
        if any(columns[::5]):
            raise ValueError
        names, specs, begins, ends = (
            columns[pattern.groupindex[group] :: 5] for group in ("name", "spec", "begin", "end")
        )
        new = list(set(specs) - self.described.keys())
        if new:
            entries = _DECODER.decode("[{" + "},{".join(new) + "}]")
            self.described.update(zip(new, map(self.describe, entries), strict=True))
        forms = list(map(self.described.__getitem__, specs))
        sizes = list(map(_form_bytes, forms))
        stops = list(accumulate(sizes, initial=self.end))
        if _in_order(begins, ends, stops):
            self.begins.fromlist(list(accumulate(sizes[:-1], initial=self.start + self.end)))
            self.end = stops[-1]
        else:
            numbers = _numbers(begins)
            self.begins.extend(map(self.start.__add__, numbers))
            self.loose += zip(numbers, _numbers(ends), sizes, strict=True)
        self.names += names
        self.forms += forms


def _pattern_of(piece: str) -> re.Pattern[str] | None:
    """The pattern that the first entry of a piece matches."""
    for entry in _ENTRIES:
        pattern = re.compile(entry)
        if pattern.match(piece):
            return pattern
    return None


def _pieces(raw: bytes, start: int, stop: int) -> Iterator[str]:
    """The entries, each after a comma, in pieces that fit a processor's cache.

    A cut within a name is harmless: the entry then matches no pattern.

    Raises:
        ValueError: for control characters, which JSON allows between entries only and writers do not use.
    """
    while start <= stop:  # if the header ends with a comma, the empty piece after it is an error
        cut = raw.find(b"},", start + _PIECE, stop) + 1 or stop
        piece = raw[start:cut]
        # a search for each character is fast: together they take half the time of going through the piece once
        if any(map(piece.__contains__, CONTROL_CHARACTERS)):
            raise ValueError
        yield "," + piece.decode()
        start = cut + 1


def _in_order(begins: list[str], ends: list[str], stops: list[int]) -> bool:
    """Whether tensors lie one after the other as they are listed; compared as text, cheaper than making numbers.

    Args:
        begins, ends: offsets of each tensor as the header has them.
        stops: where the first tensor must begin, then where each must end.
    """
    texts = str(stops)[1:-1]
    return begins == [str(stops[0]), *ends[:-1]] and f"{stops[0]}, {', '.join(ends)}" == texts


def _numbers(texts: list[str]) -> list[int]:
    """The integers in texts.

    Raises:
        ValueError: if one is not spelled as in JSON: with spaces, leading zeros, digits of other scripts.
    """
    numbers = list(map(int, texts))
    if list(map(str, numbers)) != texts:
        raise ValueError
    return numbers


def _tiled(spans: list[tuple[int, int, int]], start: int) -> int | None:
    """Where tensors end that lie one after the other in some order; None if they leave gaps or overlap."""
    for begin, end, size in sorted(spans):
        if begin != start or end - begin != size:
            return None
        start = end
    return start


def _natural(text: str) -> int:
    if text.startswith("-"):
        raise ValueError(f"the number {shown(text)} must not be negative")
    return int(text)


# A header has only integers that count something. The second decoder overlooks repeated keys: `decoded` notices them by
# itself, and needs no hook for each object.
_DECODER = json.JSONDecoder(object_pairs_hook=unique, parse_int=_natural, parse_float=finite, parse_constant=finite)
_FAST_DECODER = json.JSONDecoder(parse_int=_natural, parse_float=finite, parse_constant=finite)


def _parse(text: str, start: int, describe: Callable[[JSON], Form]) -> _Header:
    """The header, whatever its spelling; it may begin with white space, as the reference implementation allows.

    Raises:
        ValueError: if it breaks a rule, with the tensor that does.
    """
    if not text.lstrip(_JSON_SPACE).startswith("{"):
        raise ValueError("it does not begin with '{'")
    header = cast("dict[str, JSON]", decoded(text, _FAST_DECODER))
    "".join(header).encode()  # fails on a lone surrogate, which UTF-8 does not have
    metadata = _checked_metadata(header.pop(_METADATA, None))
    forms: list[Form] = []
    spans: list[tuple[int, int, int, str]] = []
    for name, entry in header.items():
        try:
            forms.append(describe(entry))
            spans.append((*_offsets(entry), _form_bytes(forms[-1]), name))
        except ValueError as error:
            raise ValueError(f"tensor {shown(name)}: {error}") from error
    end = 0
    for begin, stop, nbytes, name in sorted(spans, key=lambda span: span[:2]):
        if begin != end:
            raise ValueError(f"tensor {shown(name)} begins at byte {begin:,} of the data, not {end:,}")
        if stop - begin != nbytes:
            raise ValueError(f"tensor {shown(name)} spans {stop - begin:,} bytes, its shape and dtype take {nbytes:,}")
        end = stop
    return _Header(metadata, Tensors(list(header), forms), forms, [start + begin for begin, *_ in spans], end)


def _checked_metadata(value: JSON) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(word, str) for word in value.values()):
        raise ValueError(f"{_METADATA} must be an object of strings, not {shown(value)}")
    metadata = cast("dict[str, str]", value)
    "".join(chain.from_iterable(metadata.items())).encode()  # fails on a lone surrogate, which UTF-8 does not have
    return metadata


def _describe(level_of: TypeLookup, entry: JSON) -> Form:
    """Level, shape and bytes of a header's entry.

    Raises:
        ValueError: if it breaks a rule of the format.
    """
    match entry:
        case {"dtype": str(dtype), "shape": list(shape)}:
            pass
        case _:
            raise ValueError(f"dtype, shape and data_offsets are needed, not {shown(entry)}")
    level = level_of("safetensors", dtype)
    if isinstance(level, UnknownType):
        raise ValueError(f"unknown dtype {shown(dtype)}")  # noqa: TRY004  # the file's fault, not a caller's
    count = 1
    for length in shape:
        if type(length) is not int or length < 0:
            raise ValueError(f"the shape {shown(shape)} must be of non-negative integers")
        count *= length
        # the reference implementation stops here too; it keeps the product of thousands of lengths small
        if max(count, length) >= _LIMIT:
            raise ValueError(f"the shape {shown(shape)} has more elements than 64 bits can count")
    nbytes, rest = divmod(count * level.block.bits, BITS_PER_BYTE)
    if rest:
        raise ValueError(f"{count:,} elements of {dtype} do not fill whole bytes")
    return level, tuple(cast("list[int]", shape)), nbytes


def _offsets(entry: JSON) -> tuple[int, int]:
    match entry:
        case {"data_offsets": [int(begin), int(end)]} if type(begin) is type(end) is int:
            return begin, end
    raise ValueError(f"data_offsets must be two integers in {shown(entry)}")
