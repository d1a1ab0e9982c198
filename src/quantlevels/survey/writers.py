"""Rows into files: NDJSON, CSV and Parquet, row by row, so that memory does not grow with their number."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast, get_args

from quantlevels.config.writing import signals_held_back
from quantlevels.errors import SurveyError

if TYPE_CHECKING:
    from quantlevels.inspection.records import SurveyRow

RowFormat: TypeAlias = Literal["ndjson", "csv", "parquet"]
FORMATS: Final[tuple[RowFormat, ...]] = get_args(RowFormat)

#: what makes a spreadsheet take a cell for a formula
_FORMULA: Final = ("=", "+", "-", "@")
#: rows held in memory until they are a row group: fewer make large files, more take memory
_PARQUET_ROWS: Final = 1_000
#: what a row must have to go on from it
_KEYS: Final = frozenset({"schema_version", "root", "name", "path", "version", "error"})


class RowWriter(ABC):
    """Writes rows to a binary stream; `close` completes the file."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    @abstractmethod
    def write(self, row: SurveyRow) -> None:
        """Add one row."""

    def close(self) -> None:
        """Write what is still held back; the stream stays open."""
        self.stream.flush()

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _NdjsonWriter(RowWriter):
    """One JSON object per line, each written whole at once: what is there after a crash can be used."""

    def write(self, row: SurveyRow) -> None:
        self.stream.write(json.dumps(row, allow_nan=False, separators=(",", ":")).encode() + b"\n")
        self.stream.flush()


class _CsvWriter(RowWriter):
    """One line per row, lists in one cell each: ``Int4:294912;BFloat16:66176``."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self.text = TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
        self.csv = csv.writer(self.text)
        self.names: list[str] = []

    def write(self, row: SurveyRow) -> None:
        cells = _flat(row)
        if not self.names:
            self.names = list(cells)
            self.csv.writerow(self.names)
        self.csv.writerow([_harmless(cells[name]) for name in self.names])

    def close(self) -> None:
        self.text.detach()  # which leaves the stream open
        super().close()


def _flat(row: SurveyRow) -> dict[str, object]:
    lists = {
        "declared_levels": ";".join(_label(level) for level in row["declared_levels"]),
        "levels": ";".join(f"{_label(level)}:{level['parameters']}" for level in row["levels"]),
        "findings": ";".join(sorted({finding["code"] for finding in row["findings"]})),
    }
    return {**row, **lists}


def _label(level: Mapping[str, Any]) -> str:  # Any: either kind of record of a level
    return str(level["level"] or level.get("label") or "unknown")


def _harmless(value: object) -> object:
    """A cell that no program takes for a formula or a command; names of files are anybody's to choose."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = "".join(map(_printable, _encodable(value)))
    if text.startswith(_FORMULA):
        return f"'{text}"  # spreadsheets show what follows the quote as text
    return text


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    return char.encode("unicode_escape").decode()


def _encodable(text: str) -> str:
    """Text without lone surrogates, which no file can hold: they are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class _ParquetWriter(RowWriter):
    """Row groups of a thousand rows, with the same column types whatever the values are."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        try:
            self.arrow: Any = import_module("pyarrow")  # Any: pyarrow brings no types
            parquet: Any = import_module("pyarrow.parquet")  # Any: likewise
        except ImportError as error:
            raise SurveyError("Parquet needs pyarrow: pip install 'quantlevels[arrow]'") from error
        self.schema = _arrow_schema(self.arrow)
        self.parquet: Any = parquet.ParquetWriter(stream, self.schema, compression="zstd")  # Any: likewise
        self.pending: list[dict[str, object]] = []

    def write(self, row: SurveyRow) -> None:
        self.pending.append(_storable(row))
        if len(self.pending) >= _PARQUET_ROWS:
            self._flush()

    def _flush(self) -> None:
        # a row group that was interrupted would be in the file without being in its list of groups
        with signals_held_back():
            self.parquet.write_table(self.arrow.Table.from_pylist(self.pending, schema=self.schema))
            self.pending.clear()

    def close(self) -> None:
        with signals_held_back():  # without what stands at its end, the file cannot be read
            if self.pending:
                self._flush()
            self.parquet.close()
            super().close()


