"""What a checkpoint will take at a level, and what fits into memory: the functions behind ``size`` and ``fit``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from os import PathLike
from typing import TYPE_CHECKING, TypeAlias, final

from attrs import frozen

from quantlevels.checkpoint import read_checkpoint
from quantlevels.errors import CheckpointError
from quantlevels.inspection import SCHEMA_VERSION
from quantlevels.inspection.sizing import sizes
from quantlevels.vocabulary.builtin import FP16
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from quantlevels.checkpoint.shards import Progress
    from quantlevels.container import Tensor
    from quantlevels.inspection.records import FitRecord
    from quantlevels.inspection.sizing.sizes import Candidate, Sizing

__all__ = ["fit", "size"]

#: a checkpoint, or a number of parameters if only that is known
Source: TypeAlias = "str | PathLike[str] | int"


def size(
    source: Source,
    *,
    level: QuantizationLevel | str,
    group_size: int | None = None,
    scale: QuantizationLevel | str = FP16,
    zero_point: QuantizationLevel | str | None = None,
    keep: Mapping[str, QuantizationLevel | str] | None = None,
    scheme: str | None = None,
    progress: Progress | None = None,
) -> Sizing:
    """Estimate a checkpoint's size at a level: exact from the shapes in headers, idealized from a parameter count.

    Args:
        source: the unquantized checkpoint, or a number of parameters.
        level: of the matrices; a level or its name, as all other levels here.
        group_size: weights that share a scale along a row; None for what is usual in the scheme.
        scale: level of the scales.
        zero_point: level of the zero points; None if none are stored, or if the scheme always stores them.
        keep: glob of module names → another level for them; the first glob that matches decides.
        scheme: how the weights are packed, such as ``compressed-tensors``, ``gptq`` or ``gguf``.
        progress: as ``inspect``.

    Raises:
        UnknownLevelError: for the name of an unknown level or scheme.
        SizingError: if the tensors are already quantized, or the scheme cannot store what is asked for.
        CheckpointError: as ``inspect``, or if there are no weights.
        ValueError, TypeError: for a parameter count that is not a positive integer.
    """
    target = sizes.Target(
        level=_level(level),
        group_size=group_size,
        scale=_level(scale),
        zero_point=None if zero_point is None else _level(zero_point),
        keep=tuple((glob, _level(kept)) for glob, kept in (keep or {}).items()),
        scheme=scheme,
    )
    weights = _weights(source, progress)
    return sizes.idealized(weights, target) if isinstance(weights, int) else sizes.size(weights, target)


@final
@frozen(kw_only=True)
class Fit:
    """Which levels fit into memory.

    Args:
        memory: bytes of one device.
        devices: how many devices share the weights.
        reserve: the share of the memory that is not for weights.
        candidates: levels from the widest to the narrowest.
    """

    memory: int
    devices: int
    reserve: Fraction
    candidates: tuple[Candidate, ...]

    @property
    def budget(self) -> int:
        """Bytes for the weights, over all devices."""
        return _budget(self.memory, self.devices, self.reserve)

    def to_record(self) -> FitRecord:
        """The record that ``quantlevels fit --json`` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "memory_bytes": self.memory,
            "devices": self.devices,
            "budget_bytes": self.budget,
            "levels": [
                {
                    "level": candidate.level.name,
                    "bytes": candidate.nbytes,
                    "margin_bytes": candidate.margin,
                    "fits": candidate.fits,
                }
                for candidate in self.candidates
            ],
        }


def fit(
    source: Source,
    *,
    memory: int,
    reserve: Fraction | float = 0,
    devices: int = 1,
    known: Iterable[QuantizationLevel] = levels,
    progress: Progress | None = None,
) -> Fit:
    """Show which levels fit into memory. Weights only: no activations, no key-value cache.

    Args:
        source: a checkpoint, or a number of parameters.
        memory: bytes of one device.
        reserve: the share of the memory that is not for weights, from 0 up to but not including 1.
        devices: how many devices share the weights.
        known: the levels to try.
        progress: as ``inspect``.

    Raises:
        SizingError: if the tensors are already quantized.
        CheckpointError: as ``inspect``, or if there are no weights.
        ValueError, TypeError: for a number that cannot be.
    """
    share = Fraction(reserve)
    if not 0 <= share < 1:
        raise ValueError(f"reserve must be at least 0 and below 1, not {reserve}")
    budget = _budget(_positive("memory", memory), _positive("devices", devices), share)
    weights = _weights(source, progress)
    nbytes = sizes.idealized_bytes(weights) if isinstance(weights, int) else sizes.plain_bytes(weights)
    return Fit(memory=memory, devices=devices, reserve=share, candidates=tuple(sizes.fit(nbytes, budget, known)))


def _budget(memory: int, devices: int, reserve: Fraction) -> int:
    return int(memory * devices * (1 - reserve))


def _level(level: QuantizationLevel | str) -> QuantizationLevel:
    return levels[level] if isinstance(level, str) else level


def _positive(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def _weights(source: Source, progress: Progress | None) -> Sequence[Tensor] | int:
    """The tensors of a checkpoint, or a number of parameters."""
    if isinstance(source, int):
        return _positive("the number of parameters", source)
    checkpoint = read_checkpoint(source, progress=progress)
    if not checkpoint.tensors:
        raise CheckpointError(checkpoint.path, "has no weights; name the checkpoint itself")
    return checkpoint.tensors
