"""`quantlevels survey` as a user runs it: totals, files, the gate, and what changed since the last time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.survey.stores import write_plain, write_tree


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "quantlevels", "survey", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_tree(tmp_path / "tree")
    (tmp_path / "tree/download.gguf.part").write_bytes(bytes(1000))
    return tmp_path


def test_totals_name_levels_stores_and_what_is_wrong(tree: Path) -> None:
    status, printed, complaints = run(tree, "tree")
    assert (status, complaints) == (0, "")
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "checkpoints 7" in lines
    assert "cannot be read 1" in lines
    assert any(line.startswith("BF16 ") for line in lines)
    assert any(line.startswith("truncated ") and "model.safetensors: truncated" in line for line in lines)
    assert any(line.startswith("1 checkpoints have the same files as another") for line in lines)
    assert "1 downloads are unfinished, 1000 B" in lines


@pytest.mark.parametrize("format", ["ndjson", "csv"])
def test_rows_go_into_a_pipe(tree: Path, format: str) -> None:
    status, printed, _ = run(tree, "tree", "--format", format)
    assert status == 0
    assert len(printed.splitlines()) == 7 + (format == "csv")


def test_rows_and_a_page_go_into_files(tree: Path) -> None:
    status, _, _ = run(tree, "tree", "--out", "rows.ndjson", "--html", "rows.html")
    assert status == 0
    assert len((tree / "rows.ndjson").read_text().splitlines()) == 7
    assert "team/plain" in (tree / "rows.html").read_text()
    assert sorted(path.name for path in tree.iterdir()) == ["rows.html", "rows.ndjson", "tree"]


def test_processes_give_the_same_rows(tree: Path) -> None:
    one, two = (run(tree, "tree", "--json", *workers) for workers in ((), ("--workers", "2")))
    assert [status for status, _, _ in (one, two)] == [0, 0]
    names = [sorted(json.loads(line)["path"] for line in printed.splitlines()) for _, printed, _ in (one, two)]
    assert names[0] == names[1]


def test_the_gate_fails_for_a_broken_checkpoint(tree: Path) -> None:
    assert run(tree, "tree", "--check")[0] == 1
    assert run(tree, "tree/team", "--check")[0] == 0


def test_a_strict_gate_counts_warnings(tmp_path: Path) -> None:
    folder = write_plain(tmp_path / "models/plain")
    (folder / "other.safetensors").write_bytes((folder / "model.safetensors").read_bytes())  # QL205, a warning
    assert run(tmp_path, "models", "--check")[0] == 0
    assert run(tmp_path, "models", "--check", "--strict")[0] == 1
    assert run(tmp_path, "models", "--check", "--strict", "--ignore", "QL205")[0] == 0
    assert run(tmp_path, "models", "--check", "--strict", "--select", "QL1")[0] == 0


def test_changes_since_an_earlier_survey_are_listed(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name in ("kept", "changed", "gone"):
        write_plain(models / name)
    assert run(tmp_path, "models", "--out", "before.ndjson")[0] == 0
    os.utime(models / "changed/model.safetensors", ns=(0, 10**18))
    (models / "gone/model.safetensors").unlink()
    write_plain(models / "new")
    status, _, told = run(tmp_path, "models", "--since", "before.ndjson", "--out", "after.ndjson")
    assert status == 0
    assert told == "added 1: new\nremoved 1: gone\nchanged 1: changed\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere"], "nowhere: cannot be read: No such file or directory"),
        (["nosuch://bucket"], "nosuch://bucket: cannot be listed: ValueError"),
        (["tree", "--format", "parquet"], "--format parquet needs --out FILE"),
        (["tree", "--strict"], "--strict, --select and --ignore need --check"),
        (["tree", "--since", "nowhere.ndjson"], "nowhere.ndjson: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_one_line(tree: Path, arguments: list[str], reason: str) -> None:
    status, printed, complaint = run(tree, *arguments)
    assert (status, printed) == (2, "")
    assert complaint == f"quantlevels: {reason}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
def test_an_interrupted_survey_keeps_what_it_has(tmp_path: Path) -> None:
    for number in range(3000):
        write_plain(tmp_path / f"models/{number}")
    out = tmp_path / "rows.ndjson"
    command = [sys.executable, "-m", "quantlevels", "survey", "models", "--workers", "2", "--out", str(out)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(file.stat().st_size for file in tmp_path.glob(".rows.*.partial")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in told
    assert 0 < len(out.read_text().splitlines()) < 3000
    status, _, _ = run(tmp_path, "models", "--since", str(out), "--out", "all.ndjson")
    assert status == 0
    assert len((tmp_path / "all.ndjson").read_text().splitlines()) == 3000
