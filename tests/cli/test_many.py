"""Several paths at once: each is shown, one that cannot be read spoils none, and the exit status is the worst."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Ask


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"\xff" * 64)
    return path


def test_inspect_shows_each_with_an_empty_line_between(ask: Ask, w4a16: Path, w4a8: Path) -> None:
    answer = ask("inspect", w4a16, w4a8)
    assert answer.status == 0
    assert f"no findings\n\n{w4a8} (safetensors)\n" in answer.out


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_json_is_one_record_per_line(ask: Ask, w4a16: Path, broken: Path, tmp_path: Path, command: str) -> None:
    answer = ask(command, w4a16, broken, tmp_path / "w4a61", "--json")
    assert (answer.status, answer.err) == (2, "")
    good, bad, missing = map(json.loads, answer.out.splitlines())
    assert good["stored"]["tensor_bytes"] == 82_704
    assert bad.keys() == missing.keys() == {"path", "error"}
    assert bad["path"] == str(broken)
    assert "did you mean" in missing["error"]


def test_one_path_is_one_indented_record(ask: Ask, w4a16: Path) -> None:
    assert ask("inspect", w4a16, "--json").out.startswith('{\n  "schema_version": 1,\n')


def test_the_exit_status_is_the_worst(ask: Ask, w4a16: Path, w4a8: Path, broken: Path) -> None:
    assert ask("verify", w4a16, w4a16).status == 0
    assert ask("verify", w4a8, w4a16).status == 1
    answer = ask("verify", broken, w4a8, w4a16)
    assert answer.status == 2
    assert answer.err.startswith(f"quantlevels: {broken}: ")
    assert f"ok {w4a16}" in answer.out


def test_sarif_has_a_run_for_each_path(ask: Ask, w4a16: Path, w4a8: Path, broken: Path) -> None:
    answer = ask("verify", w4a16, w4a8, broken, "--format", "sarif")
    assert answer.status == 2
    good, bad, unreadable = json.loads(answer.out)["runs"]
    assert good["results"] == []
    assert [result["ruleId"] for result in bad["results"]] == ["QL101"]
    assert len({run["automationDetails"]["id"] for run in (good, bad, unreadable)}) == 3
    (invocation,) = unreadable["invocations"]
    assert invocation["executionSuccessful"] is False
    (notification,) = invocation["toolExecutionNotifications"]
    assert notification["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == broken.as_uri()
    assert good["invocations"] == [{"executionSuccessful": True, "toolExecutionNotifications": []}]


@pytest.mark.parametrize("others", [0, 1])
def test_github_annotates_unreadable_files(ask: Ask, w4a8: Path, broken: Path, others: int) -> None:
    answer = ask("verify", *[w4a8] * others, broken, "--format", "github")
    assert (answer.status, answer.err) == (2, "")
    *first, last = answer.out.splitlines()
    assert len(first) == others
    assert last.startswith(f"::error file={broken},title=cannot be read::")


def test_a_picture_is_of_one_checkpoint(ask: Ask, w4a16: Path, w4a8: Path, tmp_path: Path) -> None:
    answer = ask("inspect", w4a16, w4a8, "--svg", tmp_path / "both.svg")
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert "give one PATH" in answer.err


def test_weights_are_listed_and_filtered(ask: Ask, w4a16: Path) -> None:
    lines = ask("inspect", w4a16, "--tensors").out.splitlines()
    assert lines[2].split() == ["weight", "level", "group", "shape", "parameters", "size", "bytes"]
    (row,) = (line.split() for line in lines if "up_proj" in line)
    assert row == ["model.layers.0.mlp.up_proj", "INT4", "128", "256x16", "32,768", "16.52", "KiB", "16,912"]
    assert len(lines) == 6
    some = ask("inspect", w4a16, "--tensors", "*norm*").out.splitlines()
    assert [line.split()[0] for line in some[3:]] == ["model.norm.weight"]
    assert "no weight is called nope" in ask("inspect", w4a16, "--tensors", "nope").out
    assert ask("inspect", "--tensors", w4a16).out.splitlines() == lines


def test_weights_in_the_record_have_their_tensors(ask: Ask, w4a16: Path) -> None:
    (weight,) = json.loads(ask("inspect", w4a16, "--tensors", "*up_proj", "--json").out)["weights"]
    assert (weight["level"], weight["parameters"], weight["bytes"]) == ("Int4", 32_768, 16_912)
    assert {tensor["name"].rpartition(".")[2] for tensor in weight["tensors"]} >= {"weight_packed", "weight_scale"}
    assert sum(tensor["bytes"] for tensor in weight["tensors"]) == weight["bytes"]


def test_ignored_findings_are_counted_not_shown(ask: Ask, w4a8: Path) -> None:
    answer = ask("verify", w4a8, "--ignore", "QL101")
    assert answer.status == 0
    assert answer.out == f"ok {w4a8} (BF16 + INT4 at 8.125 bits) (1 finding ignored)\n"
