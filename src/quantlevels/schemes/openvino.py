"""An OpenVINO graph → weights: what is converted, shifted and scaled before it is used was quantized.

Source: nncf 3.4.0 ``quantization/algorithms/weight_compression/openvino_backend.py`` (compressed weights), and the
``FakeQuantize`` of openvino 2026.4.1 (weights of post-training quantization, whose ranges are settings).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from quantlevels.container import UnknownType
from quantlevels.scheme import UNQUANTIZED_BITS, Hint, Role, TensorInfo, Weight, code_bits
from quantlevels.schemes.buffers import ROTARY_MODULES, is_buffer
from quantlevels.schemes.common import codebook_level
from quantlevels.schemes.folding import FoldedTensor, FoldedWeight, Folding, plain
from quantlevels.schemes.scaled import microscaled
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel

if TYPE_CHECKING:
    from quantlevels.container import Checkpoint, Node

#: operators that give the elements of their first input, perhaps in another type or shape
_MOVES: Final = frozenset({"Convert", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "ConvertLike"})
#: operator → places of inputs that are settings of it, not weights
_SETTINGS: Final = {"FakeQuantize": (1, 2, 3, 4), "FakeConvert": (1, 2), "Interpolate": (1, 2, 3)}


#: NNCF scales codes twice at most; each operator could double the scales of a chain that is not one of NNCF
_MOST_SCALES: Final = 8


class _Chain(NamedTuple):
    """A value that was computed from constants alone: codes, and what they are shifted and scaled by."""

    codes: str
    scales: tuple[str, ...] = ()
    zero_point: str = ""
    codebook: str = ""

    @property
    def sides(self) -> dict[str, Role]:
        """The constants beside the codes, with their roles."""
        named: dict[str, Role] = dict.fromkeys(self.scales, "scale")
        if self.zero_point:
            named[self.zero_point] = "zero_point"
        if self.codebook:
            named[self.codebook] = "codebook"
        return named


def fold_openvino(checkpoint: Checkpoint) -> Folding:
    """The weights of an OpenVINO model, each under the name of its constant of codes.

    Parameters are floats with more than one element, and codes of less than 16 bits that are scaled. Scales, zero
    points and codebooks count with their weight; integers that are not codes, and settings of operators, are buffers.
    """
    graph = _Graph(checkpoint)
    return Folding([(tuple(graph.parts(tensor.name)), [tensor.name]) for tensor in checkpoint.tensors])


class _Graph:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self.stored = {name: TensorInfo(dtype, shape, nbytes) for name, dtype, shape, nbytes in checkpoint.tensors}
        #: value → how it was computed, for those that depend on constants alone
        self.chains = {name: _Chain(name) for name in self.stored}
        #: codes → the longest chain that begins with them
        self.found: dict[str, _Chain] = {}
        self.settings: set[str] = set()
        for node in checkpoint.nodes:
            self.read(node)
        for chain in list(self.found.values()):
            for side in chain.sides:
                self.found.pop(side, None)  # a scale that is scaled itself
        #: a scale, zero point or codebook → the codes it belongs to, the first if there are several
        self.owners: dict[str, str] = {}
        for codes, chain in self.found.items():
            for side in chain.sides:
                self.owners.setdefault(side, codes)

    def read(self, node: Node) -> None:
        """Take note of one operator; those that it reads from have come before."""
        inputs = [self.chains.get(value) for value in node.inputs]
        first, second = (*inputs, None, None)[:2]
        chain: _Chain | None = None
        if node.op_type in _MOVES:
            chain = first
        elif node.op_type == "Subtract" and first and second:
            chain = first._replace(zero_point=second.codes)
        elif node.op_type == "Multiply" and first and second:
            chain = self.scaled(first, second)
        # Gather also looks up embeddings: there, the codes come first and the indices are computed
        elif node.op_type == "Gather" and first and second and self.is_code(second.codes):
            chain = second._replace(codebook=first.codes)
        elif node.op_type in _SETTINGS:
            places = (inputs[place] for place in _SETTINGS[node.op_type] if place < len(inputs))
            self.settings.update(constant.codes for constant in places if constant)
        if chain is not None:
            self.chains.update(dict.fromkeys(node.outputs, chain))
            if chain.sides and self.is_code(chain.codes):
                self.found[chain.codes] = chain

    def scaled(self, one: _Chain, other: _Chain) -> _Chain | None:
        """The product of two values: the one with more elements are the codes, all else of the other are scales.

        None if no quantizer scales that often.
        """
        codes, scale = sorted((one, other), key=lambda chain: -self.stored[chain.codes].elements)
        scales = (*codes.scales, scale.codes, *scale.scales)
        return codes._replace(scales=scales) if len(scales) <= _MOST_SCALES else None

    def is_code(self, name: str) -> bool:
        """Whether the elements of a constant are too narrow to be weights as they are."""
        level = self.stored[name].dtype
        return isinstance(level, QuantizationLevel) and level.bits_per_param < UNQUANTIZED_BITS

    def parts(self, name: str) -> Iterator[FoldedWeight]:
        """What a constant amounts to; nothing if it is counted with another."""
        tensor = self.stored[name]
        if name in self.owners:
            return
        chain = self.found.get(name)
        if chain:
            yield self.weight(chain)
        elif self.is_buffer(name, tensor):
            yield FoldedWeight(
                name="",
                level=tensor.dtype,
                parameters=0,
                nbytes=tensor.nbytes,
                quantized=False,
                account="buffers",
                role="state",
            )
        else:
            yield plain("", tensor, "weight")

    def is_buffer(self, name: str, tensor: TensorInfo) -> bool:
        """Whether a constant is a shape, an index, a setting of an operator, or a single number."""
        if name in self.settings or tensor.elements <= 1 or isinstance(tensor.dtype, UnknownType):
            return name in self.settings or tensor.elements <= 1
        if tensor.dtype.kind not in ("int", "uint", "bool"):
            return _is_float_buffer(name, tensor)
        return len(tensor.shape) < 2 or tensor.bits > BITS_PER_BYTE or tensor.is_a("Bool")

    def weight(self, chain: _Chain) -> FoldedWeight:
        """A quantized weight with the bytes of all that it owns."""
        codes = self.stored[chain.codes]
        sides: dict[str, Role] = {side: role for side, role in chain.sides.items() if self.owners[side] == chain.codes}
        scale = next((self.stored[side] for side in chain.scales if self.stored[side].elements > 1), None)
        return FoldedWeight.of(
            _weight(codes, scale, self.stored.get(chain.zero_point), self.stored.get(chain.codebook)),
            name="",
            nbytes=codes.nbytes + sum(self.stored[side].nbytes for side in sides),
            tensors=(
                FoldedTensor(chain.codes, "codes", is_whole_name=True),
                *(FoldedTensor(side, role, is_whole_name=True) for side, role in sides.items()),
            ),
        )


def _is_float_buffer(name: str, tensor: TensorInfo) -> bool:
    """Whether floats are a buffer of the model: by the name they have in it, or that of the operator they are for.

    Such names are ``self.rotary_emb.inv_freq`` and ``__module.model.rotary_emb/aten::to/Convert``.
    """
    place, slash, _ = name.partition("/")
    module, _, leaf = place.removesuffix("_compressed").rpartition(".")
    return leaf in ROTARY_MODULES if slash else is_buffer(module, leaf, tensor)


def _weight(
    codes: TensorInfo, scale: TensorInfo | None, zero_point: TensorInfo | None, codebook: TensorInfo | None
) -> Weight:
    """The weight of codes [N, groups, size] or [N, K], its scale [N, groups, 1], [N, 1] or one number."""
    rows, group = _grouped(codes, scale)
    weight = microscaled(rows, _scale_rows(scale), Hint()) if scale is not None and group else None
    if weight:
        return weight._replace(shape=rows.shape)
    level = codes.dtype
    assert isinstance(level, QuantizationLevel)  # `is_code` has seen to it
    if codebook is not None:
        level = codebook_level("CB", level.bits_per_param)
    return Weight(
        level=level,
        parameters=codes.elements,
        code_bits=code_bits(codes, codes.elements),
        group_size=group,
        # one number in place of zero points only moves unsigned codes, all by the same
        symmetric=zero_point is None or zero_point.elements <= 1,
        shape=rows.shape,
    )


def _grouped(codes: TensorInfo, scale: TensorInfo | None) -> tuple[TensorInfo, int | None]:
    """Codes with the groups of a row put together, and the weights of one group; None for one scale per row or less."""
    *stack, groups, size = codes.shape if len(codes.shape) >= 2 else (*codes.shape, 1, 1)
    if not stack or scale is None or scale.shape != (*stack, groups, 1):
        return codes, None
    return codes._replace(shape=(*stack, groups * size)), size if groups > 1 else None


def _scale_rows(scale: TensorInfo) -> TensorInfo:
    return scale._replace(shape=scale.shape[:-1])
