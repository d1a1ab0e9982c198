"""OpenVINO IR: an ``.xml`` of layers and edges, and a ``.bin`` beside it with the bytes of its constants.

Source: openvino 2026.4.1, ``src/core/src/xml_util`` (the writer) and ``openvino/core/type/element_type.hpp``; nncf
3.4.0, which writes what it did to the weights into ``rt_info``.
"""

from __future__ import annotations

import math
from operator import itemgetter
from typing import TYPE_CHECKING, Final, final
from xml.parsers import expat

from attrs import define, field

from quantlevels.checkpoint.defects import unknown_types
from quantlevels.checkpoint.source import shown
from quantlevels.container import Contents, File, Node, Places, Tensor, TruncatedError, UnknownType
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding
from quantlevels.vocabulary.level import BITS_PER_BYTE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from quantlevels.container import Source, TypeLookup

_CHUNK: Final = 1 << 18
#: elements within elements
_DEEPEST: Final = 64
#: graphs may be in layers (loops and branches), but not deeper than this
_DEEPEST_GRAPH: Final = 8
_MOST_DIMS: Final = 16
#: below it nncf says what it did to the weights
_CLAIMS: Final = ("rt_info", "nncf")
_LONGEST_CLAIM: Final = 1 << 12
_DOMAIN: Final = "openvino"
_OPERATOR_TYPES: Final = frozenset({"Int32", "Int64", "UInt32", "UInt64", "Bool"})


@define
class _Layer:
    """One operator of the graph."""

    #: what an edge calls it, with the layers around it
    key: str
    #: how many layers begin before it
    number: int
    name: str
    type: str
    data: Mapping[str, str] = field(factory=dict[str, str])
    #: port of an input → the key of the layer before it, in the order of the ports
    inputs: dict[int, str] = field(factory=dict[int, str])


@final
class _Graph:
    """Collects layers and edges while expat reads; text and everything else is passed over."""

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.layers: dict[str, _Layer] = {}
        self.claims: dict[str, str] = {}
        #: elements that are open, and the layers among them
        self.open: list[str] = []
        self.around: list[_Layer] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        # an entity can stand for gigabytes, and OpenVINO writes none
        self.parser.StartDoctypeDeclHandler = self.refuse_doctype

    def refuse_doctype(self, *_: object) -> None:
        raise CheckpointError(self.path, "declares a document type, which an OpenVINO model does not have")

    def broken(self, reason: str) -> CheckpointError:
        return CheckpointError(self.path, f"is not a valid OpenVINO model: {reason}", self.parser.CurrentByteIndex)

    def key(self, id: str) -> str:
        """A layer's id, with the number of the layer whose body it is in: a long id is never repeated."""
        return f"{self.around[-1].number}\0{id}" if self.around else id

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        # what is not known is passed over: newer versions of OpenVINO add elements, and none changes the constants
        if not self.open and tag != "net":
            raise self.broken(f"its root is {shown(tag)}, not 'net'")
        if len(self.open) > _DEEPEST:
            raise self.broken(f"it nests deeper than {_DEEPEST} elements")
        self.open.append(tag)
        if tag == "layer":
            self.start_layer(attributes)
        elif tag == "data" and self.open[-2] == "layer":
            self.around[-1].data = attributes
        elif tag == "edge":
            self.add_edge(attributes)
        elif tuple(self.open[1:3]) == _CLAIMS and "value" in attributes:
            self.claims[".".join(self.open[2:])] = attributes["value"][:_LONGEST_CLAIM]

    def start_layer(self, attributes: dict[str, str]) -> None:
        try:
            key = self.key(attributes["id"])
            layer = _Layer(key, len(self.layers), attributes["name"], attributes["type"])
        except KeyError as error:
            raise self.broken(f"a layer without {error.args[0]!r}") from error
        if key in self.layers:
            raise self.broken(f"two layers with the id {shown(attributes['id'])}")
        if len(self.around) >= _DEEPEST_GRAPH:
            raise self.broken(f"graphs in layers deeper than {_DEEPEST_GRAPH}")
        self.layers[key] = layer
        self.around.append(layer)

    def add_edge(self, attributes: dict[str, str]) -> None:
        try:
            before, after = self.key(attributes["from-layer"]), self.layers[self.key(attributes["to-layer"])]
            port = int(attributes["to-port"])
        except (KeyError, ValueError) as error:
            raise self.broken("an edge that does not lead from a layer to a layer") from error
        after.inputs[port] = before

    def end(self, tag: str) -> None:
        self.open.pop()
        if tag == "layer":
            self.around.pop()


def _node(layer: _Layer, values: Mapping[str, str]) -> Node:
    return Node(
        op_type=layer.type,
        domain=_DOMAIN,
        inputs=tuple(values[before] for _, before in sorted(layer.inputs.items()) if before in values),
        outputs=(_value(layer.key),),
        attributes={},
    )


