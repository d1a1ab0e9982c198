"""Bytes of a checkpoint before it is made: exact from the shapes in headers, idealized from a count of parameters.

Only weights count: no activations, no key-value cache, no file headers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, final

from attrs import frozen

from quantlevels.errors import SizingError
from quantlevels.inspection import SCHEMA_VERSION
from quantlevels.inspection.sizing.storage import (
    GGUF,
    module_bytes,
    rules_of,
    storage_for,
)
from quantlevels.llamacpp import (
    LEFT_AS_THEY_ARE,
    RECIPES,
    WIDENED_ON_CONVERSION,
    ModelFacts,
    gguf_tensor_names,
    model_facts,
    recipe_levels,
    recipe_named,
    row_fallback,
)
from quantlevels.scheme import Matrix, TensorInfo
from quantlevels.schemes.buffers import is_buffer
from quantlevels.vocabulary.builtin import FP16, FP32
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from quantlevels.container import Tensor, UnknownType
    from quantlevels.inspection.records import SizingRecord
    from quantlevels.vocabulary.level import Layout


#: What a size is reckoned from.
Basis: TypeAlias = Literal["tensors", "shapes", "count"]


@final
@frozen(kw_only=True)
class Target:
    """What a checkpoint is to become.

    Args:
        level: of the matrices.
        group_size: weights that share a scale along a row; None for what is usual in the scheme.
        scale: the level of a scale.
        zero_point: the level of a zero point; None where none is stored, or where the scheme always does.
        keep: (glob, level): modules that get another level, the first glob that matches deciding.
        scheme: a scheme that says how it stores, or a format of one; None for codes, scales and zero points as plain
            padded rows.
        recipe: a recipe of llama.cpp, such as ``Q4_K_M``, which gives each tensor its level; the scheme is gguf.
    """

    level: QuantizationLevel
    group_size: int | None = None
    scale: QuantizationLevel = FP16
    zero_point: QuantizationLevel | None = None
    keep: tuple[tuple[str, QuantizationLevel], ...] = ()
    scheme: str | None = None
    recipe: str | None = None

    @classmethod
    def of_recipe(cls, word: str, keep: tuple[tuple[str, QuantizationLevel], ...] = ()) -> Target:
        """A GGUF file by a recipe of llama-quantize.

        Args:
            word: ``Q4_K_M``, in any case.
            keep: as above.

        Raises:
            UnknownLevelError: if llama-quantize has no recipe of that name.
        """
        recipe = recipe_named(word)
        return cls(level=levels[RECIPES[recipe]], scheme=GGUF, recipe=recipe, keep=keep)


@final
@frozen(kw_only=True)
class SizedLevel:
    """The weights of one level in the checkpoint to be."""

    level: QuantizationLevel | UnknownType
    group_size: int | None
    parameters: int
    weights: int
    nbytes: int

    @property
    def bits_per_weight(self) -> Fraction:
        """Bits a weight takes, with all that is stored beside its code."""
        return Fraction(self.nbytes * BITS_PER_BYTE, self.parameters or 1)


@final
@frozen
class Fallback:
    """A tensor that cannot have the level asked for, and the one the real tool gives it."""

    tensor: str
    columns: int
    wanted: QuantizationLevel
    given: QuantizationLevel | UnknownType


@final
@frozen(kw_only=True)
class Sizing:
    """A checkpoint that does not exist yet.

    Args:
        target: what was asked for.
        levels: largest first.
        fallbacks: tensors that could not have their level.
        basis: what it is reckoned from: all tensors as they would be stored; the shapes of weights alone, if no scheme
            says which tensors stand beside quantized ones; or only a count of parameters.
    """

    target: Target
    levels: tuple[SizedLevel, ...]
    fallbacks: tuple[Fallback, ...] = ()
    basis: Basis = "tensors"

    @property
    def exact(self) -> bool:
        """Whether it is exact to the byte."""
        return self.basis == "tensors"

    @property
    def parameters(self) -> int:
        """Logical weights."""
        return sum(level.parameters for level in self.levels)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(level.nbytes for level in self.levels)

    @property
    def bits_per_weight(self) -> Fraction:
        """Bits a weight takes, over all of them."""
        return Fraction(self.nbytes * BITS_PER_BYTE, self.parameters or 1)

    def to_record(self) -> SizingRecord:
        """The record that ``quantlevels size --json`` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "level": self.target.level.name,
            "scheme": self.target.scheme,
            "recipe": self.target.recipe,
            "exact": self.exact,
            "parameters": self.parameters,
            "tensor_bytes": self.nbytes,
            "bits_per_weight": float(self.bits_per_weight),
            "levels": [
                {
                    "level": sized.level.name,
                    "group_size": sized.group_size,
                    "parameters": sized.parameters,
                    "weights": sized.weights,
                    "bytes": sized.nbytes,
                    "bits_per_weight": float(sized.bits_per_weight),
                }
                for sized in self.levels
            ],
            "fallbacks": [
                {"tensor": it.tensor, "columns": it.columns, "wanted": it.wanted.name, "given": it.given.name}
                for it in self.fallbacks
            ],
        }


