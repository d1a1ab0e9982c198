"""`quantlevels survey` as a user runs it: totals, files, the gate, and what changed since the last time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
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


# -- signals -----------------------------------------------------------------------------------------------------------

GROUPS = pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
#: for `sitecustomize.py`, in each worker: reading one of the checkpoints takes for ever
STUCK = """
import sys
if "--multiprocessing-fork" in sys.argv:
    import time
    from pathlib import Path
    from quantlevels.survey import run
    read = run.rows_of
    def rows_of(batch):
        if any(place.name == "stuck" for place in batch):
            Path(__file__).with_name("on").touch()
            time.sleep(3600)
        return read(batch)
    run.rows_of = rows_of
"""


@contextmanager
def started(folder: Path, *arguments: str, environment: Mapping[str, str]) -> Generator[subprocess.Popen[bytes]]:
    """A survey in a process group of its own, of which nothing is left afterwards."""
    command = [sys.executable, "-m", "quantlevels", "survey", *arguments]
    with subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, start_new_session=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def has_rows(folder: Path) -> bool:
    return any(file.stat().st_size for file in folder.glob(".rows.*.partial"))


def group_ends(group: int, seconds: float) -> bool:
    """Whether no process of a group is left after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@GROUPS
@pytest.mark.parametrize("receivers", ["all", "the first"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_survey_that_is_ended_leaves_its_rows_and_no_worker(tmp_path: Path, number: int, receivers: str) -> None:
    for name in [*(f"{number:03}" for number in range(400)), "stuck"]:
        write_plain(tmp_path / "models" / name)
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow/sitecustomize.py").write_text(STUCK)
    path = os.pathsep.join([str(tmp_path / "slow"), *filter(None, [os.environ.get("PYTHONPATH")])])
    out = tmp_path / "rows.ndjson"
    arguments = ("models", "--workers", "2", "--out", str(out))
    with started(tmp_path, *arguments, environment={**os.environ, "PYTHONPATH": path}) as process:
        wait_until(lambda: has_rows(tmp_path) and (tmp_path / "slow/on").exists())
        if receivers == "all":  # as a terminal does, and a service manager
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, told = process.communicate(timeout=20)  # far less than the checkpoint takes that is stuck
        assert (process.returncode, told.strip()) == (128 + number, b"")
        assert group_ends(process.pid, 5)
    rows = out.read_text().splitlines()
    assert 0 < len(rows) <= 400
    assert all(json.loads(row)["error"] is None for row in rows)
    assert {file.name for file in tmp_path.iterdir()} == {"models", "slow", "rows.ndjson"}
    status, _, _ = run(tmp_path, "models", "--since", str(out), "--out", "all.ndjson")
    assert status == 0
    assert len((tmp_path / "all.ndjson").read_text().splitlines()) == 401


@GROUPS
def test_workers_end_with_a_survey_that_is_killed(tmp_path: Path) -> None:
    for number in range(2000):
        write_plain(tmp_path / f"models/{number}")
    arguments = ("models", "--workers", "2", "--out", str(tmp_path / "rows.ndjson"))
    with started(tmp_path, *arguments, environment=os.environ) as process:
        wait_until(lambda: has_rows(tmp_path))
        process.kill()
        process.wait()
        assert group_ends(process.pid, 20)


@GROUPS
def test_parquet_of_a_survey_that_is_ended_can_be_read(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for number in range(2500):
        write_plain(tmp_path / f"models/{number}")
    out = tmp_path / "rows.parquet"
    arguments = ("models", "--workers", "2", "--format", "parquet", "--out", str(out))
    with started(tmp_path, *arguments, environment=os.environ) as process:
        # the first bytes are there at once, the first thousand rows much later
        wait_until(lambda: any(file.stat().st_size > 100 for file in tmp_path.glob(".rows.*.partial")))
        for _ in range(3):  # who is impatient presses Ctrl-C again
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 143
    assert 1000 <= parquet.read_table(out).num_rows < 2500
    assert {file.name for file in tmp_path.iterdir()} == {"models", "rows.parquet"}


#: a cluster of one worker, which reads one of the checkpoints until a line comes on standard input
CLUSTER = """
import sys, threading
from distributed import LocalCluster
from quantlevels.survey import run

read, go_on = run.rows_of, threading.Event()

def rows_of(batch):
    if any(place.name == "stuck" for place in batch):
        print("stuck", flush=True)
        go_on.wait()
    return read(batch)

run.rows_of = rows_of
options = {"n_workers": 1, "threads_per_worker": 2, "protocol": "tcp", "dashboard_address": None}
with LocalCluster(processes=False, **options) as cluster:
    print(cluster.scheduler_address, flush=True)
    sys.stdin.readline()
    go_on.set()
    sys.stdin.readline()
"""


@GROUPS
def test_a_survey_on_dask_that_is_ended_leaves_its_rows_and_the_cluster(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    for name in [*(f"{number:03}" for number in range(100)), "stuck"]:
        write_plain(tmp_path / "models" / name)
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as cluster:
        assert cluster.stdin is not None
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        out = tmp_path / "rows.ndjson"
        arguments = ("models", "--dask", address, "--out", str(out))
        with started(tmp_path, *arguments, environment=os.environ) as process:
            assert cluster.stdout.readline() == "stuck\n"
            wait_until(lambda: has_rows(tmp_path))
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=20)
        assert process.returncode == 143
        assert b"Traceback" not in told
        assert 0 < len(out.read_text().splitlines()) <= 100
        cluster.stdin.write("go on\n")
        cluster.stdin.flush()
        status, _, _ = run(tmp_path, "models", "--dask", address, "--since", str(out), "--out", "all.ndjson")
        assert status == 0
        assert len((tmp_path / "all.ndjson").read_text().splitlines()) == 101
        cluster.communicate("end\n", timeout=60)
