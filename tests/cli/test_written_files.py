"""Files that commands write: whole or not at all, beside what is there first, never over a file of a model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import INT4_CONFIG, W4A16, write_checkpoint

from quantlevels.config.writing import replacing

if TYPE_CHECKING:
    from tests.cli.conftest import Ask

SURVEY = (sys.executable, "-m", "quantlevels", "survey")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and signals of POSIX")


def customized(folder: Path) -> dict[str, str]:
    """The environment of a process that runs the ``sitecustomize.py`` of a folder first."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.mark.parametrize("option", ["--out", "--html"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "model_index.json", "modules.json"])
def test_no_file_of_a_model_is_overwritten(ask: Ask, w4a16: Path, option: str, name: str) -> None:
    if not (w4a16 / name).exists():
        (w4a16 / name).write_text("{}")
    there = names(w4a16)
    before = (w4a16 / name).read_bytes()
    answer = ask("survey", w4a16, option, w4a16 / name)
    assert answer.status == 2
    assert "is a file of a model, and is not overwritten" in answer.err
    assert (w4a16 / name).read_bytes() == before
    assert names(w4a16) == there


@POSIX
@pytest.mark.parametrize("arguments", [("survey", "--out"), ("survey", "--html"), ("inspect", "--svg")])
def test_a_link_to_weights_is_not_overwritten(
    ask: Ask, w4a16: Path, tmp_path: Path, arguments: tuple[str, str]
) -> None:
    blob = tmp_path / "d41d8cd98f00"  # as in a cache: nothing in the name tells that it holds weights
    (w4a16 / "model.safetensors").rename(blob)
    (w4a16 / "model.safetensors").symlink_to(blob)
    before = blob.read_bytes()
    link = tmp_path / "picture.svg"
    link.symlink_to(blob)
    command, option = arguments
    answer = ask(command, w4a16, option, link)
    assert answer.status == 2
    assert "is a file of a model" in answer.err
    assert link.is_symlink()
    assert blob.read_bytes() == before


@pytest.mark.parametrize("arguments", [("survey", "--out"), ("survey", "--html"), ("inspect", "--svg")])
@pytest.mark.parametrize("place", ["folder.svg", "nowhere/rows.svg"])
def test_a_place_that_cannot_be_written_is_named(
    ask: Ask, w4a16: Path, tmp_path: Path, arguments: tuple[str, str], place: str
) -> None:
    (tmp_path / "folder.svg").mkdir()
    command, option = arguments
    answer = ask(command, w4a16, option, tmp_path / place)
    assert answer.status == 2
    assert str(tmp_path / place) in answer.err
    assert "partial" not in answer.err
    assert len(answer.err.splitlines()) == 1


@POSIX
def test_a_link_stays_a_link(ask: Ask, w4a16: Path, tmp_path: Path) -> None:
    target, link = tmp_path / "rows.ndjson", tmp_path / "latest.ndjson"
    target.write_text("before\n")
    link.symlink_to(target)
    assert ask("survey", w4a16, "--out", link).status == 0
    assert link.is_symlink()
    assert target.read_text().startswith('{"')


@POSIX
def test_a_device_is_written_to_not_replaced(ask: Ask, w4a16: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        assert ask("survey", w4a16, "--out", pipe).status == 0
        rows, _ = reader.communicate(timeout=20)
    assert rows.startswith(b'{"')
    assert pipe.is_fifo()


@POSIX
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_survey_that_is_ended_keeps_what_was_finished(tmp_path: Path, number: int, status: int) -> None:
    roots = tmp_path / "models"
    write_checkpoint(roots / "a", W4A16, INT4_CONFIG)
    # the second checkpoint takes for ever: the survey is ended while it reads
    (tmp_path / "sitecustomize.py").write_text(
        "import quantlevels.survey.surveying as s, time\n"
        "read = s.survey\n"
        "def survey(*a, **k):\n"
        "    yield from read(*a, **k)\n"
        "    print('on', flush=True)\n"
        "    time.sleep(60)\n"
        "s.survey = survey\n"
    )
    rows = tmp_path / "rows.ndjson"
    rows.write_text("before\n")
    environment = customized(tmp_path)
    with subprocess.Popen(
        [*SURVEY, roots, "--out", rows], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "on\n"
        assert rows.read_text() == "before\n"
        child.send_signal(number)
        _, err = child.communicate(timeout=20)
    assert (child.returncode, err.strip()) == (status, "")
    (row,) = rows.read_text().splitlines()
    assert json.loads(row)["name"] == "a"
    assert names(tmp_path) == {"models", "rows.ndjson", "sitecustomize.py"}


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    code = (
        "import sys; from pathlib import Path; from quantlevels.config.writing import replacing\n"
        "with replacing(Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'other ' * 9999); stream.flush(); print('on', flush=True); sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        with replacing(path) as stream:
            stream.write(b"mine")
        assert path.read_bytes() == b"mine"
        other.communicate("\n", timeout=20)
    assert path.read_bytes() == b"other " * 9999
    assert names(tmp_path) == {"rows.ndjson"}


@POSIX
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "phase",
    [
        "quantlevels.checkpoint.source.LocalFile.read",
        "quantlevels.checkpoint.shards.Files.read_json",
        "quantlevels.inspection.report.fold_modules",
        "quantlevels.inspection.report.disagreements",
        "quantlevels.values.reading.FileReader.read_into",
        "quantlevels.cli.svg.inspection",
    ],
)
def test_a_signal_ends_each_phase_without_a_trace(
    w4a16: Path, tmp_path: Path, phase: str, number: int, status: int
) -> None:
    module, _, name = phase.rpartition(".")
    (tmp_path / "sitecustomize.py").write_text(
        "import pkgutil, time\n"
        f"owner = pkgutil.resolve_name({module!r})\n"
        "def wait(*a, **k):\n"
        "    print('on', flush=True)\n"
        "    time.sleep(60)\n"
        f"setattr(owner, {name!r}, wait)\n"
    )
    picture = tmp_path / "picture.svg"
    environment = customized(tmp_path)
    command = [sys.executable, "-m", "quantlevels", "inspect", w4a16, "--values", "all", "--svg", picture]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "on\n"
        child.send_signal(number)
        out, err = child.communicate(timeout=20)
    assert (child.returncode, out, err.strip()) == (status, "", "")
    assert time.monotonic() - began < 20
    assert not picture.exists()
    assert names(w4a16) == {"model.safetensors", "config.json"}
