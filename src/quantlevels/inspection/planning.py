"""What a checkpoint will take at a level, and what fits into memory: the functions behind ``size`` and ``fit``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from os import PathLike
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

from attrs import frozen

from quantlevels.errors import CheckpointError, SizingError
from quantlevels.inspection import SCHEMA_VERSION
from quantlevels.inspection.report import Inspection, inspect
from quantlevels.inspection.sizing import sizes
from quantlevels.inspection.sizing.storage import GGUF
from quantlevels.inspection.sizing.targets import Target
from quantlevels.llamacpp import ModelFacts, model_facts
from quantlevels.vocabulary.builtin import FP16
from quantlevels.vocabulary.formats import NOT_OF_WEIGHTS
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from quantlevels.checkpoint.shards import Progress
    from quantlevels.container import Tensor
    from quantlevels.inspection.records import CandidateRecord, FitRecord
    from quantlevels.inspection.sizing.sizes import Sizing

__all__ = ["fit", "size"]

#: a checkpoint, or a number of parameters if only that is known
ModelSource: TypeAlias = "str | PathLike[str] | int"


def size(
    source: ModelSource,
    *,
    level: QuantizationLevel | str | None = None,
    recipe: str | None = None,
    group_size: int | None = None,
    scale: QuantizationLevel | str = FP16,
    zero_point: QuantizationLevel | str | None = None,
    keep: Mapping[str, QuantizationLevel | str] | None = None,
    scheme: str | None = None,
    progress: Progress | None = None,
) -> Sizing:
    """Estimate a checkpoint's size at a level: exact from shapes and a scheme, idealized from a parameter count.

    Args:
        source: the unquantized checkpoint, a GGUF file of any types, or a number of parameters.
        level: of the matrices; a level or its name, as all other levels here.
        recipe: a recipe of llama.cpp, such as ``Q4_K_M``, in place of a level: as ``llama-quantize`` without an
            importance matrix makes it.
        group_size: weights that share a scale along a row; None for what is usual in the scheme.
        scale: level of the scales.
        zero_point: level of the zero points; None if none are stored, or if the scheme always stores them.
        keep: glob of module names → another level for them; the first glob that matches decides.
        scheme: how the weights are packed, such as ``compressed-tensors``, ``gptq`` or ``gguf``.
        progress: as ``inspect``.

    Raises:
        UnknownLevelError: for the name of an unknown level, scheme or recipe.
        SizingError: if the tensors are already quantized or not understood, if the scheme cannot store what is asked
            for, or if nothing matches a glob of ``keep``.
        CheckpointError: as ``inspect``, or if the checkpoint has no weights.
        ValueError, TypeError: for a parameter count that is not a positive integer.
    """
    kept = tuple((glob, _level(level)) for glob, level in (keep or {}).items())
    # a recipe of llama.cpp decides all of these by itself; to combine them would be to guess which one counts
    if recipe is not None:
        if level is not None or group_size is not None or zero_point is not None or scheme not in (None, GGUF):
            raise ValueError("a recipe gives each tensor its level: no level, groups, zero points or other scheme")
        target = Target.of_recipe(recipe, kept)
    elif level is None:
        raise ValueError("a level or a recipe is needed")
    else:
        target = Target(
            level=_level(level),
            group_size=group_size,
            scale=_level(scale),
            zero_point=None if zero_point is None else _level(zero_point),
            keep=kept,
            scheme=scheme,
        )
    if isinstance(source, int):
        return sizes.idealized(_positive("the number of parameters", source), target)
    report = inspect(source, progress=progress)
    return sizes.size(_unquantized(report), target, _facts(report) if recipe else None)


class Deployment(NamedTuple):
    """A way in which weights are deployed: a level, and how a scheme stores it."""

    name: str
    level: str
    scheme: str | None = None
    group_size: int | None = None
    #: a recipe of llama.cpp; without shapes, only its level counts
    recipe: str | None = None


#: What people deploy, by the names that they use. Layers that a scheme leaves alone keep their dtype.
DEPLOYMENTS: Final = (
    Deployment("FP32", "None"),
    Deployment("BF16", "BFloat16"),
    Deployment("FP8", "Float8E4M3FN", "compressed-tensors"),
    Deployment("INT8 (W8A8)", "Int8", "compressed-tensors"),
    Deployment("Q8_0", "Q8_0", GGUF, recipe="Q8_0"),
    Deployment("Q6_K", "Q6_K", GGUF, recipe="Q6_K"),
    Deployment("Q5_K_M", "Q5_K", GGUF, recipe="Q5_K_M"),
    Deployment("NVFP4", "NVFP4", "compressed-tensors"),
    Deployment("Q4_K_M", "Q4_K", GGUF, recipe="Q4_K_M"),
    Deployment("MXFP4", "MXFP4", "compressed-tensors"),
    Deployment("INT4 g128 (W4A16)", "Int4", "compressed-tensors", 128),
    Deployment("NF4 (bitsandbytes)", "NF4", "bitsandbytes"),
    Deployment("Q3_K_M", "Q3_K", GGUF, recipe="Q3_K_M"),
    Deployment("Q2_K", "Q2_K", GGUF, recipe="Q2_K"),
)
AS_STORED: Final = "as stored"


class Way(NamedTuple):
    """What the weights take in one way of storing them."""

    #: as people call it; ``as stored`` for the checkpoint as it is
    name: str
    #: None for the checkpoint as it is
    level: QuantizationLevel | None
    #: how a scheme stores it; None for rows of plain codes
    scheme: str | None
    nbytes: int
    #: whether every tensor was counted as it would be stored
    exact: bool


@final
@frozen(kw_only=True)
class Candidate:
    """A way of storing the weights, and whether the memory holds that.

    Args:
        way: what the weights take.
        per_device: bytes that one device has for weights.
        devices: how many devices there are.
    """

    way: Way
    per_device: int
    devices: int

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return self.way.nbytes

    @property
    def margin(self) -> int:
        """Bytes left on all devices together; negative if it does not fit."""
        return self.per_device * self.devices - self.nbytes

    @property
    def fits(self) -> bool:
        """Whether the devices hold it together."""
        return self.margin >= 0

    @property
    def devices_needed(self) -> int:
        """The fewest such devices that hold it together."""
        return -(-self.nbytes // max(self.per_device, 1))

    def to_record(self) -> CandidateRecord:
        """The candidate as ``quantlevels fit --json`` prints it."""
        return {
            "name": self.way.name,
            "level": self.way.level and self.way.level.name,
            "scheme": self.way.scheme,
            "bytes": self.nbytes,
            "exact": self.way.exact,
            "margin_bytes": self.margin,
            "fits": self.fits,
            "devices_needed": self.devices_needed,
        }


@final
@frozen(kw_only=True)
class Fit:
    """What fits into memory.

    Args:
        memory: bytes of one device.
        devices: how many devices share the weights.
        reserve: the share of the memory that is not for weights.
        candidates: the checkpoint as it is first, then from the largest to the smallest.
    """

    memory: int
    devices: int
    reserve: Fraction
    candidates: tuple[Candidate, ...]

    @property
    def budget(self) -> int:
        """Bytes for the weights, over all devices."""
        return _per_device(self.memory, self.reserve) * self.devices

    def to_record(self) -> FitRecord:
        """The record that ``quantlevels fit --json`` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "memory_bytes": self.memory,
            "devices": self.devices,
            "budget_bytes": self.budget,
            "levels": [candidate.to_record() for candidate in self.candidates],
        }


