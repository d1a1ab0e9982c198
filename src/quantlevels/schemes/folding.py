"""Tensors → weights: tensors are grouped into modules by name, and each module is folded by the packing it matches.

Folding depends on suffixes, types and shapes alone, and models repeat their layers: modules that are alike fold once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain, groupby
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, final

from attrs import evolve, field, frozen

from quantlevels.container import Form, Tensors, UnknownType
from quantlevels.scheme import (
    BIAS,
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
    TensorRuleError,
    Weight,
)
from quantlevels.schemes.buffers import is_buffer, is_common
from quantlevels.schemes.catalogue import CATALOGUE, needs_of, packings_for
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
#: Last parts that belong to a part before them that is called ``weight``: the scales of NVFP4 in GGUF files.
_BELOW_WEIGHT: Final = frozenset({"scale", "input_scale"})
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
    "_activation_scale": "activation_scale",
    "_scale": "weight_scale",
    "_zero": "weight_zero",  # of AWQ in CTranslate2
    "_qdata": "_weight_qdata",
}
#: the endings of codes; there is then no parameter of the bare name beside them
_FUSED_CODES: Final = ("_blocks", "_packed", "_qdata")
_FUSED_ENDINGS: Final = tuple(_FUSED)

#: Names that only quantizers give, to codes and to side tensors. Other names, such as ``scale``, are also names of
#: parameters. A module that has some of them, and in which no packing is found, lacks a tensor.
_CODES_NAMES: Final = "qweight weight_packed W_q q_weight trellis Qidxs _weight_qdata weight._data weight._data._data"
_SIDES_NAMES: Final = (
    "qzeros scales g_idx qbiases weight_scale weight_scale_inv weight_scale_2 weight_global_scale weight_scales "
    "weight_zero_point weight_g_idx weight_shape scale_weight scale_packed SCB weight_scb "
    "weight.absmax weight.quant_map weight.nested_absmax weight.nested_quant_map weight_absmax weight_quant_map "
    "weight._scale weight._shift _weight_scale _weight_zero_point _weight_scale_and_zero q_invperm q_groups suh svh "
    "Wscale bitmask"
)
#: Names that side tensors and parameters have; beside one of the names above it is a side tensor.
_COMPANIONS: Final = frozenset(
    {"biases", "zero", "scale", "perm", "meta", "su", "sv", "codebooks", "lookup_table"}
    | {"centroids.weight", "res_centroids.weight", "outlier_centroids.weight", "res_indices", "outlier_indices"}
)
#: What HQQ stores beside codes. Each alone may be a parameter; together they are of a quantizer.
_SCALE_AND_ZERO: Final = frozenset({"scale", "zero"})
_CODES_ONLY: Final = frozenset(_CODES_NAMES.split())
_SIDES_ONLY: Final = frozenset(_SIDES_NAMES.split())

#: Suffixes of plain tensors that are not weights.
_PLAIN_ROLES: Final[dict[str, Role]] = {"bias": "bias"}

#: where the steps of `_by_members` start
_ROOT: Final = -1
#: tensors that a module may have; real ones have fewer than twenty
_LARGEST_MODULE: Final = 64
#: (suffix, dtype, shape, bytes) of a tensor in a module
_Member: TypeAlias = tuple[str, QuantizationLevel | UnknownType, tuple[int, ...], int]


#: Where the bytes of a tensor are counted: with the weights of a level, with the buffers, or as unexplained.
Account: TypeAlias = Literal["weights", "buffers", "unexplained"]


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

    def name_of(self, suffix: str) -> str:
        """What the name of one of its tensors adds to the name of the module; an empty suffix adds nothing."""
        return f"{self.name}.{suffix}" if suffix else self.name

    def tensor(self, suffix: str, role: Role) -> FoldedTensor:
        """One of its tensors under the name it has in the checkpoint."""
        return FoldedTensor(f".{self.stored_names.get(suffix, suffix)}" if suffix else "", role)

    def plain(self, suffix: str, role: Role, tensor: TensorInfo) -> FoldedWeight:
        """One of its tensors that stands for itself."""
        folded = plain(self.name_of(suffix), tensor, role, is_weight=suffix == "weight")
        return evolve(folded, tensors=(self.tensor(suffix, role),)) if self.stored_names else folded


@final
@frozen(kw_only=True)
class FoldedWeight:
    """What a module, or a plain tensor in it, amounts to.

    Args:
        name: what its name adds to the module's: ``""``, ``.weight``, ``.down_proj``.
        level: its level; UnknownType if no known level is stored so.
        parameters: logical weights; 0 for buffers, side tensors and what is not understood.
        nbytes: bytes of all its tensors, the bias of a quantized weight among them.
        quantized: whether its weights are stored in less than 16 bits.
        group_size, symmetric, code_bits, block, shape: as in ``Weight``.
        vector: whether it is a plain tensor and not a matrix: a norm, a bias.
        account: where its bytes are counted.
        problem: (code, message) of the finding if its layout is ambiguous or contradictory.
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
    block: tuple[int, int] | None = None
    shape: tuple[int, ...] = ()
    vector: bool = False
    account: Account = "weights"
    problem: tuple[str, str] | None = None
    role: Role | None = None
    tensors: tuple[FoldedTensor, ...] = field(default=(), eq=False)

    @property
    def members(self) -> tuple[FoldedTensor, ...]:
        """Its tensors with their roles; none if its layout is not understood."""
        if self.tensors or self.role is None:
            return self.tensors
        return (FoldedTensor(self.name, self.role),)

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
            block=weight.block,
            shape=weight.shape,
            role="codes",
            tensors=tensors,
        )

    @classmethod
    def unclear(cls, level: QuantizationLevel | UnknownType, reason: str, *, name: str, nbytes: int) -> FoldedWeight:
        """Weights that are packed in an unknown way: their bytes, and a finding QL303."""
        return cls(name=name, level=level, parameters=0, nbytes=nbytes, quantized=True, problem=("QL303", reason))


