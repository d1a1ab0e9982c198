"""Declared beside stored: what a checkpoint claims, and what its headers show."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any, Final, final

from attrs import field, frozen

from quantlevels.checkpoint import read_checkpoint, uncollected
from quantlevels.container import Checkpoint, File, Format, UnknownType
from quantlevels.errors import ConfigError
from quantlevels.findings import Finding
from quantlevels.inspection.disagreements import disagreements
from quantlevels.inspection.totals import StoredTotals, totals
from quantlevels.scheme import DeclaredLevel
from quantlevels.schemes import packings
from quantlevels.schemes.declaration import Declared, declared_by
from quantlevels.schemes.folding import FoldedWeight, Folding, fold_modules
from quantlevels.schemes.graph import fold_graph
from quantlevels.vocabulary.level import QuantizationLevel

SCHEMA_VERSION: Final = 1


@final
@frozen(kw_only=True)
class Inspection:
    """What a checkpoint claims, what it stores, and every disagreement.

    Args:
        path: what was inspected.
        format: the container, or ``config`` for a config file alone.
        declared: the claims of its config files; None where nothing is claimed.
        stored: what the headers show; None for a config file alone.
        findings: disagreements and defects, by code and place.
        files: the files that were read.
    """

    path: Path
    format: Format
    declared: Declared | None
    stored: StoredTotals | None
    findings: tuple[Finding, ...]
    files: tuple[File, ...]
    _folding: Folding | None = field(default=None, eq=False, repr=False, alias="folding")

    def weights(self) -> Iterator[tuple[str, FoldedWeight]]:
        """Name and storage of each module, or each plain tensor, in the order of the file."""
        for module, parts in self._folding or ():
            for part in parts:
                yield (module + part.name).removeprefix("."), part

    def to_record(self) -> dict[str, Any]:  # Any: a JSON object
        """The inspection record: a JSON object with exact integers and ``bits_per_weight`` as floats."""
        return {
            "schema_version": SCHEMA_VERSION,
            "path": str(self.path),
            "format": self.format,
            "declared": self.declared and _declared_record(self.declared),
            "stored": self.stored and _stored_record(self.stored),
            "findings": [one.to_record() for one in self.findings],
            "files": [{"path": file.path, "bytes": file.nbytes} for file in self.files],
        }


def inspect(path: str | PathLike[str]) -> Inspection:
    """What a checkpoint declares and what it stores, read from its headers and config files alone.

    Args:
        path: a folder, a file, an index, the first part of a split GGUF, or a config file alone.

    Raises:
        CheckpointError: for a file that is malformed, truncated or unsafe, or a folder that holds no single model.
        ConfigError: for a config file with values that would mislead.
    """
    with uncollected():
        return inspected(read_checkpoint(Path(path)))


def inspected(checkpoint: Checkpoint) -> Inspection:
    """The inspection of a checkpoint whose headers have been read.

    Raises:
        ConfigError: for a config file with values that would mislead.
    """
    try:
        declared, unknown = declared_by(checkpoint)
    except ConfigError as error:
        folder = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
        raise ConfigError(tuple(str(folder / message) for message in error.messages)) from error
    if checkpoint.format == "onnx":
        folding = fold_graph(checkpoint)
    else:
        own = declared.scheme.packings if declared and declared.scheme else ()
        folding = fold_modules(checkpoint.tensors, own, packings(), declared)
    stored = None if checkpoint.format == "config" else totals(checkpoint, folding)
    findings = (*checkpoint.findings, *unknown, *disagreements(checkpoint, declared, stored, folding))
    return Inspection(
        path=checkpoint.path,
        format=checkpoint.format,
        declared=declared,
        stored=stored,
        findings=tuple(sorted(findings, key=lambda one: (one.code, one.where))),
        files=checkpoint.files,
        folding=folding,
    )


def _level_record(level: QuantizationLevel | UnknownType) -> dict[str, Any]:  # Any: a JSON object
    if isinstance(level, UnknownType):
        return {"level": None, "label": str(level), "bits_per_param": None}
    return {"level": level.name, "label": level.label, "bits_per_param": level.bits_per_param}


def _number(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def _declared_record(declared: Declared) -> dict[str, Any]:  # Any: a JSON object
    return {
        "source": declared.source,
        "method": declared.method,
        "known": declared.known,
        "dtype": declared.dtype and declared.dtype.name,
        "kv_cache": declared.kv_cache and declared.kv_cache.name,
        "levels": [_declared_level_record(level) for level in declared.levels],
    }


def _declared_level_record(declared: DeclaredLevel) -> dict[str, Any]:  # Any: a JSON object
    return {
        **_level_record(declared.level),
        "group_size": declared.group_size,
        "block": declared.block and list(declared.block),
        "symmetric": declared.symmetric,
        "bits_per_weight": _number(declared.bits_per_weight),
        "targets": None if declared.targets is None else list(declared.targets),
    }


def _stored_record(stored: StoredTotals) -> dict[str, Any]:  # Any: a JSON object
    return {
        "parameters": stored.parameters,
        "quantized_parameters": stored.quantized_parameters,
        "tensors": stored.tensors,
        "tensor_bytes": stored.tensor_bytes,
        "bits_per_weight": _number(stored.bits_per_weight),
        "levels": [
            {
                **_level_record(one.level),
                "group_size": one.group_size,
                "symmetric": one.symmetric,
                "quantized": one.quantized,
                "parameters": one.parameters,
                "weights": one.weights,
                "bytes": one.nbytes,
                "bits_per_weight": _number(one.bits_per_weight),
            }
            for one in stored.levels
        ],
    }