#: stands for a number of experts, where only their being stacked counts
_SOME_EXPERTS = 2


class _Placed(NamedTuple):
    """What becomes of one tensor; ``wanted`` where it could not have the level it should."""

    level: QuantizationLevel | UnknownType
    group_size: int | None
    nbytes: int
    wanted: QuantizationLevel | None = None


def size(tensors: Iterable[Tensor], target: Target, facts: ModelFacts | None = None) -> Sizing:
    """What a checkpoint of these tensors takes as the target, to the byte.

    Args:
        tensors: of an unquantized checkpoint, or of a GGUF file, whose shapes count weights whatever their types.
        target: what it is to become.
        facts: what a recipe asks of the model; None for what the shapes tell.

    Raises:
        UnknownLevelError: if no scheme is called so.
        SizingError: if the tensors are codes of a quantizer, or the scheme cannot store what is asked for.
    """
    _check(target)
    tensors = list(tensors)
    _check_keep(target, tensors)
    recipe = _by_recipe(tensors, target.recipe, facts) if target.recipe else {}
    place = _gguf if target.scheme == GGUF else _plain if target.scheme is None else _packed
    totals: dict[tuple[QuantizationLevel | UnknownType, int | None], list[int]] = {}
    fallbacks = []
    for tensor in tensors:
        placed = place(tensor, target, _keep_level(tensor, target) or recipe.get(tensor.name))
        parameters = 0 if _is_buffer(tensor) else math.prod(tensor.shape)
        total = totals.setdefault((placed.level, placed.group_size), [0, 0, 0])
        total[:] = total[0] + parameters, total[1] + 1, total[2] + placed.nbytes
        if placed.wanted:
            fallbacks.append(Fallback(tensor.name, tensor.shape[-1], placed.wanted, placed.level))
    found = [
        SizedLevel(level=level, group_size=group, parameters=parameters, weights=weights, nbytes=nbytes)
        for (level, group), (parameters, weights, nbytes) in totals.items()
    ]
    return Sizing(
        target=target,
        levels=tuple(sorted(found, key=lambda sized: -sized.nbytes)),
        fallbacks=tuple(fallbacks),
        basis="tensors" if target.scheme or _is_cast(target.level) else "shapes",
    )


def _check_keep(target: Target, tensors: Sequence[Tensor]) -> None:
    """Refuse a glob that keeps nothing: it is a mistake, and the size would be wrong in silence."""
    for glob, _ in target.keep:
        if not any(_matches(tensor, glob) for tensor in tensors):
            modules = {tensor.name.removesuffix(".weight") for tensor in tensors}
            close = get_close_matches(glob, modules, cutoff=0.3) or sorted(modules)[:1]
            hint = f"; the closest module is {close[0]}" if close else ""
            raise SizingError(f"nothing to keep matches {glob!r}{hint}")


def _matches(tensor: Tensor, glob: str) -> bool:
    return fnmatchcase(tensor.name, glob) or fnmatchcase(tensor.name.removesuffix(".weight"), glob)


def _is_cast(level: QuantizationLevel) -> bool:
    """Whether a level is a float that is not narrower than 16 bits: nothing stands beside such weights."""
    return level.kind == "float" and level.bits_per_param > BITS_PER_BYTE