@final
@frozen(eq=False, repr=False)
class Folding:
    """The weights of a checkpoint: ``for name, parts in folding`` gives each module and what it amounts to.

    Args:
        alike: what modules amount to, and the names of all modules that amount to the same.
    """

    alike: Sequence[tuple[tuple[FoldedWeight, ...], list[str]]]

    def __iter__(self) -> Iterator[tuple[str, tuple[FoldedWeight, ...]]]:
        for parts, names in self.alike:
            for name in names:
                yield name, parts


def fold_modules(tensors: Tensors, declared_packings: Sequence[Packing], declared: Declared | None) -> Folding:
    """The weights of tensors, which belong to modules by their names.

    Args:
        tensors: all tensors of the checkpoint.
        declared_packings: the packings of the declared method, tried first.
        declared: what its config files declare.
    """
    modules = _by_members(tensors, declared_packings)

    buffers = declared.buffers if declared else ()

    def folded(group_size: int | None) -> list[tuple[tuple[FoldedWeight, ...], list[str]]]:
        alike: list[tuple[tuple[FoldedWeight, ...], list[str]]] = []
        for members, names in modules:
            pieces = _split(members)
            for levels, same in _by_declaration(pieces, names, declared):
                parts: list[FoldedWeight] = []
                for piece, level in zip(pieces, levels, strict=True):
                    hint = _hint(level, group_size)
                    context = _Context(module=same[0], hint=hint, declared_packings=declared_packings, buffers=buffers)
                    parts += _fold(piece, context)
                alike.append((tuple(parts), same))
        return alike

    alike = folded(None)
    # A row that is one group does not show the group size, but longer rows of the same model may. Without a config,
    # everything is then folded again with that size, which costs one more fold for each kind of module.
    weights = chain.from_iterable(parts for parts, _ in alike)
    sizes = {part.group_size for part in weights if part.code_bits}
    if len(sizes - {None}) == 1 and None in sizes:
        alike = folded(max(size for size in sizes if size))
    return Folding(alike)


