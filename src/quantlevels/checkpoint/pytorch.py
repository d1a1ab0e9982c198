"""PyTorch files: the tensors that ``torch.save`` wrote, as described by a pickle, which is never loaded.

What a pickle holds and how storages are kept: ``torch/serialization.py``, ``torch/_utils.py`` and
``torch/_tensor.py`` of torch 2.13.0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple, final

from quantlevels.checkpoint.archive import MAGIC as ZIP_MAGIC
from quantlevels.checkpoint.archive import Archive
from quantlevels.checkpoint.defects import unknown_types
from quantlevels.checkpoint.pickle import Global, Object, Persistent, Pickle, Value, interpret
from quantlevels.checkpoint.source import shown
from quantlevels.container import Contents, Places, Tensor
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding, pluralize

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from quantlevels.container import ByteOrder, Scalar, Source, TypeLookup

_PICKLE_MAGIC: Final = b"\x80"
#: the first pickle of a file in the layout before torch 1.6, and the second
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001
_COUNT_BYTES: Final = 8
#: versions of the zip layout: ``caffe2/serialize/versions.h``
_NEWEST_VERSION: Final = 10
#: bytes of a version or of "little": what is longer is neither
_LONGEST_SHORT_TEXT: Final = 16
#: characters of names for each byte of a pickle, and for the smallest: a pickle writes a key once and refers to it in
#: two bytes, so 1.3 MB could spell 23 GB of dotted names
_NAMES_PER_BYTE: Final = 2
_LEAST_ROOM: Final = 1 << 20
#: a remote file of this size is fetched by its first request; in a larger one each local header would take another
_FETCHED_WHOLE: Final = 128 << 10
#: bytes of the entries that say the byte order and the format, with their headers
_SMALL_ENTRIES: Final = 1 << 12
#: bytes: far larger than any real pickle, and a limit for the time that a hostile one takes
_LARGEST_PICKLE: Final = 1 << 27
#: containers within containers; state dicts nest three or four deep
_DEEPEST: Final = 64
#: most operators of torch refuse more
_MOST_DIMS: Final = 64
_LARGEST_COUNT: Final = 1 << 63

#: names of typed storages, without ``Storage`` → dtype
_STORAGES: Final = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexDouble": "complex128",
    "ComplexFloat": "complex64",
    "QUInt8": "quint8",
    "QInt8": "qint8",
    "QInt32": "qint32",
    "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4",
}
_UNTYPED_STORAGES: Final = ("UntypedStorage", "_UntypedStorage", "TypedStorage", "_TypedStorage")
#: dtype → bytes of an element
ITEMSIZES: Final[dict[str, int]] = {
    dtype: itemsize
    for itemsize, dtypes in {
        1: "bool uint8 int8 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 "
        "qint8 quint8 quint4x2 quint2x4 bits8 bits1x8 bits2x4 bits4x2 "
        "int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7",
        2: "float16 bfloat16 int16 uint16 bits16",
        4: "float32 int32 uint32 qint32 complex32",
        8: "float64 int64 uint64 complex64",
        16: "complex128",
    }.items()
    for dtype in dtypes.split()
}
#: quantized dtype → the dtype of its codes
_CODES: Final = {"qint8": "int8", "quint8": "uint8", "qint32": "int32", "quint4x2": "uint4", "quint2x4": "uint2"}
#: quantized dtype → codes in one element of a storage
_PACKED: Final = {"quint4x2": 2, "quint2x4": 4}
#: entries of a quantizer's settings: scheme, scales, zero points, axis
_PER_CHANNEL: Final = 4
#: the one dtype whose element holds two weights: torch's shape counts the pairs
_PAIRS: Final = "float4_e2m1fn_x2"

_CONTAINERS: Final = frozenset(
    {Global("collections", name) for name in ("OrderedDict", "defaultdict", "Counter")}
    | {Global("argparse", "Namespace")}
)
#: what may hold a tensor
_HOLDERS: Final = (Object, list, tuple)
_REBUILDS: Final = frozenset(
    {
        Global("torch._utils", f"_rebuild_{what}")
        for what in (
            "tensor",
            "tensor_v2",
            "tensor_v3",
            "qtensor",
            "sparse_tensor",
            "nested_tensor",
            "parameter",
            "parameter_with_state",
            "device_tensor_from_cpu_tensor",
            "meta_tensor_no_storage",
            "wrapper_subclass",
        )
    }
    | {Global("torch._tensor", f"_rebuild_from_type{version}") for version in ("", "_v2")}
)
#: module → the classes torchao's tensors are of, and those of their settings (torchao 0.18.0, `add_safe_globals`)
_TORCHAO: Final = {
    "quantization": "Float8Tensor Int4PlainInt32Tensor Int4PreshuffledTensor Int4Tensor Int4TilePackedTo4dTensor "
    "Int8Tensor IntxOpaqueTensor IntxUnpackedToInt8Tensor",
    "quantization.granularity": "PerBlock PerRow PerTensor",
    "quantization.quant_primitives": "MappingType ZeroPointDomain",
    "quantization.quantize_.common.kernel_preference": "KernelPreference",
    "quantization.quantize_.workflows.float8.float8_packing_format": "Float8PackingFormat",
    "quantization.quantize_.workflows.float8.float8_tensor": "QuantizeTensorToFloat8Kwargs",
    "quantization.quantize_.workflows.int8.int8_tensor": "QuantizeTensorToInt8Kwargs",
    "quantization.quantize_.workflows.intx.intx_packing_format": "IntxPackingFormat",
    "quantization.quantize_.workflows.intx.intx_unpacked_to_int8_tensor": (
        "IntxUnpackedToInt8TensorActivationQuantization"
    ),
    "float8.inference": "Float8MMConfig",
    "prototype.mx_formats.config": "ScaleCalculationMode",
    "prototype.mx_formats.mx_tensor": "MXTensor QuantizeTensorToMXKwargs",
    "prototype.mx_formats.nvfp4_tensor": "NVFP4Tensor QuantizeTensorToNVFP4Kwargs",
}
#: what `torch.load` itself takes for weights, and the scalars and settings often kept beside them
_KNOWN: Final = frozenset(
    {
        *_CONTAINERS,
        *_REBUILDS,
        *(Global(f"torchao.{module}", name) for module, names in _TORCHAO.items() for name in names.split()),
        *(
            Global(module, name + what)
            for module in ("torch", "torch.cuda")
            for name in _STORAGES
            for what in ("Storage", "Tensor")
        ),
        *(Global(module, name) for module in ("torch", "torch.storage") for name in _UNTYPED_STORAGES),
        *(Global("torch", dtype) for dtype in ITEMSIZES),
        *(
            Global("torch", f"per_{what}")
            for what in ("tensor_affine", "tensor_symmetric", "channel_affine", "channel_symmetric")
        ),
        *(Global("torch", name) for name in ("Size", "device", "Tensor", "per_channel_affine_float_qparams")),
        *(Global("torch.nn.parameter", name) for name in ("Parameter", "Buffer")),
        Global("torch.serialization", "_get_layout"),
        Global("_codecs", "encode"),
        *(
            Global(module, name)
            for module in ("builtins", "__builtin__")
            for name in ("set", "frozenset", "bytearray", "complex", "list", "dict", "tuple", "int", "float", "str")
        ),
        *(Global(f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core")),
        *(Global(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
        *(Global(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
        *(Global("numpy", name) for name in ("dtype", "ndarray")),
    }
)
#: where a quantized linear layer of torch.ao keeps the pair of its weight and bias
_LINEAR: Final = "._packed_params._packed_params"
_LINEAR_PARTS: Final = ("weight", "bias")
#: HQQ's codes, and the dict of what belongs to them
_HQQ_CODES: Final = "W_q"
_HQQ_META: Final = "meta"
#: what builds the typed lists and dicts of TorchScript from plain ones
_SCRIPT_BUILDERS: Final = "torch.jit._pickle"
#: the pickle of the tensors in a program's text, which tells TorchScript from `torch.save`, and their folder
_CONSTANTS: Final = "constants"
#: the keys of what `Optimizer.state_dict()` returns
_OPTIMIZER: Final = frozenset({"state", "param_groups"})


def read_pytorch(source: Source, level_of: TypeLookup) -> Contents:
    """The tensors of a file that ``torch.save`` wrote, zip archive or the older stream, or of a TorchScript archive.

    Nested dicts and lists are flattened to dotted names. The states of optimizers (a dict of ``state`` and
    ``param_groups``) are not weights and are left out. A storage is counted once: of names that share its elements the
    first one has the tensor, of a view and a part of it the larger. Plain values in dicts become metadata.

    Raises:
        CheckpointError: if it is not such a file, its sizes are not as they must be, or it wants any name that is not
            part of a tensor.
    """
    magic = source.read(0, min(len(ZIP_MAGIC), source.size))
    if magic == ZIP_MAGIC:
        saved = _read_archive(source)
    elif magic.startswith(_PICKLE_MAGIC):
        saved = _read_stream(source)
    else:
        raise CheckpointError(source.path, "is not a PyTorch file: neither a zip archive nor a pickle", 0)
    reader = _Reader(source.path, saved.pickled)
    for name, root in saved.roots.items():
        reader.collect(name, root)
    return reader.contents(source.name, saved, level_of)


class _Saved(NamedTuple):
    """What a file holds before its tensors are collected."""

    #: prefix of names → what its pickle would build
    roots: Mapping[str, Value]
    #: (prefix of names, key of a storage) → where the storage begins in the file
    offsets: Mapping[tuple[str, str], int]
    #: bytes of the pickles
    pickled: int
    byte_order: ByteOrder = "little"


class _Storage(NamedTuple):
    """A reference to the bytes behind tensors."""

    key: str
    dtype: str
    nbytes: int
    #: elements of the storage before this part of it
    offset: int


class _View(NamedTuple):
    """A tensor: the elements of a storage it shows. All in bytes, but the shape."""

    dtype: str
    shape: tuple[int, ...]
    #: prefix of names and key
    storage: tuple[str, str]
    start: int
    end: int
    #: bytes of distinct elements
    nbytes: int
    #: step and size per axis, smallest step first
    axes: tuple[tuple[int, int], ...]
    #: whether the elements stand one after the other, rows last
    row_major: bool


def _storage(path: Path | str, value: Value) -> _Storage:
    """A persistent reference as what ``torch.save`` means by it.

    Raises:
        CheckpointError: if it is not a storage.
    """
    match value:
        case Persistent(("storage", Global(_, name), str(key), str(), int(count), *rest)) if count >= 0:
            dtype = _STORAGES.get(name.removesuffix("Storage"), "uint8")
            storage = _Storage(key, dtype, count * ITEMSIZES[dtype], 0)
            match rest:
                case [] | [None]:
                    return storage
                case [(str(), int(offset), int())] if offset >= 0:
                    return storage._replace(offset=offset)
                case _:
                    pass
        case _:
            pass
    raise CheckpointError(path, "is not a PyTorch file: it refers to something that is not a storage")


def _storages(path: Path | str, references: Iterable[Persistent]) -> dict[str, _Storage]:
    """Every storage by its key.

    Raises:
        CheckpointError: if one of them has two sizes, or two dtypes.
    """
    storages: dict[str, _Storage] = {}
    for reference in references:
        storage = _storage(path, reference)
        # a file made to deceive could show one storage as a small one here and as a large one there
        if storages.setdefault(storage.key, storage).nbytes != storage.nbytes:
            raise CheckpointError(
                path, f"is not a valid PyTorch file: storage {shown(storage.key)} has two different sizes"
            )
        if storages[storage.key].dtype != storage.dtype:
            raise CheckpointError(
                path, f"is not a valid PyTorch file: storage {shown(storage.key)} has two different dtypes"
            )
    return storages


def _read_archive(source: Source) -> _Saved:
    """The layout since torch 1.6: ``*/data.pkl``, and a file in ``*/data/`` for each storage.

    TorchScript has the tensors of its program in ``*/constants.pkl`` and ``*/constants/``: all of them once frozen.
    """
    archive = Archive(source)
    pickles = [name for name in archive.entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        held = f"{len(pickles)} data.pkl"
        if any(name.endswith("/models/model.json") for name in archive.entries):
            held = "an exported program (.pt2); save its state_dict"
        raise CheckpointError(source.path, f"is not a PyTorch file: a zip archive with {held}")
    folder = pickles[0].removesuffix("data.pkl")
    is_script = f"{folder}{_CONSTANTS}.pkl" in archive.entries
    kept = {"": "data", _CONSTANTS: _CONSTANTS} if is_script else {"": "data"}
    known = _ScriptNames() if is_script else _KNOWN
    roots: dict[str, Value] = {}
    offsets: dict[tuple[str, str], int] = {}
    pickled = 0
    for prefix, place in kept.items():
        pickle = _pickle_in(archive, f"{folder}{place}.pkl", known)
        pickled += pickle.nbytes
        roots[prefix] = pickle.value
        for key, offset in _storage_offsets(archive, f"{folder}{place}/", pickle):
            offsets[prefix, key] = offset
    return _Saved(roots, offsets, pickled, _byte_order(archive, folder))


@final
class _ScriptNames:
    """What a TorchScript archive may use besides: the classes it brings its own code for, and typed containers."""

    def __contains__(self, name: object) -> bool:
        return name in _KNOWN or (isinstance(name, Global) and (_is_script(name) or name.module == _SCRIPT_BUILDERS))


def _is_script(name: Global) -> bool:
    return f"{name.module}.".startswith("__torch__.")


def _byte_order(archive: Archive, folder: str) -> ByteOrder:
    """The byte order of the storages; the version of the archive is checked beside it.

    Raises:
        CheckpointError: if torch refuses one of them.
    """
    path = archive.source.path
    # old versions of torch did not write these entries; torch reads such an archive as little-endian
    version = _short_text(archive, f"{folder}version", "3")
    if not (version.isascii() and version.isdecimal() and 1 <= int(version) <= _NEWEST_VERSION):
        raise CheckpointError(path, f"is not a valid PyTorch file: version {shown(version)} is not one of 1 to 10")
    match _short_text(archive, f"{folder}byteorder", "little"):
        case ("little" | "big") as order:
            return order
        case other:
            raise CheckpointError(path, f"is not a valid PyTorch file: byte order {shown(other)}")


def _short_text(archive: Archive, name: str, default: str) -> str:
    """The text of a small entry; a default if the archive has no such entry."""
    if name not in archive.entries:
        return default
    start, end = archive.span(name)
    return archive.source.read(start, min(end - start, _LONGEST_SHORT_TEXT)).decode(errors="replace").strip()


def _pickle_in(archive: Archive, name: str, known: Container[Global]) -> Pickle:
    """What one pickle of an archive says."""
    entry = archive.entries.get(name)
    if entry is not None:
        # torch writes small entries right behind the pickle
        archive.source.prefetch(entry.offset, entry.nbytes + _SMALL_ENTRIES)
    start, end = archive.span(name)
    if end - start > _LARGEST_PICKLE:
        reason = f"is not a PyTorch file: {name.rpartition('/')[2]} has {end - start:,} bytes"
        raise CheckpointError(archive.source.path, reason, start)
    return interpret(archive.source, start, end, known, nbytes=end - start)


def _storage_offsets(archive: Archive, folder: str, pickle: Pickle) -> Iterator[tuple[str, int]]:
    """The key of each storage and where it begins, checked against the files of the archive.

    Nothing is given for a remote archive: the local header of each storage would take a request.
    """
    path = archive.source.path
    for storage in _storages(path, pickle.persistent).values():
        name = folder + storage.key
        entry = archive.entries.get(name)
        if entry is None or not entry.stored or entry.nbytes != storage.nbytes:
            problem = f"storage {shown(storage.key)} is missing or does not have {storage.nbytes:,} bytes"
            raise CheckpointError(path, f"is not a valid PyTorch file: {problem}")
        if archive.source.is_local or archive.source.size <= _FETCHED_WHOLE:
            yield storage.key, archive.span(name)[0]


def _read_stream(source: Source) -> _Saved:
    """The layout before torch 1.6: four pickles, the keys of the storages, then each with its count of elements."""
    magic = interpret(source, 0, source.size, frozenset())
    if magic.value != _LEGACY_MAGIC:
        raise CheckpointError(source.path, "is not a PyTorch file: a pickle of something other than tensors", 0)
    protocol = interpret(source, magic.end, source.size, frozenset())
    if protocol.value != _LEGACY_PROTOCOL:
        raise CheckpointError(source.path, "is of an unknown protocol of torch.save", magic.end)
    system = interpret(source, protocol.end, source.size, frozenset())
    pickle = interpret(source, system.end, source.size, _KNOWN)
    keys = interpret(source, pickle.end, source.size, frozenset())
    storages = _storages(source.path, pickle.persistent)
    position = keys.end
    offsets: dict[tuple[str, str], int] = {}
    for key in keys.value if isinstance(keys.value, list) else [None]:
        # popped, so that a key that comes twice is refused as one that is not known
        storage = storages.pop(key, None) if isinstance(key, str) else None
        if storage is None:
            reason = "is not a valid PyTorch file: the keys of its storages are not those its tensors use"
            raise CheckpointError(source.path, reason, pickle.end)
        count = int.from_bytes(source.read(position, _COUNT_BYTES), "little")
        if count * ITEMSIZES[storage.dtype] != storage.nbytes:
            raise CheckpointError(
                source.path, f"is not a valid PyTorch file: storage {shown(key)} has two different sizes", position
            )
        offsets["", storage.key] = position + _COUNT_BYTES
        position += _COUNT_BYTES + storage.nbytes
        source.read(position, 0)  # it ends within the file
    if storages:
        raise CheckpointError(
            source.path,
            f"is not a valid PyTorch file: storage {shown(min(storages))} has no bytes",
            position,
        )
    return _Saved({"": pickle.value}, offsets, pickle.nbytes)


def _items(value: Object) -> Sequence[tuple[Value, Value]]:
    """What a dict holds, filled in one by one or, by Python 2, from a list of pairs."""
    match value.arguments:
        case (list() as pairs, *_):
            return [(pair[0], pair[-1]) for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2]
        case _:
            return list(value.items())


def _is_empty(value: Object | list[Value] | tuple[Value, ...]) -> bool:
    """Whether it is an empty dict, list or tuple."""
    if isinstance(value, Object):
        return value.function is None and not value.content
    return not value


class _Reader:
    """Collects the tensors of a symbolic value, each container once however often it is referred to."""

    def __init__(self, path: Path | str, pickled: int) -> None:
        self.path = path
        #: characters that names of tensors may still take, and those of metadata: one long key, which a pickle can
        #: refer to in two bytes, would otherwise be copied into every name below it
        self.room_for_names = self.room_for_metadata = _NAMES_PER_BYTE * pickled + _LEAST_ROOM
        #: plain values that were left out, as their names are too long
        self.left_out = 0
        #: prefix of the names that are collected; keys of storages are unique under one prefix
        self.prefix = ""
        self.views: dict[str, _View] = {}
        #: names of tensors that another name came to before
        self.tied: list[str] = []
        self.metadata: dict[str, Scalar] = {}
        #: prefix of names and key of a storage → dtype of the first tensor in it
        self.dtypes: dict[tuple[str, str], str] = {}
        #: names of tensors of another dtype than the first in their storage, which torch never saves
        self.two_dtypes: list[str] = []
        #: objects that the pickle does not hold itself; kept here, so that no other can have their id
        self.made: list[Object] = []

    def collect(self, prefix: str, root: Value) -> None:
        if not isinstance(root, _HOLDERS):
            raise self.broken("it holds no tensors")
        self.prefix = prefix
        # Iterators in place of recursion, as a pickle can nest deeper than Python's own stack; and not lists of parts,
        # of which a container may have millions that hold nothing.
        pending: list[Iterator[tuple[str, Value]]] = [iter([(prefix, root)])]
        seen: set[int] = set()
        while pending:
            name, value = next(pending[-1], (None, None))
            if name is None:
                pending.pop()
                continue
            if not isinstance(value, _HOLDERS) or _is_empty(value):
                continue
            if id(value) in seen:
                if isinstance(value, Object) and value.function in _REBUILDS:
                    self.tied.append(name)
                continue
            seen.add(id(value))
            if len(pending) > _DEEPEST:
                raise self.broken(f"it nests deeper than {_DEEPEST}")
            pending.append(iter(self.parts(name, value)))

    def parts(self, name: str, value: Object | list[Value] | tuple[Value, ...]) -> Iterable[tuple[str, Value]]:
        """What a container, or a tensor made of others, holds, by name; a tensor of its own is taken note of."""
        if not isinstance(value, Object):
            keys: Iterable[str | int] = range(len(value))
            if name.endswith(_LINEAR) and len(value) == len(_LINEAR_PARTS):
                name, keys = name.removesuffix(_LINEAR), _LINEAR_PARTS
            parts = zip(keys, value, strict=True)  # of which there may be millions, without a tensor among them
            holders = ((key, part) for key, part in parts if isinstance(part, _HOLDERS) and not _is_empty(part))
            return ((self.named(name, key), part) for key, part in holders)
        if value.function is None or value.function in _CONTAINERS:
            return self.entries(name, value)
        if value.function in _REBUILDS:
            return self.rebuilt(name, value.function.name.removeprefix("_rebuild_"), value.arguments)
        if _is_script(value.function):
            return ((name, value.state),)
        if value.function.module == _SCRIPT_BUILDERS:
            return ((name, part) for part in value.arguments[:1])
        return ()

    def entries(self, name: str, value: Object) -> Iterator[tuple[str, Value]]:
        pairs = _items(value)
        keys = {key for key, _ in pairs if isinstance(key, str)}
        if keys >= _OPTIMIZER:
            return
        for index, (key, part) in enumerate(pairs):
            label = key if isinstance(key, (str, int)) else index
            if isinstance(part, (str, int, float)):
                self.keep_plain(name, label, part)
            elif key == _HQQ_META and _HQQ_CODES in keys:
                # HQQ's safetensors have no "meta" in their names, and one scheme reads both
                yield name, part
            elif isinstance(part, _HOLDERS):
                yield self.named(name, label), part

    def named(self, name: str, key: str | int) -> str:
        """The name of what a container holds under a key.

        Raises:
            CheckpointError: if all names together are far longer than the pickle.
        """
        child = _dotted(name, key)
        self.room_for_names -= len(child)
        if self.room_for_names < 0:
            raise self.broken("the names of its tensors are longer than its pickle can need")
        return child

    def keep_plain(self, name: str, key: str | int, value: Scalar) -> None:
        """Keep a number or text beside the tensors, if its name is not too long."""
        self.room_for_metadata -= len(name) + len(str(key))
        if self.room_for_metadata < 0:
            self.left_out += 1
        else:
            self.metadata[_dotted(name, key)] = value

    def rebuilt(self, name: str, kind: str, arguments: tuple[Value, ...]) -> Iterable[tuple[str, Value]]:
        match kind, arguments:
            case "tensor_v3", (storage, offset, size, stride, _, _, Global("torch", dtype), *_) if dtype in ITEMSIZES:
                self.view(name, storage, offset, size, stride, dtype)
            case "qtensor", (storage, offset, size, stride, tuple() as quantizer, *_) if len(quantizer) == _PER_CHANNEL:
                self.view(name, storage, offset, size, stride)
                _, scale, zero_point, *_ = quantizer  # pyright: ignore[reportAssignmentType]  # not one of our records
                return (f"{name}_scale", scale), (f"{name}_zero_point", zero_point)
            case "tensor" | "tensor_v2" | "qtensor", (storage, offset, size, stride, *_):
                self.view(name, storage, offset, size, stride)
            case "parameter" | "parameter_with_state" | "device_tensor_from_cpu_tensor", (tensor, *_):
                return ((name, tensor),)
            case "sparse_tensor", (Object(arguments=("torch.sparse_coo",)), (indices, values, *_)):
                return (f"{name}.indices", indices), (name, values)  # ty: ignore[invalid-explicit-return]
            case "sparse_tensor", (_, (compressed, plain, values, *_)):
                indices = (f"{name}.compressed_indices", compressed), (f"{name}.plain_indices", plain)
                return *indices, (name, values)  # ty: ignore[invalid-explicit-return]
            case "nested_tensor", (buffer, *places):
                kinds = ("sizes", "strides", "offsets")
                return (name, buffer), *((f"{name}.{what}", part) for what, part in zip(kinds, places, strict=False))
            case "from_type" | "from_type_v2", (Global() as function, _, tuple() as inner, state, *_):
                self.made.append(Object(function, inner))
                return (name, self.made[-1]), *self.attributes(name, state)
            case "wrapper_subclass" | "meta_tensor_no_storage", _:
                pass  # without bytes of its own
            case _:
                raise self.broken(f"tensor {shown(name)} is built in a way that torch does not use")
        return ()

    def attributes(self, name: str, state: Value) -> Iterator[tuple[str, Value]]:
        """The tensors a tensor subclass is made of, named as torchao names them in safetensors."""
        module, _, leaf = name.rpartition(".")
        if isinstance(state, Object):
            for attribute, part in _items(state):
                if isinstance(part, Global) and part.module == "torch":
                    self.keep_plain(module, f"_{leaf}_{attribute}", part.name)
                else:
                    yield self.named(module, f"_{leaf}_{attribute}"), part

    def view(
        self, name: str, storage: Value, offset: Value, size: Value, stride: Value, dtype: str | None = None
    ) -> None:
        """Take note of a tensor, checked against its storage."""
        whole = _storage(self.path, storage)
        dtype = dtype or whole.dtype
        sizes, steps = natural_numbers(size), natural_numbers(stride)
        if sizes is None or steps is None or len(sizes) != len(steps) or type(offset) is not int or offset < 0:
            raise self.broken(f"tensor {shown(name)} has no shape")
        if name in self.views:
            raise self.broken(f"two tensors named {shown(name)}")
        if math.prod(sizes) >= _LARGEST_COUNT:
            raise self.broken(f"tensor {shown(name)} has more elements than 63 bits can count")
        key = self.prefix, whole.key
        if self.dtypes.setdefault(key, dtype) != dtype:
            self.two_dtypes.append(name)
        itemsize, packed = ITEMSIZES[dtype], _PACKED.get(dtype, 1)
        # a stride of 0 repeats elements without storing them: a view of a few bytes can count 2^64 of them
        axes = sorted((step, count) for step, count in zip(steps, sizes, strict=True) if count != 1)
        distinct = math.prod(count for step, count in axes if step or not count)
        first = whole.offset + offset
        last = first + sum(step * (count - 1) for step, count in axes) + 1 if distinct else first
        start, end = first * itemsize // packed, -(-last * itemsize // packed)
        if end > whole.nbytes:
            raise self.broken(f"tensor {shown(name)} reaches to byte {end:,} of {whole.nbytes:,} in its storage")
        shape = (*sizes[:-1], 2 * sizes[-1]) if dtype == _PAIRS and sizes else sizes
        nbytes = min(-(-distinct * itemsize // packed), end - start)
        self.views[name] = _View(dtype, shape, key, start, end, nbytes, tuple(axes), _is_row_major(sizes, steps))

    def shares(self) -> dict[str, int]:
        """Bytes of each tensor that has some of its own: every byte of a storage belongs to one tensor at most."""
        shares: dict[str, int] = {}
        storage, reach = ("", ""), 0
        strided: set[tuple[int, tuple[tuple[int, int], ...]]] = set()
        # the widest of those that start together comes first, and the first name among equals
        for name, view in sorted(self.views.items(), key=lambda item: (item[1].storage, item[1].start, -item[1].end)):
            if view.storage != storage:
                storage, reach = view.storage, 0
                strided.clear()
            if not view.nbytes:
                shares[name] = 0
            elif view.end <= reach or (view.start, view.axes) in strided:
                continue  # all its bytes are those of tensors before it
            elif view.nbytes == view.end - view.start:
                shares[name] = view.end - max(view.start, reach)
                reach = view.end
            else:
                # a view with gaps, such as a column: another tensor may fill them, so `reach` stays where it is
                shares[name] = view.nbytes
                strided.add((view.start, view.axes))
        return shares

    def contents(self, file: str, saved: _Saved, level_of: TypeLookup) -> Contents:
        """What was collected.

        Args:
            file: its name.
            saved: where its storages are.
            level_of: which level a dtype of torch is.
        """
        shares = self.shares()
        tensors: list[Tensor] = []
        offsets: list[int | None] = []
        for name, view in self.views.items():
            if name not in shares:
                continue
            nbytes = shares[name]
            tensors.append(Tensor(name, level_of("torch", _CODES.get(view.dtype, view.dtype)), view.shape, nbytes))
            begin = saved.offsets.get(view.storage)
            # a transposed tensor has no place: its values would be read in the wrong order
            if begin is None or not view.row_major or nbytes != view.end - view.start:
                offsets.append(None)
            else:
                offsets.append(begin + view.start)
        return Contents(
            tensors=tensors,
            places=Places.in_file(file, offsets),
            metadata=self.metadata,
            byte_order=saved.byte_order,
            findings=tuple(self.findings(tensors)),
            tied=(*self.tied, *(name for name in self.views if name not in shares)),
        )

    def findings(self, tensors: Sequence[Tensor]) -> Iterator[Finding]:
        """One finding per unknown dtype, and one for storages that are read as two dtypes."""
        yield from unknown_types(tensors)
        if self.left_out:
            yield Finding("QL306", f"{pluralize(self.left_out, 'plain value')} with names too long to keep")
        if self.two_dtypes:
            count = pluralize(len(self.two_dtypes), "tensor")
            yield Finding("QL303", f"{count} with the bytes of a tensor of another dtype", self.two_dtypes[0])

    def broken(self, reason: str) -> CheckpointError:
        return CheckpointError(self.path, f"is not a valid PyTorch file: {reason}")


def _dotted(name: str, key: str | int) -> str:
    return f"{name}.{key}" if name else str(key)


def _is_row_major(sizes: tuple[int, ...], steps: tuple[int, ...]) -> bool:
    """Whether elements with these strides stand one after the other, rows last."""
    expected = 1
    for size, step in zip(reversed(sizes), reversed(steps), strict=True):
        if size != 1 and step != expected:
            return False
        expected *= size
    return True


def natural_numbers(value: Value) -> tuple[int, ...] | None:
    """A shape or strides: at most 64 natural numbers."""
    if isinstance(value, Object) and value.function == Global("torch", "Size") and len(value.arguments) == 1:
        value = value.arguments[0]
    if not isinstance(value, tuple) or len(value) > _MOST_DIMS:
        return None
    integers = tuple(number for number in value if type(number) is int and 0 <= number < _LARGEST_COUNT)
    return integers if len(integers) == len(value) else None