def _by_recipe(tensors: Sequence[Tensor], recipe: str, facts: ModelFacts | None) -> dict[str, QuantizationLevel]:
    """Tensor → the level that a recipe of llama.cpp gives it; experts of their own are one tensor there."""
    names = {tensor.name: gguf_tensor_names(tensor.name)[0] for tensor in tensors}
    shapes: dict[str, tuple[int, ...]] = {}
    for tensor in tensors:
        name = names[tensor.name]
        is_one_expert = "_exps." in name and len(tensor.shape) == 2
        shapes[name] = (_SOME_EXPERTS, *tensor.shape) if is_one_expert else tensor.shape
    chosen = recipe_levels(recipe, shapes, facts or model_facts(tensors, {}, {}))
    return {tensor: levels[chosen[name]] for tensor, name in names.items() if name in chosen}


def idealized(parameters: int, target: Target) -> Sizing:
    """What so many weights take at the target, were they one unpadded row: all that a mere count can tell.

    Raises:
        SizingError: if the target says what only shapes can answer.
    """
    if target.scheme or target.keep:
        raise SizingError("a scheme or weights to keep need the shapes of a checkpoint, not a count of parameters")
    _check(target)
    nbytes = math.ceil(parameters * _layout(target).bits_per_weight / BITS_PER_BYTE)
    only = SizedLevel(level=target.level, group_size=target.group_size, parameters=parameters, weights=1, nbytes=nbytes)
    return Sizing(target=target, levels=(only,), basis="count")


def _layout(target: Target) -> QuantizationLevel | Layout:
    """The level, in groups where the target has some."""
    if target.group_size is None:
        return target.level
    return target.level.grouped(target.group_size, scale=target.scale, zero_point=target.zero_point or 0)


def _check(target: Target) -> None:
    """Refuse what a level, or the scheme, leaves no choice in."""
    level, scheme = target.level, target.scheme
    storage = None if scheme in (None, GGUF) else storage_for(scheme, level)
    for stored in (level, *(kept for _, kept in target.keep)) if scheme == GGUF else ():
        if "ggml" not in stored.spellings:
            raise SizingError(f"gguf has no type for {stored.name}")
    if target.group_size and (level.block.weights > 1 or (storage and not storage.grouped) or scheme == GGUF):
        raise SizingError(f"{level.name}{f' in {scheme}' if scheme else ''} has no groups of a size to choose")
    if target.zero_point and ((storage and storage.zero_point != "choice") or scheme == GGUF):
        raise SizingError(f"{scheme} leaves no choice of a zero point")
    if target.zero_point and not target.group_size and not storage:
        raise SizingError("a zero point needs a group size")


def _keep_level(tensor: Tensor, target: Target) -> QuantizationLevel | None:
    """The level a tensor is to keep, by the first glob that matches its name or its module's."""
    kept = (level for glob, level in target.keep if _matches(tensor, glob))
    return None if _is_buffer(tensor) else next(kept, None)


def _is_skipped(tensor: Tensor, globs: Sequence[str] = ()) -> bool:
    """Whether a tensor is no matrix of weights, or of a module that is left alone.

    Raises:
        SizingError: if it is a matrix of what can only be codes.
    """
    if len(tensor.shape) < 2 or _is_buffer(tensor):
        return True
    level = tensor.dtype
    if isinstance(level, QuantizationLevel) and (
        level.kind in ("int", "uint") or (level.kind == "float" and level.bits_per_param <= BITS_PER_BYTE)
    ):
        raise SizingError(
            f"{tensor.name} is already quantized ({level}); take the shapes of the unquantized checkpoint"
        )
    module = tensor.name.removesuffix(".weight")
    return any(fnmatchcase(module, glob) for glob in globs)


def _is_buffer(tensor: Tensor) -> bool:
    """Whether it holds no weights whatever its shape: masks, positions, rotary caches."""
    module, _, suffix = tensor.name.rpartition(".")
    return is_buffer(module, suffix, TensorInfo(tensor.dtype, tensor.shape, tensor.nbytes))


def _unchanged(tensor: Tensor, wanted: QuantizationLevel | None = None) -> _Placed:
    return _Placed(tensor.dtype, None, tensor.nbytes, wanted)