def fit(
    source: ModelSource,
    *,
    memory: int,
    reserve: Fraction | float = 0,
    devices: int = 1,
    known: Iterable[QuantizationLevel] = (),
    progress: Progress | None = None,
) -> Fit:
    """Show what fits into memory: the checkpoint as it is, and what people deploy (`DEPLOYMENTS`).

    Weights only: no activations, no key-value cache. Exact where the shapes of unquantized weights are known; idealized
    from the number of parameters if the checkpoint is quantized, or only a number is given.

    Args:
        source: a checkpoint, or a number of parameters.
        memory: bytes of one device.
        reserve: the share of the memory that is not for weights, from 0 up to but not including 1.
        devices: how many devices share the weights.
        known: levels to try as well, stored plain.
        progress: as in ``inspect``.

    Raises:
        SizingError: if the parameters of the checkpoint cannot be counted.
        CheckpointError: as ``inspect``, or if the checkpoint has no weights.
        ValueError, TypeError: for a number that cannot be.
    """
    share = Fraction(reserve)
    if not 0 <= share < 1:
        raise ValueError(f"reserve must be at least 0 and below 1, not {reserve}")
    per_device = _per_device(_positive("memory", memory), share)
    _positive("devices", devices)
    found = [
        Candidate(way=way, per_device=per_device, devices=devices) for way in _ways(_plannable(source, progress), known)
    ]
    # False sorts first: the checkpoint as it is, then from the largest to the smallest
    found.sort(key=lambda candidate: (candidate.way.level is not None, -candidate.nbytes))
    return Fit(memory=memory, devices=devices, reserve=share, candidates=tuple(found))


