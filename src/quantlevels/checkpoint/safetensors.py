"""safetensors: one file's header.

The rules are those of the reference implementation, ``safetensors/src/tensor.rs`` of safetensors 0.8.
"""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import accumulate, chain, repeat
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from quantlevels.checkpoint.jsonfile import finite, unique
from quantlevels.checkpoint.source import Source, TruncatedError, shown
from quantlevels.container import Checkpoint, File, Tensor
from quantlevels.errors import AmbiguousLevelError, CheckpointError, UnknownLevelError
from quantlevels.vocabulary.level import BITS_PER_BYTE
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from quantlevels.container import JSON
    from quantlevels.vocabulary.level import QuantizationLevel

    #: metadata, tensors, and the bytes they take together
    Header: TypeAlias = tuple[Mapping[str, str], list[Tensor], int]
    Described: TypeAlias = tuple[QuantizationLevel, tuple[int, ...], int]

#: `Tensor` from its fields, at a third of the cost
_new: Callable[[type[Tensor], tuple[str, QuantizationLevel, tuple[int, ...], int]], Tensor]
_new = tuple.__new__  # pyrefly: ignore[bad-assignment]
_LIMIT: Final = 1 << 64
#: a little-endian u64 before the header: its bytes
_PREFIX: Final = 8
_MAX_HEADER: Final = 100_000_000
#: bytes of a header that are taken apart at a time, and that metadata before it may have
_PIECE: Final = 1 << 16
_METADATA: Final = "__metadata__"
_CONTROL_CHARACTERS: Final = bytes(range(0x20))

#: where a header goes on that begins with its metadata, as writers have it
_TO_METADATA: Final = re.compile(rb'\{[ \t\n\r]*"__metadata__"[ \t\n\r]*:[ \t\n\r]*')
#: An entry as writers spell it, after the comma before it; safetensors' own, and those whose keys are sorted (MLX).
#: What describes the tensor is JSON still to be parsed; names are to be free of escapes and control characters. Every
#: repetition is possessive and ends before the next entry or soon, so that no text is slow.
_NAME: Final = r', ?+"(?P<name>[^"]*+)": ?+\{'
_SPEC: Final = r'(?P<spec>"dtype"[^\]]{1,256}+\])'
_OFFSETS: Final = r'"data_offsets": ?+\[(?P<begin>0|[1-9][0-9]*+), ?+(?P<end>0|[1-9][0-9]*+)\]'
_ENTRIES: Final = (
    re.compile(rf"{_NAME}{_SPEC}, ?+{_OFFSETS}\}}"),
    re.compile(rf"{_NAME}{_OFFSETS}, ?+{_SPEC}\}}"),
)


def read_safetensors(path: Path) -> Checkpoint:
    """The tensors of one safetensors file, by its header.

    Raises:
        CheckpointError: if the header breaks a rule of the format, with the tensor that does.
        TruncatedError: if the file ends before its header or its last tensor does.
    """
    with Source(path) as source:
        length = int.from_bytes(source.read(0, _PREFIX), "little")
        if length > _MAX_HEADER:
            raise CheckpointError(
                path, f"not safetensors: a header of {length:,} bytes, and {_MAX_HEADER:,} are allowed", 0
            )
        raw = source.read(_PREFIX, length)
        size = source.size - _PREFIX - length
    try:
        metadata, tensors, needed = _scan(raw) or _parse(raw.decode())
    except RecursionError as error:
        raise CheckpointError(path, "malformed header: nested too deeply") from error
    except ValueError as error:
        raise CheckpointError(path, f"malformed header: {error}") from error
    if needed > size:
        raise TruncatedError(path, f"truncated: its tensors take {needed:,} bytes, {size:,} are there")
    if needed < size:
        raise CheckpointError(path, f"{size - needed:,} bytes after the last tensor belong to none")
    return Checkpoint(
        path=path,
        format="safetensors",
        tensors=tensors,
        metadata=metadata,
        files=(File(path.name, _PREFIX + length + size),),
    )


