"""Every public function that takes a path: what cannot be read is an error of quantlevels, never a bare one."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.survey.stores import write_plain
from tests.users import owner, unprivileged

from quantlevels import QuantLevelsError, compare, fit, inspect, size, verify
from quantlevels.config import levels_file, load, save
from quantlevels.survey import survey
from quantlevels.testing import assert_level

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX")
EXAMPLE = Path(__file__).parents[1] / "examples/dense-Q4_K_M.gguf"

READERS: dict[str, Callable[[str], object]] = {
    "inspect": inspect,
    "inspect with values": lambda path: inspect(path, values="all"),
    "verify": verify,
    "compare before": lambda path: compare(path, EXAMPLE),
    "compare after": lambda path: compare(EXAMPLE, path),
    "size": lambda path: size(path, level="int4"),
    "fit": lambda path: fit(path, memory=1 << 34),
    "survey": lambda path: list(survey(path)),
    "assert_level": lambda path: assert_level(path, "int4"),
}
FILES: dict[str, Callable[[str], object]] = {
    "load": lambda path: load(path, dict[str, int]),
    "save": lambda path: save(path, {}),
    "levels_file": levels_file,
}
#: names in a folder that holds what `folder` makes
NAMES = ("nowhere", "loop", "file/below", "a\0b", "lone\ud800", "x" * 300, f"{'y' * 200}/" * 40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    for suffix in ("", ".json", ".gguf", ".safetensors", ".safetensors.index.json"):
        (tmp_path / f"loop{suffix}").symlink_to(f"loop{suffix}")
        (tmp_path / f"folder{suffix}").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[1:20])
@pytest.mark.parametrize("suffix", ["", ".json", ".gguf", ".safetensors", ".safetensors.index.json"])
@pytest.mark.parametrize("function", READERS)
def test_a_checkpoint_that_cannot_be_there_is_our_error(folder: Path, function: str, suffix: str, name: str) -> None:
    with pytest.raises(QuantLevelsError):
        READERS[function](f"{folder}/{name}{suffix}")


@pytest.mark.parametrize("name", ["folder", "nowhere/serve", *NAMES[1:]], ids=lambda name: ascii(name)[1:20])
@pytest.mark.parametrize("function", FILES)
def test_a_config_that_cannot_be_there_is_our_error(folder: Path, function: str, name: str) -> None:
    with pytest.raises(QuantLevelsError):
        FILES[function](f"{folder}/{name}.json")


@pytest.mark.parametrize("function", [*READERS, *FILES])
def test_a_file_that_may_not_be_read_is_our_error(function: str) -> None:
    inspect(EXAMPLE, values="all")  # imports what is needed: the files of Python may be root's alone
    with unprivileged() as folder:
        path = folder / ("serve.json" if function in FILES else "model.safetensors")
        with owner():
            write_plain(folder / "model").joinpath("model.safetensors").rename(folder / "model.safetensors")
            (folder / "serve.json").write_text("{}")
            path.chmod(0)
        if function == "survey":
            (row,) = survey(path)
            assert "Permission denied" in str(row["error"])
            return
        with pytest.raises(QuantLevelsError, match="Permission denied"):
            (READERS | FILES)[function](str(path))


@pytest.mark.parametrize("function", READERS)
def test_a_folder_that_may_not_be_read_is_our_error(function: str) -> None:
    inspect(EXAMPLE, values="all")  # as above
    with unprivileged() as folder:
        with owner():
            write_plain(folder / "model").chmod(0)
        with pytest.raises(QuantLevelsError, match="Permission denied"):
            READERS[function](str(folder / "model"))


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("function", READERS)
def test_a_pipe_or_socket_is_our_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    if kind == "pipe":
        os.mkfifo("model.gguf")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("model.gguf")
    with pytest.raises(QuantLevelsError):
        READERS[function]("model.gguf")