def _plain(tensor: Tensor, target: Target, wish: QuantizationLevel | None) -> _Placed:
    """Codes, scales and zero points as rows, each padded to whole bytes; a cast takes norms and biases as well."""
    if wish:
        return _Placed(wish, None, wish.nbytes(tensor.shape))
    level = target.level
    cast = _is_cast(level)
    if _is_skipped(tensor) and not (
        cast and isinstance(tensor.dtype, QuantizationLevel) and tensor.dtype.kind == "float"
    ):
        return _unchanged(tensor)
    return _Placed(level, target.group_size, _layout(target).nbytes(tensor.shape))


def _packed(tensor: Tensor, target: Target, wish: QuantizationLevel | None) -> _Placed:
    """As a scheme stores it; a level the scheme does not store is stored plain."""
    assert target.scheme
    if wish and not any(wish.name in rule.levels for rule in rules_of(target.scheme)):
        return _Placed(wish, None, wish.nbytes(tensor.shape))
    level = wish or target.level
    storage = storage_for(target.scheme, level)
    if _is_skipped(tensor, () if wish else storage.keeps):
        return _unchanged(tensor)
    *stack, rows, columns = tensor.shape
    matrices = math.prod(stack)
    if stack and tensor.name.removesuffix(".weight").endswith("gate_up_proj"):
        matrices, rows = 2 * matrices, rows // 2  # quantizers take the experts' two apart
    block = level.block.weights if level.block.weights > 1 else None
    group = (target.group_size if storage.grouped else None) or storage.group_size or block
    if group and storage.ragged == "narrows":
        group = next((size for size in range(group, 0, -32) if columns % size == 0), columns)
    if group and columns % group and storage.ragged != "pads":
        if storage.ragged == "keeps":
            return _unchanged(tensor, level)
        raise SizingError(
            f"{tensor.name}: rows of {columns:,} are no multiple of {group}, which {target.scheme} refuses; "
            f"keep it with --keep '{tensor.name}=...'"
        )
    matrix = Matrix(
        rows=rows,
        columns=columns,
        bits=level.bits_per_param,
        group_size=group,
        block=storage.block,
        source_dtype=tensor.dtype.spelling("torch") if isinstance(tensor.dtype, QuantizationLevel) else "",
    )
    zero_bits = target.zero_point.bits_per_param if target.zero_point else 0
    nbytes = matrices * module_bytes(storage, matrix, target.scale, zero_bits)
    return _Placed(level, None if block else group, nbytes)


def _gguf(tensor: Tensor, target: Target, wish: QuantizationLevel | None) -> _Placed:
    """As llama.cpp stores it: whole blocks a row, another type where a row has none, vectors and routers as FP32."""
    if _is_buffer(tensor) or (not wish and _is_skipped(tensor, LEFT_AS_THEY_ARE) and len(tensor.shape) > 1):
        return _unchanged(tensor)
    if not wish and _is_skipped(tensor, WIDENED_ON_CONVERSION):
        return _Placed(FP32, None, FP32.nbytes(tensor.shape))
    if target.recipe and not wish:  # the recipe does not name it
        return _unchanged(tensor)
    wanted = wish or target.level
    columns = tensor.shape[-1] if tensor.shape else 1
    given = row_fallback(wanted, columns)
    if given is None:
        raise SizingError(
            f"{tensor.name}: rows of {columns:,} are not whole blocks of {wanted.name}, and llama.cpp has no other "
            "type for them"
        )
    return _Placed(given, None, given.nbytes(tensor.shape), None if given is wanted else wanted)


def plain_bytes(tensors: Iterable[Tensor]) -> Callable[[Target], int]:
    """What tensors take at a target, stored plain, in bytes; as `size` says, with tensors alike reckoned once.

    Raises:
        SizingError: when it is called, as `size` does.
    """
    alike: dict[tuple[object, ...], list[Tensor]] = {}
    for tensor in tensors:
        alike.setdefault((tensor.dtype, tensor.shape, tensor.nbytes), []).append(tensor)
    return lambda target: sum(len(group) * _plain(group[0], target, None).nbytes for group in alike.values())


def idealized_bytes(parameters: int) -> Callable[[Target], int]:
    """What so many weights take at a target, in bytes, as `idealized` says.

    Raises:
        SizingError: when it is called, as `idealized` does.
    """
    return lambda target: idealized(parameters, target).nbytes
