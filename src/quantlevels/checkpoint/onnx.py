"""ONNX models: the tensors a graph stores and the operators that read them; payloads of tensors are not read.

Field numbers, data types and storage rules: ``onnx/onnx.proto`` of onnx 1.23.2.
"""

from __future__ import annotations

import math
import struct
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from attrs import define, field, frozen

from quantlevels.checkpoint.protobuf import Wire, fixed32, fixed64, signed, span, varint
from quantlevels.checkpoint.source import is_inside, shown
from quantlevels.container import Contents, File, Node, Place, Places, Tensor, UnknownType
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding, pluralize
from quantlevels.vocabulary.level import BITS_PER_BYTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from quantlevels.container import Scalar, Source, TypeLookup
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
#: data type of the numbers in an attribute → bytes of one
_ATTRIBUTE_BYTES: Final = {_FLOAT: 4, _INT64: 8}

#: numpy allows 64 dimensions; more could not be loaded
_MOST_DIMS: Final = 64
#: graphs within graphs: each level is a call of Python here, and its stack is limited
_DEEPEST: Final = 32
#: attributes longer than this say nothing of how weights are stored
_LONGEST_TEXT: Final = 1 << 10
#: characters of a name that tell the subgraph
_LONGEST_PREFIX: Final = 128
#: integers of an attribute that are kept: lists of pads, axes and bits are short, a lookup table is only counted
_MOST_INTS: Final = 64
#: digits of 2^64
_LONGEST_INTEGER: Final = 20
#: what a place can say; a tensor further on is beyond the end of any file
_LARGEST_OFFSET: Final = (1 << 63) - 1


class _Storage(NamedTuple):
    """The typed field that may hold the elements of a data type: ``values`` of the field for ``elements``."""

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


def read_onnx(source: Source, level_of: TypeLookup) -> Contents:
    """The stored tensors and the operators of an ONNX model.

    Tensors are initializers, dense and sparse, and the values of Constant nodes: of the graph, its subgraphs and
    functions. What stands in a subgraph is named ``node/attribute/name``. ``nbytes`` is what the elements take in
    ONNX's own packing, whichever field holds them. Texts are not weights and are left out.

    Raises:
        CheckpointError: if it is not an ONNX model, or its sizes, names or external files are not as they must be.
    """
    return _Reader(source, level_of).contents()


@frozen
class _Scope:
    """What the names of one graph are called in the checkpoint; those of the main graph keep their names."""

    prefix: str = ""
    depth: int = 0
    names: dict[str, str] = field(factory=dict)
    outer: _Scope | None = None

    def inner(self, label: str, number: int) -> _Scope:
        """The scope of a subgraph.

        Args:
            label: node and attribute that hold it.
            number: of the subgraph in the model. It stands for a label that is long: each name in the subgraph begins
                with the prefix, and a small file could ask for gigabytes of it.
        """
        prefix = f"{self.prefix}{label}/"
        if len(prefix) > _LONGEST_PREFIX:
            prefix = f"subgraph {number}/"
        return _Scope(prefix, self.depth + 1, outer=self)

    def declare(self, name: str) -> str:
        if self.prefix and name:
            self.names[name] = name = self.prefix + name
        return name

    def resolve(self, name: str) -> str:
        # a subgraph may read what the graphs around it yield, and its own names hide theirs
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
        """What it says, if that is short."""
        if not self.int_count:
            return self.scalar
        return self.ints if self.int_count == len(self.ints) else None


@define
class _TensorFields:
    """The fields of a tensor's message."""

    dims: list[int] = field(factory=list)
    name: str = ""
    data_type: int = 0
    #: the bytes of ``raw_data``
    raw: Span | None = None
    #: number of a typed field → values in it
    typed: dict[int, int] = field(factory=dict)
    #: the bytes of typed values that stand as they are in memory: floats in one packed run
    run: Span | None = None
    external: bool = False
    #: keys and values that say where external data is
    entries: dict[str, str] = field(factory=dict)

    @property
    def raw_bytes(self) -> int:
        return self.raw[1] - self.raw[0] if self.raw else 0


class _Stored(NamedTuple):
    """A tensor and where its bytes are."""

    tensor: Tensor
    place: Place | None = None


@define
class _NodeFields:
    """The fields of a node's message; its inputs under the names they have in the checkpoint."""

    name: str = ""
    op_type: str = ""
    domain: str = ""
    inputs: list[str] = field(factory=list)
    outputs: list[str] = field(factory=list)
    attributes: list[_Value] = field(factory=list)


