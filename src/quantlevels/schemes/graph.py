"""An ONNX graph → weights: its operators say which tensors are codes, which are scales, and how wide codes are.

Operators and the order of their inputs: onnx 1.23.2 ``defs``, onnxruntime 1.32.0 ``docs/ContribOperators.md``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from quantlevels.container import Checkpoint, Node, UnknownType
from quantlevels.scheme import Hint, LayoutError, Role, TensorInfo, Weight, code_bits, exact, integer
from quantlevels.schemes.buffers import is_buffer
from quantlevels.schemes.folding import FoldedTensor, FoldedWeight, Folding, plain
from quantlevels.schemes.scaled import microscaled
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels


class _Operand(NamedTuple):
    """A quantized input of an operator: the places of its codes and of what belongs to them."""

    codes: int
    scale: int | None = None
    zero_point: int | None = None
    other: int | None = None


_BINARY: Final = (_Operand(0, 1, 2), _Operand(3, 4, 5))
_INTEGER: Final = (_Operand(0, None, 2), _Operand(1, None, 3))
_OPERANDS: Final[dict[str, tuple[_Operand, ...]]] = {
    "DequantizeLinear": (_Operand(0, 1, 2),),
    "QLinearMatMul": _BINARY,
    "QLinearAdd": _BINARY,
    "QLinearMul": _BINARY,
    "QLinearConv": (*_BINARY, _Operand(8, 4)),
    "QGemm": (*_BINARY, _Operand(6, 4)),
    "QAttention": (_Operand(0, 3, 6), _Operand(1, 4, 7)),
    "QEmbedLayerNormalization": tuple(_Operand(2 + place, 8 + place, 13 + place) for place in range(5)),
    "MatMulInteger": _INTEGER,
    "ConvInteger": _INTEGER,
    "MatMulIntegerToFloat": (_Operand(0, 2, 4), _Operand(1, 3, 5)),
    "DynamicQuantizeMatMul": (_Operand(1, 2, 3),),
    "DynamicQuantizeLSTM": (_Operand(1, 8, 9), _Operand(2, 10, 11)),
    "MatMulNBits": (_Operand(1, 2, 3, 4),),
    "MatMulBnb4": (_Operand(1, 2),),
    "GatherBlockQuantized": (_Operand(0, 2, 3),),
    "QMoE": (_Operand(2, 3, 11), _Operand(5, 6, 12), _Operand(8, 9, 13)),
}
#: operator → the places of inputs that are not parameters: rotary caches, masks, places of blocks, running statistics
_BUFFERS: Final = {
    "GroupQueryAttention": (7, 8, 9, 10),
    "SparseAttention": (5, 6, 9, 10),
    "PagedAttention": (5, 6, 7, 8, 9),
    "MultiHeadAttention": (4, 5),
    "Attention": (3, 5),
    "BatchNormalization": (3, 4),
    "RotaryEmbedding": (1, 2, 3),  # in either domain: caches and positions, in another order
    "Where": (0,),
}
#: operators whose output holds elements of their first input
_MOVES: Final = frozenset(
    {"Gather", "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Expand", "Cast"}
)
#: floats that are settings of an operator: the places of its inputs
_SETTINGS: Final = {"Resize": (1, 2), "Upsample": (1,)}
#: weights that share a scale if the operator does not say
_BLOCK_SIZES: Final = {"MatMulNBits": 32, "MatMulBnb4": 64, "GatherBlockQuantized": 128}
#: of the ONNX standard: its operators that are not in these tables read plain tensors
_OWN_DOMAINS: Final = ("", "ai.onnx", "ai.onnx.ml")
#: operators with several codes in a byte
_PACKED: Final = frozenset({"MatMulNBits", "MatMulBnb4", "GatherBlockQuantized", "QMoE"})
_BNB4: Final = {0: "BNB_FP4", 1: "NF4"}
#: what ONNX Runtime adds to the name of a tensor for that of its codes, and of their scale
_CODES_ENDING: Final = "_quantized"
_SCALE_ENDING: Final = "_scale"


class _Found(NamedTuple):
    """Codes, the operator that reads them, and the tensors that belong to them."""

    node: Node
    scale: str | None
    zero_point: str | None


def fold_graph(checkpoint: Checkpoint) -> Folding:
    """The weights of a graph, each under the name of its codes.

    Parameters are floats of at least one dimension, and integers that an operator dequantizes. The bytes of scales,
    zero points and biases count with their weight. Quantized vectors are biases: they count as what they become.
    """
    if checkpoint.container and checkpoint.container.graph == "openvino":
        from quantlevels.schemes.openvino import fold_openvino  # here: most graphs are of ONNX

        return fold_openvino(checkpoint)
    graph = _Graph(checkpoint)
    alike = [(tuple(graph.parts(tensor.name)), [tensor.name]) for tensor in checkpoint.tensors]
    return Folding(alike)


class _Graph:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self.stored = {name: TensorInfo(dtype, shape, nbytes) for name, dtype, shape, nbytes in checkpoint.tensors}
        self.found: dict[str, _Found] = {}
        #: scale, zero point ... → the codes it belongs to; None for those of activations
        self.sides: dict[str, str | None] = {}
        self.settings: set[str] = set()
        self.buffers: set[str] = set()
        #: tensor → the unknown operator that reads it
        self.foreign: dict[str, str] = {}
        #: value → the tensor whose elements it holds
        self.origin = {name: name for name in self.stored}
        #: value → the codes it was dequantized from, or summed up from without their scale
        self.dequantized: dict[str, str] = {}
        self.summed: dict[str, str] = {}
        #: product of scales → the tensors among them
        self.products: dict[str, list[str]] = {}
        for node in checkpoint.nodes:
            self.read(node)
        for side in self.sides:
            self.found.pop(side, None)
        #: codes → what counts with them
        self.owned: dict[str, list[str]] = defaultdict(list)
        for side, owner in self.sides.items():
            if owner in self.found:
                self.owned[owner].append(side)
        matrices = {_module(codes): codes for codes in self.found if not self.is_vector(codes)}
        self.biases: set[str] = set()
        for name, tensor in self.stored.items():
            if len(tensor.shape) == 1 and _leaf(name).startswith("bias") and _module(name) in matrices:
                self.biases.add(name)
                self.owned[matrices[_module(name)]].append(name)

    def read(self, node: Node) -> None:
        """Take note of one operator. Those that make its inputs have come before: ONNX requires topological sorting."""
        op_type, inputs = node.op_type, node.inputs
        output = node.outputs[0] if node.outputs else ""
        operands = _OPERANDS.get(op_type, ())
        for operand in operands:
            self.read_operand(node, operand)
        self.buffers.update(filter(None, map(self.origin.get, _inputs_in(node, _BUFFERS))))
        if op_type == "QuantizeLinear":  # of activations: their scale and zero point belong to no weight
            for value in inputs[1:3]:
                self.own(value, None)
        elif op_type in _MOVES and inputs:
            self.move(inputs[0], output)
        elif op_type == "Mul":
            self.multiply(inputs, output)
        elif op_type == "Constant" and self.is_single(output):
            self.settings.add(output)
        elif op_type in _SETTINGS:
            self.settings.update(_inputs_in(node, _SETTINGS))
        elif not operands and node.domain not in _OWN_DOMAINS:
            self.foreign.update((value, f"{node.domain}.{op_type}") for value in inputs if value in self.stored)

    def move(self, value: str, output: str) -> None:
        """Take note that an output holds what a value holds: quantizers put Transpose or Cast between the two."""
        for known in (self.origin, self.dequantized, self.summed):
            if value in known:
                known[output] = known[value]

    def is_single(self, name: str) -> bool:
        """Whether a stored tensor is one number, with or without an axis."""
        return name in self.stored and self.stored[name].elements == 1

    def read_operand(self, node: Node, operand: _Operand) -> None:
        def value(place: int | None) -> str | None:
            return node.inputs[place] if place is not None and place < len(node.inputs) else None

        codes = self.origin.get(value(operand.codes) or "")
        places = (operand.scale, operand.zero_point, operand.other)
        scale, zero_point, _ = (self.own(value(place), codes) for place in places)
        if codes is None:
            return
        self.found.setdefault(codes, _Found(node, scale, zero_point))
        for output in node.outputs[:1]:
            if node.op_type == "DequantizeLinear":
                self.dequantized[output] = codes
            elif operand.scale is None:
                self.summed[output] = codes

    def own(self, value: str | None, codes: str | None) -> str | None:
        """Take note that what a value holds, or was dequantized from, belongs to codes; the name of that tensor."""
        side = self.origin.get(value or "") or self.dequantized.get(value or "")
        # the first codes keep it: one scale may serve several operators, but its bytes count once
        if side and side != codes and not self.sides.get(side):
            self.sides[side] = codes
        return side

    def multiply(self, inputs: Sequence[str], output: str) -> None:
        """Integer sums are multiplied by the scale of their weight, first multiplied by that of the activations."""
        tensors = [value for value in inputs if value in self.stored]
        if tensors:
            self.products[output] = tensors
        if len(inputs) != 2:
            return
        for value, other in (inputs, inputs[::-1]):
            codes = self.summed.get(value)
            if codes is None:
                continue
            for scale in self.products.get(other, [other]):
                # of two scales in a product, only names tell which is the weight's and which the activations'
                owner = scale.removesuffix(_SCALE_ENDING) + _CODES_ENDING
                self.own(scale, owner if owner in self.found else codes)

    def parts(self, name: str) -> Iterator[FoldedWeight]:
        """What a tensor amounts to; nothing for what is counted with another."""
        tensor = self.stored[name]
        if self.sides.get(name) in self.found:
            return
        nbytes = 0 if name in self.biases else self.nbytes(name)
        if name in self.found and not self.is_vector(name):
            yield self.weight(name, tensor, nbytes)
        elif name in self.found:
            scale = self.stored.get(self.found[name].scale or "", tensor)
            yield FoldedWeight(
                name="",
                level=scale.dtype,
                parameters=tensor.elements if tensor.shape else 0,
                nbytes=nbytes,
                quantized=False,
                vector=True,
                tensors=self.members(name),
            )
        elif self.is_buffer(name, tensor):
            yield FoldedWeight(
                name="",
                level=tensor.dtype,
                parameters=0,
                nbytes=nbytes,
                quantized=False,
                account="buffers",
                role="state",
            )
        elif _is_integer(tensor) and name in self.foreign:
            reader = self.foreign[name]
            reason = f"{tensor.dtype} elements are read by {reader}, an unknown operator"
            yield FoldedWeight.unclear(UnknownType("operator", reader), reason, name="", nbytes=nbytes)
        else:
            yield plain("", tensor._replace(nbytes=nbytes), "bias" if name in self.biases else "weight")

    def is_buffer(self, name: str, tensor: TensorInfo) -> bool:
        """Whether a tensor is a buffer by the operator that reads it, by its name, or as an integer that counts."""
        if name in self.buffers or name in self.sides or name in self.settings or not tensor.shape:
            return True
        if _is_integer(tensor):  # shapes, axes, indices; bytes in matrices may be packed weights
            return len(tensor.shape) < 2 or tensor.bits > BITS_PER_BYTE or tensor.is_a("Bool")
        return is_buffer(_module(name), _leaf(name), tensor)

    def members(self, codes: str) -> tuple[FoldedTensor, ...]:
        """Codes and all that belongs to them, each with its role; biases are parameters of their own."""
        found = self.found[codes]
        roles: dict[str | None, Role] = {found.scale: "scale", found.zero_point: "zero_point"}
        sides = [side for side in self.owned.get(codes, ()) if side not in self.biases]
        return (
            FoldedTensor(codes, "bias" if self.is_vector(codes) else "codes", is_whole_name=True),
            *(FoldedTensor(side, roles.get(side, "index"), is_whole_name=True) for side in sides),
        )

    def is_vector(self, codes: str) -> bool:
        """Whether codes are those of a bias or the like; packed codes may have any shape."""
        return len(self.stored[codes].shape) < 2 and self.found[codes].node.op_type not in _PACKED

    def nbytes(self, name: str) -> int:
        """Bytes of a tensor, and of all that counts with it: a bias brings its own scale."""
        return self.stored[name].nbytes + sum(map(self.nbytes, self.owned.get(name, ())))

    def weight(self, name: str, codes: TensorInfo, nbytes: int) -> FoldedWeight:
        node, scale, zero_point = self.found[name]
        try:
            weight = _folded(node, codes, self.stored.get(scale or ""), symmetric=zero_point is None)
        except LayoutError as problem:
            return FoldedWeight.unclear(UnknownType("operator", node.op_type), str(problem), name="", nbytes=nbytes)
        return FoldedWeight.of(weight, name="", nbytes=nbytes, tensors=self.members(name))


def _folded(node: Node, codes: TensorInfo, scale: TensorInfo | None, *, symmetric: bool) -> Weight:
    """The weight that an operator makes of codes.

    Raises:
        LayoutError: if their bytes are not those its attributes ask for.
    """
    if not isinstance(codes.dtype, QuantizationLevel):
        raise LayoutError(f"{node.op_type} reads codes of unknown type: {codes.dtype}")
    group = _setting(node, "block_size", _BLOCK_SIZES.get(node.op_type, 0))
    match node.op_type:
        case "MatMulNBits":
            level, parameters = _in_whole_blocks(node, codes, group)
        case "MatMulBnb4":  # B [N * K / 2]
            parameters = _setting(node, "N") * _setting(node, "K")
            if codes.nbytes != -(-parameters // 2):
                raise LayoutError(
                    f"{parameters:,} codes of 4 bits take {-(-parameters // 2):,} bytes, not {codes.nbytes:,}"
                )
            level = levels[_BNB4.get(_setting(node, "quant_type", 1), "NF4")]
        case "GatherBlockQuantized" | "QMoE" if codes.is_a("UInt8"):
            bits = _setting(node, "bits" if node.op_type == "GatherBlockQuantized" else "expert_weight_bits", 4)
            parameters = exact(codes.nbytes * BITS_PER_BYTE, bits, "codes in bytes")
            level = integer(bits)
        case _:
            # DequantizeLinear in blocks (opset 21): its inputs run along an axis, which need not be the last
            along = _setting(node, "axis", 1)
            weight = microscaled(_rows(codes, along), _rows(scale, along), Hint()) if group and scale else None
            if weight:
                return weight
            level, parameters = codes.dtype, codes.elements
    if not parameters:
        raise LayoutError(f"{node.op_type} has codes without elements")
    return Weight(
        level=level,
        parameters=parameters,
        code_bits=code_bits(codes, parameters),
        group_size=group or None,
        symmetric=symmetric,
    )


def _in_whole_blocks(node: Node, codes: TensorInfo, group: int) -> tuple[QuantizationLevel, int]:
    """Level and number of the weights of MatMulNBits: B [N, K / block, block * bits / 8], the last block padded.

    Raises:
        LayoutError: if the codes have another number of bytes.
    """
    bits, rows, columns = _setting(node, "bits", 4), _setting(node, "N"), _setting(node, "K")
    if not group:
        raise LayoutError(f"{node.op_type} has block_size 0")
    stored = rows * -(-columns // group) * -(-group * bits // BITS_PER_BYTE)
    if codes.nbytes != stored:
        raise LayoutError(f"{rows * columns:,} codes of {bits} bits take {stored:,} bytes, not {codes.nbytes:,}")
    return integer(bits), rows * columns


def _inputs_in(node: Node, table: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The inputs of an operator in the places that a table has for it; optional inputs may be missing at the end."""
    return [node.inputs[place] for place in table.get(node.op_type, ()) if place < len(node.inputs)]


def _is_integer(tensor: TensorInfo) -> bool:
    return isinstance(tensor.dtype, QuantizationLevel) and tensor.dtype.kind in ("int", "uint", "bool")


def _rows(tensor: TensorInfo, axis: int) -> TensorInfo:
    """A tensor with an axis made its last."""
    shape = list(tensor.shape)
    if -len(shape) <= axis < len(shape):
        shape.append(shape.pop(axis))
    return tensor._replace(shape=tuple(shape))


def _setting(node: Node, name: str, default: int = 0) -> int:
    """An attribute that is a number of something.

    Raises:
        LayoutError: if it is negative and no axis.
    """
    value = node.attributes.get(name, default)
    if not isinstance(value, int) or (value < 0 and name != "axis"):
        raise LayoutError(f"{node.op_type} has {name} {value!r}; expected a number that is not negative")
    return value


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
