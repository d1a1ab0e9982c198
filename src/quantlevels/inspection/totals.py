"""What the tensor headers of a checkpoint show, summed over weights that are stored alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from typing import NamedTuple, final

from attrs import frozen

from quantlevels.container import Checkpoint, UnknownType
from quantlevels.schemes.folding import FoldedWeight, Folding
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel

__all__ = ["StoredLevel", "StoredTotals", "Tally"]


@final
class StoredLevel(NamedTuple):
    """All weights of a checkpoint that are stored alike.

    Args:
        level: their level; UnknownType if no known level answers to their storage.
        group_size: weights that share one scale along a row; None per row, per tensor and for intrinsic blocks.
        symmetric: whether they have no zero points; None if unknown or without meaning.
        quantized: whether they are stored in less than 16 bits.
        parameters: logical weights.
        weights: how many weights, each a matrix or vector of parameters.
        nbytes: bytes of all tensors of their modules: codes, scales, zero points, codebooks, state, biases.
    """

    level: QuantizationLevel | UnknownType
    group_size: int | None
    symmetric: bool | None
    quantized: bool
    parameters: int
    weights: int
    nbytes: int

    @property
    def bits_per_weight(self) -> Fraction | None:
        """Bits per parameter, exact; None without parameters."""
        if not self.quantized and isinstance(self.level, QuantizationLevel):
            return self.level.bits_per_weight  # the biases of quantized modules count there with their bytes
        return Fraction(self.nbytes * BITS_PER_BYTE, self.parameters) if self.parameters else None


@final
@frozen
class Tally:
    """How many tensors, and their bytes."""

    tensors: int = 0
    nbytes: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.tensors + other.tensors, self.nbytes + other.nbytes)


@final
@frozen(kw_only=True)
class StoredTotals:
    """What the tensor headers show.

    Args:
        parameters: logical weights of all tensors; no scales, zero points, buffers.
        quantized_parameters: those stored in less than 16 bits.
        tensors: stored tensors.
        tensor_bytes: bytes of all tensors, each once.
        levels: what is stored alike, the most bytes first.
        buffers: tensors that are not parameters: positions, masks, rotary caches, rotations, running statistics.
        unexplained: tensors that no layout, buffer rule or dtype explains.

    The bytes of levels, buffers and unexplained tensors add up to ``tensor_bytes``.
    """

    parameters: int
    quantized_parameters: int
    tensors: int
    tensor_bytes: int
    levels: tuple[StoredLevel, ...]
    buffers: Tally = Tally()
    unexplained: Tally = Tally()

    @property
    def parameters_known(self) -> bool:
        """Whether all tensors are explained and the parameters of all weights are known."""
        unknown = (level for level in self.levels if level.nbytes and not level.parameters)
        return not self.unexplained.tensors and not any(isinstance(level.level, UnknownType) for level in unknown)

    @property
    def bits_per_weight(self) -> Fraction | None:
        """Bits a parameter takes over all but the buffers, exact; None without parameters, or if some are unknown."""
        if not (self.parameters and self.parameters_known):
            return None
        return Fraction((self.tensor_bytes - self.buffers.nbytes) * BITS_PER_BYTE, self.parameters)


def totals(checkpoint: Checkpoint, folding: Folding) -> StoredTotals:
    """The sums of a checkpoint over its folded weights."""
    alike: dict[
        tuple[QuantizationLevel | UnknownType, int | None, bool | None, bool], list[tuple[FoldedWeight, int]]
    ] = defaultdict(list)
    tallies: dict[str, Tally] = defaultdict(Tally)
    # once per kind of module, times how many there are: a model of a million experts has a few dozen kinds
    for parts, modules in folding.alike:
        for part in parts:
            if part.account != "weights":
                tallies[part.account] += Tally((len(part.tensors) or 1) * len(modules), part.nbytes * len(modules))
                continue
            alike[part.level, part.group_size, part.symmetric, part.quantized].append((part, len(modules)))
    found = [
        StoredLevel(
            level=level,
            group_size=group_size,
            symmetric=symmetric,
            quantized=quantized,
            parameters=sum(part.parameters * count for part, count in counted),
            weights=sum(count for part, count in counted if part.parameters),
            nbytes=sum(part.nbytes * count for part, count in counted),
        )
        for (level, group_size, symmetric, quantized), counted in alike.items()
    ]
    return StoredTotals(
        parameters=sum(level.parameters for level in found),
        quantized_parameters=sum(level.parameters for level in found if level.quantized),
        tensors=len(checkpoint.tensors),
        tensor_bytes=checkpoint.tensors.nbytes,
        levels=_largest_first(found),
        buffers=tallies["buffers"],
        unexplained=tallies["unexplained"],
    )


def combined(several: Iterable[StoredTotals]) -> StoredTotals:
    """The sums of several checkpoints: equal levels become one."""
    several = list(several)
    alike: dict[tuple[QuantizationLevel | UnknownType, int | None, bool | None, bool], StoredLevel] = {}
    for level in chain.from_iterable(stored.levels for stored in several):
        key = level.level, level.group_size, level.symmetric, level.quantized
        previous = alike.get(key)
        if previous:
            level = level._replace(
                parameters=level.parameters + previous.parameters,
                weights=level.weights + previous.weights,
                nbytes=level.nbytes + previous.nbytes,
            )
        alike[key] = level
    return StoredTotals(
        parameters=sum(stored.parameters for stored in several),
        quantized_parameters=sum(stored.quantized_parameters for stored in several),
        tensors=sum(stored.tensors for stored in several),
        tensor_bytes=sum(stored.tensor_bytes for stored in several),
        levels=_largest_first(alike.values()),
        buffers=sum((stored.buffers for stored in several), Tally()),
        unexplained=sum((stored.unexplained for stored in several), Tally()),
    )


def _largest_first(levels: Iterable[StoredLevel]) -> tuple[StoredLevel, ...]:
    return tuple(sorted(levels, key=lambda level: (-level.nbytes, str(level.level), level.group_size or 0)))
