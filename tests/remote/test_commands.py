"""Every command reads a remote checkpoint as it reads the same files on disk."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.cli.conftest import INT4_CONFIG, PLAIN, W4A8, W4A16, write_checkpoint, write_shards
from tests.remote.servers import COMMIT, Server

pytest.importorskip("urllib3")
constants = pytest.importorskip("huggingface_hub.constants")

from quantlevels import compare, inspect  # noqa: E402  # after what it needs here
from quantlevels.cli.program import run  # noqa: E402

NAMES = ("w4a16", "w4a8", "plain", "many")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    root = tmp_path / "hub"
    write_checkpoint(root / "acme" / "w4a16", W4A16, INT4_CONFIG)
    write_checkpoint(root / "acme" / "w4a8", W4A8, INT4_CONFIG)
    write_checkpoint(root / "acme" / "plain", PLAIN, {"torch_dtype": "bfloat16"})
    write_shards(root / "acme" / "many", 5)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.chdir(root)
    with Server(root) as storage, Server(root, storage) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        yield running


def answer(capsys: pytest.CaptureFixture[str], arguments: str, place: str) -> tuple[int, str, str]:
    """What a command answers, with another word for where its checkpoints are."""
    capsys.readouterr()
    status = run([argument.replace("@", place) for argument in arguments.split()])
    printed, said = capsys.readouterr()
    return status, printed.replace(place, "@"), said.replace(place, "@")


@pytest.mark.parametrize(
    "command",
    [
        *(f"inspect @{name} --json" for name in NAMES),
        "inspect @w4a16 --tensors --json",
        "inspect @w4a16 @many @plain --json",
        "inspect @plain/model.safetensors --json",
        "inspect @plain --values sample --json",
        "inspect @plain --values all --json",
        *(f"verify @{name}" for name in NAMES),
        "verify @w4a16 --level int4 --max-bits-per-weight 5",
        "verify @w4a8 --level int4 --json",
        "verify @plain --values sample",
        "compare @w4a16 @w4a8 --json",
        "size @plain --level int4 --scheme gptq --json",
        "fit @plain --memory 1GiB --json",
    ],
)
def test_a_command_answers_alike(hub: Server, capsys: pytest.CaptureFixture[str], command: str) -> None:
    local = answer(capsys, command, f"{hub.folder}/acme/")
    assert local[0] in (0, 1)
    assert answer(capsys, command, "hf://acme/") == local


def test_the_functions_take_urls_too(hub: Server) -> None:
    local, remote = (compare(f"{place}w4a16", f"{place}w4a8") for place in (f"{hub.folder}/acme/", "hf://acme/"))
    assert (remote.levels, remote.changed) == (local.levels, local.changed)


def test_a_sample_reads_ranges_of_the_weights_only(hub: Server) -> None:
    folder = hub.folder / "acme" / "large"
    folder.mkdir()
    weights = np.random.default_rng(7).standard_normal((2048, 2048)).astype(np.float16)
    save_file({"model.layers.0.up.weight": weights, "model.layers.1.up.weight": weights}, folder / "model.safetensors")
    report = inspect("hf://acme/large", values="sample")
    assert report.values is not None
    assert not report.values.complete
    assert hub.storage is not None
    # the smallest request is 64 KiB, and 8 of the 9 parts of a sample are smaller
    assert hub.storage.sent < 2 * 9 * (64 << 10) + (256 << 10)
    assert report.values == inspect(folder, values="sample").values


def test_nothing_is_on_stderr_without_a_terminal(hub: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "inspect @many", "hf://acme/")[2] == ""


def test_a_bar_counts_remote_shards_on_a_terminal(hub: Server, tmp_path: Path) -> None:
    pytest.importorskip("pty")
    from tests.cli.test_terminal import SGR, on_terminal

    slow = tmp_path / "slow.py"
    slow.write_text(
        "import sys, quantlevels.cli.progress as p\n"
        "p.progress_bar.__defaults__ = (-1,)\n"
        "from quantlevels.cli.program import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    text = on_terminal("inspect", "hf://acme/many", program=[sys.executable, str(slow)], HF_ENDPOINT=hub.endpoint)
    assert "/5 files" in SGR.sub("", text)


@pytest.mark.parametrize(
    "command",
    [
        "inspect @plain --json",
        "inspect @plain --values sample --json",
        "verify @plain --json",
        "compare @w4a16 @plain --json",
        "size @plain --level int4 --scheme gptq --json",
        "fit @plain --memory 1GiB --json",
    ],
)
def test_a_plain_name_in_the_cache_is_read_by_every_command(
    hub: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for name in ("plain", "w4a16"):
        repository = tmp_path / "cache" / f"models--acme--{name}"
        shutil.copytree(hub.folder / "acme" / name, repository / "snapshots" / COMMIT)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.chdir(tmp_path)
    status, printed, said = answer(capsys, command, "acme/")
    local = answer(capsys, command, f"{hub.folder}/acme/")
    # a name in the cache is shown as the folder of its repository there
    assert (status, printed.replace(f"{tmp_path}/cache/models--acme--", "@"), said) == local
    assert hub.seen == []


def test_a_plain_name_is_the_main_branch_in_the_cache(
    hub: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    repository = tmp_path / "cache" / "models--acme--w4a16"
    write_checkpoint(repository / "snapshots" / COMMIT, W4A16, INT4_CONFIG)
    write_checkpoint(repository / "snapshots" / ("b" * 40), PLAIN)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    status, printed, _ = answer(capsys, "inspect acme/w4a16 --json", "@")
    assert (status, '"Int4"' in printed) == (0, True)
    status, _, said = answer(capsys, "inspect acme/none", "@")
    assert status == 2
    assert "to read it remotely: quantlevels inspect hf://acme/none" in said
    assert hub.seen == []
