"""PyTorch distributed checkpoints: ``.metadata``, a pickle that says which tensors lie where in ``.distcp`` files.

The pickle is never loaded. Source: torch 2.13.0, ``torch/distributed/checkpoint/metadata.py`` and ``filesystem.py``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from attrs import define, evolve

from quantlevels.checkpoint.defects import named_files, unknown_types
from quantlevels.checkpoint.pickle import Global, Object, Value, interpret
from quantlevels.checkpoint.pytorch import ITEMSIZES, natural_numbers
from quantlevels.checkpoint.source import shown
from quantlevels.container import Contents, Tensor
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding, pluralize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from quantlevels.container import Source, TypeLookup

#: the name that every such checkpoint gives to its list
NAME: Final = ".metadata"
#: bytes: the list of five thousand tensors in five hundred parts each has 384 MB
_LARGEST: Final = 1 << 29

_MODULE: Final = "torch.distributed.checkpoint.metadata"
_METADATA, _TENSOR, _PART, _BYTES, _PROPERTIES, _INDEX = (
    Global(_MODULE, name)
    for name in (
        *("Metadata", "TensorStorageMetadata", "ChunkStorageMetadata"),
        *("BytesStorageMetadata", "TensorProperties", "MetadataIndex"),
    )
)
_STORAGE: Final = Global("torch.distributed.checkpoint.filesystem", "_StorageInfo")
_DTYPES: Final = {Global("torch", dtype): dtype for dtype in ITEMSIZES}
_KNOWN: Final = frozenset(
    {
        *(_METADATA, _TENSOR, _PART, _BYTES, _PROPERTIES, _INDEX, _STORAGE),
        *(Global(_MODULE, name) for name in ("StorageMeta", "_MEM_FORMAT_ENCODING")),
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


@define
class _Stored:
    """What the files hold of one tensor: its parts, and their bytes."""

    parts: int = 0
    nbytes: int = 0
    #: whether a part is compressed or otherwise transformed, so that its bytes do not tell how much it holds
    transformed: bool = False


def read_distributed(source: Source, level_of: TypeLookup) -> Contents:
    """The tensors of a distributed checkpoint; those of an optimizer are left out, as in any PyTorch file.

    A tensor may be cut into parts over several files, each a small archive of its own: none has a place.

    Raises:
        CheckpointError: if the list is malformed, or uses a name that such a list does not need.
    """
    if source.size > _LARGEST:
        raise CheckpointError(
            source.path, f"has {source.size:,} bytes, more than the list of a distributed checkpoint can have"
        )
    value = interpret(source, 0, source.size, _KNOWN, nbytes=source.size).value
    fields = _fields(source, value, _METADATA)
    stored, ends = _storage(source, fields.get("storage_data"))
    tensors: list[Tensor] = []
    incomplete: list[Finding] = []
    for name, entry in _items(source, fields.get("state_dict_metadata")):
        if not isinstance(name, str) or not isinstance(entry, Object):
            raise _broken(source, "a tensor without a name")
        if entry.function not in (_TENSOR, _BYTES):
            raise _broken(source, f"{shown(name)}, which is not described as a tensor")
        if entry.function == _TENSOR and not name.startswith(_OPTIMIZERS):
            described = _fields(source, entry, _TENSOR)
            tensors.append(_tensor(source, name, described, level_of))
            parts = _parts(source, name, described)
            incomplete += _incomplete(tensors[-1], parts, stored.get(name, _Stored()))
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise _broken(source, "two tensors with the same name")
    files, findings = named_files(source, ends)
    return Contents(tensors=tensors, files=files, findings=(*unknown_types(tensors), *_alike(incomplete), *findings))


def _tensor(source: Source, name: str, fields: Mapping[str, Value], level_of: TypeLookup) -> Tensor:
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


def _parts(source: Source, name: str, fields: Mapping[str, Value]) -> list[int]:
    """The elements of each part of a tensor."""
    parts = fields.get("chunks")
    if not isinstance(parts, list):
        raise _broken(source, f"{shown(name)} without its parts")
    elements: list[int] = []
    for part in parts:
        sizes = natural_numbers(_fields(source, part, _PART).get("sizes"))
        if sizes is None:
            raise _broken(source, f"{shown(name)} with a part that has no size")
        elements.append(math.prod(sizes))
    return elements


def _incomplete(tensor: Tensor, parts: Sequence[int], stored: _Stored) -> Iterator[Finding]:
    """What is missing of a tensor: torch loads such a checkpoint, and leaves those weights as they were.

    A part has at least the bytes of its elements, as each is an archive.
    """
    elements = math.prod(tensor.shape)
    if sum(parts) != elements:
        yield Finding("QL202", f"its parts hold {sum(parts):,} of {elements:,} elements", tensor.name)
    elif stored.parts != len(parts):
        yield Finding("QL202", f"the list has the place of {stored.parts:,} of its {len(parts):,} parts", tensor.name)
    elif stored.nbytes < tensor.nbytes and not stored.transformed:
        message = f"its parts take {stored.nbytes:,} bytes in the files; its shape needs {tensor.nbytes:,}"
        yield Finding("QL206", message, tensor.name)


def _alike(findings: Iterable[Finding]) -> Iterator[Finding]:
    """One finding in place of all those with the same code."""
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    for first, *others in by_code.values():
        more = f" (and {pluralize(len(others), 'tensor')} more)" if others else ""
        yield evolve(first, message=first.message + more)


def _storage(source: Source, storage: Value) -> tuple[dict[str, _Stored], dict[str, int]]:
    """What the files hold of each tensor, and where the last part in each file ends."""
    stored: dict[str, _Stored] = {}
    ends: dict[str, int] = {}
    for index, value in _items(source, storage):
        name = _fields(source, index, _INDEX).get("fqn")
        fields = _fields(source, value, _STORAGE)
        match name, fields.get("relative_path"), fields.get("offset"), fields.get("length"):
            case str(), str(file), int(offset), int(length) if offset >= 0 <= length:
                ends[file] = max(ends.get(file, 0), offset + length)
            case _:
                raise _broken(source, "a part of a tensor without a name, a file, an offset or a length")
        tensor = stored.setdefault(name, _Stored())
        tensor.parts += 1
        tensor.nbytes += length
        tensor.transformed |= bool(fields.get("transform_descriptors"))
    return stored, dict(sorted(ends.items()))


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
    yield from value.items()


def _broken(source: Source, reason: str) -> CheckpointError:
    return CheckpointError(source.path, f"is not the list of a distributed checkpoint: it holds {reason}")
