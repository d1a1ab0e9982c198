"""MLC: ``tensor-cache.json`` (before: ``ndarray-cache.json``), a list of shards and of the arrays in each.

Source: tvm 0.21, ``python/tvm/contrib/tvmjs.py`` (``dump_tensor_cache``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from quantlevels.checkpoint.defects import named_files, unknown_types
from quantlevels.checkpoint.jsonfile import read_object
from quantlevels.checkpoint.source import shown
from quantlevels.container import Contents, Place, Places, Tensor, UnknownType
from quantlevels.errors import CheckpointError
from quantlevels.vocabulary.level import BITS_PER_BYTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from quantlevels.container import JSON, Source, TypeLookup

#: the names of the list, the newer first
NAMES: Final = ("tensor-cache.json", "ndarray-cache.json")
#: how an array is stored → the dtype it has in the file, if that is not its own
_FORMATS: Final[dict[str, str | None]] = {"raw": None, "f32-to-bf16": "bfloat16"}
_SHARD_FORMAT: Final = "raw-shard"
#: what makes a name lead elsewhere, on any system
_NOT_PLAIN: Final = frozenset("/\\:~\0")
_MOST_DIMS: Final = 64


def read_mlc(source: Source, level_of: TypeLookup) -> Contents:
    """The arrays that the list of an MLC model names, each checked against the bytes of its shard.

    Raises:
        CheckpointError: if the list is malformed, or an array is not where it can be.
    """
    cache = read_object(source)
    tensors: list[Tensor] = []
    places: list[Place] = []
    ends: dict[str, int] = {}
    # a record of the list is a shard, and each shard has records of its own: the arrays in it
    for shard in _objects(source, cache, "records"):
        file, nbytes = _shard(source, shard)
        ends[file] = max(ends.get(file, 0), nbytes)
        for record in _objects(source, shard, "records"):
            offset, tensor = _array(source, record, nbytes, level_of)
            tensors.append(tensor)
            places.append(Place(file, offset))
    names = {tensor.name for tensor in tensors}
    if len(names) < len(tensors):
        raise _broken(source, "two arrays with the same name")
    files, findings = named_files(source, ends)
    return Contents(
        tensors=tensors,
        places=Places.of(places),
        metadata=_metadata(cache),
        files=files,
        findings=(*findings, *unknown_types(tensors)),
    )


def _metadata(cache: Mapping[str, JSON]) -> dict[str, str | int | float | bool]:
    claims = cache.get("metadata")
    if not isinstance(claims, dict):
        return {}
    return {key: value for key, value in claims.items() if isinstance(value, str | int | float)}


def _shard(source: Source, shard: Mapping[str, JSON]) -> tuple[str, int]:
    """The name of a shard and its bytes."""
    file, nbytes = shard.get("dataPath"), shard.get("nbytes")
    if not isinstance(file, str) or not file.strip(".") or _NOT_PLAIN & set(file):
        raise _broken(source, f"a shard whose dataPath is not a plain name: {shown(file)}")
    if type(nbytes) is not int or nbytes < 0 or shard.get("format") != _SHARD_FORMAT:
        raise _broken(source, f"the shard {shown(file)} in another form than {_SHARD_FORMAT!r}, or without its bytes")
    return file, nbytes


def _array(source: Source, record: Mapping[str, JSON], shard: int, level_of: TypeLookup) -> tuple[int, Tensor]:
    """Where an array begins in a shard of ``shard`` bytes, and the tensor it is."""
    name, shape, dtype = record.get("name"), record.get("shape"), record.get("dtype")
    format, nbytes, offset = record.get("format"), record.get("nbytes"), record.get("byteOffset")
    if not isinstance(name, str) or not isinstance(dtype, str) or not isinstance(format, str):
        raise _broken(source, "an array without a name, a dtype or a format")
    if not isinstance(shape, list) or len(shape) > _MOST_DIMS:
        raise _broken(source, f"{shown(name)} without a shape")
    sizes = tuple(size for size in shape if type(size) is int and size >= 0)
    if len(sizes) < len(shape):
        raise _broken(source, f"{shown(name)} with the shape {shown(shape)}")
    if type(nbytes) is not int or type(offset) is not int or min(nbytes, offset) < 0 or offset + nbytes > shard:
        raise _broken(source, f"{shown(name)} outside of its shard")
    if format not in _FORMATS:
        raise _broken(source, f"{shown(name)} in the format {shown(format)}")
    level = level_of("numpy", _FORMATS[format] or dtype)
    if not isinstance(level, UnknownType):
        wanted = math.prod(sizes) * level.block.bits // BITS_PER_BYTE
        if wanted != nbytes:
            raise _broken(source, f"{shown(name)} with {nbytes:,} bytes for a shape of {list(sizes)} in {level}")
    return offset, Tensor(name, level, sizes, nbytes)


def _objects(source: Source, value: Mapping[str, JSON], key: str) -> Iterator[dict[str, JSON]]:
    found = value.get(key)
    if not isinstance(found, list):
        raise _broken(source, f"no list {key!r}")
    for item in found:
        if not isinstance(item, dict):
            raise _broken(source, f"{shown(item)} among its {key}")
        yield item


def _broken(source: Source, reason: str) -> CheckpointError:
    return CheckpointError(source.path, f"is not the list of an MLC model: it holds {reason}")
