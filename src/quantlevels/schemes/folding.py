"""Tensors → weights: modules are told apart by name, and folded by the packing whose tensors they have.

Folding depends on suffixes, types and shapes alone, and models repeat their layers: modules that are alike fold once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

from attrs import evolve, field, frozen

from quantlevels.container import Tensor, UnknownType
from quantlevels.scheme import (
    COMMON_SIDES,
    UNQUANTIZED_BITS,
    AmbiguousLayoutError,
    DeclaredLevel,
    Hint,
    LayoutError,
    Module,
    Packing,
    Role,
    TensorInfo,
    Weight,
)
from quantlevels.schemes.catalogue import packings_for
from quantlevels.vocabulary.level import QuantizationLevel

if TYPE_CHECKING:
    from quantlevels.schemes.declaration import Declared

#: Last parts of names that belong to the part before them: ``weight.absmax``, ``weight._data._data``.
_INNER: Final = frozenset(
    {
        "absmax",
        "quant_map",
        "nested_absmax",
        "nested_quant_map",
        "quant_state",
        "bitsandbytes__nf4",
        "bitsandbytes__fp4",
    }
    | {"_data", "_scale", "_shift"}
)
#: Endings of the tensors of a parameter without a module of its own: ``experts.down_proj_blocks`` is its ``blocks``.
_FUSED: Final = {
    "_blocks": "blocks",
    "_packed": "weight_packed",
    "_scales": "scales",
    "_weight_scale_inv": "weight_scale_inv",
    "_scale_inv": "weight_scale_inv",
    "_weight_scale_2": "weight_scale_2",
    "_weight_scale": "weight_scale",
    "_input_scale": "input_scale",
    "_scale": "weight_scale",
    "_qdata": "_weight_qdata",
}
#: those of codes, which have no parameter of the bare name beside them
_CODES: Final = ("_blocks", "_packed", "_qdata")

#: Suffixes of plain tensors that are not weights.
_PLAIN_ROLES: Final[dict[str, Role]] = {"bias": "bias"}

_ROOT: Final = -1
#: (suffix, dtype, shape, bytes) of a tensor in a module
_Member: TypeAlias = tuple[str, QuantizationLevel | UnknownType, tuple[int, ...], int]


class FoldedTensor(NamedTuple):
    """A tensor that a weight was folded from."""

    #: what its name adds to the name of the module: ``.qweight``; its whole name in a graph
    name: str
    role: Role
    is_whole_name: bool = False

    def within(self, module: str) -> str:
        """Its name in the checkpoint."""
        return self.name if self.is_whole_name else (module + self.name).removeprefix(".")


class _Piece(NamedTuple):
    """One parameter of a module, with its side tensors."""

    #: what its name adds to the name of the module
    name: str
    module: Module
    #: suffix in ``module`` → suffix in the checkpoint, if they differ
    stored_names: Mapping[str, str]

    def tensor(self, suffix: str, role: Role) -> FoldedTensor:
        """One of its tensors under the name it has in the checkpoint."""
        return FoldedTensor(f".{self.stored_names.get(suffix, suffix)}", role)

    def plain(self, suffix: str, role: Role, tensor: TensorInfo) -> Iterator[FoldedWeight]:
        """One of its tensors that stands for itself."""
        for part in plain(f"{self.name}.{suffix}", suffix, tensor, role):
            yield evolve(part, tensors=(self.tensor(suffix, role),)) if self.stored_names else part


@final
@frozen(kw_only=True)
class FoldedWeight:
    """What a module, or a plain tensor in it, amounts to.

    Args:
        name: what its name adds to the module's: ``""``, ``.weight``, ``.down_proj``.
        level: its level; UnknownType where no level answers to its storage.
        parameters: logical weights; 0 for buffers, side tensors and what is not understood.
        nbytes: bytes of all its tensors, the bias of a quantized weight among them.
        quantized: whether its weights are stored in less than 16 bits.
        group_size, symmetric, code_bits: as in ``Weight``.
        vector: whether it is a plain tensor and no matrix: a norm, a bias.
        problem: (code, message) of the finding where its layout is ambiguous or contradictory.
        role: what it is for, if it is a plain tensor; "codes" if it was folded from several.
        tensors: the tensors it was folded from; empty for a plain tensor, which has the same name, and for what is not
            understood. No tensor is in two folded weights.
    """

    name: str
    level: QuantizationLevel | UnknownType
    parameters: int
    nbytes: int
    quantized: bool
    group_size: int | None = None
    symmetric: bool | None = None
    code_bits: Fraction | None = None
    vector: bool = False
    problem: tuple[str, str] | None = None
    role: Role | None = None
    tensors: tuple[FoldedTensor, ...] = field(default=(), eq=False)

    @property
    def members(self) -> tuple[FoldedTensor, ...]:
        """Its tensors with their roles; none if its layout is not understood."""
        return self.tensors or ((FoldedTensor(self.name, self.role),) if self.role else ())

    @classmethod
    def of(cls, weight: Weight, *, name: str, nbytes: int, tensors: tuple[FoldedTensor, ...]) -> FoldedWeight:
        """What a weight amounts to, with the bytes of all its tensors."""
        return cls(
            name=name,
            level=weight.level,
            parameters=weight.parameters,
            nbytes=nbytes,
            quantized=weight.level.bits_per_param < UNQUANTIZED_BITS,
            group_size=weight.group_size,
            symmetric=weight.symmetric,
            code_bits=weight.code_bits,
            role="codes",
            tensors=tensors,
        )

    @classmethod
    def unclear(cls, level: QuantizationLevel | UnknownType, reason: str, *, name: str, nbytes: int) -> FoldedWeight:
        """What is packed in a way that cannot be told: bytes, and a finding QL303."""
        return cls(name=name, level=level, parameters=0, nbytes=nbytes, quantized=True, problem=("QL303", reason))


@final
@frozen
class Folding:
    """The weights of a checkpoint: ``for name, parts in folding`` gives each module and what it amounts to.

    Args:
        alike: what modules amount to, and the names of all modules that amount to the same.
    """

    alike: Sequence[tuple[tuple[FoldedWeight, ...], list[str]]]

    def __iter__(self) -> Iterator[tuple[str, tuple[FoldedWeight, ...]]]:
        return ((name, parts) for parts, names in self.alike for name in names)


def fold_modules(tensors: Sequence[Tensor], own: Sequence[Packing], declared: Declared | None) -> Folding:
    """The weights of tensors whose names tell modules apart.

    Args:
        tensors: all tensors of the checkpoint.
        own: the packings of the declared method, tried first.
        declared: what its config files declare.
    """
    modules = _by_members(tensors)

    def folded(group_size: int | None) -> list[tuple[tuple[FoldedWeight, ...], list[str]]]:
        return [
            (
                tuple(
                    part
                    for piece, level in zip(pieces, said, strict=True)
                    for part in _fold(piece, _hint(level, group_size), own)
                ),
                same,
            )
            for pieces, names in modules
            for said, same in _by_declaration(pieces, names, declared)
        ]

    alike = folded(None)
    # a row that fits in one group shows no group size, but the other rows of a model without a config may
    weights = [part for parts, _ in alike for part in parts if part.code_bits]
    sizes = {part.group_size for part in weights}
    if len(sizes - {None}) == 1 and None in sizes:
        alike = folded(max(size for size in sizes if size))
    return Folding(alike)


def _by_members(tensors: Sequence[Tensor]) -> list[tuple[list[_Piece], list[str]]]:
    """Modules apart in their parameters, and the names of all modules with equal tensors.

    Modules take steps through a tree, one for each of their tensors: those that end at one place have equal tensors.
    """
    reached: dict[str, int] = {}
    steps: dict[tuple[int, str, int, tuple[int, ...], int], int] = {}
    places: list[tuple[int, _Member]] = []  # where a step came from, and for which tensor
    for name, dtype, shape, nbytes in tensors:
        module, _, suffix = name.rpartition(".")
        if suffix in _INNER or (suffix == "weight" and module.endswith("centroids")):
            module, suffix = _outer(module, suffix)
        # a level is known by its identity, which is hashed in no time
        step = (reached.get(module, _ROOT), suffix, id(dtype), shape, nbytes)
        place = steps.get(step)
        if place is None:
            place = steps[step] = len(places)
            places.append((step[0], (suffix, dtype, shape, nbytes)))
        reached[module] = place
    names: dict[int, list[str]] = defaultdict(list)
    for name, place in reached.items():
        names[place].append(name)
    return [(_split(_path(places, place)), same) for place, same in names.items()]


def _path(places: Sequence[tuple[int, _Member]], place: int) -> list[_Member]:
    """The tensors for which steps were taken from the root to a place."""
    members: list[_Member] = []
    while place != _ROOT:
        place, member = places[place]
        members.append(member)
    return members[::-1]


def _outer(module: str, suffix: str) -> tuple[str, str]:
    """Module and suffix of a tensor whose last part belongs to the part before: ``("fc", "weight.absmax")``."""
    while suffix.partition(".")[0] in _INNER or module.endswith("centroids"):
        module, _, outer = module.rpartition(".")
        suffix = f"{outer}.{suffix}"
    return module, suffix


def _by_declaration(
    pieces: Sequence[_Piece], names: list[str], declared: Declared | None
) -> list[tuple[list[DeclaredLevel | None], list[str]]]:
    """What is declared for the parameters of modules, and the names of all modules with the same."""
    if declared is None:
        return [([None] * len(pieces), names)]
    groups: list[tuple[list[DeclaredLevel | None], list[str]]] = [([], names)]
    for piece in pieces:
        added = piece.name
        groups = [
            ([*said, level], [module.removesuffix(added) for module in modules] if added else modules)
            for said, same in groups
            for level, modules in declared.by_level([name + added for name in same] if added else same)
        ]
    return groups


def _hint(declared: DeclaredLevel | None, group_size: int | None) -> Hint:
    if declared is None:
        return Hint(group_size=group_size)
    return Hint(
        level=declared.level,
        group_size=declared.group_size,
        symmetric=declared.symmetric,
        parameters=declared.parameters,
        block=declared.block,
    )


def _fused(module: Module) -> list[str]:
    """Names of the parameters of a module whose side tensors are told by an ending alone, longest first."""
    bases = {suffix.removesuffix(ending) for suffix in module for ending in _FUSED if suffix.endswith(ending)}
    return sorted(
        (
            base
            for base in bases - {"", "weight", "_weight", "scale"}
            if (base in module and not module[base].is_a("None", "Float64", "BFloat16", "Float16"))
            or any(f"{base}{ending}" in module for ending in _CODES)
        ),
        key=len,
        reverse=True,
    )


def _split(members: Sequence[_Member]) -> list[_Piece]:
    """The parameters of a module that have side tensors of their own, then what remains."""
    rest = {suffix: TensorInfo(dtype, shape, nbytes) for suffix, dtype, shape, nbytes in members}
    pieces: list[_Piece] = []
    for base in _fused(rest):
        if f"{base}_qdata" in rest:  # torchao has the name of the parameter first, and its own side tensors
            stored = {f"_weight{suffix.removeprefix(base)}": suffix for suffix in rest if suffix.startswith(f"{base}_")}
        else:
            stored = {suffix: base + ending for ending, suffix in _FUSED.items() if base + ending in rest}
        if base in rest:
            stored["weight"] = base
        module = {suffix: rest.pop(name) for suffix, name in stored.items()}
        pieces.append(_Piece(f".{base.removeprefix('_')}", module, stored))
    return [*pieces, _Piece("", rest, {})]


def _fold(piece: _Piece, hint: Hint, own: Sequence[Packing]) -> Iterator[FoldedWeight]:
    """The weight of a module, where a packing is found for it, and its other tensors as they are."""
    name, module = piece.name, piece.module
    try:
        found = _weight(module, hint, own)
    except (AmbiguousLayoutError, LayoutError) as problem:
        packed = UnknownType("packing", " + ".join(sorted(module)))
        yield FoldedWeight.unclear(
            packed, str(problem), name=name, nbytes=sum(tensor.nbytes for tensor in module.values())
        )
        return
    rest = dict(module)
    if found:
        packing, weight = found
        roles = {suffix: role for suffix, role in packing.roles.items() if suffix in rest}
        nbytes = sum(rest.pop(suffix).nbytes for suffix in roles)
        if bias := rest.pop("bias", None):
            nbytes += bias.nbytes
            yield from piece.plain("bias", "bias", bias._replace(nbytes=0))
        tensors = tuple(piece.tensor(suffix, role) for suffix, role in roles.items())
        yield FoldedWeight.of(weight, name=name, nbytes=nbytes, tensors=tensors)
    for suffix, tensor in rest.items():
        common = COMMON_SIDES.get(suffix)
        yield from piece.plain(suffix, common.role if common else _PLAIN_ROLES.get(suffix, "weight"), tensor)


def _weight(module: Module, hint: Hint, own: Sequence[Packing]) -> tuple[Packing, Weight] | None:
    """The packing of a module and its weight, by the declared method's packings first; None for plain tensors."""
    misfits: list[LayoutError] = []
    for is_declared in (True, False):
        fits: dict[Weight, Packing] = {}
        for packing in own if is_declared else packings_for(frozenset(module)):
            if packing.matches(module):
                try:
                    weight = packing.weight(module, hint)
                except LayoutError as misfit:
                    misfits.append(misfit)
                    continue
                if weight:
                    fits.setdefault(weight, packing)
        if len(fits) > 1 and not is_declared:
            raise AmbiguousLayoutError(f"can be {' or '.join(sorted(_described(weight) for weight in fits))}")
        for weight, packing in fits.items():
            _check_single(module, packing)
            return packing, weight
    if misfits:
        raise misfits[0]
    return None


