"""Bytes of a checkpoint before it is made: exact from the shapes in headers, idealized from a count of parameters.

Only weights count: no activations, no key-value cache, no file headers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from attrs import frozen

from quantlevels.errors import SizingError
from quantlevels.inspection import SCHEMA_VERSION
from quantlevels.inspection.sizing.placing import alike, is_buffer, is_cast, placer
from quantlevels.inspection.sizing.targets import Target, matches
from quantlevels.llamacpp import ModelFacts, gguf_tensor_names, model_facts, recipe_levels
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from quantlevels.container import Tensor, UnknownType
    from quantlevels.inspection.records import SizingRecord


#: What a size is reckoned from.
Basis: TypeAlias = Literal["tensors", "shapes", "count"]


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
                {
                    "tensor": fallback.tensor,
                    "columns": fallback.columns,
                    "wanted": fallback.wanted.name,
                    "given": fallback.given.name,
                }
                for fallback in self.fallbacks
            ],
        }


#: stands for a number of experts, where only their being stacked counts
_SOME_EXPERTS: Final = 2


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
    target.check()
    tensors = list(tensors)
    _check_keep(target, tensors)
    recipe = _by_recipe(tensors, target.recipe, facts) if target.recipe else {}
    place = placer(target)
    totals: dict[tuple[QuantizationLevel | UnknownType, int | None], list[int]] = {}
    fallbacks = []
    for tensor in tensors:
        is_weight = not is_buffer(tensor)
        kept = target.kept_level(tensor.name) or recipe.get(tensor.name)
        placed = place(tensor, kept if is_weight else None)
        parameters = math.prod(tensor.shape) if is_weight else 0
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
        basis="tensors" if target.scheme or is_cast(target.level) else "shapes",
    )


def _check_keep(target: Target, tensors: Sequence[Tensor]) -> None:
    """Refuse a glob that keeps nothing: it is a mistake, and the size would be wrong in silence."""
    for glob, _ in target.keep:
        if not any(matches(tensor.name, glob) for tensor in tensors):
            modules = {tensor.name.removesuffix(".weight") for tensor in tensors}
            # a low cutoff: a glob is shorter than the names it means
            close = get_close_matches(glob, modules, cutoff=0.3) or sorted(modules)[:1]
            hint = f"; the closest module is {close[0]}" if close else ""
            raise SizingError(f"nothing to keep matches {glob!r}{hint}")


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
    """The size of a number of weights at the target, as if they were one unpadded row: a count says nothing of shapes.

    Raises:
        SizingError: if the target says what only shapes can answer.
    """
    if target.scheme or target.keep:
        raise SizingError("a scheme or weights to keep need the shapes of a checkpoint, not a count of parameters")
    target.check()
    # one fraction until the end: rounded for each group, a count of billions would be off by megabytes
    nbytes = math.ceil(parameters * target.layout.bits_per_weight / BITS_PER_BYTE)
    only = SizedLevel(level=target.level, group_size=target.group_size, parameters=parameters, weights=1, nbytes=nbytes)
    return Sizing(target=target, levels=(only,), basis="count")


def plain_bytes(tensors: Iterable[Tensor]) -> Callable[[Target], int]:
    """What tensors take at a target, stored plain, in bytes; as `size` says, with tensors alike counted once.

    Raises:
        SizingError: when it is called, as `size` does.
    """
    kinds = alike(tensors)
    return lambda target: sum(count * placer(target)(tensor, None).nbytes for tensor, count in kinds)


def idealized_bytes(parameters: int) -> Callable[[Target], int]:
    """Bytes of a number of weights at a target, as `idealized` says.

    Raises:
        SizingError: when it is called, as `idealized` does.
    """
    return lambda target: idealized(parameters, target).nbytes
