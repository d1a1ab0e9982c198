"""Every checkpoint of ``tests/data``: the record at the Hub and on a web server is that of the same files on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen
from tests.fixtures import FIXTURES
from tests.remote.servers import Server

pytest.importorskip("urllib3")
constants = pytest.importorskip("huggingface_hub.constants")

from quantlevels import CheckpointError, inspect  # noqa: E402  # after what it needs here


@frozen
class Hub:
    """A Hub with every checkpoint as a repository ``acme/NAME``, and the storage behind it."""

    server: Server
    storage: Server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("hub")
    for name, write in FIXTURES.items():
        folder = root / "acme" / name
        folder.mkdir(parents=True)
        write(folder)
    with Server(root) as storage, Server(root, storage) as server:
        yield Hub(server, storage)


@pytest.fixture
def hub(running: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", running.server.endpoint)
    return running


def record(path: Path | str) -> object:
    """What is read of a checkpoint, without its path; the reason if it cannot be read."""
    try:
        return {**inspect(path).to_record(), "path": ""}
    except CheckpointError as error:
        return error.reason


@pytest.mark.parametrize("name", FIXTURES)
def test_a_repository_reads_as_its_files_on_disk(hub: Hub, name: str) -> None:
    folder = hub.server.folder / "acme" / name
    assert record(f"hf://acme/{name}") == record(folder)


@pytest.mark.parametrize("name", FIXTURES)
def test_each_file_on_the_web_reads_as_on_disk(hub: Hub, name: str) -> None:
    folder = hub.server.folder / "acme" / name
    weights = [path for path in folder.iterdir() if path.suffix not in (".json", ".xml")]
    for path in weights or folder.iterdir():
        assert record(hub.storage.url(f"acme/{name}/{path.name}")) == record(path)
