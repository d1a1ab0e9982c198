"""ONNX models: the tensors a graph stores and the operators that read them, told without the tensors' payloads.

Field numbers, data types and storage rules: ``onnx/onnx.proto`` of onnx 1.23.2.
"""

from __future__ import annotations

import math
import struct
from itertools import islice
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from attrs import define, field, frozen

from quantlevels.checkpoint.protobuf import Wire, fixed32, fixed64, signed, span, varint
from quantlevels.checkpoint.source import Source, exists, shown
from quantlevels.checkpoint.storage_types import storage_type
from quantlevels.container import Checkpoint, File, Node, Tensor, UnknownType
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding
from quantlevels.vocabulary.level import BITS_PER_BYTE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from quantlevels.vocabulary.level import QuantizationLevel

Span: TypeAlias = tuple[int, int]
Attribute: TypeAlias = int | float | str | tuple[int, ...]


class _Model:
    IR_VERSION = varint(1)
    PRODUCER_NAME = span(2)
    PRODUCER_VERSION = span(3)
    GRAPH = span(7)
    OPSET_IMPORT = span(8)
    FUNCTION = span(25)


class _Opset:
    DOMAIN = span(1)
    VERSION = varint(2)


class _Graph:
    NODE = span(1)
    INITIALIZER = span(5)
    SPARSE_INITIALIZER = span(15)


class _Function:
    NAME = span(1)
    NODE = span(7)
    DOMAIN = span(10)
    OVERLOAD = span(13)


class _Node:
    INPUT = span(1)
    OUTPUT = span(2)
    NAME = span(3)
    OP_TYPE = span(4)
    ATTRIBUTE = span(5)
    DOMAIN = span(7)


class _Attribute:
    NAME = span(1)
    FLOAT = fixed32(2)
    INT = varint(3)
    STRING = span(4)
    TENSOR = span(5)
    GRAPH = span(6)
    ONE_FLOAT = fixed32(7)
    FLOATS = span(7)
    ONE_INT = varint(8)
    INTS = span(8)
    GRAPHS = span(11)
    SPARSE_TENSOR = span(22)


class _Tensor:
    DIM = varint(1)
    DIMS = span(1)
    DATA_TYPE = varint(2)
    NAME = span(8)
    RAW_DATA = span(9)
    EXTERNAL_DATA = span(13)
    DATA_LOCATION = varint(14)


class _SparseTensor:
    VALUES = span(1)
    INDICES = span(2)


class _Entry:
    KEY = span(1)
    VALUE = span(2)


_FLOAT_DATA: Final = 4
_INT32_DATA: Final = 5
_INT64_DATA: Final = 7
_DOUBLE_DATA: Final = 10
_UINT64_DATA: Final = 11
#: key of a field of typed data, packed or not → the field's number
_TYPED: Final[dict[int, int]] = {
    fixed32(_FLOAT_DATA): _FLOAT_DATA,
    fixed64(_DOUBLE_DATA): _DOUBLE_DATA,
    **{span(number): number for number in (_FLOAT_DATA, _DOUBLE_DATA)},
    **{key(number): number for key in (varint, span) for number in (_INT32_DATA, _INT64_DATA, _UINT64_DATA)},
}
#: key of packed values of fixed width → bytes of one
_WIDTHS: Final = {span(_FLOAT_DATA): 4, span(_DOUBLE_DATA): 8}
_PACKED: Final = frozenset(map(span, (_INT32_DATA, _INT64_DATA, _UINT64_DATA)))
_FLOAT: Final = 1
_INT64: Final = 7
_STRING: Final = 8
_EXTERNAL: Final = 1

_MOST_DIMS: Final = 64
_DEEPEST: Final = 32
#: attributes longer than this say nothing of how weights are stored
_LONGEST_TEXT: Final = 1 << 10
_MOST_INTS: Final = 64
_LONGEST_INTEGER: Final = 20


class _Storage(NamedTuple):
    """The typed field that the elements of a data type may stand in: so many values for so many elements."""

    field: int
    values: int = 1
    elements: int = 1