def _by_members(tensors: Tensors, declared_packings: Sequence[Packing]) -> list[tuple[list[_Member], list[str]]]:
    """Each kind of module as its tensors, with the names of all modules that have equal ones.

    Each tensor takes its module one step further through a tree. Modules that end at one place have equal tensors.
    """
    reached: dict[str, int] = {}
    steps: dict[tuple[int, str, int], int] = {}
    equal: dict[tuple[int, str, int, tuple[int, ...], int], int] = {}
    at_root: list[tuple[str, Form]] = []
    grouped = _INNER | _BELOW_WEIGHT  # suffixes that may take a part of the module's name with them
    if tensors.mention("centroids.weight"):  # rare, so this is checked once and not for each tensor
        grouped |= {"weight"}
    places: list[tuple[int, _Member]] = []  # per place: the place before it, and the tensor between them
    # this loop is a third of an inspection: each line of it costs a few milliseconds per 100,000 tensors
    for name, form, identity in zip(tensors.names, tensors.forms, map(id, tensors.forms), strict=True):
        module, _, suffix = name.rpartition(".")
        if suffix in grouped:
            module, suffix = _outer(module, suffix)
        if not module:
            at_root.append((suffix, form))
            continue
        step = (reached.get(module, _ROOT), suffix, identity)
        try:
            reached[module] = steps[step]
        except KeyError:
            # equal forms of two shards are different objects; a level by its identity, since its hash is Python code
            dtype, shape, nbytes = form
            same = (step[0], suffix, id(dtype), shape, nbytes)
            reached[module] = steps[step] = place = equal.setdefault(same, len(places))
            if place == len(places):
                places.append((step[0], (suffix, dtype, shape, nbytes)))
    # Equal tensors in another order end at another place. Writers keep one order for all layers; if one does not, its
    # modules are folded once more, to the same weights.
    names: dict[int, list[str]] = defaultdict(list)
    for name, place in reached.items():
        names[place].append(name)
    modules = [(_path(places, place), same) for place, same in names.items()]
    modules += _at_root(at_root, frozenset().union(*(packing.suffixes for packing in declared_packings)))
    return modules


def _at_root(
    members: Sequence[tuple[str, Form]], declared: frozenset[str]
) -> Iterator[tuple[list[_Member], list[str]]]:
    """Tensors whose names have no dot: one module without a name, or single tensors if there are too many for a module.

    Exporters (ONNX) number the tensors of a whole model that way.

    Args:
        members: names and forms.
        declared: the names that tensors have in a module of the declared method.
    """
    if not members:
        return
    words = declared.union(*(tensors for row in CATALOGUE for tensors in row.tensors))
    of_module: list[_Member] = []
    alone: dict[Form, list[str]] = defaultdict(list)
    is_packed = any(name in _CODES_ONLY or name in _SIDES_ONLY or name.endswith(_FUSED_ENDINGS) for name, _ in members)
    for name, form in members:
        if is_packed or len(members) <= _LARGEST_MODULE or is_common(name) or name in words:
            of_module.append((name, *form))
        else:
            alone[form].append(name)
    if of_module:
        yield of_module, [""]
    for form, names in alone.items():
        yield [("", *form)], names


def _path(places: Sequence[tuple[int, _Member]], place: int) -> list[_Member]:
    """The tensors on the way from the root to a place, in the order of the checkpoint."""
    members: list[_Member] = []
    while place != _ROOT:
        place, member = places[place]
        members.append(member)
    return members[::-1]


def _outer(module: str, suffix: str) -> tuple[str, str]:
    """Module and suffix of a tensor whose last part belongs to the part before: ``("fc", "weight.absmax")``."""
    if suffix in _BELOW_WEIGHT:
        return (module.removesuffix(".weight"), f"weight.{suffix}") if module.endswith(".weight") else (module, suffix)
    first = suffix.partition(".")[0]
    if first not in _INNER and not module.endswith("centroids"):
        return module, suffix
    # one step at a time: quanto nests `weight._data._data`, and VPTQ's `centroids.weight` has a part of its own
    parts = module.split(".")
    kept = len(parts)
    while kept and (first in _INNER or parts[kept - 1].endswith("centroids")):
        kept -= 1
        first = parts[kept]
    return ".".join(parts[:kept]), ".".join([*parts[kept:], suffix])


