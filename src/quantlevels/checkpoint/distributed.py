"""PyTorch distributed checkpoints: ``.metadata``, a pickle that says which tensors lie where in ``.distcp`` files.

The pickle is never loaded. Source: torch 2.13.0, ``torch/distributed/checkpoint/metadata.py`` and ``filesystem.py``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from quantlevels.checkpoint.defects import named_files, unknown_types
from quantlevels.checkpoint.pickle import Global, Object, Value, interpret
from quantlevels.checkpoint.pytorch import ITEMSIZES, natural_numbers
from quantlevels.checkpoint.source import shown
from quantlevels.container import Contents, Tensor
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from quantlevels.container import Source, TypeLookup

#: the name that every such checkpoint gives to its list
NAME: Final = ".metadata"
#: bytes: the limit for any pickle of PyTorch
_LARGEST: Final = 1 << 27

_MODULE: Final = "torch.distributed.checkpoint.metadata"
_METADATA, _TENSOR, _BYTES, _PROPERTIES, _INDEX = (
    Global(_MODULE, name)
    for name in ("Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "TensorProperties", "MetadataIndex")
)
_STORAGE: Final = Global("torch.distributed.checkpoint.filesystem", "_StorageInfo")
_DTYPES: Final = {Global("torch", dtype): dtype for dtype in ITEMSIZES}
_KNOWN: Final = frozenset(
    {
        *(_METADATA, _TENSOR, _BYTES, _PROPERTIES, _INDEX, _STORAGE),
        *(Global(_MODULE, name) for name in ("ChunkStorageMetadata", "StorageMeta", "_MEM_FORMAT_ENCODING")),
        *_DTYPES,
        Global("torch", "Size"),
        Global("torch.serialization", "_get_layout"),
        Global("collections", "OrderedDict"),
        *(Global(f"pathlib{module}", name) for module in ("", "._local") for name in ("PosixPath", "WindowsPath")),
        *(Global("torch", name) for name in ("contiguous_format", "preserve_format", "channels_last")),
    }
)
#: first parts of names under which trainers keep the state of an optimizer, which is not weights
_OPTIMIZERS: Final = ("optimizer.", "optim.", "optimizers.")


def read_distributed(source: Source, level_of: TypeLookup) -> Contents:
    """The tensors of a distributed checkpoint; those of an optimizer are left out, as in any PyTorch file.

    A tensor may be cut into chunks over several files, each a small archive of its own: none has a place.

    Raises:
        CheckpointError: if the list is malformed, or wants any name that it need not.
    """
    if source.size > _LARGEST:
        raise CheckpointError(
            source.path, f"has {source.size:,} bytes, more than the list of a distributed checkpoint can have"
        )
    fields = _fields(source, interpret(source, 0, source.size, _KNOWN).value, _METADATA)
    tensors: list[Tensor] = []
    for name, value in _items(source, fields.get("state_dict_metadata")):
        if not isinstance(name, str) or not isinstance(value, Object):
            raise _broken(source, "a tensor without a name")
        if value.function == _TENSOR and not name.startswith(_OPTIMIZERS):
            tensors.append(_tensor(source, name, value, level_of))
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise _broken(source, "two tensors with the same name")
    files, findings = named_files(source, _ends(source, fields.get("storage_data")))
    return Contents(tensors=tensors, files=files, findings=(*unknown_types(tensors), *findings))


def _tensor(source: Source, name: str, value: Object, level_of: TypeLookup) -> Tensor:
    fields = _fields(source, value, _TENSOR)
    properties = fields.get("properties")
    dtype: object
    match properties:
        # torch pickles the properties as a tuple that begins with the dtype; before 2.0 as its fields
        case Object(function=function, state=(first, *_)) if function == _PROPERTIES:
            dtype = first
        case _:
            dtype = _fields(source, properties, _PROPERTIES).get("dtype")
    shape = natural_numbers(fields.get("size"))
    if not isinstance(dtype, Global) or dtype not in _DTYPES or shape is None:
        raise _broken(source, f"{shown(name)} has no dtype or size")
    spelling = _DTYPES[dtype]
    return Tensor(name, level_of("torch", spelling), shape, math.prod(shape) * ITEMSIZES[spelling])


def _ends(source: Source, storage: Value) -> dict[str, int]:
    """The files in which the tensors lie, and where the last of each ends."""
    ends: dict[str, int] = {}
    for _, value in _items(source, storage):
        fields = _fields(source, value, _STORAGE)
        match fields.get("relative_path"), fields.get("offset"), fields.get("length"):
            case str(file), int(offset), int(length) if offset >= 0 <= length:
                ends[file] = max(ends.get(file, 0), offset + length)
            case _:
                raise _broken(source, "a part of a tensor without a file, an offset or a length")
    return dict(sorted(ends.items()))


def _fields(source: Source, value: Value, function: Global) -> Mapping[str, Value]:
    """The fields of an object of a class.

    Raises:
        CheckpointError: if the value is not such an object.
    """
    if not isinstance(value, Object) or value.function != function:
        raise _broken(source, f"something that is not {function.name}")
    return {name: field for name, field in _items(source, value.state) if isinstance(name, str)}


def _items(source: Source, value: Value) -> Iterator[tuple[Value, Value]]:
    if not isinstance(value, Object) or value.function not in (None, Global("collections", "OrderedDict")):
        raise _broken(source, "something that is not a dict")
    yield from value.items


def _broken(source: Source, reason: str) -> CheckpointError:
    return CheckpointError(source.path, f"is not the list of a distributed checkpoint: it holds {reason}")
