"""Rows into files: each format holds every row with its types, and names of files can do no harm there."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import cast

import pytest
from tests.survey.stores import write_plain, write_tree

from quantlevels.config.writing import replacing
from quantlevels.errors import SurveyError
from quantlevels.survey import SurveyRow, survey
from quantlevels.survey.writers import FORMATS, RowFormat, read_rows, writer


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[SurveyRow]:
    root = tmp_path_factory.mktemp("fleet") / "tree"
    write_tree(root)
    return list(survey(root))


def written(rows: list[SurveyRow], format: RowFormat) -> bytes:
    stream = io.BytesIO()
    with writer(format, stream) as out:
        for row in rows:
            out.write(row)
    return stream.getvalue()


def renamed(row: SurveyRow, name: str) -> SurveyRow:
    return cast("SurveyRow", {**row, "name": name})


def test_ndjson_gives_back_every_row(rows: list[SurveyRow], tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_bytes(written(rows, "ndjson"))
    assert list(read_rows(path)) == rows


def test_a_line_that_was_cut_off_is_left_out(rows: list[SurveyRow], tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_bytes(written(rows, "ndjson")[:-20])
    assert list(read_rows(path)) == rows[:-1]


@pytest.mark.parametrize(("line", "reason"), [("{", "line 1 is not valid JSON"), ("[]", "line 1 is not a row")])
def test_a_file_that_is_not_a_survey_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_text(f"{line}\n")
    with pytest.raises(SurveyError, match=reason):
        list(read_rows(path))


def test_csv_holds_every_row_in_flat_columns(rows: list[SurveyRow]) -> None:
    lines = list(csv.DictReader(io.StringIO(written(rows, "csv").decode())))
    assert [line["name"] for line in lines] == [row["name"] for row in rows]
    plain = next(line for line in lines if line["name"] == "team/plain")
    assert plain["levels"] == "BFloat16:576"
    assert plain["error"] == ""


@pytest.mark.parametrize("name", ["=cmd()", "+1", "-1", "@sum", "line\nbreak", "\x1b[31mred", "lone\udcff"])
def test_a_name_does_no_harm_in_a_spreadsheet(rows: list[SurveyRow], name: str) -> None:
    (line,) = csv.DictReader(io.StringIO(written([renamed(rows[0], name)], "csv").decode()))
    assert not line["name"].startswith(("=", "+", "-", "@"))
    assert line["name"].isprintable()


def test_parquet_keeps_the_type_of_each_column(rows: list[SurveyRow]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(written(rows, "parquet")))
    assert table.num_rows == len(rows)
    assert table.column_names == list(rows[0])
    assert str(table.schema.field("surveyed_at").type) == "timestamp[us, tz=UTC]"
    assert str(table.schema.field("parameters").type) == "int64"
    levels = next(row for row in table.to_pylist() if row["name"] == "team/plain")["levels"]
    assert [(level["level"], level["parameters"]) for level in levels] == [("BFloat16", 576)]


def test_parquet_of_no_rows_has_all_columns(rows: list[SurveyRow]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert parquet.read_table(io.BytesIO(written([], "parquet"))).column_names == list(rows[0])


@pytest.mark.parametrize("format", FORMATS)
def test_a_name_that_cannot_be_encoded_is_escaped(rows: list[SurveyRow], format: RowFormat) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    assert written([renamed(rows[0], "lone\udcff")], format)


def test_a_claim_no_file_can_hold_is_an_error(tmp_path: Path) -> None:
    folder = write_plain(tmp_path / "plain")
    header = {"w": {"dtype": "F4", "shape": [2**62, 0, 4], "data_offsets": [0, 0]}}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    (row,) = survey(folder)
    assert row["error"] or (row["parameters"] or 0) < 2**63


def write_and_raise(path: Path, content: bytes, error: BaseException) -> None:
    with replacing(path) as stream:
        stream.write(content)
        raise error


def test_an_error_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_text("before")
    with pytest.raises(RuntimeError):
        write_and_raise(path, b"half", RuntimeError())
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["rows.ndjson"]


def test_what_was_finished_before_an_interruption_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    with pytest.raises(KeyboardInterrupt):
        write_and_raise(path, b"finished\n", KeyboardInterrupt())
    assert path.read_text() == "finished\n"