def _storable(row: SurveyRow) -> dict[str, object]:
    from datetime import datetime

    clean = cast("dict[str, object]", _clean(row))
    return {**clean, "surveyed_at": datetime.fromisoformat(row["surveyed_at"])}


def _clean(value: object) -> object:
    """A value whose texts can all be encoded."""
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, Mapping):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value


def _declared_columns(pa: Any) -> Any:  # Any: pyarrow brings no types
    return pa.struct(
        [
            ("level", pa.string()),
            ("bits_per_param", pa.int32()),
            ("group_size", pa.int64()),
            ("bits_per_weight", pa.float64()),
            ("targets", pa.list_(pa.string())),
        ]
    )


def _stored_columns(pa: Any) -> Any:  # Any: likewise
    return pa.struct(
        [
            ("level", pa.string()),
            ("label", pa.string()),
            ("bits_per_param", pa.int32()),
            ("group_size", pa.int64()),
            ("block", pa.list_(pa.int64())),
            ("symmetric", pa.bool_()),
            ("quantized", pa.bool_()),
            ("parameters", pa.int64()),
            ("weights", pa.int64()),
            ("bytes", pa.int64()),
            ("bits_per_weight", pa.float64()),
        ]
    )


def _arrow_schema(pa: Any) -> Any:  # Any: likewise
    """The columns of every Parquet file, so that files of several surveys can be read as one table.

    Types are written out: inferred from the rows, an empty list or a None would give another type in each file.
    """
    text, whole, ratio = pa.string(), pa.int64(), pa.float64()
    finding = pa.struct([(name, text) for name in ("code", "severity", "where", "message")])
    texts = ("root", "store", "name", "path", "revision", "version", "format", "method", "declared_dtype")
    counts = ("parameters", "quantized_parameters", "tensors", "tensor_bytes", "buffer_bytes", "unexplained_bytes")
    return pa.schema(
        [
            ("schema_version", pa.int32()),
            *((name, text) for name in texts),
            ("declared_levels", pa.list_(_declared_columns(pa))),
            ("levels", pa.list_(_stored_columns(pa))),
            *((name, whole) for name in (*counts, "file_bytes")),
            ("files", pa.int32()),
            ("bits_per_weight", ratio),
            ("findings", pa.list_(finding)),
            *((name, text) for name in ("same_as", "error", "error_type")),
            ("requests", pa.int32()),
            ("bytes_read", whole),
            ("seconds", ratio),
            ("surveyed_at", pa.timestamp("us", tz="UTC")),
        ]
    )


_WRITERS: Final[Mapping[RowFormat, Callable[[IO[bytes]], RowWriter]]] = {
    "ndjson": _NdjsonWriter,
    "csv": _CsvWriter,
    "parquet": _ParquetWriter,
}


def writer(format: RowFormat, stream: IO[bytes]) -> RowWriter:
    """What writes rows to a stream in a format.

    Raises:
        SurveyError: if a library that the format needs is missing.
    """
    return _WRITERS[format](stream)


def read_rows(path: Path) -> Iterator[SurveyRow]:
    """The rows of an NDJSON file; a last line that is not complete is left out.

    Raises:
        SurveyError: if a line is not a row of a survey.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                if not line.endswith(b"\n"):  # the survey was killed while it wrote this row
                    return
                raise SurveyError(f"{path}: line {number} is not valid JSON: {error}") from error
            if not (isinstance(row, dict) and row.keys() >= _KEYS):
                raise SurveyError(f"{path}: line {number} is not a row of a survey")
            yield cast("SurveyRow", row)