def _by_declaration(
    pieces: Sequence[_Piece], names: list[str], declared: Declared | None
) -> list[tuple[list[DeclaredLevel | None], list[str]]]:
    """The declared level of each parameter, with the names of all modules for which these levels are declared."""
    if declared is None:
        return [([None] * len(pieces), names)]
    groups: list[tuple[list[DeclaredLevel | None], list[str]]] = [([], names)]
    for piece in pieces:
        added = piece.name
        split: list[tuple[list[DeclaredLevel | None], list[str]]] = []
        for levels, same in groups:
            if added:  # a fused parameter is declared under its own name: `mlp.experts.down_proj`
                by_level = declared.by_level([name + added for name in same])
                split += [([*levels, level], [name.removesuffix(added) for name in named]) for level, named in by_level]
            else:
                split += [([*levels, level], named) for level, named in declared.by_level(same)]
        groups = split
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
    """Names of the parameters of a module whose side tensors have their name and an ending, longest first."""
    # all endings at once: a module may have a million tensors, if names have no dots
    fused = [suffix for suffix in module if suffix.endswith(_FUSED_ENDINGS)]
    bases: set[str] = set()
    for suffix in fused:
        bases.update(suffix.removesuffix(ending) for ending in _FUSED if suffix.endswith(ending))
    # a float of the bare name is a plain parameter; longest first, since `down_proj_weight_scale` may belong to
    # `down_proj_weight` as well as to `down_proj`
    return sorted(
        (
            base
            for base in bases - {"", "weight", "_weight", "scale", "zero_point"}
            if (base in module and not module[base].is_a("None", "Float64", "BFloat16", "Float16"))
            or any(f"{base}{ending}" in module for ending in _FUSED_CODES)
        ),
        key=len,
        reverse=True,
    )


def _split(members: Sequence[_Member]) -> list[_Piece]:
    """The parameters of a module that have side tensors of their own, then the rest of the module as one piece."""
    rest = {suffix: TensorInfo(dtype, shape, nbytes) for suffix, dtype, shape, nbytes in members}
    bases = _fused(rest)
    names = sorted(rest) if bases else []
    pieces: list[_Piece] = []
    for base in bases:
        if f"{base}_qdata" in rest:  # torchao: all tensors that begin with the name of the parameter
            # those that start with "base_": the next character after "_" ends them
            beside = names[bisect_left(names, f"{base}_") : bisect_left(names, f"{base}`")]
            stored = {f"_weight{name.removeprefix(base)}": name for name in beside if name in rest}
        else:
            stored = {suffix: base + ending for ending, suffix in _FUSED.items() if base + ending in rest}
        if base in rest:
            stored["weight"] = base
        module = {suffix: rest.pop(name) for suffix, name in stored.items()}
        pieces.append(_Piece(f".{base.removeprefix('_')}", module, stored))
    return [*pieces, _Piece("", rest, {})]


def _fold(piece: _Piece, context: _Context) -> Iterator[FoldedWeight]:
    """The weight of a module, if a packing is found for it, and its other tensors as they are."""
    name, module = piece.name, piece.module
    try:
        found = _weight(module, context)
    except (AmbiguousLayoutError, LayoutError) as problem:
        packed = UnknownType("packing", " + ".join(sorted(module)))
        nbytes = sum(tensor.nbytes for tensor in module.values())
        yield FoldedWeight.unclear(packed, str(problem), name=name, nbytes=nbytes)
        return
    rest = dict(module)
    if found:
        packing, weight = found
        roles: dict[str, Role] = {suffix: role for suffix, role in packing.roles.items() if suffix in rest}
        # side tensors of a quantizer that the packing does not have: the layout is another, however well the rest fits
        unexpected = [suffix for suffix in rest if suffix in _SIDES_ONLY and suffix not in roles]
        nbytes = sum(rest.pop(suffix).nbytes for suffix in roles)
        bias = rest.pop("bias", None)
        if bias:  # its parameters count by themselves, its bytes with the weight: each byte is in one place
            nbytes += bias.nbytes
            yield piece.plain("bias", "bias", bias._replace(nbytes=0))
        tensors = tuple(piece.tensor(suffix, role) for suffix, role in roles.items())
        folded = FoldedWeight.of(weight, name=name, nbytes=nbytes, tensors=tensors)
        if unexpected:
            reason = f"{_described(weight)}, but the layout that fits {packing.codes} has no {', '.join(unexpected)}"
            folded = evolve(
                folded,
                nbytes=nbytes + sum(rest.pop(suffix).nbytes for suffix in unexpected),
                tensors=(*tensors, *(piece.tensor(suffix, "scale") for suffix in unexpected)),
                problem=("QL303", reason),
            )
        yield folded
    else:
        yield from _lone_tensors(piece, rest, context)
    for suffix, tensor in rest.items():
        yield _alone(piece, suffix, tensor, context)


