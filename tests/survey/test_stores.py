"""Every kind of store gives the rows that its programs would list, and no others."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.checkpoint.writers import write_mlc
from tests.survey.stores import PLAIN_PARAMETERS, STORES, Expected, write_hub, write_plain, write_tree
from tests.users import owner, unprivileged

from quantlevels.errors import SurveyError
from quantlevels.survey import SurveyRow, default_roots, survey

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="files and permissions of POSIX")


def check(row: SurveyRow, expected: Expected) -> None:
    assert (row["store"], row["revision"]) == (expected.store, expected.revision)
    assert row["parameters"] == expected.parameters
    assert (row["same_as"] is not None) == expected.same
    assert {finding["code"] for finding in row["findings"]} >= expected.findings
    if expected.error is None:
        assert row["error"] is None
    else:
        assert expected.error in (row["error"] or "")
        assert row["error_type"]


@pytest.mark.parametrize("store", STORES)
def test_a_store_gives_its_rows_and_no_others(tmp_path: Path, store: str) -> None:
    expected = {(row.name, str(row.path)): row for row in STORES[store](tmp_path / "root")}
    rows = {(row["name"], row["path"]): row for row in survey(tmp_path / "root")}
    assert rows.keys() == expected.keys()
    for key, row in rows.items():
        check(row, expected[key])


def test_stores_inside_a_tree_are_found(tmp_path: Path) -> None:
    hub = write_hub(tmp_path / "data/hub")
    write_plain(tmp_path / "data/own")
    rows = list(survey(tmp_path))
    assert len(rows) == len(hub) + 1
    assert {row["store"] for row in rows} == {"huggingface", "tree"}


def test_a_checkpoint_named_itself_is_one_row(tmp_path: Path) -> None:
    (row,) = survey(write_plain(tmp_path / "plain"))
    assert (row["name"], row["path"], row["parameters"]) == ("plain", str(tmp_path / "plain"), PLAIN_PARAMETERS)


def test_a_file_named_itself_is_one_row(tmp_path: Path) -> None:
    folder = write_plain(tmp_path / "plain")
    (row,) = survey(folder / "model.safetensors")
    assert (row["name"], row["parameters"]) == ("model.safetensors", PLAIN_PARAMETERS)


CONTAINERS = Path(__file__).parents[1] / "data/containers"


def test_every_container_of_a_tree_is_one_row(tmp_path: Path) -> None:
    for name in ("ctranslate2/int8", "openvino/int4_sym", "npz/q4_g64", "dcp/sharded"):
        shutil.copytree(CONTAINERS / name, tmp_path / name)
    mlc = write_mlc(tmp_path / "mlc", {"w": ("float16", (4, 8), 2, "raw")}, name="tensor-cache.json")
    shutil.copy(mlc / "tensor-cache.json", mlc / "ndarray-cache.json")  # some repositories have both
    (mlc / "params_shard_1.bin").write_bytes(bytes(64))
    (mlc / "params_shard_2.bin").write_bytes(bytes(64))
    (tmp_path / "app").mkdir()
    (tmp_path / "app/.metadata").write_text("version:\n  revision: stable\n")  # as Flutter writes it
    rows = {row["name"]: row for row in survey(tmp_path)}
    assert {name: row["format"] for name, row in rows.items()} == {
        "ctranslate2/int8": "ctranslate2",
        "openvino/int4_sym": "openvino",
        "npz/q4_g64": "numpy",
        "dcp/sharded": "pytorch-distributed",
        "mlc": "mlc",
    }
    assert {row["error"] for row in rows.values()} == {None}
    parts = sorted((CONTAINERS / "dcp/sharded").iterdir())
    assert rows["dcp/sharded"]["file_bytes"] == sum(part.stat().st_size for part in parts)


def test_a_root_named_twice_is_surveyed_once(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree")
    assert len(list(survey([tmp_path / "tree"] * 2))) == len(list(survey(tmp_path / "tree")))


def test_a_root_that_is_missing_ends_the_survey(tmp_path: Path) -> None:
    with pytest.raises(SurveyError, match=r"nowhere: cannot be read: No such file"):
        list(survey(tmp_path / "nowhere"))


def test_the_stores_of_this_user_are_known_by_their_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_HUB_CACHE", "OLLAMA_MODELS", "LLAMA_CACHE"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert {"HF_HUB_CACHE", "OLLAMA_MODELS", "LLAMA_CACHE"} <= {root.name for root in default_roots()}


@POSIX
def test_a_folder_that_may_not_be_read_is_passed_over() -> None:
    list(survey(Path(__file__).parents[2] / "examples"))  # imports what is needed: Python's files may be root's alone
    with unprivileged() as folder:
        with owner():
            write_plain(folder / "plain")
            write_plain(folder / "secret").chmod(0)
        assert [row["name"] for row in survey(folder)] == ["plain"]


@POSIX
@pytest.mark.parametrize("secret", ["models--org--b", "models--org--b/snapshots", "models--org--b/snapshots/c1"])
def test_a_model_of_another_user_in_a_shared_cache_is_passed_over(secret: str) -> None:
    list(survey(Path(__file__).parents[2] / "examples"))  # imports what is needed: Python's files may be root's alone
    with unprivileged() as folder:
        with owner():
            for name in ("a", "b"):
                write_plain(folder / f"models--org--{name}/snapshots/c1")
            (folder / secret).chmod(0)
        assert [row["name"] for row in survey(folder)] == ["org/a"]


@POSIX
def test_blobs_that_may_not_be_read_are_an_error_of_their_row() -> None:
    list(survey(Path(__file__).parents[2] / "examples"))  # imports what is needed: Python's files may be root's alone
    with unprivileged() as folder:
        with owner():
            STORES["ollama"](folder / "ollama")
            (folder / "ollama/blobs").chmod(0)
        errors = {row["name"]: row["error"] or "" for row in survey(folder / "ollama")}
        assert "its blob cannot be read: Permission denied: sha256-" in errors["tiny:latest"]


@POSIX
def test_a_default_root_in_a_closed_folder_is_not_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installer of Ollama makes a home for its user that others may not enter."""
    with unprivileged() as folder:
        with owner():
            (folder / "ollama/models").mkdir(parents=True)
            (folder / "ollama").chmod(0)
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.setenv("OLLAMA_MODELS", str(folder / "ollama/models"))
        assert default_roots() == []