def read_openvino(source: Source, level_of: TypeLookup) -> Contents:
    """The constants of a model, and the operators that read them; constants that share their bytes are one tensor.

    Raises:
        CheckpointError: if the XML is malformed, or a constant is not within the ``.bin``.
    """
    graph = _parse(source)
    weights = source.name.removesuffix(".xml") + ".bin"
    size = source.sibling_size(weights)
    constants, values, tied = _constants(graph, level_of)
    _check_apart(graph, constants, size)
    findings = [*unknown_types(constants.values())]
    if size is None and constants:
        findings.append(Finding("QL201", "the file with the bytes of its constants is missing", weights))
    return Contents(
        tensors=tuple(constants.values()),
        places=Places.in_file(weights, [offset for offset, _ in constants]),
        metadata=graph.claims,
        files=() if size is None else (File(weights, size),),
        findings=tuple(findings),
        nodes=tuple(_node(layer, values) for layer in graph.layers.values() if layer.type != "Const"),
        tied=tuple(tied),
    )


def _constants(graph: _Graph, level_of: TypeLookup) -> tuple[dict[tuple[int, int], Tensor], dict[str, str], list[str]]:
    """The constants of a graph: by place and bytes, the names of what layers give, and the names of the others.

    OpenVINO stores equal bytes once, whatever the types and shapes of the constants that have them. The first of these
    constants stands for all, unless it holds numbers for operators and another holds what may be weights.
    """
    constants: dict[tuple[int, int], Tensor] = {}
    sharing: dict[str, tuple[int, int]] = {}
    names: dict[str, None] = {}
    for layer in graph.layers.values():
        if layer.type != "Const":
            continue
        offset, tensor = _constant(graph, layer, level_of)
        if tensor.name in names:  # OpenVINO keeps names apart within a graph, but not from those in its layers
            tensor = tensor._replace(name=f"{tensor.name}#{layer.number}")
        if tensor.name in names:
            raise graph.broken(f"two constants are named {shown(tensor.name)}")
        names[tensor.name] = None
        place = sharing[layer.key] = offset, tensor.nbytes
        first = constants.setdefault(place, tensor)
        if _is_for_operators(first) and not _is_for_operators(tensor):
            constants[place] = tensor
    values = {key: constants[sharing[key]].name if key in sharing else _value(key) for key in graph.layers}
    chosen = {tensor.name for tensor in constants.values()}
    return constants, values, [name for name in names if name not in chosen]


def _is_for_operators(tensor: Tensor) -> bool:
    """Whether a constant has the type of shapes, axes and indices."""
    return not isinstance(tensor.dtype, UnknownType) and tensor.dtype.name in _OPERATOR_TYPES


def _value(key: str) -> str:
    """What a layer gives, by a name that no constant has: XML cannot hold a NUL."""
    return f"\0{key}"


def _parse(source: Source) -> _Graph:
    graph = _Graph(source.path)
    try:
        for start in range(0, source.size, _CHUNK):
            graph.parser.Parse(source.read(start, min(_CHUNK, source.size - start)))
        graph.parser.Parse(b"", True)
    except expat.ExpatError as error:
        reason = f"is not valid XML: {expat.ErrorString(error.code)}"
        raise CheckpointError(source.path, reason, max(graph.parser.ErrorByteIndex, 0)) from error
    return graph


def _constant(graph: _Graph, layer: _Layer, level_of: TypeLookup) -> tuple[int, Tensor]:
    """Where a constant begins in the ``.bin``, and the tensor it is."""
    data = layer.data
    try:
        dtype = level_of("openvino", data["element_type"])
        shape = tuple(int(size) for size in data["shape"].split(",") if size.strip())
        offset, nbytes = int(data["offset"]), int(data["size"])
    except (KeyError, ValueError) as error:
        raise graph.broken(f"the constant {shown(layer.name)} lacks a type, a shape, an offset or a size") from error
    if min(shape, default=0) < 0 or len(shape) > _MOST_DIMS or min(offset, nbytes) < 0:
        raise graph.broken(f"the constant {shown(layer.name)} has an impossible shape or place")
    if not isinstance(dtype, UnknownType):
        # OpenVINO packs elements narrower than a byte without regard to rows, and fills up the last byte
        wanted = -(-math.prod(shape) * dtype.block.bits // BITS_PER_BYTE)
        if nbytes != wanted:
            raise graph.broken(f"{layer.name} has {nbytes:,} bytes for a shape of {list(shape)} in {dtype}")
    return offset, Tensor(layer.name, dtype, shape, nbytes)


def _check_apart(graph: _Graph, constants: Mapping[tuple[int, int], Tensor], size: int | None) -> None:
    """Refuse constants that share some of their bytes but not all, or end behind the ``.bin``, if it is there."""
    end, before = 0, ""
    for (offset, nbytes), tensor in sorted(constants.items(), key=itemgetter(0)):
        if nbytes and offset < end:
            raise graph.broken(f"{tensor.name} begins within {before}")
        if nbytes:
            end, before = offset + nbytes, tensor.name
    if size is not None and end > size:
        reason = f"truncated: {before} ends at byte {end:,} of the .bin beside it, which has {size:,}"
        raise TruncatedError(graph.path, reason)