def _ways(weights: _Plannable, known: Iterable[QuantizationLevel]) -> Iterator[Way]:
    """Every way of storing the weights that can be sized."""
    if weights.stored is not None:
        yield Way(AS_STORED, None, None, weights.stored, True)
    for deployment in DEPLOYMENTS:
        sized = _sized(weights, deployment)
        if sized:
            name = deployment.name
            if deployment.recipe and not sized.exact:
                name = deployment.level  # a mixture needs shapes: what was counted is its main type alone
            yield Way(name, sized.target.level, sized.target.scheme, sized.nbytes, sized.exact)
    for level in known:
        if level.name not in NOT_OF_WEIGHTS:
            yield Way(str(level), level, None, weights.plain(Target(level=level)), False)


class _Plannable(NamedTuple):
    """What is known of the weights."""

    #: the tensors, if their shapes count weights
    tensors: Sequence[Tensor] | None
    parameters: int
    #: bytes of the checkpoint as it is
    stored: int | None
    #: whether the tensors are quantized: what a scheme leaves alone would not stay as it is now
    is_quantized: bool = False
    #: what recipes ask of the model
    facts: ModelFacts | None = None

    def plain(self, target: Target) -> int:
        """Bytes of the weights at a level, stored plain."""
        if self.tensors is None:
            return sizes.idealized_bytes(self.parameters)(target)
        return sizes.plain_bytes(self.tensors)(target)


def _plannable(source: ModelSource, progress: Progress | None) -> _Plannable:
    if isinstance(source, int):
        return _Plannable(None, _positive("the number of parameters", source), None)
    report = inspect(source, progress=progress)
    stored = report.stored
    if stored is None or not stored.tensors:
        raise CheckpointError(report.path, "has no weights; name the checkpoint itself")
    is_quantized = bool(stored.quantized_parameters or stored.unexplained.tensors)
    # shapes in GGUF are of logical weights whatever the type; elsewhere those of packed codes are not
    counts_weights = report.container is not None and report.container.llama_cpp
    if counts_weights or not is_quantized:
        return _Plannable(report.tensors, stored.parameters, stored.tensor_bytes, is_quantized, _facts(report))
    if stored.bits_per_weight is None:
        raise SizingError(f"{report.path}: the parameters cannot be counted; `quantlevels inspect` says why")
    return _Plannable(None, stored.parameters, stored.tensor_bytes)


def _sized(weights: _Plannable, way: Deployment) -> Sizing | None:
    """The weights deployed in a way; None if they cannot be."""
    level = levels[way.level]
    is_requantized = weights.is_quantized and way.scheme not in (None, GGUF)
    try:
        if weights.tensors is None or is_requantized:
            return sizes.idealized(weights.parameters, Target(level=level, group_size=way.group_size))
        if way.recipe:
            return sizes.size(weights.tensors, Target.of_recipe(way.recipe), weights.facts)
        target = Target(level=level, group_size=way.group_size, scheme=way.scheme)
        return sizes.size(weights.tensors, target)
    except SizingError:  # rows that the groups of a scheme do not tile
        return None


def _per_device(memory: int, reserve: Fraction) -> int:
    # rounded down: half a byte is not there
    return int(memory * (1 - reserve))


def _level(level: QuantizationLevel | str) -> QuantizationLevel:
    return levels[level] if isinstance(level, str) else level


def _positive(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def _unquantized(report: Inspection) -> Sequence[Tensor]:
    """The tensors of a checkpoint whose shapes count weights.

    Raises:
        SizingError: if they are codes of a quantizer, or not understood.
        CheckpointError: if the checkpoint has no weights.
    """
    stored = report.stored
    if stored is None or not stored.tensors:
        raise CheckpointError(report.path, "has no weights; name the checkpoint itself")
    counts_weights = report.container is not None and report.container.llama_cpp
    if stored.unexplained.tensors and not counts_weights:
        raise SizingError(f"{report.path}: not all tensors are understood; `quantlevels inspect` says which")
    quantized = next((level for level in stored.levels if level.quantized), None)
    if quantized and not counts_weights:
        raise SizingError(
            f"{report.path}: is already quantized ({quantized.level}); name the unquantized checkpoint of this model"
        )
    return report.tensors


def _facts(report: Inspection) -> ModelFacts:
    return model_facts(report.tensors, report.metadata, report.configs.get("config.json", {}))
