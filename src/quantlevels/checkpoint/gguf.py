"""GGUF: one file's header, versions 2 and 3, of either byte order.

The rules are those of the reference implementation, ``ggml/src/gguf.cpp`` of llama.cpp 067d44f6, and of ggml's
``docs/gguf.md``.
"""

from __future__ import annotations

import math
import re
from functools import cache
from itertools import pairwise
from struct import Struct
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from quantlevels.checkpoint.names import numbered
from quantlevels.checkpoint.source import shown
from quantlevels.container import Contents, Places, Tensor, TruncatedError, UnknownType
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding, pluralize
from quantlevels.vocabulary.formats import GGML_BLOCKS, GGML_REMOVED
from quantlevels.vocabulary.level import BITS_PER_BYTE, Block

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from quantlevels.container import Scalar, Source, TypeLookup
    from quantlevels.vocabulary.level import QuantizationLevel

    #: the level of a type of ggml, and its block in the file if that is known
    StoredType: TypeAlias = tuple[QuantizationLevel | UnknownType, Block | None]

#: byte order as `struct` spells it: little, big
Order: TypeAlias = Literal["<", ">"]

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_UINT32: Final = 4
_STRING: Final = 8
_ARRAY: Final = 9
#: type of a value → its code in `struct`
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

_ALIGNMENT_KEY: Final = "general.alignment"
_DEFAULT_ALIGNMENT: Final = 32
_MAX_DIMS: Final = 4
#: elements and dimensions stay below it: ggml counts them in signed 64 bits
_LIMIT: Final = 1 << 63
#: the fewest bytes of a key-value (key of one letter, type, value), a tensor, a string and an array in an array
_LEAST_KEY_VALUE: Final = 14
_LEAST_TENSOR: Final = 24
_LEAST_STRING: Final = 8
_LEAST_ARRAY: Final = 12
#: bytes of the longest name (docs/gguf.md), and of the longest value that is kept: longer ones say nothing of levels
_LONGEST_NAME: Final = (1 << 16) - 1
_LONGEST_VALUE: Final = 1 << 20
#: strings that are skipped in one file: five times those of the largest vocabulary and its merges
_MOST_WALKED: Final = 1 << 22
#: an array within an array takes the time of so many strings
_STRINGS_OF_ARRAY: Final = 16
#: arrays within arrays; no key of llama.cpp has any
_MAX_DEPTH: Final = 4
#: how many strings one match skips, and how many bytes the longest of them may have
_RUN: Final = 64
_LONGEST_IN_RUN: Final = 127

#: Type 42 has two blocks on disk: ggml's, and that of PrismML before ggml had the type (PrismML-Eng/llama.cpp#167).
_TWO_MEANINGS: Final = {42: (GGML_BLOCKS[42], Block(128, 34 * BITS_PER_BYTE))}


class _Info(NamedTuple):
    """A tensor as the header describes it: innermost dimension first, offset in bytes from the start of the data."""

    name: str
    dims: tuple[int, ...]
    type: int
    offset: int

    @property
    def row(self) -> int:
        """Weights of a row."""
        return self.dims[0] if self.dims else 1

    def nbytes(self, block: Block) -> int:
        """Bytes of the tensor if it is stored in blocks of this kind, with the extra bits of each row."""
        bits = math.prod(self.dims) // block.weights * block.bits
        if block.row_bits:
            bits += math.prod(self.dims[1:]) * block.row_bits
        return bits // BITS_PER_BYTE


