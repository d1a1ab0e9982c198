"""Which tensors are judged, and as what: by the role that folding gave them, never by their type alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, final

from attrs import field, frozen

from quantlevels.container import UnknownType
from quantlevels.values.encodings import E4M3, E8M0, ENCODINGS, WIDE, Encoding
from quantlevels.values.ggml import BLOCK_SCALES, BlockScales

if TYPE_CHECKING:
    from quantlevels.container import Checkpoint, Place, Tensor
    from quantlevels.scheme import Role
    from quantlevels.schemes.folding import FoldedWeight

#: tensors that hold parameters or what decodes them; others are not judged
_JUDGED: Final = ("weight", "codes", "scale", "zero_point", "bias", "activation", "codebook", "correction")
#: those that are judged if they are integers: zero points and indices are constant in many honest models
_INTEGERS_JUDGED: Final = ("weight", "codes", "scale")
#: A scale stored as plain bytes → its encoding, by the level of the weight.
_BYTE_SCALES: Final = {
    "MXFP4": E8M0,
    "MXFP6_E2M3": E8M0,
    "MXFP6_E3M2": E8M0,
    "MXFP8_E4M3": E8M0,
    "MXFP8_E5M2": E8M0,
    "MXINT8": E8M0,
    "NVFP4": E4M3,
}
#: the shortest rows that show a precision; shorter ones are kernels of convolutions
LEAST_ROW: Final = 32
#: axes of the kernels of convolutions over images and volumes
_CONVOLUTIONS: Final = (4, 5)


@final
@frozen(kw_only=True, eq=False)
class Subject:
    """A tensor to judge.

    Args:
        name: of the tensor.
        role: what it is for.
        place: its file, and the byte at which it begins.
        nbytes: its bytes.
        shape: stored elements per axis.
        dtype: name of its storage type.
        encoding: how its elements are read as numbers; None for packed codes, integers and blocks.
        blocks: the scales inside its blocks, for the types of ggml.
        block_nbytes: bytes of a block, or of an element.
        block_weights: elements in a block.
        weight: what it was folded into; the same object for all tensors of a module.
        module: name of that weight.
    """

    name: str
    role: Role
    place: Place
    nbytes: int
    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding | None
    blocks: BlockScales | None
    block_nbytes: int
    block_weights: int
    weight: FoldedWeight = field(repr=False)
    module: str

    @property
    def elements(self) -> int:
        """Stored elements."""
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        """The byte in the file behind its last."""
        return self.place.offset + self.nbytes

    @property
    def is_matrix(self) -> bool:
        """Whether it has rows and columns."""
        return len(self.shape) > 1

    @property
    def is_plain(self) -> bool:
        """Whether it is a weight in a wide floating type."""
        return self.role == "weight" and self.is_matrix and self.dtype in WIDE

    @property
    def matrix(self) -> tuple[int, int]:
        """Rows and columns as groups run: along the last axis, or all axes but the first of a convolution."""
        first = self.shape[0]
        if len(self.shape) in _CONVOLUTIONS or (len(self.shape) == 3 and self.shape[-1] < LEAST_ROW):
            return first, self.elements // (first or 1)
        return self.elements // (self.shape[-1] or 1), self.shape[-1]

    @property
    def row_nbytes(self) -> int:
        """Bytes of a row of `matrix`; 0 if a row is not a whole number of bytes."""
        rows = self.matrix[0] if self.is_matrix else 1
        if not rows or self.nbytes % rows:
            return 0
        return self.nbytes // rows

    def values_in(self, nbytes: int) -> int:
        """Elements in so many of its bytes."""
        return nbytes * self.elements // (self.nbytes or 1)

    def index(self, element: int) -> tuple[int, ...]:
        """The indices of an element, by its number."""
        indices: list[int] = []
        for length in reversed(self.shape):
            element, index = divmod(element, length or 1)
            indices.append(index)
        return tuple(reversed(indices))


def subjects(
    checkpoint: Checkpoint, weights: Iterable[tuple[str, FoldedWeight]]
) -> tuple[list[Subject], tuple[str, ...]]:
    """The tensors to judge, and the names of those whose place in a file is not known.

    Args:
        checkpoint: the tensors and their places.
        weights: the module and the folded weight of each, as `Folding` gives them.
    """
    tensors = {
        tensor.name: (tensor, place) for tensor, place in zip(checkpoint.tensors, checkpoint.places, strict=True)
    }
    found: list[Subject] = []
    unread: list[str] = []
    for module, weight, name, role in _members(weights):
        tensor, place = tensors[name]
        if role not in _JUDGED or not tensor.nbytes or isinstance(tensor.dtype, UnknownType):
            continue
        if role not in _INTEGERS_JUDGED and tensor.dtype.kind in ("int", "uint", "bool"):
            continue
        if place is None:
            unread.append(name)
        else:
            found.append(_subject(tensor, place, role, weight, (module + weight.name).removeprefix(".")))
    return found, tuple(unread)


def _members(
    weights: Iterable[tuple[str, FoldedWeight]],
) -> Iterator[tuple[str, FoldedWeight, str, Role]]:
    for module, weight in weights:
        if weight.account == "unexplained":
            continue
        for member in weight.members:
            yield module, weight, member.within(module), member.role


def _subject(tensor: Tensor, place: Place, role: Role, weight: FoldedWeight, module: str) -> Subject:
    level = tensor.dtype
    assert not isinstance(level, UnknownType)
    block = level.block
    encoding = ENCODINGS.get(level.name)
    # a wide floating type as a container of packed codes (bitsandbytes' quant_storage): as floats they look damaged
    if encoding and role == "codes" and encoding.nbytes > 1:
        encoding = None
    if encoding is None and role == "scale" and level.name == "UInt8":
        encoding = _BYTE_SCALES.get(weight.level.name)
    scales = BLOCK_SCALES.get(level.name) if block.weights > 1 else None  # by ggml's name: MXFP4 is of others too
    # the same level may be stored in a layout that is not ggml's: NVFP4 in safetensors has its scales apart
    if scales and scales.nbytes * 8 != block.bits:
        scales = None
    return Subject(
        name=tensor.name,
        role=role,
        place=place,
        nbytes=tensor.nbytes,
        shape=tensor.shape,
        dtype=level.name,
        encoding=encoding,
        blocks=scales,
        block_nbytes=max(block.bits // 8, 1),
        block_weights=block.weights,
        weight=weight,
        module=module,
    )