_TYPED_STORAGE: Final[dict[int, _Storage]] = {
    1: _Storage(_FLOAT_DATA),
    11: _Storage(_DOUBLE_DATA),
    14: _Storage(_FLOAT_DATA, values=2),  # COMPLEX64
    15: _Storage(_DOUBLE_DATA, values=2),  # COMPLEX128
    7: _Storage(_INT64_DATA),
    **dict.fromkeys((12, 13), _Storage(_UINT64_DATA)),  # UINT32 UINT64
    # the other integers, BOOL, FLOAT16 BFLOAT16, FLOAT8* and FLOAT6*
    **dict.fromkeys((2, 3, 4, 5, 6, 9, 10, 16, 17, 18, 19, 20, 24, 27, 28), _Storage(_INT32_DATA)),
    **dict.fromkeys((21, 22, 23), _Storage(_INT32_DATA, elements=2)),  # UINT4 INT4 FLOAT4E2M1
    **dict.fromkeys((25, 26), _Storage(_INT32_DATA, elements=4)),  # UINT2 INT2
}


def read_onnx(path: Path) -> Checkpoint:
    """The stored tensors and the operators of an ONNX model.

    Tensors are initializers, dense and sparse, and the values of Constant nodes: of the graph, its subgraphs and
    functions. What stands in a subgraph is named ``node/attribute/name``. ``nbytes`` is what the elements take in
    ONNX's own packing, whichever field holds them. Texts are no weights and are left out.

    Raises:
        CheckpointError: if it is no ONNX model, or its sizes, names or external files are not as they must be.
    """
    with Source(path) as source:
        return _Reader(source).checkpoint()


@frozen
class _Scope:
    """What the names of one graph are called in the checkpoint; those of the main graph keep their names."""

    prefix: str = ""
    depth: int = 0
    names: dict[str, str] = field(factory=dict)
    outer: _Scope | None = None

    def declare(self, name: str) -> str:
        if self.prefix and name:
            self.names[name] = name = self.prefix + name
        return name

    def resolve(self, name: str) -> str:
        scope: _Scope | None = self
        while scope and scope.prefix:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return name