def _lone_tensors(piece: _Piece, rest: dict[str, TensorInfo], context: _Context) -> Iterator[FoldedWeight]:
    """Codes without their scales, or scales without their codes; they are removed from ``rest``."""
    sides = [suffix for suffix in rest if suffix in _SIDES_ONLY]
    if sides or rest.keys() >= _SCALE_AND_ZERO:
        sides += [suffix for suffix in rest if suffix in _COMPANIONS]
    codes = [suffix for suffix in rest if suffix in _CODES_ONLY]
    # tensors of other names beside them mean an unknown method, not a lost tensor
    other_names = rest.keys() - {*codes, *sides, *COMMON_SIDES, "bias", "weight"}
    if codes and not other_names:
        missing = " and ".join(need for need in context.needs(codes[0]) if need not in rest) or "its scales"
        yield _incomplete(piece, rest, [*codes, *sides], f"{' and '.join(codes)} without {missing}")
    elif sides and "weight" not in rest and not codes:
        yield _incomplete(piece, rest, sides, f"{', '.join(sides)} without the weight they belong to")


def _incomplete(piece: _Piece, rest: dict[str, TensorInfo], suffixes: Sequence[str], reason: str) -> FoldedWeight:
    tensors = [piece.tensor(suffix, "codes" if suffix in _CODES_ONLY else "scale") for suffix in suffixes]
    return FoldedWeight(
        name=piece.name,
        level=UnknownType("packing", " + ".join(sorted(suffixes))),
        parameters=0,
        nbytes=sum(rest.pop(suffix).nbytes for suffix in suffixes),
        quantized=True,
        account="unexplained",
        problem=("QL202", reason),
        tensors=tuple(tensors),
    )


def _alone(piece: _Piece, suffix: str, tensor: TensorInfo, context: _Context) -> FoldedWeight:
    """A tensor that no packing explains: a parameter, a buffer, or unexplained."""
    stored_name = piece.stored_names.get(suffix, suffix)
    is_rotation = context.module.rpartition(".")[2] in context.buffers
    if is_rotation or is_buffer(context.module, stored_name, tensor):
        common = COMMON_SIDES.get(suffix)
        return FoldedWeight(
            name=piece.name_of(suffix),
            level=tensor.dtype,
            parameters=0,
            nbytes=tensor.nbytes,
            quantized=False,
            account="buffers",
            tensors=(piece.tensor(suffix, common.role if common else "state"),),
        )
    # a plain weight of 8 bits may stand for itself, but not if its method stores scales beside such a weight
    folded = piece.plain(suffix, _PLAIN_ROLES.get(suffix, "weight"), tensor)
    if suffix == "weight" and context.scales_missing(tensor):
        reason = f"weight is {tensor.dtype}, declared {context.hint.level}, but its scales are missing"
        return evolve(folded, problem=("QL202", reason))
    return folded


@final
class _Context(NamedTuple):
    """What is known around a module when it is folded.

    Args:
        module: its name, or that of one of the modules with equal tensors.
        hint: what is declared for it.
        declared_packings: the packings of the declared method, tried first.
        buffers: last parts of the names of modules that hold no parameters, as the config says.
    """

    module: str
    hint: Hint
    declared_packings: Sequence[Packing]
    buffers: Collection[str]

    def needs(self, codes: str) -> tuple[str, ...]:
        """What the declared method, or another that writes codes of this name, needs beside them."""
        declared = (packing.needs for packing in self.declared_packings if packing.codes == codes)
        return next(declared, None) or needs_of(codes)

    def scales_missing(self, weight: TensorInfo) -> bool:
        """Whether a declared method would have stored scales beside codes of this type."""
        codes = weight.is_a("Float8E4M3FN", "Float8E4M3FNUZ", "Float8E5M2", "Int8", "UInt8")
        if not codes or self.hint.level is None:
            return False
        return any(packing.codes == "weight" for packing in self.declared_packings)


