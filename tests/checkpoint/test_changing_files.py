"""Files that change while they are read, that cannot be read, or are no files: each ends clearly, never in OSError."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Literal

import pytest
from fuzz import onnx, pytorch
from fuzz.containers import CONTAINERS
from tests.cli.conftest import INT4_CONFIG, W4A16, write_checkpoint
from tests.users import owner, unprivileged
from tests.writers import safetensors, write_safetensors

from quantlevels import CheckpointError, inspect

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="files of POSIX")
TENSORS = {f"model.layers.{number}.up.weight": ("F16", [8, 8]) for number in range(50)}


def write_shards(folder: Path, count: int) -> Path:
    folder.mkdir()
    placed = {}
    for number in range(1, count + 1):
        file = f"model-{number:05}-of-{count:05}.safetensors"
        (folder / file).write_bytes(safetensors({f"w{number}": ("F16", [8, 8])}))
        placed[f"w{number}"] = file
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    return folder


def before_the_second(change: Callable[[], object]) -> Callable[[Sequence[str]], Iterable[str]]:
    """A progress that makes a change after the first file was read."""

    def progress(names: Sequence[str]) -> Iterator[str]:
        for number, name in enumerate(names):
            if number == 1:
                change()
            yield name

    return progress


def test_a_shard_that_shrinks_is_a_finding(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "m", 3)
    third = folder / "model-00003-of-00003.safetensors"
    report = inspect(folder, progress=before_the_second(lambda: os.truncate(third, 20)))
    assert [(finding.code, finding.where) for finding in report.findings] == [("QL206", third.name)]


def test_a_shard_that_vanishes_is_a_finding(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "m", 3)
    third = folder / "model-00003-of-00003.safetensors"
    report = inspect(folder, progress=before_the_second(third.unlink))
    assert [(finding.code, finding.where) for finding in report.findings] == [("QL201", third.name)]


def test_a_file_that_grows_is_refused(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "model.safetensors", TENSORS)
    os.truncate(path, path.stat().st_size + 1)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        inspect(path)


@pytest.mark.parametrize("change", ["replaced", "shrunk", "gone"])
def test_weights_are_read_of_the_file_whose_header_was_read(tmp_path: Path, change: str) -> None:
    path = write_safetensors(tmp_path / "model.safetensors", TENSORS)

    def started(nbytes: int) -> Callable[[int], None]:
        assert nbytes
        if change == "replaced":  # by a file of as many bytes, in which other tensors stand
            other = write_safetensors(tmp_path / "other", dict(reversed(TENSORS.items())))
            other.replace(path)
        elif change == "shrunk":
            os.truncate(path, 100)
        else:
            path.unlink()
        return lambda _: None

    with pytest.raises(CheckpointError, match=r"changed or replaced while|cannot be opened") as caught:
        inspect(path, values="all", reading=started)
    assert str(path) in str(caught.value)


CHANGING = {
    "model.safetensors": lambda: safetensors(TENSORS),
    "model.onnx": lambda: onnx.SEEDS[2],
    "model.pt": lambda: pytorch.SEEDS[0][1:],
    "openvino_model.xml": lambda: (CONTAINERS / "openvino/int4_sym/openvino_model.xml").read_bytes(),
    "weights.npz": lambda: (CONTAINERS / "npz/q4_g64/weights.npz").read_bytes(),
    ".metadata": lambda: (CONTAINERS / "dcp/nested/.metadata").read_bytes(),
    "config.json": lambda: b'{"torch_dtype": "bfloat16"}',
}


def churn(path: Path, content: bytes, stop: threading.Event) -> None:
    """Cut, write, lengthen, replace and remove a file, over and over."""
    beside = path.with_name("beside.tmp")
    while not stop.is_set():
        path.write_bytes(content)
        os.truncate(path, len(content) // 2)
        os.truncate(path, len(content) * 2)
        beside.write_bytes(content)
        beside.replace(path)
        path.write_bytes(content[: len(content) // 3] + content)
        path.unlink()


@POSIX
@pytest.mark.parametrize("name", CHANGING)
def test_a_file_that_never_rests_ends_in_a_report_or_our_error(tmp_path: Path, name: str) -> None:
    content, stop = CHANGING[name](), threading.Event()
    path = tmp_path / name
    path.write_bytes(content)
    path.with_name(f"{name}.sha256").write_text(f"{'0' * 64}  {name}\n")  # so that the file is hashed as well
    writer = threading.Thread(target=churn, args=(path, content, stop))
    writer.start()
    outcomes: set[str] = set()
    modes: Iterator[Literal["sample", "all"]] = cycle(("sample", "all", "all"))  # both places in both modes
    end = time.monotonic() + 1.5
    try:
        while time.monotonic() < end:
            for place in (path, tmp_path):
                try:
                    outcomes.add(str(inspect(place, values=next(modes)).path))
                except CheckpointError as error:
                    outcomes.add(str(error.path))
    finally:
        stop.set()
        writer.join()
    assert all(outcome.startswith(str(tmp_path)) for outcome in outcomes)


# what may not be read


@contextmanager
def unprivileged_checkpoint() -> Generator[Path]:
    """A checkpoint of another user, while this process may no more than everybody."""
    inspect(Path(__file__).parents[2] / "examples/dense-Q4_K_M.gguf")  # imports: Python's files may be root's alone
    with unprivileged() as folder:
        with owner():
            write_safetensors(folder / "model.safetensors", TENSORS)
        yield folder


@POSIX
def test_an_unreadable_file_is_named() -> None:
    with unprivileged_checkpoint() as folder:
        path = folder / "model.safetensors"
        with owner():
            path.chmod(0)
        for place in (path, folder):
            with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be opened: Permission denied"):
                inspect(place)


@POSIX
@pytest.mark.parametrize("mode", [0, 0o444, 0o111])
def test_an_unreadable_folder_is_named(mode: int) -> None:
    with unprivileged_checkpoint() as folder:
        with owner():
            folder.chmod(mode)
        for place in (folder, folder / "model.safetensors"):
            with pytest.raises(CheckpointError, match="Permission denied"):
                inspect(place)


@POSIX
def test_a_relative_name_below_an_unreadable_folder_is_our_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with unprivileged_checkpoint() as folder:
        with owner():
            (folder / "org").mkdir(mode=0)
        monkeypatch.chdir(folder)
        with pytest.raises(CheckpointError):
            inspect("org/model")
    monkeypatch.undo()  # not before: the folder that tests run in may be readable by its owner alone


@POSIX
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "model.safetensors.index.json", "model.gguf"])
def test_what_is_no_file_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="is not a file or folder"):
        inspect(path)
    report = inspect(tmp_path)
    assert [finding.code for finding in report.findings] == ["QL207"]


@POSIX
def test_a_shard_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "m", 2)
    shard = folder / "model-00002-of-00002.safetensors"
    shard.unlink()
    os.mkfifo(shard)
    with pytest.raises(CheckpointError, match="is not a regular file"):
        inspect(folder)


# many

MEASURE = """
import sys, time
from pathlib import Path
from quantlevels import inspect
report = inspect(sys.argv[1])
# not ru_maxrss, which on Linux begins with the memory of the process that started this one
status = Path("/proc/self/status")
lines = dict(line.split(":", 1) for line in status.read_text().splitlines()) if status.exists() else {}
mib = int(lines.get("VmHWM", "0 kB").split()[0]) // 1024
print(time.process_time(), mib, *(finding.code for finding in report.findings))
"""


def measured(path: Path) -> tuple[float, int, list[str]]:
    """Seconds of the processor, MiB at most, and the finding codes, of a process that inspects a path."""
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True, timeout=300
    ).stdout.split()
    return float(out[0]), int(out[1]), out[2:]


@POSIX
def test_a_folder_of_many_files_is_listed_in_linear_time(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", TENSORS)
    for number in range(100_000):
        os.close(os.open(tmp_path / f"{number}.txt", os.O_CREAT))
    seconds, mib, codes = measured(tmp_path)
    assert (codes, seconds < 10, mib < 200) == ([], True, True)


@POSIX
def test_an_index_of_a_million_entries_is_read_in_linear_time(tmp_path: Path) -> None:
    shard = "model-{:05}-of-00050.safetensors"
    placed = {f"model.layers.{number}.up.weight": shard.format(number % 50) for number in range(1_000_000)}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    size = index.stat().st_size
    seconds, mib, codes = measured(tmp_path)
    assert codes == ["QL201"]
    assert seconds < 2 + 4 * size / 1e6
    assert mib < 64 + 16 * size / (1 << 20)


def test_threads_that_read_one_path_agree(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "m", 4)
    expected = inspect(folder).to_record()
    with ThreadPoolExecutor(32) as pool:
        records = list(pool.map(lambda _: inspect(folder, values="sample").to_record(), range(128)))
    for record in records:
        record.pop("values", None)
    assert all(record == expected for record in records)


#: 32 threads, none of which has imported what it takes to read a checkpoint, begin at once
AT_ONCE = """
import json, sys, threading
from quantlevels import inspect
sys.setswitchinterval(0.0001)
start, records, errors = threading.Barrier(32), [], []

def read():
    start.wait()
    try:
        record = inspect(sys.argv[1], values="sample").to_record()
        records.append(json.dumps(record, sort_keys=True))
    except BaseException as error:
        errors.append(repr(error))

threads = [threading.Thread(target=read, daemon=True) for _ in range(32)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps([len(records), len(set(records)), errors]))
"""


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("kind", ["shards", "packed", "onnx"])
def test_threads_that_read_for_the_first_time_agree(tmp_path: Path, kind: str, number: int) -> None:
    if kind == "shards":
        path = write_shards(tmp_path / "m", 4)
    elif kind == "packed":
        path = write_checkpoint(tmp_path / "m", W4A16, INT4_CONFIG)
    else:
        path = tmp_path / "model.onnx"
        path.write_bytes(onnx.SEEDS[2])
    done = subprocess.run([sys.executable, "-c", AT_ONCE, path], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [32, 1, []]