@define
class _Value:
    """An attribute of a node."""

    name: str = ""
    scalar: int | float | str | None = None
    ints: tuple[int, ...] = ()
    int_count: int = 0
    float_count: int = 0
    tensor: Span | None = None
    sparse: Span | None = None
    graphs: list[Span] = field(factory=list)

    @property
    def plain(self) -> Attribute | None:
        """What it says where that is short."""
        return (self.ints if self.int_count == len(self.ints) else None) if self.int_count else self.scalar


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.wire = Wire(source)
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.findings: dict[tuple[str, str], Finding] = {}
        self.dtypes: dict[int, QuantizationLevel | UnknownType] = {}
        #: location of external data → bytes in the file, None where it is missing
        self.external: dict[str, int | None] = {}

    def checkpoint(self) -> Checkpoint:
        metadata: dict[str, str | int | float | bool] = {}
        graphs: list[Span] = []
        functions: list[Span] = []
        for key, value, end in self.wire.fields(0, self.source.size):
            match key:
                case _Model.IR_VERSION:
                    metadata["ir_version"] = signed(value)
                case _Model.PRODUCER_NAME:
                    metadata["producer_name"] = self.wire.text(value, end)
                case _Model.PRODUCER_VERSION:
                    metadata["producer_version"] = self.wire.text(value, end)
                case _Model.OPSET_IMPORT:
                    domain, version = self.read_opset(value, end)
                    metadata[f"opset.{domain or 'ai.onnx'}"] = version
                case _Model.GRAPH:
                    graphs.append((value, end))
                case _Model.FUNCTION:
                    functions.append((value, end))
                case _:
                    pass
        if "ir_version" not in metadata or len(graphs) != 1:
            raise CheckpointError(self.source.path, "is no ONNX model: it has no version or not one graph")
        self.read_graph(_Scope(), *graphs[0])
        for function in functions:
            self.read_function(*function)
        path = self.source.path
        return Checkpoint(
            path=path,
            format="onnx",
            tensors=tuple(self.tensors.values()),
            metadata=metadata,
            files=(
                File(path.name, self.source.size),
                *(File(location, size) for location, size in self.external.items() if size is not None),
            ),
            findings=tuple(self.findings.values()),
            nodes=tuple(self.nodes),
        )

    def read_opset(self, start: int, end: int) -> tuple[str, int]:
        domain, version = "", 0
        for key, value, stop in self.wire.fields(start, end):
            if key == _Opset.DOMAIN:
                domain = self.wire.text(value, stop)
            elif key == _Opset.VERSION:
                version = signed(value)
        return domain, version

    def read_graph(self, scope: _Scope, start: int, end: int) -> None:
        nodes: list[Span] = []
        for key, value, stop in self.wire.fields(start, end):
            if key == _Graph.NODE:
                nodes.append((value, stop))
            elif key == _Graph.INITIALIZER:
                self.store(scope, self.read_tensor(value, stop), value)
            elif key == _Graph.SPARSE_INITIALIZER:
                self.read_sparse(scope, "", value, stop)
        self.read_nodes(scope, nodes)

    def read_function(self, start: int, end: int) -> None:
        texts = dict.fromkeys((_Function.DOMAIN, _Function.NAME, _Function.OVERLOAD), "")
        nodes: list[Span] = []
        for key, value, stop in self.wire.fields(start, end):
            if key == _Function.NODE:
                nodes.append((value, stop))
            elif key in texts:
                texts[key] = self.wire.text(value, stop)
        self.read_nodes(_Scope(":".join(filter(None, texts.values())) + "/", 1), nodes)

    def read_nodes(self, scope: _Scope, nodes: Sequence[Span]) -> None:
        """The nodes of a graph, whose order lets none read what a later one yields."""
        for index, (start, end) in enumerate(nodes):
            inputs: list[str] = []
            outputs: list[str] = []
            attributes: list[_Value] = []
            label = op_type = domain = ""
            for key, value, stop in self.wire.fields(start, end):
                match key:
                    case _Node.INPUT:
                        inputs.append(scope.resolve(self.wire.text(value, stop)))
                    case _Node.OUTPUT:
                        outputs.append(self.wire.text(value, stop))
                    case _Node.NAME:
                        label = self.wire.text(value, stop)
                    case _Node.OP_TYPE:
                        op_type = self.wire.text(value, stop)
                    case _Node.ATTRIBUTE:
                        attributes.append(self.read_attribute(value, stop))
                    case _Node.DOMAIN:
                        domain = self.wire.text(value, stop)
                    case _:
                        pass
            if op_type == "Constant" and len(outputs) == 1:
                self.read_constant(scope, outputs[0], attributes, start)
            plain: dict[str, Attribute] = {}
            for attribute in attributes:
                if attribute.graphs:
                    self.read_subgraphs(scope, label or f"{op_type}_{index}", attribute)
                elif (said := attribute.plain) is not None:
                    plain[attribute.name] = said
            self.nodes.append(Node(op_type, domain, tuple(inputs), tuple(map(scope.declare, outputs)), plain))

    def read_subgraphs(self, scope: _Scope, node: str, attribute: _Value) -> None:
        for number, (start, end) in enumerate(attribute.graphs):
            if scope.depth == _DEEPEST:
                raise self.broken(f"graphs nest deeper than {_DEEPEST}", start)
            place = f"{attribute.name}.{number}" if number else attribute.name
            self.read_graph(_Scope(f"{scope.prefix}{node}/{place}/", scope.depth + 1, outer=scope), start, end)

    def read_attribute(self, start: int, end: int) -> _Value:
        attribute = _Value()
        for key, value, stop in self.wire.fields(start, end):
            match key:
                case _Attribute.NAME:
                    attribute.name = self.wire.text(value, stop)
                case _Attribute.INT:
                    attribute.scalar = signed(value)
                case _Attribute.FLOAT:
                    (attribute.scalar,) = struct.unpack("<f", self.source.read(value, 4))
                case _Attribute.STRING:
                    if stop - value <= _LONGEST_TEXT:
                        attribute.scalar = self.source.read(value, stop - value).decode(errors="replace")
                case _Attribute.ONE_INT | _Attribute.INTS:
                    packed = key == _Attribute.INTS
                    attribute.int_count += self.wire.count_varints(value, stop) if packed else 1
                    if attribute.int_count <= _MOST_INTS:
                        new = self.wire.varints(value, stop) if packed else (value,)
                        attribute.ints += tuple(map(signed, new))
                case _Attribute.ONE_FLOAT | _Attribute.FLOATS:
                    attribute.float_count += (stop - value) // 4
                case _Attribute.TENSOR:
                    attribute.tensor = value, stop
                case _Attribute.SPARSE_TENSOR:
                    attribute.sparse = value, stop
                case _Attribute.GRAPH | _Attribute.GRAPHS:
                    attribute.graphs.append((value, stop))
                case _:
                    pass
        return attribute

    def read_constant(self, scope: _Scope, name: str, attributes: Sequence[_Value], offset: int) -> None:
        for attribute in attributes:
            match attribute.name:
                case "value" if attribute.tensor:
                    stored = self.read_tensor(*attribute.tensor)
                    self.store(scope, stored and stored._replace(name=name), offset)
                case "sparse_value" if attribute.sparse:
                    self.read_sparse(scope, name, *attribute.sparse)
                case "value_float" | "value_floats" as kind:
                    count = attribute.float_count if kind == "value_floats" else 1
                    shape = (count,) if kind == "value_floats" else ()
                    self.store(scope, Tensor(name, self.dtype(_FLOAT, name), shape, 4 * count), offset)
                case "value_int" | "value_ints" as kind:
                    count = attribute.int_count if kind == "value_ints" else 1
                    shape = (count,) if kind == "value_ints" else ()
                    self.store(scope, Tensor(name, self.dtype(_INT64, name), shape, 8 * count), offset)
                case _:
                    pass

    def read_sparse(self, scope: _Scope, name: str, start: int, end: int) -> None:
        """The stored values of a sparse tensor, and their indices beside them."""
        values = indices = None
        for key, value, stop in self.wire.fields(start, end):
            if key == _SparseTensor.VALUES:
                values = self.read_tensor(value, stop)
            elif key == _SparseTensor.INDICES:
                indices = self.read_tensor(value, stop)
        if values is None or indices is None:
            raise self.broken("a sparse tensor without values or indices", start)
        name = name or values.name
        self.store(scope, values._replace(name=name), start)
        self.store(scope, indices._replace(name=f"{name}.indices"), start)

    def read_tensor(self, start: int, end: int) -> Tensor | None:
        """One tensor under the name it has in its graph; None for texts."""
        dims: list[int] = []
        name = ""
        number = raw = 0
        typed: dict[int, int] = {}
        entries: list[Span] = []
        external = False
        for key, value, stop in self.wire.fields(start, end):
            match key:
                case _Tensor.DIM:
                    dims.append(signed(value))
                case _Tensor.DIMS:
                    dims += map(signed, islice(self.wire.varints(value, stop), _MOST_DIMS + 1))
                case _Tensor.DATA_TYPE:
                    number = value
                case _Tensor.NAME:
                    name = self.wire.text(value, stop)
                case _Tensor.RAW_DATA:
                    raw = stop - value
                case _Tensor.EXTERNAL_DATA:
                    entries.append((value, stop))
                case _Tensor.DATA_LOCATION:
                    external = value == _EXTERNAL
                case _ if key in _TYPED:
                    typed[_TYPED[key]] = typed.get(_TYPED[key], 0) + self.count_values(key, value, stop)
                case _:
                    pass
            if len(dims) > _MOST_DIMS:
                raise self.broken(f"a tensor of more than {_MOST_DIMS} dimensions", start)
        if number == _STRING:
            return None
        if min(dims, default=0) < 0:
            raise self.broken(f"tensor {shown(name)} has the shape {dims}", start)
        dtype = self.dtype(number, name)
        if isinstance(dtype, UnknownType):
            nbytes = raw
        else:
            elements = math.prod(dims)
            nbytes = -(-elements * dtype.block.bits // BITS_PER_BYTE)
            storage = _TYPED_STORAGE.get(number, _Storage(_INT32_DATA))
            values = {storage.field: -(-elements * storage.values // storage.elements)}
            if not external and (typed if raw == nbytes else raw or typed != values):
                raise self.broken(
                    f"tensor {shown(name)} of shape {dims} must hold {nbytes:,} bytes and does not", start
                )
        if external:
            needed = None if isinstance(dtype, UnknownType) else nbytes
            nbytes = self.locate(name, dict(self.read_entry(*entry) for entry in entries), needed, start)
        return Tensor(name, dtype, tuple(dims), nbytes)

    def count_values(self, key: int, value: int, stop: int) -> int:
        """How many values one field of typed data holds."""
        if key in _PACKED:
            return self.wire.count_varints(value, stop)
        width = _WIDTHS.get(key)
        if width is None:
            return 1
        count, rest = divmod(stop - value, width)
        if rest:
            raise self.broken("half a value of a tensor", value)
        return count

    def read_entry(self, start: int, end: int) -> tuple[str, str]:
        texts = {key: self.wire.text(value, stop) for key, value, stop in self.wire.fields(start, end)}
        return texts.get(_Entry.KEY, ""), texts.get(_Entry.VALUE, "")

    def locate(self, name: str, entries: dict[str, str], needed: int | None, offset: int) -> int:
        """The bytes of external data, checked against the file that holds them.

        Raises:
            CheckpointError: if its file is not inside the folder, or its place in it is none.
        """
        location = entries.get("location", "")
        parts = PurePosixPath(location).parts
        outside = not parts or parts[0] == "/" or ".." in parts or "\\" in location or "\0" in location
        if outside or PureWindowsPath(location).drive:
            raise self.broken(f"tensor {shown(name)} is stored at {shown(location)}, not inside this folder", offset)
        place = {key: entries.get(key, "0") for key in ("offset", "length")}
        for key, text in place.items():
            if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_INTEGER):
                raise self.broken(f"the {key} of tensor {shown(name)} is {shown(text)}, not a number of bytes", offset)
        length = int(place["length"]) or needed or 0
        if needed is not None and length != needed:
            raise self.broken(f"tensor {shown(name)} needs {needed:,} bytes and claims {length:,}", offset)
        if location not in self.external:
            self.external[location] = self.file_size(location)
        size = self.external[location]
        if size is None:
            self.find("QL201", location, "external data that is not there")
        elif int(place["offset"]) + length > size:
            self.find("QL206", location, f"ends after {size:,} bytes, within tensor {shown(name)}")
        return length

    def file_size(self, location: str) -> int | None:
        """The bytes of a file in the folder, None where it is missing.

        Raises:
            CheckpointError: if a folder on the way is a link to elsewhere. The file may be one, as in a cache of
                Hugging Face.
        """
        folder = self.source.path.parent
        path = folder / location
        if not exists(path):
            return None
        if not path.parent.resolve().is_relative_to(folder.resolve()):
            raise CheckpointError(self.source.path, f"external data at {shown(location)} is outside this folder")
        with Source(path) as source:
            return source.size

    def store(self, scope: _Scope, tensor: Tensor | None, offset: int) -> None:
        if tensor is None:
            return
        if not tensor.name:
            raise self.broken("a stored tensor without a name", offset)
        name = scope.declare(tensor.name)
        if name in self.tensors:
            raise self.broken(f"two stored tensors named {shown(name)}", offset)
        self.tensors[name] = tensor._replace(name=name) if scope.prefix else tensor

    def dtype(self, number: int, name: str) -> QuantizationLevel | UnknownType:
        if number not in self.dtypes:
            self.dtypes[number] = storage_type("onnx", number)
        dtype = self.dtypes[number]
        if isinstance(dtype, UnknownType):
            self.find("QL301", name, f"{dtype} is known to no level")
        return dtype

    def find(self, code: str, where: str, message: str) -> None:
        self.findings.setdefault((code, where), Finding(code, message, where))

    def broken(self, reason: str, offset: int) -> CheckpointError:
        return CheckpointError(self.source.path, f"is no valid ONNX model: {reason}", offset)
