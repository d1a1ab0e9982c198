"""What reading a remote checkpoint takes, counted at the servers, and the limits for those that would take more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("urllib3")
constants = pytest.importorskip("huggingface_hub.constants")

from tests.remote.models import MODELS, Model  # noqa: E402  # after what it needs here
from tests.remote.servers import Server  # noqa: E402
from tests.writers import write_safetensors  # noqa: E402

from quantlevels import CheckpointError, inspect  # noqa: E402
from quantlevels.checkpoint.remote import ranges, spending  # noqa: E402
from quantlevels.container import RemoteLimits  # noqa: E402


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    root = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with Server(root) as storage, Server(root, storage) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        yield running


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_repository_takes_no_more_than_its_budget(hub: Server, model: Model) -> None:
    folder = hub.folder / "acme" / model.name
    folder.mkdir(parents=True)
    budget = model.write(folder)

    report = inspect(f"hf://acme/{model.name}")

    assert report.stored is not None
    assert {**report.to_record(), "path": ""} == {**inspect(folder).to_record(), "path": ""}
    assert hub.storage is not None
    assert len([seen for seen in hub.seen if seen.path.startswith("/api/")]) == 1
    assert len(hub.storage.seen) <= budget.requests
    assert hub.storage.sent <= budget.nbytes
    # each file is resolved once, whatever the number of its ranges
    resolved = [seen.path for seen in hub.seen if "/resolve/" in seen.path]
    assert len(resolved) == len(set(resolved)) <= budget.requests


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    write_safetensors(
        tmp_path / "model.safetensors", {f"model.layers.{layer}.weight": ("BF16", (1, 8)) for layer in range(3000)}
    )
    with Server(tmp_path) as running:
        yield running


def test_the_limits_of_a_file() -> None:
    limits = RemoteLimits()
    assert (limits.requests, limits.nbytes, limits.seconds, limits.silence) == (512, 256 << 20, 120, 10)


def test_a_server_that_gives_a_byte_at_a_time_reaches_the_limit_of_requests(server: Server) -> None:
    with pytest.raises(CheckpointError, match="needs more than 5 requests, the limit for a remote file; download it"):
        inspect(server.url("model.safetensors", "short"), limits=RemoteLimits(requests=5))
    assert len([seen for seen in server.seen if "model.safetensors" in seen.path]) == 5


def test_a_header_that_never_ends_reaches_the_limit_of_bytes(server: Server) -> None:
    with pytest.raises(CheckpointError, match="needs more than 140,000 bytes, the limit for a remote file"):
        inspect(server.url("model.safetensors"), limits=RemoteLimits(nbytes=140_000))
    assert server.sent <= 140_000


def test_many_slow_requests_reach_the_limit_of_time(server: Server) -> None:
    began = time.monotonic()
    with pytest.raises(CheckpointError, match=r"took longer than 0\.5 seconds, the limit for a remote file"):
        inspect(server.url("model.safetensors", "slow"), limits=RemoteLimits(seconds=0.5))
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("fault", ["drip", "silent"])
def test_silence_and_drops_end_in_bounded_time(server: Server, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "wait", lambda seconds: None)
    began = time.monotonic()
    with pytest.raises(CheckpointError, match=r"stopped sending|took longer than"):
        inspect(server.url("model.safetensors", fault), limits=RemoteLimits(seconds=2, silence=0.3))
    assert time.monotonic() - began < 5


def test_a_request_has_time_by_its_size() -> None:
    spent = spending.Spending(RemoteLimits())
    assert spent.deadline(0) == 20
    assert spent.deadline(64 << 10) == 21
    assert spent.deadline(64 << 20) == 120
