"""explain: a section on every finding, under its code and its name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from quantlevels.findings import CODES

if TYPE_CHECKING:
    from tests.cli.conftest import Ask


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_its_section(ask: Ask, code: str) -> None:
    slug, severity = CODES[code]
    head, meaning, *rest = ask("explain", code).out.split("\n\n")
    assert head == f"{code} {slug} ({severity})"
    assert meaning
    titles = [text.partition(":")[0] for text in rest if not text.startswith(" ")]
    assert titles == ["Example", "Remedy", "Silence"]


@pytest.mark.parametrize("word", ["ql105", "QL105", "dtype-mismatch"])
def test_explain_takes_the_code_or_the_name(ask: Ask, word: str) -> None:
    record = json.loads(ask("explain", word, "--json").out)
    assert (record["code"], record["severity"]) == ("QL105", "error")


def test_explain_alone_lists_all_findings(ask: Ask) -> None:
    answer = ask("explain")
    head, *rows = answer.out.split("\n\n")[0].splitlines()
    assert head.split() == ["code", "severity", "name", "meaning"]
    assert [row.split()[0] for row in rows] == list(CODES)


def test_explain_takes_the_beginning_of_several(ask: Ask) -> None:
    shown = [line for line in ask("explain", "QL50").out.splitlines() if line.endswith("(error)")]
    assert [line.split()[0] for line in shown] == ["QL501", "QL502", "QL503"]
    records = [json.loads(line) for line in ask("explain", "ql50", "QL401", "--json").out.splitlines()]
    assert [record["code"] for record in records] == ["QL401", "QL501", "QL502", "QL503"]


def test_a_misspelt_code_is_answered(ask: Ask) -> None:
    answer = ask("explain", "dtype-missmatch")
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert "did you mean dtype-mismatch" in answer.err