def _check_single(module: Module, packing: Packing) -> None:
    """Refuse to choose if another packing's codes are in the same module."""
    for other in packings_for(frozenset(module), explained=packing.suffixes):
        raise AmbiguousLayoutError(f"holds codes of two formats, {packing.codes!r} and {other.codes!r}")


def _described(weight: Weight) -> str:
    group = f" in groups of {weight.group_size}" if weight.group_size else ""
    return f"{weight.parameters:,} weights of {weight.level}{group}"


def plain(name: str, suffix: str, tensor: TensorInfo, role: Role) -> Iterator[FoldedWeight]:
    """A tensor that stands for itself: a parameter, or a buffer, which counts for nothing but its bytes."""
    level, elements = tensor.dtype, tensor.elements
    if isinstance(level, UnknownType):
        yield FoldedWeight(name=name, level=level, parameters=elements, nbytes=tensor.nbytes, quantized=True, role=role)
    elif suffix in COMMON_SIDES or level.name == "Float8E8M0FNU":
        yield FoldedWeight(name=name, level=level, parameters=0, nbytes=tensor.nbytes, quantized=False, role=role)
    elif level.kind in ("int", "uint", "bool"):
        if suffix == "weight" and len(tensor.shape) > 1 and tensor.is_a("Int8", "Int4", "UInt4"):
            yield FoldedWeight(
                name=name,
                level=level,
                parameters=elements,
                nbytes=tensor.nbytes,
                quantized=True,
                code_bits=Fraction(tensor.bits),
                role=role,
            )
        elif suffix == "weight" and len(tensor.shape) > 1:
            reason = f"{level} words that no scheme explains: packed codes, or integers"
            yield FoldedWeight.unclear(level, reason, name=name, nbytes=tensor.nbytes)
    else:
        quantized = level.bits_per_param < UNQUANTIZED_BITS
        bits = level.bits_per_weight if quantized else None
        yield FoldedWeight(
            name=name,
            level=level,
            parameters=elements,
            nbytes=tensor.nbytes,
            quantized=quantized,
            code_bits=bits,
            vector=len(tensor.shape) < 2,
            role=role,
        )