@POSIX
def test_a_pipe_or_socket_in_a_tree_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("whole", "pipe", "socket", "config"):
        write_plain(tmp_path / name)
    for path in (tmp_path / "pipe/model.safetensors", tmp_path / "config/config.json"):
        path.unlink()
        os.mkfifo(path)
    monkeypatch.chdir(tmp_path / "socket")  # names of sockets are short
    Path("model.safetensors").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("model.safetensors")
    rows = {row["name"]: row for row in survey(tmp_path)}
    found = {name: (bool(row["error"]), {finding["code"] for finding in row["findings"]}) for name, row in rows.items()}
    assert found == {
        "whole": (False, set()),
        "pipe": (False, {"QL207"}),
        "socket": (False, {"QL207"}),
        "config": (False, set()),
    }


@POSIX
def test_checkpoints_that_never_rest_end_in_rows(tmp_path: Path) -> None:
    for number in range(20):
        write_plain(tmp_path / f"models/{number:02}")
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for number in range(0, 20, 2):
                path = tmp_path / f"models/{number:02}/model.safetensors"
                content = path.read_bytes()
                os.truncate(path, len(content) // 2)
                os.truncate(path, len(content) * 2)
                path.unlink()
                path.parent.rename(tmp_path / "elsewhere")
                (tmp_path / "elsewhere").rename(path.parent)
                path.write_bytes(content)

    thread = threading.Thread(target=churn)
    thread.start()
    end = time.monotonic() + 2
    try:
        while time.monotonic() < end:
            names = {row["name"] for row in survey(tmp_path / "models") if not row["error"]}
            assert names >= {f"{number:02}" for number in range(1, 20, 2)}  # those that rest
    finally:
        stop.set()
        thread.join()


@POSIX
def test_a_folder_of_many_files_takes_linear_time(tmp_path: Path) -> None:
    write_plain(tmp_path / "models")
    for number in range(100_000):
        os.close(os.open(tmp_path / f"models/{number}.txt", os.O_CREAT))
    began = time.process_time()
    (row,) = survey(tmp_path)
    assert time.process_time() - began < 10
    assert row["error"] is None
