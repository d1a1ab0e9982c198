"""How many files of one checkpoint are read at a time, and in how many rounds."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from pathlib import Path

import fsspec
import pytest
from tests.cli.conftest import write_shards
from tests.remote.servers import Server
from tests.writers import write_safetensors

pytest.importorskip("urllib3")

from quantlevels import inspect  # after what it needs here
from quantlevels.checkpoint.remote import ranges

SHARDS = 60
PARALLEL = 8


class Rounds:
    """Counts requests, those at a time, and the rounds in which they are sent: each takes a fixed time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._now = 0
        self.most: int = 0
        self.began: float = time.monotonic()

    def delay(self) -> None:
        """One request."""
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self._seconds)
        with self._lock:
            self._now -= 1

    @property
    def rounds(self) -> float:
        """Time since it was made, in those of a request."""
        return (time.monotonic() - self.began) / self._seconds


def test_sixty_shards_take_no_more_rounds_than_budgeted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shards(tmp_path, SHARDS)
    fetch = ranges.HttpFile.fetch
    # long beside the work of a busy machine
    rounds = Rounds(seconds=0.25)

    def slow(file: ranges.HttpFile, offset: int, count: int) -> bytes:
        rounds.delay()
        return fetch(file, offset, count)

    monkeypatch.setattr(ranges.HttpFile, "fetch", slow)
    with Server(tmp_path) as running:
        inspect(running.url("model.safetensors.index.json"))
    assert rounds.most == PARALLEL
    assert rounds.rounds <= 1.5 * SHARDS / PARALLEL + 4


def test_memory_is_that_of_the_readers_and_four_mib_a_file(tmp_path: Path) -> None:
    """Headers of some 300 KiB before weights of 8 MiB; the store holds all of it before memory is traced."""
    names = [f"model-{number:05}-of-{PARALLEL:05}.safetensors" for number in range(1, PARALLEL + 1)]
    shard_of: dict[str, str] = {}
    for number, name in enumerate(names):
        tensors = {f"model.layers.{number}.mlp.experts.{expert}.weight": ("BF16", (64, 22)) for expert in range(3000)}
        write_safetensors(tmp_path / name, tensors)
        shard_of |= dict.fromkeys(tensors, name)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shard_of}))
    store = fsspec.filesystem("memory")
    for file in tmp_path.iterdir():
        store.pipe_file(f"/shards/{file.name}", file.read_bytes())
    local, remote = peak(str(tmp_path)), peak("memory://shards")
    store.rm("/shards", recursive=True)
    assert remote <= local + PARALLEL * (4 << 20)


def peak(place: str) -> int:
    """Bytes that an inspection takes at most, imports and caches aside."""
    inspect(place)
    tracemalloc.start()
    inspect(place)
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return traced