def _scan(raw: bytes) -> Header | None:
    """The header, if it is spelled as writers spell it and no rule is broken; else None, and nothing is said.

    Nearly every file is, and is read in a third of the time that making its objects takes.
    """
    stop = raw.rfind(b"}")
    if not raw.startswith(b"{") or raw[stop + 1 :].strip(b" \t\n\r"):
        return None
    start = 1
    metadata: Mapping[str, str] = {}
    tensors: list[Tensor] = []
    taken = {_METADATA}
    described: dict[str, Described] = {}
    end = 0
    loose: list[tuple[int, int, int]] = []
    entry = None
    try:
        if match := _TO_METADATA.match(raw):
            text = raw[match.end() : match.end() + _PIECE].decode()
            value, length = _DECODER.raw_decode(text)
            metadata = _checked_metadata(value)
            start = match.end() + len(text[:length].encode()) + 1
            if raw[start - 1 : start] != b"," or start == stop:
                return None
        for piece in _pieces(raw, start, stop):
            entry = entry or next((entry for entry in _ENTRIES if entry.match(piece)), None)
            if entry is None or "\\" in piece:
                return None
            gap, *fields = entry.split(piece)
            if gap or any(fields[4::5]):
                return None
            names, specs, begins, ends = (
                fields[entry.groupindex[column] - 1 :: 5] for column in ("name", "spec", "begin", "end")
            )
            if new := list(set(specs) - described.keys()):
                entries = _DECODER.decode("[{" + "},{".join(new) + "}]")
                described.update(zip(new, map(_describe, entries), strict=True))
            kinds, shapes, sizes = zip(*map(described.__getitem__, specs), strict=True)
            if _in_order(begins, ends, sizes, end):
                end = int(ends[-1])
            else:
                loose += zip(map(int, begins), map(int, ends), sizes, strict=True)
            tensors += map(_new, repeat(Tensor), zip(names, kinds, shapes, sizes, strict=True))
            taken.update(names)
    except (ValueError, RecursionError):
        return None
    if len(taken) != len(tensors) + 1 or (tiled := _tiled(loose, end)) is None:
        return None
    return metadata, tensors, tiled


def _pieces(raw: bytes, start: int, stop: int) -> Iterator[str]:
    """The entries, each after a comma, in pieces that a cache holds; one that is cut within a name matches nothing.

    Raises:
        ValueError: for control characters, which JSON has between entries alone and writers do not.
    """
    while start < stop:
        cut = raw.find(b"},", start + _PIECE, stop) + 1 or stop
        piece = raw[start:cut]
        if len(piece.translate(None, _CONTROL_CHARACTERS)) != len(piece):
            raise ValueError
        yield "," + piece.decode()
        start = cut + 1


def _in_order(begins: list[str], ends: list[str], sizes: tuple[int, ...], start: int) -> bool:
    """Whether tensors lie one after the other as they are listed; compared as text, cheaper than making numbers."""
    stops = str(list(accumulate(sizes, initial=start)))[1:-1]
    return begins == [str(start), *ends[:-1]] and f"{start}, {', '.join(ends)}" == stops


def _tiled(spans: list[tuple[int, int, int]], start: int) -> int | None:
    """Where tensors of so many bytes end that lie one after the other in some order; None if they do not."""
    for begin, end, size in sorted(spans):
        if begin != start or end - begin != size:
            return None
        start = end
    return start


def _natural(text: str) -> int:
    if text.startswith("-"):
        raise ValueError(f"the number {shown(text)} must not be negative")
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=unique, parse_int=_natural, parse_float=finite, parse_constant=finite
)  # there is no other kind of integer in a header


def _parse(text: str) -> Header:
    """The header, whatever its spelling.

    Raises:
        ValueError: if it breaks a rule, with the tensor that does.
    """
    if not text.startswith("{"):
        raise ValueError("it does not begin with '{'")
    header = cast("dict[str, JSON]", _DECODER.decode(text))
    "".join(header).encode()  # a lone surrogate is no text
    metadata = _checked_metadata(header.pop(_METADATA, None))
    tensors: list[Tensor] = []
    spans: list[tuple[int, int, Tensor]] = []
    for name, entry in header.items():
        try:
            tensor = Tensor(name, *_describe(entry))
            spans.append((*_offsets(entry), tensor))
        except ValueError as error:
            raise ValueError(f"tensor {shown(name)}: {error}") from error
        tensors.append(tensor)
    end = 0
    for begin, stop, tensor in sorted(spans, key=lambda span: span[:2]):
        if begin != end:
            raise ValueError(f"tensor {shown(tensor.name)} begins at byte {begin:,} of the data, not {end:,}")
        if stop - begin != tensor.nbytes:
            raise ValueError(
                f"tensor {shown(tensor.name)} spans {stop - begin:,} bytes, its shape and dtype take {tensor.nbytes:,}"
            )
        end = stop
    return metadata, tensors, end


def _checked_metadata(value: JSON) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(word, str) for word in value.values()):
        raise ValueError(f"{_METADATA} must be an object of strings, not {shown(value)}")
    metadata = cast("dict[str, str]", value)
    "".join(chain.from_iterable(metadata.items())).encode()  # a lone surrogate is no text
    return metadata


@cache
def _level(dtype: str) -> QuantizationLevel:
    try:
        return levels.from_dialect("safetensors", dtype)
    except (UnknownLevelError, AmbiguousLevelError) as error:
        raise ValueError(f"unknown dtype {shown(dtype)}") from error


def _describe(entry: JSON) -> Described:
    """Level, shape and bytes of a header's entry."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape)}:
            pass
        case _:
            raise ValueError(f"dtype, shape and data_offsets are needed, not {shown(entry)}")
    level = _level(dtype)
    count = 1
    for length in shape:
        if type(length) is not int or length < 0:
            raise ValueError(f"the shape {shown(shape)} must be of non-negative integers")
        count *= length
        if max(count, length) >= _LIMIT:  # where the reference stops too, and before a product of thousands grows
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
