"""One row per checkpoint: what `inspect` says of a place, as plain data that a process can send and a file can hold."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Final

from quantlevels.checkpoint.traffic import counted_traffic
from quantlevels.errors import CheckpointError, QuantLevelsError
from quantlevels.inspection import SCHEMA_VERSION
from quantlevels.inspection.report import inspect

if TYPE_CHECKING:
    from quantlevels.inspection.records import InspectionRecord, SurveyRow
    from quantlevels.survey.places import CheckpointPlace

#: integers that a column of 64 bits holds; a file that claims more is not a model
_LARGEST: Final = 2**63 - 1
#: characters; a message may quote a name from the file, and rows go through pipes and tables
_LONGEST_ERROR: Final = 2_000


def rows_of(places: Iterable[CheckpointPlace]) -> list[SurveyRow]:
    """The rows of some places; those that hold no checkpoint after all give none.

    This function runs in the workers: it and its arguments are plain data.
    """
    return [row for row in map(row_of, places) if row is not None]


def row_of(place: CheckpointPlace) -> SurveyRow | None:
    """What there is to say of one place: its inspection, or the error that it gave; None if it is not a checkpoint."""
    started = perf_counter()
    if place.error:
        return error_row(place, place.error, CheckpointError.__name__)
    with counted_traffic() as traffic:
        row = _read(place, started)
    if row is not None:
        row["requests"], row["bytes_read"] = traffic.requests, traffic.nbytes
    return row


def _read(place: CheckpointPlace, started: float) -> SurveyRow | None:
    try:
        inspection = inspect(place.url or place.path)
    except QuantLevelsError as error:
        if not place.certain:
            return None
        return error_row(place, str(error), type(error).__name__, perf_counter() - started)
    except Exception as error:  # a defect of ours, or of a plugin: one checkpoint must not end a survey of thousands
        reason = f"unexpected error, please report it: {type(error).__name__}: {error}"
        return error_row(place, reason, type(error).__name__, perf_counter() - started)
    row = _inspected(place, inspection.to_record(), perf_counter() - started)
    if _largest(row) > _LARGEST:
        return error_row(place, "claims more parameters or bytes than any file can hold", CheckpointError.__name__)
    return row


def error_row(place: CheckpointPlace, reason: str, kind: str, seconds: float = 0.0) -> SurveyRow:
    """The row of a place that cannot be read.

    Args:
        place: where it is.
        reason: what is wrong.
        kind: the name of the error's class.
        seconds: how long it took to find out.
    """
    return {**_blank(place, seconds), "error": reason[:_LONGEST_ERROR], "error_type": kind}


def _blank(place: CheckpointPlace, seconds: float) -> SurveyRow:
    """A row that says only where the checkpoint is."""
    return {
        "schema_version": SCHEMA_VERSION,
        "root": place.root,
        "store": place.store,
        "name": place.name,
        "path": place.path,
        "revision": place.revision,
        "version": place.version,
        "format": None,
        "method": None,
        "declared_dtype": None,
        "declared_levels": [],
        "levels": [],
        "parameters": None,
        "quantized_parameters": None,
        "tensors": None,
        "tensor_bytes": None,
        "buffer_bytes": None,
        "unexplained_bytes": None,
        "file_bytes": place.file_bytes,
        "files": None,
        "bits_per_weight": None,
        "findings": [],
        "same_as": place.same_as,
        "error": None,
        "error_type": None,
        "requests": 0,
        "bytes_read": 0,
        "seconds": round(seconds, 6),
        "surveyed_at": datetime.now(UTC).isoformat(timespec="microseconds"),
    }


def _inspected(place: CheckpointPlace, record: InspectionRecord, seconds: float) -> SurveyRow:
    row = _blank(place, seconds)
    row["format"] = record["format"]
    row["files"] = len(record["files"])
    row["findings"] = record["findings"]
    declared, stored = record["declared"], record["stored"]
    if declared:
        row["method"], row["declared_dtype"] = declared["method"], declared["dtype"]
        row["declared_levels"] = [
            {
                "level": level["level"],
                "bits_per_param": level["bits_per_param"],
                "group_size": level["group_size"],
                "bits_per_weight": level["bits_per_weight"],
                "targets": level["targets"],
            }
            for level in declared["levels"]
        ]
    if stored:
        row["levels"] = stored["levels"]
        row["parameters"], row["quantized_parameters"] = stored["parameters"], stored["quantized_parameters"]
        row["tensors"], row["tensor_bytes"] = stored["tensors"], stored["tensor_bytes"]
        row["buffer_bytes"] = stored["buffers"]["bytes"]
        row["unexplained_bytes"] = stored["unexplained"]["bytes"]
        row["bits_per_weight"] = stored["bits_per_weight"]
    return row


def _largest(row: SurveyRow) -> int:
    """The largest integer among the counts of a row."""
    counts = [row["parameters"], row["tensor_bytes"], row["file_bytes"]]
    return max(count or 0 for count in (*counts, *(level["parameters"] for level in row["levels"])))
