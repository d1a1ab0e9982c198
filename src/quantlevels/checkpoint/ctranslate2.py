"""CTranslate2: ``model.bin``, a list of variables, each with its name, shape, type and bytes.

Source: ctranslate2 4.8.5, ``python/ctranslate2/specs/model_spec.py`` (the writer, binary version 6) and
``src/models/model.cc`` (the reader, which takes versions 2 to 6).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from quantlevels.checkpoint.cursor import Cursor
from quantlevels.checkpoint.source import shown
from quantlevels.container import Contents, Places, Tensor
from quantlevels.errors import CheckpointError
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel

if TYPE_CHECKING:
    from quantlevels.container import Source, TypeLookup

#: binary versions whose header is as below; version 1 has no revision and no types, and no model has used it since 2019
_VERSIONS: Final = range(3, 7)
#: since this version a variable says its type, before it only the bytes of an element
_TYPED: Final = 4
#: the number of a type → its name: ``enum class DataType`` of ``include/ctranslate2/types.h``
_TYPES: Final = ("float32", "int8", "int16", "int32", "float16", "bfloat16")
#: bytes of an element → the name of its type, in files of version 3
_TYPES_BY_SIZE: Final = {4: "float32", 2: "int16", 1: "int8"}
#: limits far above any real model, so that a damaged file is noticed at once
_LONGEST_NAME: Final = 1 << 10
_MOST_DIMS: Final = 8
#: the fewest bytes of a variable: its name of one letter, rank, type and size
_LEAST_VARIABLE: Final = 2 + 2 + 1 + 1 + 4
_LEAST_ALIAS: Final = 2 * (2 + 2)


def read_ctranslate2(source: Source, level_of: TypeLookup) -> Contents:
    """The variables of a CTranslate2 model; those that are aliases of another are in ``tied``.

    Raises:
        CheckpointError: if the header breaks a rule of the format.
        TruncatedError: if the file ends before its header or its last variable does.
    """
    cursor = Cursor(source)
    (version,) = cursor.unpack("I")
    if version not in _VERSIONS:
        raise CheckpointError(source.path, f"is a CTranslate2 model of version {version}; versions 3 to 6 are read", 0)
    spec = _name(cursor)
    revision, count = cursor.unpack("II")
    cursor.expect(count, _LEAST_VARIABLE, "variables")
    tensors: list[Tensor] = []
    offsets: list[int] = []
    for _ in range(count):
        tensors.append(_variable(cursor, version, level_of))
        offsets.append(cursor.offset - tensors[-1].nbytes)
    tied: list[str] = []
    (aliases,) = cursor.unpack("I")
    cursor.expect(aliases, _LEAST_ALIAS, "aliases")
    names = {tensor.name for tensor in tensors}
    if len(names) < count:
        raise CheckpointError(source.path, "has two variables with the same name")
    for _ in range(aliases):
        alias, name = _name(cursor), _name(cursor)
        if name not in names:
            raise CheckpointError(source.path, f"has an alias of {shown(name)}, which does not exist", cursor.offset)
        tied.append(alias)
    if cursor.remaining:
        raise CheckpointError(source.path, f"has {cursor.remaining:,} bytes after its last alias", cursor.offset)
    return Contents(
        tensors=tensors,
        places=Places.in_file(source.name, offsets),
        metadata={"spec": spec, "revision": revision, "binary_version": version},
        tied=tuple(tied),
    )


def _name(cursor: Cursor) -> str:
    """The next string: its length with the NUL that ends it, then its bytes."""
    here = cursor.offset
    (length,) = cursor.unpack("H")
    if not 1 <= length <= _LONGEST_NAME:
        raise CheckpointError(cursor.source.path, f"has a name of {length:,} bytes", here)
    text = cursor.text(length, "a name")
    if not text.endswith("\0"):
        raise CheckpointError(cursor.source.path, "has a name without a NUL at its end", here)
    return text[:-1]


def _variable(cursor: Cursor, version: int, level_of: TypeLookup) -> Tensor:
    """The next variable, whose bytes are checked against its shape and skipped."""
    path, here = cursor.source.path, cursor.offset
    name = _name(cursor)
    (rank,) = cursor.unpack("B")
    if rank > _MOST_DIMS:
        raise CheckpointError(path, f"{name} has {rank} dimensions", here)
    shape = cursor.unpack("I" * rank)
    level = _type(cursor, version, name, level_of)
    elements = math.prod(shape)
    (nbytes,) = cursor.unpack("I")
    if version < _TYPED:  # it is the number of elements there
        nbytes = nbytes * level.block.bits // BITS_PER_BYTE
    if nbytes != elements * level.block.bits // BITS_PER_BYTE:
        raise CheckpointError(path, f"{name} has {nbytes:,} bytes for a shape of {list(shape)} in {level}", here)
    cursor.skip(nbytes)
    return Tensor(name, level, shape, nbytes)


def _type(cursor: Cursor, version: int, name: str, level_of: TypeLookup) -> QuantizationLevel:
    here = cursor.offset
    (number,) = cursor.unpack("B")
    known = dict(enumerate(_TYPES)) if version >= _TYPED else _TYPES_BY_SIZE
    if number not in known:
        raise CheckpointError(
            cursor.source.path, f"{name} has the type {number}, which CTranslate2 does not have", here
        )
    level = level_of("numpy", known[number])
    assert isinstance(level, QuantizationLevel)  # all of them come with quantlevels
    return level