@define
class _ExternalFile:
    """A file with tensors, beside the model."""

    #: bytes in it; None if it is missing
    size: int | None
    #: offset, length and tensor of each range that is used
    ranges: list[tuple[int, int, str]] = field(factory=list)


class _Reader:
    def __init__(self, source: Source, level_of: TypeLookup) -> None:
        self.source = source
        self.level_of = level_of
        self.wire = Wire(source)
        self.stored: dict[str, _Stored] = {}
        self.nodes: list[Node] = []
        self.subgraphs = 0
        #: unknown type → names of its tensors
        self.unknown: dict[UnknownType, list[str]] = {}
        #: location of external data → the file
        self.external: dict[str, _ExternalFile] = {}

    def contents(self) -> Contents:
        metadata: dict[str, Scalar] = {}
        graphs: list[Span] = []
        functions: list[Span] = []
        # graphs are read after all fields: protobuf lets them stand in any order, and the version may follow the graph
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
            raise CheckpointError(self.source.path, "is not an ONNX model: it has no version, or not exactly one graph")
        self.read_graph(_Scope(), *graphs[0])
        for function in functions:
            self.read_function(*function)
        return self.read_contents(metadata)

    def read_contents(self, metadata: dict[str, Scalar]) -> Contents:
        """All that was read, as one record."""
        return Contents(
            tensors=tuple(stored.tensor for stored in self.stored.values()),
            places=Places.of(stored.place for stored in self.stored.values()),
            metadata=metadata,
            files=tuple(File(path, file.size) for path, file in self.external.items() if file.size is not None),
            findings=(*self.unknown_types(), *self.external_findings()),
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
                self.store(scope, self.read_tensor(value, stop), "", value)
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
        self.subgraphs += 1
        self.read_nodes(_Scope().inner(":".join(filter(None, texts.values())), self.subgraphs), nodes)

    def read_nodes(self, scope: _Scope, nodes: Sequence[Span]) -> None:
        """The nodes of a graph, in order: ONNX requires topological sorting, so names come before their use."""
        for index, (start, end) in enumerate(nodes):
            node = self.node_fields(scope, start, end)
            if node.op_type == "Constant" and len(node.outputs) == 1:
                self.read_constant(scope, node.outputs[0], node.attributes, start)
            plain: dict[str, Attribute] = {}
            for attribute in node.attributes:
                if attribute.graphs:
                    self.read_subgraphs(scope, node.name or f"{node.op_type}_{index}", attribute)
                elif attribute.plain is not None:
                    plain[attribute.name] = attribute.plain
            outputs = tuple(map(scope.declare, node.outputs))
            self.nodes.append(Node(node.op_type, node.domain, tuple(node.inputs), outputs, plain))

    def node_fields(self, scope: _Scope, start: int, end: int) -> _NodeFields:
        node = _NodeFields()
        for key, value, stop in self.wire.fields(start, end):
            match key:
                case _Node.INPUT:
                    node.inputs.append(scope.resolve(self.wire.text(value, stop)))
                case _Node.OUTPUT:
                    node.outputs.append(self.wire.text(value, stop))
                case _Node.NAME:
                    node.name = self.wire.text(value, stop)
                case _Node.OP_TYPE:
                    node.op_type = self.wire.text(value, stop)
                case _Node.ATTRIBUTE:
                    node.attributes.append(self.read_attribute(value, stop))
                case _Node.DOMAIN:
                    node.domain = self.wire.text(value, stop)
                case _:
                    pass
        return node

    def read_subgraphs(self, scope: _Scope, node: str, attribute: _Value) -> None:
        for number, (start, end) in enumerate(attribute.graphs):
            if scope.depth == _DEEPEST:
                raise self.broken(f"graphs nest deeper than {_DEEPEST}", start)
            place = f"{attribute.name}.{number}" if number else attribute.name
            self.subgraphs += 1
            self.read_graph(scope.inner(f"{node}/{place}", self.subgraphs), start, end)

    def read_attribute(self, start: int, end: int) -> _Value:
        # complex only by its cases: one per field of AttributeProto, none of which depends on another
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
                    # counted before any is read: a packed run may fill the file
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
                    self.store(scope, self.read_tensor(*attribute.tensor), name, offset)
                case "sparse_value" if attribute.sparse:
                    self.read_sparse(scope, name, *attribute.sparse)
                case "value_float":
                    self.store(scope, self.numbers(_FLOAT, name, ()), name, offset)
                case "value_floats":
                    self.store(scope, self.numbers(_FLOAT, name, (attribute.float_count,)), name, offset)
                case "value_int":
                    self.store(scope, self.numbers(_INT64, name, ()), name, offset)
                case "value_ints":
                    self.store(scope, self.numbers(_INT64, name, (attribute.int_count,)), name, offset)
                case _:
                    pass

    def numbers(self, data_type: int, name: str, shape: tuple[int, ...]) -> _Stored:
        """The numbers of an attribute as a tensor."""
        return _Stored(Tensor(name, self.dtype(data_type, name), shape, math.prod(shape) * _ATTRIBUTE_BYTES[data_type]))

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
        name = name or values.tensor.name
        self.store(scope, values, name, start)
        self.store(scope, indices, f"{name}.indices", start)

    def read_tensor(self, start: int, end: int) -> _Stored | None:
        """One tensor under the name it has in its graph; None for texts."""
        fields = self.tensor_fields(start, end)
        if fields.data_type == _STRING:
            return None
        name = fields.name
        if min(fields.dims, default=0) < 0:
            raise self.broken(f"tensor {shown(name)} has the shape {fields.dims}", start)
        dtype = self.dtype(fields.data_type, name)
        needed = None
        if not isinstance(dtype, UnknownType):
            # ONNX packs elements narrower than a byte without regard to rows, and fills up the last byte
            needed = -(-math.prod(fields.dims) * dtype.block.bits // BITS_PER_BYTE)
        if fields.external:
            nbytes, place = self.external_data(fields, needed, start)
        else:
            nbytes, place = self.inner_data(fields, needed, start)
        return _Stored(Tensor(name, dtype, tuple(fields.dims), nbytes), place)

    def tensor_fields(self, start: int, end: int) -> _TensorFields:
        """The fields of a tensor's message, of which the payloads are not read."""
        fields = _TensorFields()
        for key, value, stop in self.wire.fields(start, end):
            match key:
                case _Tensor.DIM:
                    fields.dims.append(signed(value))
                case _Tensor.DIMS:
                    # one more than allowed, so that the check below sees that there are too many
                    fields.dims += map(signed, islice(self.wire.varints(value, stop), _MOST_DIMS + 1))
                case _Tensor.DATA_TYPE:
                    fields.data_type = value
                case _Tensor.NAME:
                    fields.name = self.wire.text(value, stop)
                case _Tensor.RAW_DATA:
                    fields.raw = value, stop
                case _Tensor.EXTERNAL_DATA:
                    entry, text = self.read_entry(value, stop)
                    fields.entries[entry] = text
                case _Tensor.DATA_LOCATION:
                    fields.external = value == _EXTERNAL
                case _ if key in _TYPED:
                    number = _TYPED[key]
                    fields.run = (value, stop) if key in _WIDTHS and not fields.typed else None
                    fields.typed[number] = fields.typed.get(number, 0) + self.count_values(key, value, stop)
                case _:
                    pass
            if len(fields.dims) > _MOST_DIMS:
                raise self.broken(f"a tensor of more than {_MOST_DIMS} dimensions", start)
        return fields

    def inner_data(self, fields: _TensorFields, needed: int | None, start: int) -> tuple[int, Place | None]:
        """Bytes and place of a tensor in the model's own file.

        Args:
            fields: of the tensor.
            needed: bytes that its shape and type take; None for an unknown type.
            start: where its message begins.

        Raises:
            CheckpointError: if its data is not as long as it must be.
        """
        span = fields.raw or fields.run
        place = Place(self.source.name, span[0]) if span else None
        if needed is None:
            return fields.raw_bytes, place
        if fields.raw_bytes == needed:
            fits = not fields.typed
        else:
            storage = _TYPED_STORAGE.get(fields.data_type, _Storage(_INT32_DATA))
            elements = math.prod(fields.dims)
            values = {storage.field: -(-elements * storage.values // storage.elements)}
            fits = not fields.raw_bytes and fields.typed == values
        if not fits:
            reason = f"tensor {shown(fields.name)} of shape {fields.dims} must hold {needed:,} bytes and does not"
            raise self.broken(reason, start)
        return needed, place

    def count_values(self, key: int, value: int, stop: int) -> int:
        """How many values one field of typed data holds."""
        if key in _PACKED:
            return self.wire.count_varints(value, stop)
        width = _WIDTHS.get(key)
        if width is None:
            return 1
        count, rest = divmod(stop - value, width)
        if rest:
            raise self.broken("the data of a tensor ends within a value", value)
        return count

    def read_entry(self, start: int, end: int) -> tuple[str, str]:
        texts = {key: self.wire.text(value, stop) for key, value, stop in self.wire.fields(start, end)}
        return texts.get(_Entry.KEY, ""), texts.get(_Entry.VALUE, "")

    def external_data(self, fields: _TensorFields, needed: int | None, start: int) -> tuple[int, Place | None]:
        """Bytes and place of a tensor in another file, checked against that file.

        Args:
            fields: of the tensor.
            needed: bytes that its shape and type take; None for an unknown type.
            start: where its message begins.

        Raises:
            CheckpointError: if its file is not inside the folder, or its place in it cannot be.
        """
        name, location = shown(fields.name), fields.entries.get("location", "")
        # as onnx itself: its checker refuses absolute locations and those with ".."
        if not is_inside(location):
            raise self.broken(f"tensor {name} is stored at {shown(location)}, not inside this folder", start)
        offset = self.byte_count(fields, "offset", start)
        length = self.byte_count(fields, "length", start) or needed or 0
        if needed is not None and length != needed:
            raise self.broken(f"tensor {name} needs {needed:,} bytes, but claims {length:,}", start)
        if location not in self.external:
            self.external[location] = _ExternalFile(self.source.sibling_size(location))
        self.external[location].ranges.append((offset, length, fields.name))
        return length, Place(location, min(offset, _LARGEST_OFFSET))

    def byte_count(self, fields: _TensorFields, key: str, start: int) -> int:
        """A number of bytes among the entries of external data; 0 if it is not given."""
        text = fields.entries.get(key, "0")
        if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_INTEGER):
            reason = f"the {key} of tensor {shown(fields.name)} is {shown(text)}, not a number of bytes"
            raise self.broken(reason, start)
        return int(text)

    def external_findings(self) -> Iterator[Finding]:
        """External files that are missing or too short, and ranges in them that overlap."""
        # one finding for all: a small model can name a million files
        missing = [location for location, file in self.external.items() if file.size is None]
        if missing:
            more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
            yield Finding("QL201", f"external data is missing: {shown(missing[0])}{more}", missing[0])
        for location, file in self.external.items():
            reach = 0
            for offset, length, name in sorted(file.ranges):
                if offset < reach and length:
                    message = f"tensor {shown(name)} shares bytes with the tensor before it, from byte {offset:,}"
                    yield Finding("QL303", message, location)
                    break  # one overlap condemns the file; the others follow from it
                reach = max(reach, offset + length)
            end, name = max((offset + length, name) for offset, length, name in file.ranges)
            if file.size is not None and end > file.size:
                yield Finding("QL206", f"ends after {file.size:,} bytes, within tensor {shown(name)}", location)

    def unknown_types(self) -> Iterator[Finding]:
        """One finding for each type that no level has, with its first tensor."""
        for dtype, names in self.unknown.items():
            more = f" (and {pluralize(len(names) - 1, 'tensor')} more)" if len(names) > 1 else ""
            yield Finding("QL301", f"{dtype} is not a known level{more}", names[0])

    def store(self, scope: _Scope, stored: _Stored | None, name: str, offset: int) -> None:
        """Keep a tensor under a name, or under its own if none is given."""
        if stored is None:
            return
        name = name or stored.tensor.name
        if not name:
            raise self.broken("a stored tensor without a name", offset)
        name = scope.declare(name)
        if name in self.stored:
            raise self.broken(f"two stored tensors named {shown(name)}", offset)
        self.stored[name] = stored._replace(tensor=stored.tensor._replace(name=name))

    def dtype(self, number: int, name: str) -> QuantizationLevel | UnknownType:
        dtype = self.level_of("onnx", number)
        if isinstance(dtype, UnknownType):
            self.unknown.setdefault(dtype, []).append(name)
        return dtype

    def broken(self, reason: str, offset: int) -> CheckpointError:
        return CheckpointError(self.source.path, f"is not a valid ONNX model: {reason}", offset)
