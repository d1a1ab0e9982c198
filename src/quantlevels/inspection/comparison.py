"""Two checkpoints side by side: totals, levels in bytes, and every weight that is not stored alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import takewhile
from os import PathLike
from typing import TYPE_CHECKING, Final, TypeAlias, TypeGuard, final

from attrs import frozen

from quantlevels.errors import CheckpointError
from quantlevels.inspection import SCHEMA_VERSION
from quantlevels.inspection.report import Inspection, float_or_none, inspect
from quantlevels.llamacpp import matched, pieces
from quantlevels.vocabulary.level import QuantizationLevel

if TYPE_CHECKING:
    from quantlevels.checkpoint.shards import Progress
    from quantlevels.container import UnknownType
    from quantlevels.inspection.records import ComparisonRecord, StorageRecord, TotalsRecord
    from quantlevels.schemes.folding import FoldedWeight

__all__ = ["compare"]

Level: TypeAlias = "QuantizationLevel | UnknownType"


@final
@frozen
class StoredAs:
    """How a weight is stored, apart from its size; ``code_bits`` is what a code takes, packing and padding included."""

    level: Level
    group_size: int | None
    symmetric: bool | None
    code_bits: Fraction | None


@final
@frozen(kw_only=True)
class Change:
    """A weight that both checkpoints have, of different size or stored differently.

    Args:
        name: as the first checkpoint has it.
        before, after: how it is stored; several if one weight here is many there, as experts are.
        bytes_before, bytes_after: its bytes, scales and all.
        parameters_before, parameters_after: its logical weights.
    """

    name: str
    before: tuple[StoredAs, ...]
    after: tuple[StoredAs, ...]
    bytes_before: int
    bytes_after: int
    parameters_before: int
    parameters_after: int


@final
@frozen(kw_only=True)
class Delta:
    """What one kind of storage takes in either checkpoint, in bytes."""

    level: Level
    group_size: int | None
    before: int
    after: int

    @property
    def gained(self) -> int:
        """Bytes more in the second; negative where it has less."""
        return self.after - self.before


@final
@frozen(kw_only=True)
class Comparison:
    """Two inspections side by side.

    Args:
        before, after: the inspections.
        levels: bytes by level and group size, the largest change first.
        changed: weights of different size, or stored differently.
        only_before, only_after: names of weights that one alone has.
    """

    before: Inspection
    after: Inspection
    levels: tuple[Delta, ...]
    changed: tuple[Change, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether both have the same weights, of the same sizes, stored alike."""
        return not (self.changed or self.only_before or self.only_after)

    def to_record(self) -> ComparisonRecord:
        """The record that ``quantlevels compare --json`` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "same": self.same,
            "before": _totals_record(self.before),
            "after": _totals_record(self.after),
            "levels": [
                {
                    "level": delta.level.name,
                    "group_size": delta.group_size,
                    "bytes_before": delta.before,
                    "bytes_after": delta.after,
                }
                for delta in self.levels
            ],
            "changed": [
                {
                    "weight": change.name,
                    "before": [_storage_record(stored) for stored in change.before],
                    "after": [_storage_record(stored) for stored in change.after],
                    "bytes_before": change.bytes_before,
                    "bytes_after": change.bytes_after,
                    "parameters_before": change.parameters_before,
                    "parameters_after": change.parameters_after,
                }
                for change in self.changed
            ],
            "only_before": list(self.only_before),
            "only_after": list(self.only_after),
        }


def _storage_record(stored: StoredAs) -> StorageRecord:
    return {
        "level": stored.level.name,
        "group_size": stored.group_size,
        "symmetric": stored.symmetric,
        "code_bits": float_or_none(stored.code_bits),
    }


def _totals_record(inspection: Inspection) -> TotalsRecord:
    stored = inspection.stored
    assert stored is not None  # `compared` refuses a config file alone
    return {
        "path": inspection.location,
        "format": inspection.format,
        "parameters": stored.parameters,
        "quantized_parameters": stored.quantized_parameters,
        "tensors": stored.tensors,
        "tensor_bytes": stored.tensor_bytes,
        "bits_per_weight": float_or_none(stored.bits_per_weight),
    }


def compare(before: str | PathLike[str], after: str | PathLike[str], *, progress: Progress | None = None) -> Comparison:
    """Two checkpoints side by side, weight by weight.

    Names are compared letter by letter; those of a GGUF file are first matched with those of ``transformers``. What a
    converter adds to all names does not count, and projections that one side has fused are compared as one.

    Args:
        before, after, progress: as ``inspect``.

    Raises:
        CheckpointError: if one cannot be read, or is a config file alone.
        ConfigError: for a config file with values that would mislead.
    """
    return compared(inspect(before, progress=progress), inspect(after, progress=progress))


def compared(before: Inspection, after: Inspection) -> Comparison:
    """The comparison of two inspections.

    Raises:
        CheckpointError: if one is of a config file alone.
    """
    for report in (before, after):
        if report.stored is None:
            raise CheckpointError(report.path, "has no weights to compare; name the checkpoint itself")
    old, new = _weights(before), _weights(after)
    if _is_llama_cpp(before) != _is_llama_cpp(after):
        if _is_llama_cpp(before):
            new = _renamed(new, old)
        else:
            old = _renamed(old, new)
        # either side may split what the other fuses
        _fuse(old, new, pieces)
        _fuse(new, old, pieces)
    else:
        old, new = _aligned(old, new)
        _fuse(old, new, _projections)
        _fuse(new, old, _projections)
    return Comparison(
        before=before,
        after=after,
        levels=_deltas(before, after),
        changed=tuple(_changes(old, new)),
        only_before=tuple(weight.name for name, weight in old.items() if name not in new),
        only_after=tuple(weight.name for name, weight in new.items() if name not in old),
    )


def _changes(old: Mapping[str, _Weight], new: Mapping[str, _Weight]) -> Iterator[Change]:
    """The weights of both sides that differ; bytes alone do not count, as containers pad and align differently."""
    for name, before in old.items():
        after = new.get(name)
        if after is None:
            continue
        if set(before.storage) != set(after.storage) or before.parameters != after.parameters:
            yield Change(
                name=before.name,
                before=before.storage,
                after=after.storage,
                bytes_before=before.nbytes,
                bytes_after=after.nbytes,
                parameters_before=before.parameters,
                parameters_after=after.parameters,
            )


def _is_llama_cpp(inspection: Inspection) -> bool:
    """Whether the names of its tensors are those of llama.cpp."""
    return inspection.container is not None and inspection.container.llama_cpp


def _deltas(before: Inspection, after: Inspection) -> tuple[Delta, ...]:
    totals: dict[tuple[Level, int | None], list[int]] = defaultdict(lambda: [0, 0])
    for side, report in enumerate((before, after)):
        for stored in report.stored.levels if report.stored else ():
            group = stored.group_size
            # MXFP4 in groups of 32 is one row, whether a container has blocks (GGUF) or scales beside codes
            if _is_microscaling(stored.level):
                group = stored.level.block.weights
            totals[stored.level, group][side] += stored.nbytes
    deltas = [
        Delta(level=level, group_size=group, before=bytes_before, after=bytes_after)
        for (level, group), (bytes_before, bytes_after) in totals.items()
    ]
    return tuple(sorted(deltas, key=lambda delta: (-abs(delta.gained), -delta.after)))


@final
@frozen
class _Weight:
    """A weight under the name both checkpoints know it by."""

    name: str
    storage: tuple[StoredAs, ...]
    nbytes: int
    parameters: int

    def __add__(self, other: _Weight) -> _Weight:
        """Both under one name, as experts are in GGUF."""
        storage = self.storage
        if other.storage != storage:
            storage = tuple(dict.fromkeys(storage + other.storage))
        return _Weight(self.name, storage, self.nbytes + other.nbytes, self.parameters + other.parameters)


def _weights(report: Inspection) -> dict[str, _Weight]:
    """The weights of a checkpoint by the names that they have in the model."""
    decoration = report.container.decoration if report.container else None
    found: list[tuple[str, _Weight]] = []
    for name, part in report.weights():
        plain = decoration.sub("", name) if decoration else name
        # GGUF writes the suffix for every weight, quantizers for none
        short = plain.removesuffix(".weight")
        found.append((short, _Weight(short, (_stored_as(part),), part.nbytes, part.parameters)))
    return _gathered(found)


def _stored_as(part: FoldedWeight) -> StoredAs:
    level, bits = part.level, part.code_bits
    if not _is_microscaling(level):
        return StoredAs(level, part.group_size, part.symmetric, bits)
    if bits == level.bits_per_weight:  # of a container that has scales and codes in one tensor
        bits = Fraction(level.bits_per_param)
    return StoredAs(level, level.block.weights, True, bits)


def _is_microscaling(level: Level) -> TypeGuard[QuantizationLevel]:
    """Whether all containers store it in the same groups, in blocks of its own or in tensors."""
    return isinstance(level, QuantizationLevel) and level.kind == "microscaling"


def _gathered(weights: Iterable[tuple[str, _Weight]]) -> dict[str, _Weight]:
    """What falls together under one name is one weight."""
    found: dict[str, _Weight] = {}
    for name, weight in weights:
        found[name] = found[name] + weight if name in found else weight
    return found


def _renamed(others: Mapping[str, _Weight], gguf: Mapping[str, _Weight]) -> dict[str, _Weight]:
    """Weights of another container by the names that a GGUF file has for them."""
    return _gathered((given, others[name]) for name, given in matched(others, gguf).items())


def _aligned(old: dict[str, _Weight], new: dict[str, _Weight]) -> tuple[dict[str, _Weight], dict[str, _Weight]]:
    """Both sides; if they share no name, then without the modules that all names of one side begin with."""
    if old.keys() & new.keys():
        return old, new
    for_old, for_new = _without_prefix(old), _without_prefix(new)
    if for_old.keys() & new.keys():
        return for_old, new
    if old.keys() & for_new.keys():
        return old, for_new
    return old, new


def _without_prefix(weights: dict[str, _Weight]) -> dict[str, _Weight]:
    """Weights by their names without the modules that all of them are in, such as ``model`` of a training state."""
    modules = [name.split(".")[:-1] for name in weights]
    ends = zip(min(modules, default=()), max(modules, default=()), strict=False)  # what these share, all between share
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], ends)))
    return {name.split(".", shared)[shared]: weight for name, weight in weights.items()}


#: Last part of a module → those of the modules that are fused in it, as MLC and vLLM do.
_FUSED: Final = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


def _projections(name: str) -> tuple[str, ...]:
    """The modules that the other side may have for one, or the biases of these; none for most."""
    module, dot, last = name.rpartition(".")
    if last == "bias":
        return tuple(f"{piece}.bias" for piece in _projections(module))
    return tuple(f"{module}{dot}{piece}" for piece in _FUSED.get(last, ()))


def _fuse(whole: Mapping[str, _Weight], split: dict[str, _Weight], pieces_of: Callable[[str], tuple[str, ...]]) -> None:
    """Make one weight of what is one on the other side."""
    # a list of the names first: the loop changes what it would go through
    for name in [name for name in whole if name not in split]:
        parts = pieces_of(name)
        if parts and all(part in split for part in parts):
            first, *rest = (split.pop(part) for part in parts)
            split[name] = sum(rest, first)
