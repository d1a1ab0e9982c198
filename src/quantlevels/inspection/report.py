"""Declared beside stored: what a checkpoint claims, and what its headers show."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from fractions import Fraction
from os import PathLike
from typing import TYPE_CHECKING, TypeAlias, final

from attrs import evolve, field, frozen

from quantlevels.checkpoint import gc_paused, read_checkpoint
from quantlevels.container import (
    CONFIG,
    JSON,
    LIMITS_FOR_VALUES,
    Checkpoint,
    Container,
    File,
    Scalar,
    Tensor,
    Tensors,
    UnknownType,
)
from quantlevels.findings import Finding
from quantlevels.inspection import SCHEMA_VERSION
from quantlevels.inspection.disagreements import disagreements
from quantlevels.inspection.totals import StoredTotals, combined, totals
from quantlevels.scheme import DeclaredLevel
from quantlevels.schemes.declaration import Declared, declared_by
from quantlevels.schemes.folding import FoldedWeight, Folding, fold_modules
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import Registry, levels

if TYPE_CHECKING:
    from pathlib import Path

    from quantlevels.checkpoint.shards import Progress
    from quantlevels.container import RemoteLimits
    from quantlevels.inspection.records import (
        ComponentRecord,
        DeclaredLevelRecord,
        DeclaredRecord,
        InspectionRecord,
        LevelName,
        StoredLevelRecord,
        StoredRecord,
        TallyRecord,
        WeightRecord,
    )
    from quantlevels.inspection.totals import StoredLevel, Tally
    from quantlevels.values.records import Mode, Values

__all__ = ["Inspection", "inspect"]

#: Called with a number of bytes; returns what is called with parts of it as they are read.
Started: TypeAlias = Callable[[int], Callable[[int], None]]


@final
@frozen(kw_only=True)
class Inspection:
    """What a checkpoint claims, what it stores, and every disagreement.

    Args:
        path: what was inspected.
        container: what holds the tensors; None for a config file alone.
        declared: the claims of its config files; None if nothing is claimed.
        stored: what the headers show; None for a config file alone. With components, their sum.
        findings: disagreements and defects, by code and place.
        files: the files that were read.
        components: the models of a folder that holds several that belong together, such as a diffusers pipeline.
        values: what the weights themselves show; None if only headers were read.
        tensors: the tensors as the headers list them.
        metadata: the container's own key-values, such as those of a GGUF file.
        configs: name of a config file beside the weights → the object in it.
    """

    _path: str = field(alias="path")
    container: Container | None = field(eq=False, repr=False)
    declared: Declared | None
    stored: StoredTotals | None
    findings: tuple[Finding, ...]
    files: tuple[File, ...]
    components: tuple[Inspection, ...] = ()
    values: Values | None = None
    _folding: Folding | None = field(default=None, eq=False, repr=False, alias="folding")
    tensors: Tensors = field(default=Tensors(), eq=False, repr=False)
    metadata: Mapping[str, Scalar] = field(factory=dict[str, Scalar], eq=False, repr=False)
    configs: Mapping[str, Mapping[str, JSON]] = field(factory=dict[str, Mapping[str, JSON]], eq=False, repr=False)

    @property
    def path(self) -> Path | str:
        """What was inspected: a path, or a URL as text."""
        if "://" in self._path:  # a Path would lose one of its two slashes
            return self._path
        from pathlib import Path  # here: it takes a while to import, and the command line shows paths as text

        return Path(self._path)

    @property
    def location(self) -> str:
        """The path or URL as text."""
        return self._path

    @property
    def format(self) -> str:
        """Name of the container; ``config`` for a config file alone."""
        return self.container.name if self.container else CONFIG

    def weights(self) -> Iterator[tuple[str, FoldedWeight]]:
        """Name and storage of each module, or each plain tensor but for buffers, in the order of the file."""
        for module, weight in self._folded():
            if weight.account != "buffers":
                yield (module + weight.name).removeprefix("."), weight
        for component in self.components:
            prefix = component.path_within(self._path)
            yield from ((f"{prefix}.{name}", weight) for name, weight in component.weights())

    def _folded(self) -> Iterator[tuple[str, FoldedWeight]]:
        """Each weight with its module."""
        for module, weights in self._folding or ():
            for weight in weights:
                yield module, weight

    def weight_records(self, pattern: str = "*") -> list[WeightRecord]:
        """Each weight, buffer and unexplained tensor, as ``quantlevels inspect --tensors --json`` prints them.

        Args:
            pattern: a shell glob; only those whose name it matches are listed.
        """
        tensors = {tensor.name: tensor for tensor in self.tensors}
        records: list[WeightRecord] = []
        for module, weight in self._folded():
            name = (module + weight.name).removeprefix(".")
            if fnmatchcase(name, pattern):
                # a plain tensor has no members: it is itself
                members = [member.within(module) for member in weight.members] or [name]
                found = [tensors[member] for member in members if member in tensors]
                records.append(_weight_record(name, weight, found))
        for component in self.components:
            place = component.path_within(self._path)
            for record in component.weight_records():
                named: WeightRecord = {**record, "name": f"{place}.{record['name']}"}
                if fnmatchcase(named["name"], pattern):
                    records.append(named)
        return records

    def to_record(self) -> InspectionRecord:
        """The inspection record: a JSON object with exact integers and ``bits_per_weight`` as floats."""
        record: InspectionRecord = {
            "schema_version": SCHEMA_VERSION,
            "path": self._path,
            "format": self.format,
            "declared": self.declared and _declared_record(self.declared),
            "stored": self.stored and _stored_record(self.stored),
            "findings": [finding.to_record() for finding in self.findings],
            "files": [{"path": file.path, "bytes": file.nbytes} for file in self.files],
        }
        # keys of what was not asked for, or is not there, are left out: records of older versions stay as they are
        if self.values:
            record["values"] = self.values.to_record()
        if self.components:
            record["components"] = [component._component_record(self._path) for component in self.components]
        return record

    def to_json(self, indent: int | None = 2) -> str:
        """The inspection record as JSON text.

        Args:
            indent: spaces per level; None for a single line.
        """
        return json.dumps(self.to_record(), indent=indent, allow_nan=False)

    def _component_record(self, folder: str) -> ComponentRecord:
        return {
            "path": self.path_within(folder),
            "format": self.format,
            "declared": self.declared and _declared_record(self.declared),
            "stored": self.stored and _stored_record(self.stored),
        }

    def path_within(self, folder: str) -> str:
        """Where it is below a folder, with slashes."""
        if folder == self._path:
            return "."  # a component in the folder itself
        return self._path.removeprefix(folder).replace(os.sep, "/").removeprefix("/")


def inspect(
    path: str | PathLike[str],
    *,
    values: Mode | None = None,
    checksums: bool = True,
    registry: Registry = levels,
    progress: Progress | None = None,
    reading: Started | None = None,
    limits: RemoteLimits | None = None,
) -> Inspection:
    """What a checkpoint declares and what it stores, read from its headers and config files alone.

    Args:
        path: a folder, a file, an index, the first part of a split GGUF, or a config file alone; or a URL:
            ``hf://org/name[@revision][/path]``, ``https://...``.
        values: ``sample`` to read a small part of the weights too, ``all`` to read them all; needs numpy.
        checksums: whether ``all`` also compares files with the digests in their names or beside them.
        registry: knows the levels of storage types, and the plugins.
        progress: gets the names of the files of one checkpoint and yields them one by one while they are read.
        reading: gets the bytes of weights that will be read, and returns what is called with the number of those just
            read, from any thread.
        limits: of what is fetched of each remote file. By default 512 requests, 256 MiB and 2 minutes; if values are
            read, 65,536 requests, 1 TiB and an hour.

    Raises:
        CheckpointError: for a file that is malformed, truncated or unsafe, or a folder that holds no single model.
        ValueError: if ``values`` is another word.
    """
    if values is not None:
        from quantlevels.values.records import check_mode  # here: only some callers read values

        check_mode(values)
        limits = limits or LIMITS_FOR_VALUES
    with gc_paused():  # folding makes no cycles either
        checkpoint = read_checkpoint(path, registry=registry, progress=progress, limits=limits)
        inspection = inspected(checkpoint, registry)
    if values is None or (checkpoint.container is None and not checkpoint.components):
        return inspection
    from quantlevels.inspection.with_values import with_values  # here: as above

    return with_values(inspection, checkpoint, values, checksums=checksums, started=reading)


def inspected(checkpoint: Checkpoint, registry: Registry = levels) -> Inspection:
    """The inspection of a checkpoint whose headers have been read.

    Args:
        checkpoint: what was read.
        registry: knows the plugins with schemes.
    """
    if checkpoint.components:
        return _pipeline(checkpoint, registry)
    declared, unknown = declared_by(checkpoint, registry)
    if checkpoint.container and checkpoint.container.graph:
        from quantlevels.schemes.graph import fold_graph  # here: only graphs need it

        folding = fold_graph(checkpoint)
    else:
        # the packings of the declared method come first: several methods use the same names for other layouts
        declared_packings = declared.scheme.packings if declared and declared.scheme else ()
        folding = fold_modules(checkpoint.tensors, declared_packings, declared)
    stored = None if checkpoint.container is None else totals(checkpoint, folding)
    findings = (*checkpoint.findings, *unknown, *disagreements(checkpoint, declared, stored, folding))
    return Inspection(
        path=checkpoint.path,
        container=checkpoint.container,
        declared=declared,
        stored=stored,
        findings=_sorted(findings),
        files=checkpoint.files,
        folding=folding,
        tensors=checkpoint.tensors,
        metadata=checkpoint.metadata,
        configs=checkpoint.configs,
    )


def _pipeline(checkpoint: Checkpoint, registry: Registry) -> Inspection:
    """Several models that belong together: each inspected by itself, their totals added."""
    components = tuple(inspected(component, registry) for component in checkpoint.components)
    places = [component.path_within(checkpoint.path) for component in components]
    listed = ", ".join(places)
    several = Finding("QL402", f"{len(components)} models that belong together: {listed}; the totals are their sum")
    findings = [*checkpoint.findings, several]
    files: list[File] = []
    for place, component in zip(places, components, strict=True):
        findings += (
            evolve(finding, where=_below(place, finding.where))
            for finding in component.findings
            if finding.code != several.code  # its neighbours are the other components
        )
        files += (file._replace(path=_below(place, file.path)) for file in component.files)
    stored = [component.stored for component in components if component.stored]
    return Inspection(
        path=checkpoint.path,
        container=checkpoint.container,
        declared=None,
        stored=combined(stored) if stored else None,
        findings=_sorted(findings),
        files=(*checkpoint.files, *files),
        components=components,
    )


def _below(place: str, name: str) -> str:
    """A name within a component, as seen from the folder that holds them all."""
    if place == ".":
        return name
    return f"{place}/{name}" if name else place


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    # the same order in every run: users compare reports, and rules come in an order of their own
    return tuple(sorted(findings, key=lambda finding: (finding.code, finding.where)))


def _level_name(level: QuantizationLevel | UnknownType) -> LevelName:
    if isinstance(level, UnknownType):
        return {"level": None, "label": str(level), "bits_per_param": None}
    return {"level": level.name, "label": level.label, "bits_per_param": level.bits_per_param}


def _weight_record(name: str, weight: FoldedWeight, tensors: Iterable[Tensor]) -> WeightRecord:
    return {
        "name": name,
        "account": weight.account,
        **_level_name(weight.level),
        "group_size": weight.group_size,
        "parameters": weight.parameters,
        "bytes": weight.nbytes,
        "tensors": [
            {"name": tensor.name, "dtype": tensor.dtype.name, "shape": list(tensor.shape), "bytes": tensor.nbytes}
            for tensor in tensors
        ],
    }


def float_or_none(value: Fraction | None) -> float | None:
    """An exact number as JSON has it."""
    return None if value is None else float(value)


def _declared_record(declared: Declared) -> DeclaredRecord:
    return {
        "source": declared.source,
        "method": declared.method,
        "known": declared.known,
        "dtype": declared.dtype and declared.dtype.name,
        "kv_cache": declared.kv_cache and declared.kv_cache.name,
        "levels": [_declared_level_record(level) for level in declared.levels],
    }


def _declared_level_record(declared: DeclaredLevel) -> DeclaredLevelRecord:
    return {
        **_level_name(declared.level),
        "group_size": declared.group_size,
        "block": None if declared.block is None else list(declared.block),
        "symmetric": declared.symmetric,
        "bits_per_weight": float_or_none(declared.bits_per_weight),
        "targets": None if declared.targets is None else list(declared.targets),
    }


def _stored_record(stored: StoredTotals) -> StoredRecord:
    return {
        "parameters": stored.parameters,
        "quantized_parameters": stored.quantized_parameters,
        "tensors": stored.tensors,
        "tensor_bytes": stored.tensor_bytes,
        "bits_per_weight": float_or_none(stored.bits_per_weight),
        "buffers": _tally_record(stored.buffers),
        "unexplained": _tally_record(stored.unexplained),
        "levels": [_stored_level_record(level) for level in stored.levels],
    }


def _tally_record(tally: Tally) -> TallyRecord:
    return {"tensors": tally.tensors, "bytes": tally.nbytes}


def _stored_level_record(stored: StoredLevel) -> StoredLevelRecord:
    return {
        **_level_name(stored.level),
        "group_size": stored.group_size,
        "symmetric": stored.symmetric,
        "quantized": stored.quantized,
        "parameters": stored.parameters,
        "weights": stored.weights,
        "bytes": stored.nbytes,
        "bits_per_weight": float_or_none(stored.bits_per_weight),
    }
