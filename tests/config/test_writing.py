"""`save`, and all that writes a file: the old file or the new one, and nothing else, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.users import owner, unprivileged

from quantlevels import INT4, ConfigError
from quantlevels.config import load, save
from quantlevels.config.writing import signals_held_back, write_file

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="permissions, links and signals of POSIX")
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@POSIX
@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o644, 0o755])
def test_saving_keeps_the_permissions_of_a_file(tmp_path: Path, permissions: int) -> None:
    path = tmp_path / "serve.json"
    path.touch()
    path.chmod(permissions)
    save(path, [INT4])
    assert (mode(path), names(tmp_path)) == (permissions, ["serve.json"])


@POSIX
def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    save(tmp_path / "serve.json", [INT4])
    assert mode(tmp_path / "serve.json") == mode(tmp_path / "other")


@POSIX
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_that_root_saves_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    path.touch()
    os.chown(path, 1234, 2345)
    save(path, [INT4])
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


@POSIX
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can be of other groups")
@pytest.mark.parametrize(
    ("groups", "permissions", "saved"),
    [
        pytest.param([2345], 0o660, (2345, 0o660), id="member"),
        pytest.param([], 0o672, (65534, 0o622), id="stranger"),  # who may not give its rights to a group of their own
    ],
)
def test_a_file_of_a_group_stays_with_the_group(groups: list[int], permissions: int, saved: tuple[int, int]) -> None:
    before = os.getegid(), os.getgroups()
    with unprivileged() as folder:
        path = folder / "serve.json"
        with owner():
            folder.chmod(0o777)
            path.touch()
            os.chown(path, 1234, 2345)
            path.chmod(permissions)
            os.setgroups(groups)
            os.setegid(65534)
        try:
            save(path, [INT4])
        finally:
            with owner():
                os.setegid(before[0])
                os.setgroups(before[1])
        assert (path.stat().st_gid, mode(path)) == saved


@POSIX
@pytest.mark.parametrize("is_there", [True, False])
def test_saving_to_a_link_writes_the_file_it_leads_to(tmp_path: Path, is_there: bool) -> None:
    target, link = tmp_path / "real.json", tmp_path / "serve.json"
    if is_there:
        target.write_text("before")
    link.symlink_to("real.json")
    save(link, [INT4])
    assert link.is_symlink()
    assert load(target, list[str]) == ["Int4"]


@POSIX
def test_a_name_as_long_as_names_may_be_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / f"{'é' * 125}.json"
    save(path, [INT4])
    assert load(path, list[str]) == ["Int4"]


@POSIX
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("folder.json", "Is a directory"),
        ("nowhere/serve.json", "No such file or directory"),
        ("file/serve.json", "Not a directory"),
        ("loop.json", "Too many levels of symbolic links"),
        (f"{'x' * 300}.json", "File name too long"),
        ("a\0b.json", "embedded null"),
    ],
)
def test_a_path_that_cannot_be_used_is_a_config_error(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop.json").symlink_to("loop.json")
    before = names(tmp_path)
    with pytest.raises(ConfigError, match=rf"cannot be written: .*{reason}") as caught:
        save(tmp_path / place, [INT4])
    assert str(caught.value).startswith(f"{tmp_path / place}: ")
    with pytest.raises(ConfigError, match=rf"cannot be read: .*{reason}"):
        load(tmp_path / place, list[str])
    assert names(tmp_path) == before


@POSIX
@pytest.mark.parametrize("refused", ["folder", "file"])
def test_without_permission_the_old_file_stays_whole(refused: str) -> None:
    with unprivileged() as folder:
        path = folder / "serve.json"
        with owner():
            path.write_text("before")
            path.chmod(0o666 if refused == "folder" else 0o444)
            folder.chmod(0o755 if refused == "folder" else 0o777)
        with pytest.raises(ConfigError, match=r"serve\.json: cannot be written: Permission denied"):
            save(path, [INT4])
        assert (path.read_text(), names(folder)) == ("before", ["serve.json"])


@POSIX
def test_a_full_disk_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    path.write_text("before")
    # the system lets this process write no file of more than 100 bytes, which ends in the middle as a full disk does
    code = (
        "import resource, sys\n"
        "from quantlevels import ConfigError\n"
        "from quantlevels.config import save\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n"
        "    save(sys.argv[1], ['x' * 1_000_000])\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}: cannot be written: File too large\n"
    assert (path.read_text(), names(tmp_path)) == ("before", ["serve.json"])


def test_threads_that_save_one_file_leave_one_of_theirs(tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for _ in range(20):
            save(path, [number] * 10_000)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            found = load(path, list[int])
            assert (len(found), len(set(found))) == (10_000, 1)
    for thread in threads:
        thread.join()
    assert names(tmp_path) == ["serve.json"]


# -- signals -----------------------------------------------------------------------------------------------------------

#: saves one file after the other; with a second thread, to which the system may deliver a signal as well
ENDLESS = """
import sys, threading, time
from quantlevels.config import save
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("on", flush=True)
while True:
    for number in range(10):
        save(sys.argv[1], [number] * 100_000)
"""


@POSIX
@pytest.mark.parametrize("delay", [0.0, 0.005, 0.02, 0.05, 0.1])
@SIGNALS
def test_a_signal_while_saving_leaves_one_whole_file(tmp_path: Path, number: int, delay: float) -> None:
    path = tmp_path / "serve.json"
    save(path, [10] * 100_000)
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "on\n"
        time.sleep(delay)
        child.send_signal(number)
        assert child.wait(timeout=20) == -number
    found = load(path, list[int])
    assert (len(found), len(set(found))) == (100_000, 1)
    assert names(tmp_path) == ["serve.json"]


@POSIX
@SIGNALS
def test_a_signal_during_the_write_comes_after_it(tmp_path: Path, number: int) -> None:
    path = tmp_path / "serve.json"
    path.write_text("before")
    code = (
        "import os, sys, time\n"
        "from quantlevels.config import save\n"
        "sync = os.fsync\n"
        "def slow(descriptor):\n"
        "    print('on', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    sync(descriptor)\n"
        "os.fsync = slow\n"
        "save(sys.argv[1], ['after'])\n"
        "print('never')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "on\n"
        child.send_signal(number)
        time.sleep(0.1)
        out, _ = child.communicate("go on\n", timeout=20)
    assert (child.returncode, out) == (-number, "")
    assert load(path, list[str]) == ["after"]
    assert names(tmp_path) == ["serve.json"]


@POSIX
def test_a_pipe_without_a_reader_can_be_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    os.mkfifo(path)
    code = "import sys; from quantlevels.config import save; print('on', flush=True); save(sys.argv[1], [1])"
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=20) == -signal.SIGINT
    assert path.is_fifo()


@POSIX
def test_held_back_signals_find_their_handlers_again() -> None:
    arrived: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: arrived.append(number))
    try:
        with signals_held_back():
            signal.raise_signal(signal.SIGTERM)
            assert arrived == []
        assert arrived == [signal.SIGTERM]
        signal.raise_signal(signal.SIGTERM)
        assert arrived == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_error_of_the_system_names_the_path_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_file(tmp_path / "nowhere/picture.svg", b"")
    assert caught.value.filename == str(tmp_path / "nowhere/picture.svg")