def _weight(module: Module, context: _Context) -> tuple[Packing, Weight] | None:
    """The packing of a module and its weight, by the declared method's packings first; None for plain tensors."""
    misfits: list[LayoutError] = []
    for is_declared, packings in _rounds(module, context):
        # a layout that fits except for one side tensor says more than one that explains fewer tensors
        near = _near_misfits(misfits)
        if near:
            raise near[0]
        #: level, group size and number of weights → the packing that gives these, and its weight
        fits: dict[str, tuple[Packing, Weight]] = {}
        for packing in packings:
            if packing.matches(module):
                try:
                    weight = packing.weight(module, context.hint)
                except LayoutError as error:
                    misfits.append(error)
                    continue
                if weight:
                    fits.setdefault(_described(weight), (packing, weight))
                if weight and is_declared:
                    break  # a scheme has its most specific packings first
        if len(fits) > 1:
            raise AmbiguousLayoutError(f"can be {' or '.join(sorted(fits))}")
        for packing, weight in fits.values():
            _check_single(module, packing)
            return packing, weight
    if misfits:
        raise (_near_misfits(misfits) or misfits)[0]
    return None


def _near_misfits(misfits: Sequence[LayoutError]) -> list[TensorRuleError]:
    """The errors of layouts that nearly fit: only one of their tensors is wrong."""
    return [misfit for misfit in misfits if isinstance(misfit, TensorRuleError)]


def _rounds(module: Module, context: _Context) -> Iterator[tuple[bool, Iterable[Packing]]]:
    """The packings to try: first those of the declared method, then those that leave the fewest tensors unexplained."""
    yield True, context.declared_packings
    suffixes = frozenset(module)

    def unexplained(packing: Packing) -> int:
        return len(suffixes - packing.suffixes - COMMON_SIDES.keys() - {BIAS.name})

    for _, packings in groupby(sorted(packings_for(suffixes), key=unexplained), key=unexplained):
        yield False, packings


def _check_single(module: Module, packing: Packing) -> None:
    """Refuse to choose if another packing's codes are in the same module."""
    for other in packings_for(frozenset(module), explained=packing.suffixes):
        raise AmbiguousLayoutError(f"holds codes of two formats, {packing.codes!r} and {other.codes!r}")


def _described(weight: Weight) -> str:
    group = f" in groups of {weight.group_size}" if weight.group_size else ""
    return f"{weight.parameters:,} weights of {weight.level}{group}"


def plain(name: str, tensor: TensorInfo, role: Role, *, is_weight: bool = False) -> FoldedWeight:
    """A tensor that stands for itself: a parameter, unless it is of integers that nothing explains.

    Args:
        name: what its name adds to the module's.
        tensor: its type and shape.
        role: what it is for.
        is_weight: whether its name is that of a weight, so that bytes are 8-bit weights.
    """
    level, elements = tensor.dtype, tensor.elements
    if isinstance(level, UnknownType):
        return FoldedWeight(
            name=name, level=level, parameters=elements, nbytes=tensor.nbytes, quantized=True, role=role
        )
    quantized = level.bits_per_param < UNQUANTIZED_BITS
    code_bits = level.bits_per_weight if quantized else None
    unexplained = ""
    if level.kind in ("int", "uint", "bool"):
        code_bits = Fraction(tensor.bits)
        if not (is_weight and len(tensor.shape) > 1 and tensor.is_a("Int8", "Int4", "UInt4")):
            unexplained = f"{level} {list(tensor.shape)}: packed weights, or integers that no layout explains"
    elif level.name == "Float8E8M0FNU":
        unexplained = "scales (powers of two) without the weight that they scale"
    if unexplained:
        return FoldedWeight(
            name=name,
            level=level,
            parameters=0,
            nbytes=tensor.nbytes,
            quantized=False,
            account="unexplained",
            problem=("QL304", unexplained),
        )
    return FoldedWeight(
        name=name,
        level=level,
        parameters=elements,
        nbytes=tensor.nbytes,
        quantized=quantized,
        code_bits=code_bits,
        shape=tensor.shape,
        vector=len(tensor.shape) < 2,
        role=role,
    )
