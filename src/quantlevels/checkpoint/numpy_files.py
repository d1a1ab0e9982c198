"""NumPy files: ``.npy``, one array behind a short text that describes it, and ``.npz``, a zip archive of such files.

Source: numpy 2.4.6, ``lib/_format_impl.py``; mlx 0.32.4, ``mx.savez``.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from quantlevels.checkpoint.archive import MAGIC as ZIP_MAGIC
from quantlevels.checkpoint.archive import Archive
from quantlevels.checkpoint.defects import unknown_types
from quantlevels.checkpoint.source import shown
from quantlevels.container import Contents, Place, Places, Tensor, TruncatedError
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from quantlevels.container import Source, TypeLookup

NPY_MAGIC: Final = b"\x93NUMPY"
_SUFFIX: Final = ".npy"
#: major version → how the length of the text is stored
_LENGTHS: Final = {1: "<H", 2: "<I", 3: "<I"}
#: of a header that is read at all; numpy itself refuses texts of over 10,000 characters
_LONGEST_HEADER: Final = 1 << 14
_MOST_DIMS: Final = 64  # numpy's own limit
#: the text is a Python dict; of all that Python allows, numpy writes just this
_TEXT: Final = re.compile(
    r"\s*\{\s*'descr'\s*:\s*'([^'\\]*)'\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,"
    r"\s*'shape'\s*:\s*\(\s*((?:\d{1,19}\s*,\s*)*(?:\d{1,19})?)\s*\)\s*,?\s*\}\s*",
    re.ASCII,
)
#: byte order, kind and bytes of an element
_DTYPE: Final = re.compile(r"[<>|=]?([?a-zA-Z])(\d*)")
_KINDS: Final = {"f": "float", "i": "int", "u": "uint", "c": "complex"}
#: ``np.save`` knows bfloat16 of ml_dtypes only as two bytes of anything
_OTHERS: Final = {"b1": "bool", "?": "bool", "V2": "bfloat16"}


class _Array(NamedTuple):
    """An array as its header describes it."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    #: bytes before the first element
    start: int
    #: whether its rows stand one after the other, in numbers of the usual byte order
    in_order: bool


def read_numpy(source: Source, level_of: TypeLookup) -> Contents:
    """The array of a ``.npy`` file, named after the file, or those of a ``.npz`` archive, named without ``.npy``.

    Entries that are compressed have no place: only the beginning of each is unpacked.

    Raises:
        CheckpointError: if a header breaks a rule of the format, or the archive holds something else.
        TruncatedError: if the file ends before its last array does.
    """
    if source.read(0, min(len(ZIP_MAGIC), source.size)) != ZIP_MAGIC:
        name = source.name.rpartition("/")[2].removesuffix(_SUFFIX)
        array = _array(source.path, source.size, lambda count: source.read(0, min(count, source.size)))
        return _contents(source, level_of, {name: (array, array.start)})
    archive = Archive(source)
    arrays: dict[str, tuple[_Array, int | None]] = {}
    for name in archive.entries:
        if not name.endswith(_SUFFIX):
            raise CheckpointError(source.path, f"is not an archive of NumPy arrays: it holds {shown(name)}")
        arrays[name.removesuffix(_SUFFIX)] = _entry(archive, name)
    return _contents(source, level_of, arrays)


def _entry(archive: Archive, name: str) -> tuple[_Array, int | None]:
    """An array of an archive, and where it begins in the file unless it is compressed."""
    entry, source = archive.entries[name], archive.source
    if entry.stored:
        start, end = archive.span(name)
        array = _array(source.path, end - start, lambda count: source.read(start, min(count, end - start)))
        return array, start + array.start
    # deflate never needs more bytes for so much text, but for a few that it adds, and a header is far shorter
    packed = archive.packed(name, _LONGEST_HEADER)
    try:
        # the length limits what comes out: a few bytes could unpack to gigabytes
        head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, _LONGEST_HEADER)
    except zlib.error as error:
        raise CheckpointError(source.path, f"the entry {shown(name)} cannot be unpacked: {error}") from error
    return _array(source.path, entry.nbytes, lambda count: head[:count]), None


def _array(path: Path | str, size: int, read: Callable[[int], bytes]) -> _Array:
    """The array in ``size`` bytes; ``read`` gives the first bytes, as many as it is asked for."""
    prefix = read(len(NPY_MAGIC) + 2 + 4)
    major = prefix[len(NPY_MAGIC)] if len(prefix) > len(NPY_MAGIC) + 4 else 0
    if not prefix.startswith(NPY_MAGIC) or major not in _LENGTHS:
        raise CheckpointError(path, "is not a NumPy array of version 1, 2 or 3", 0)
    length = struct.Struct(_LENGTHS[major])
    text_start = len(NPY_MAGIC) + 2 + length.size
    (count,) = length.unpack_from(prefix.ljust(text_start, b"\0"), len(NPY_MAGIC) + 2)
    start = text_start + count
    if start > _LONGEST_HEADER:
        raise CheckpointError(path, f"has a header of {count:,} bytes, more than a NumPy array has", len(NPY_MAGIC))
    # numpy evaluates the text as Python (`literal_eval`); a pattern does the same for numbers and can run nothing
    match = _TEXT.fullmatch(read(start)[text_start:].decode("latin-1"))
    if match is None:
        raise CheckpointError(path, "is not a NumPy array of numbers: its header is not as numpy writes it", text_start)
    descr, fortran_order, sizes = match.groups()
    dtype, itemsize = _dtype(path, descr)
    shape = tuple(int(part) for part in sizes.split(",") if part.strip())
    if len(shape) > _MOST_DIMS:
        raise CheckpointError(path, f"has an array of {len(shape)} dimensions", text_start)
    nbytes = math.prod(shape) * itemsize
    if start + nbytes != size:
        remain = max(size - start, 0)
        reason = f"truncated or malformed: its array takes {nbytes:,} bytes, but {remain:,} follow its header"
        raise TruncatedError(path, reason, start)
    in_order = (fortran_order == "False" or len(shape) < 2) and not descr.startswith(">")
    return _Array(dtype, shape, nbytes, start, in_order)


def _dtype(path: Path | str, descr: str) -> tuple[str, int]:
    """numpy's name for a type, and the bytes of an element."""
    match = _DTYPE.fullmatch(descr)
    if match is None:
        raise CheckpointError(path, f"has an array of type {shown(descr)}, which is not a number")
    kind, digits = match.groups()
    itemsize = int(digits or 1)
    if kind + digits in _OTHERS:
        return _OTHERS[kind + digits], itemsize
    if kind in _KINDS:
        return f"{_KINDS[kind]}{8 * itemsize}", itemsize
    return descr, itemsize


def _contents(source: Source, level_of: TypeLookup, arrays: dict[str, tuple[_Array, int | None]]) -> Contents:
    tensors: list[Tensor] = []
    places: list[Place | None] = []
    for name, (array, start) in arrays.items():
        tensors.append(Tensor(name, level_of("numpy", array.dtype), array.shape, array.nbytes))
        # an array in columns or of the other byte order has no place: its values would be read wrongly
        places.append(Place(source.name, start) if start is not None and array.in_order else None)
    return Contents(tensors=tensors, places=Places.of(places), findings=tuple(unknown_types(tensors)))