def read_gguf(source: Source, level_of: TypeLookup) -> Contents:
    """The tensors and scalar key-values of one GGUF file; of a split model, only this part.

    Shapes are of logical weights, rows last. Tensors of a type that no level has are kept as `UnknownType`, with the
    bytes up to the next tensor, and reported as QL301. A type for which two blocks are known is QL303 if neither fits
    between the offsets.

    Raises:
        CheckpointError: if the header breaks a rule of the format.
        TruncatedError: if the file ends before its header or its last tensor does.
    """
    order, offset = _version(source)
    cursor = _Cursor(source, order, offset)
    tensor_count, key_value_count = cursor.unpack("QQ")
    metadata = _key_values(cursor, key_value_count)
    alignment = metadata.get(_ALIGNMENT_KEY, _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise CheckpointError(source.path, f"{_ALIGNMENT_KEY} must be a power of two, not {shown(alignment)}")
    infos = _infos(cursor, tensor_count)
    start = _padded(cursor.offset, alignment)
    data = _Data(source, level_of, alignment, source.size - start)
    tensors = data.tensors(infos)
    findings = [*_unknown_types(tensors), *data.short_rows(infos)]
    # llama.cpp finds the other parts by the name as well, so nothing can read a model with a renamed part
    if metadata.get("split.count", 1) not in (0, 1) and numbered(source.name) is None:
        findings.append(
            Finding(
                "QL201",
                "is a part of a split model, but its name has no number; rename it: model-00001-of-00003.gguf",
                source.name,
            )
        )
    return Contents(
        tensors=tensors,
        places=Places.in_file(source.name, [start + info.offset for info in infos]),
        metadata=metadata,
        byte_order="little" if order == "<" else "big",
        findings=tuple(findings),
    )


def _version(source: Source) -> tuple[Order, int]:
    """Byte order, and where the counts begin."""
    if source.read(0, len(_MAGIC)) != _MAGIC:
        raise CheckpointError(source.path, "is not a GGUF file: it does not begin with 'GGUF'", 0)
    word = source.read(len(_MAGIC), 4)
    version = int.from_bytes(word, "little")
    # as the reference decides: versions are small, so one with an empty lower half is in the other byte order
    order: Order = "<" if version & 0xFFFF else ">"
    version = version if order == "<" else int.from_bytes(word, "big")
    if version not in _VERSIONS:
        raise CheckpointError(
            source.path, f"is GGUF version {version:,}; versions 2 and 3 can be read: convert the model again", 4
        )
    return order, len(_MAGIC) + len(word)


@cache
def _struct(order: Order, codes: str) -> Struct:
    return Struct(order + codes)


@cache
def _run_of_strings(order: Order) -> re.Pattern[bytes]:
    """A pattern that matches `_RUN` strings of at most `_LONGEST_IN_RUN` bytes, each after its length in 64 bits.

    A match takes half the time of the fastest loop in Python. It never backtracks: all counts are fixed and possessive.
    """
    # a length below 256 is one byte and seven zeros, which stand after it (little-endian) or before it
    zeros = rb"\0" * 7
    before, after = (b"", zeros) if order == "<" else (zeros, b"")
    branches = (rb"\x%02x%b.{%d}+" % (size, after, size) for size in range(1, _LONGEST_IN_RUN + 1))
    body = b"|".join((*branches, rb"\0" + after))
    return re.compile(b"(?:%b(?>%b)){%d}+" % (before, body, _RUN), re.DOTALL)


class _Cursor:
    """A position in a file that moves forward; bytes are read one window at a time."""

    __slots__ = ("_at", "_length", "_order", "_source", "_start", "_walked", "_window")

    _WINDOW: Final = 1 << 20

    def __init__(self, source: Source, order: Order, offset: int) -> None:
        self._source = source
        self._order: Order = order
        #: reads the length of a string
        self._length = _struct(order, "Q").unpack_from
        self._window = b""
        self._start = offset
        #: the position within the window; after a skip it may be beyond the end
        self._at = 0
        #: strings of arrays that were skipped so far
        self._walked = 0

    @property
    def path(self) -> Path | str:
        return self._source.path

    @property
    def offset(self) -> int:
        """The position in bytes from the start of the file."""
        return self._start + self._at

    def expect(self, count: int, least: int, what: str) -> None:
        """Raise TruncatedError unless ``count`` items of ``least`` bytes can follow."""
        remain = self._source.size - self.offset
        if count * least > remain:
            raise TruncatedError(
                self.path,
                f"truncated or malformed: {count:,} {what} cannot be in the {max(remain, 0):,} bytes that remain",
                self.offset,
            )

    def expect_read(self, count: int, least: int, what: str) -> None:
        """As `expect`, for items that will be read: a remote source may fetch them in one request."""
        self.expect(count, least, what)
        self._source.prefetch(self.offset, count * least)

    def _fill(self, count: int) -> None:
        """Read a new window, which begins here and has at least ``count`` bytes."""
        self._start, self._at = self.offset, 0
        # no more than the file has, unless more is needed: then reading raises the error
        ahead = min(max(count, self._WINDOW), max(self._source.size - self._start, count))
        self._window = self._source.read(self._start, ahead)

    def unpack(self, codes: str) -> tuple[int, ...]:
        """The next numbers, by their codes in `struct`."""
        numbers = _struct(self._order, codes)
        if self._at + numbers.size > len(self._window):
            self._fill(numbers.size)
        values = numbers.unpack_from(self._window, self._at)
        self._at += numbers.size
        return values

    def skip(self, count: int) -> None:
        """Move on by ``count`` bytes, which must be there."""
        self.expect(count, 1, "bytes")
        self._at += count

    def string(self, longest: int) -> bytes | None:
        """The next string, None if it is longer."""
        (length,) = self.unpack("Q")
        if length > longest:
            self.skip(length)
            return None
        if self._at + length > len(self._window):
            self._fill(length)
        self._at += length
        return self._window[self._at - length : self._at]

    def name(self, what: str) -> str:
        """The next string, which must be a name."""
        here = self.offset
        name = self.string(_LONGEST_NAME)
        if name is None:
            raise CheckpointError(self.path, f"a {what} of more than {_LONGEST_NAME:,} bytes", here)
        try:
            return name.decode()
        except UnicodeDecodeError as error:
            raise CheckpointError(self.path, f"the {what} {shown(name)} is not UTF-8", here) from error

    def skip_array(self, depth: int = 0) -> None:
        """Move on over an array, its type and count first."""
        type, count = self.unpack("IQ")
        if type in _SCALARS:
            self.skip(count * _struct(self._order, _SCALARS[type]).size)
        elif type == _STRING:
            self.expect_read(count, _LEAST_STRING, "strings")
            self._walk(count)
            self._skip_strings(count)
        elif type == _ARRAY and depth < _MAX_DEPTH:
            self.expect_read(count, _LEAST_ARRAY, "arrays")
            self._walk(count * _STRINGS_OF_ARRAY)
            for _ in range(count):
                self.skip_array(depth + 1)
        else:
            raise CheckpointError(self.path, f"an array of the unknown type {type}, or nested too deeply", self.offset)

    def _walk(self, count: int) -> None:
        """Count strings that are about to be skipped: a hostile file could hold very many."""
        self._walked += count
        if self._walked > _MOST_WALKED:
            raise CheckpointError(self.path, f"more than {_MOST_WALKED:,} strings in key-values", self.offset)

    def _skip_strings(self, count: int) -> None:
        # compiling the pattern only pays for many strings
        run = _run_of_strings(self._order) if count > 64 * _RUN else None
        while count:
            if run and count >= _RUN and (match := run.match(self._window, self._at)):
                self._at = match.end()
                count -= _RUN
            else:  # a longer string, or the end of the window
                step = min(count, _RUN)
                self._step_strings(step)
                count -= step
        self.skip(0)  # raises if the last string ends after the file does

    def _step_strings(self, count: int) -> None:
        # local names: half a million strings of a vocabulary and its merges come through here
        window, at = self._window, self._at
        for _ in range(count):
            if at + _LEAST_STRING > len(window):
                self._at = at
                self._fill(_LEAST_STRING)
                window, at = self._window, self._at
            at += _LEAST_STRING + self._length(window, at)[0]
        self._at = at


def _key_values(cursor: _Cursor, count: int) -> dict[str, Scalar]:
    cursor.expect_read(count, _LEAST_KEY_VALUE, "key-values")
    seen: set[str] = set()
    kept: dict[str, Scalar] = {}
    for _ in range(count):
        here = cursor.offset
        key = cursor.name("key")
        if not key:
            raise CheckpointError(cursor.path, "an empty key", here)
        if key in seen:
            raise CheckpointError(cursor.path, f"the key {shown(key)} is repeated", here)
        seen.add(key)
        (type,) = cursor.unpack("I")
        if key == _ALIGNMENT_KEY and type != _UINT32:
            raise CheckpointError(cursor.path, f"{_ALIGNMENT_KEY} must be a 32-bit unsigned integer", here)
        if type == _ARRAY:
            cursor.skip_array()
        elif type == _STRING:
            text = cursor.string(_LONGEST_VALUE)
            if text is not None:
                kept[key] = text.decode(errors="replace")  # words of a tokenizer may end in the middle of a character
        elif type in _SCALARS:
            (kept[key],) = cursor.unpack(_SCALARS[type])
        else:
            raise CheckpointError(cursor.path, f"the value of {shown(key)} is of the unknown type {type}", here)
    return kept


def _infos(cursor: _Cursor, count: int) -> list[_Info]:
    cursor.expect_read(count, _LEAST_TENSOR, "tensors")
    seen: set[str] = set()
    infos: list[_Info] = []
    for _ in range(count):
        here = cursor.offset
        name = cursor.name("tensor name")
        if name in seen:
            raise CheckpointError(cursor.path, f"two tensors are named {shown(name)}", here)
        seen.add(name)
        (rank,) = cursor.unpack("I")
        if rank > _MAX_DIMS:
            raise CheckpointError(
                cursor.path, f"tensor {shown(name)} has {rank:,} dimensions, at most {_MAX_DIMS} are allowed", here
            )
        *dims, type, offset = cursor.unpack(f"{rank}QIQ")
        if max(dims, default=0) >= _LIMIT or math.prod(dims) >= _LIMIT:
            raise CheckpointError(
                cursor.path, f"tensor {shown(name)} has more elements than 63 bits can count: {dims}", here
            )
        infos.append(_Info(name, tuple(dims), type, offset))
    return infos


def _padded(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


class _Data:
    """The part of a file after its header, in which the tensors lie one after the other.

    Args:
        source: the file.
        level_of: which level a type of ggml is.
        alignment: of each tensor, in bytes.
        size: bytes of the data.
    """

    def __init__(self, source: Source, level_of: TypeLookup, alignment: int, size: int) -> None:
        self.path = source.path
        self.level_of = level_of
        self.alignment = alignment
        self.size = size
        self.types: dict[int, StoredType] = {}

    def tensors(self, infos: list[_Info]) -> list[Tensor]:
        """The tensors, each of which must begin where the one before it ends, as the reference requires."""
        spans = [end - begin for begin, end in pairwise([*(info.offset for info in infos), self.size])]
        types = self.types  # most files have three or four types and hundreds of tensors: each type is looked up once
        types.update({type: self.stored_as(type) for type in {info.type for info in infos}})
        for type, blocks in self.candidates(types).items():
            # if nothing fits, a type with two meanings is unknown; another keeps its block, and `check` finds the error
            otherwise = (UnknownType("ggml", type), None) if type in _TWO_MEANINGS else types[type]
            types[type] = self.fitting(type, blocks, list(zip(infos, spans, strict=True))) or otherwise
        tensors: list[Tensor] = []
        end = 0
        for info, span in zip(infos, spans, strict=True):
            dtype, block = types[info.type]
            self.check(info, block, _padded(end, self.alignment))
            # an unknown type gets all bytes up to the next tensor, since its padding cannot be told from its data
            nbytes = max(info.nbytes(block) if block else span, 0)
            end = info.offset + nbytes
            tensors.append(Tensor(info.name, dtype, info.dims[::-1], nbytes))
        if tensors and end > self.size:
            needed = f"its tensors take {end:,} bytes, but the file holds only {max(self.size, 0):,} of them"
            raise TruncatedError(self.path, f"truncated: {needed}")
        return tensors

    def check(self, info: _Info, block: Block | None, begin: int) -> None:
        """Raise CheckpointError unless a tensor begins at offset ``begin`` and whole blocks fill its rows."""
        problem = ""
        if info.offset != begin:
            problem = f"begins at byte {info.offset:,} of the data, not {begin:,}"
        elif block and info.row % block.weights:
            problem = f"has rows of {info.row:,}, which blocks of {block.weights} cannot fill"
        if problem:
            raise CheckpointError(self.path, f"tensor {shown(info.name)} {problem}")

    def stored_as(self, type: int) -> StoredType:
        """The level of a type, and its block on disk."""
        level = self.level_of("ggml", type)
        if isinstance(level, UnknownType):
            return level, None
        return level, GGML_BLOCKS.get(type, level.block)

    @staticmethod
    def candidates(types: Mapping[int, StoredType]) -> dict[int, tuple[Block, ...]]:
        """The blocks that tensors of a type may have, for those types where the offsets have to decide.

        Some types have extra bits per row beside its blocks, and a file may lack these: gguf-py counted only the blocks
        when it rewrote a file (ikawrakow/ik_llama.cpp#2443).
        """
        found: dict[int, tuple[Block, ...]] = {type: blocks for type, blocks in _TWO_MEANINGS.items() if type in types}
        for type, (_, block) in types.items():
            if block and block.row_bits:
                found[type] = block, Block(block.weights, block.bits)
        return found

    def fitting(self, type: int, blocks: tuple[Block, ...], spans: list[tuple[_Info, int]]) -> StoredType | None:
        """The level of a type, with the first block that fits between all offsets; None if none does."""
        of_type = [pair for pair in spans if pair[0].type == type]
        # anything may follow the last tensor of a file, so its span says nothing about its block
        bounded = [pair for pair in spans[:-1] if pair[0].type == type] or of_type
        for block in blocks:
            # only padding may lie between the blocks and the next tensor, and it is shorter than the alignment
            if all(
                not info.row % block.weights and 0 <= span - info.nbytes(block) < self.alignment
                for info, span in bounded
            ):
                return self.level_of("ggml", type), block
        return None

    def short_rows(self, infos: list[_Info]) -> Iterator[Finding]:
        """A finding for each type whose tensors have the blocks of each row, but not the extra bits beside them."""
        for type, (level, block) in self.types.items():
            if block is None or isinstance(level, UnknownType) or not level.block.row_bits or block.row_bits:
                continue
            short = [info for info in infos if info.type == type]
            missing = level.block.row_bits // BITS_PER_BYTE
            yield Finding(
                "QL303",
                f"{pluralize(len(short), 'tensor')} of {level.name} lack {missing} bytes per row, which a row has"
                " beside its blocks: a tool that ignores them wrote the file; quantize the model again",
                short[0].name,
            )


def _unknown_types(tensors: list[Tensor]) -> list[Finding]:
    """One finding for each type that no level has, with its first tensor."""
    found: dict[UnknownType, list[Tensor]] = {}
    for tensor in tensors:
        if isinstance(tensor.dtype, UnknownType):
            found.setdefault(tensor.dtype, []).append(tensor)
    findings: list[Finding] = []
    for type, of_type in found.items():
        size = f"{pluralize(len(of_type), 'tensor')} in {sum(tensor.nbytes for tensor in of_type):,} bytes"
        removed = GGML_REMOVED.get(int(type.spelling))
        code = "QL301"
        if type.spelling in _TWO_MEANINGS:
            code, message = "QL303", f"{type} of {size} has two meanings, and neither of them fits"
        elif removed:
            message = (
                f"{type}, once {removed} and removed from ggml, of {size} is not a known level; convert the model again"
            )
        else:
            message = f"{type} of {size} is not a known level; a plugin can name it"
        findings.append(Finding(code, message, of_type[0].name))
    return findings
