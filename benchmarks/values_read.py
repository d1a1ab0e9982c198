"""Reading the values of weights: all of them against a raw read, sha256 and numpy; a sample of many tensors."""

from __future__ import annotations

import hashlib
import json
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.measurement import MIB, Measurement, added_memory, medians
from quantlevels import inspect

ROUNDS: Final = 7
#: the large checkpoint: matrices of BF16
MATRICES: Final = 16
ROWS, COLUMNS = 2048, 4096
#: the checkpoint of many tensors: in so many files, each tensor of so many rows
TENSORS, FILES = 1000, 30
SAMPLED_ROWS: Final = 128

BUDGET_RAW: Final = 4.0
BUDGET_SHA256: Final = 0.5
BUDGET_ISFINITE: Final = 1 / 0.35
BUDGET_BOTH: Final = 1.25
BUDGET_MIB: Final = 64
BUDGET_SAMPLE: Final = 0.5
BUDGET_SAMPLE_MIB: Final = 32

_BUFFER: Final = bytearray(MIB)


def write_weights(path: Path, tensors: int, rows: int, first: int = 0) -> Path:
    """A safetensors file of BF16 matrices, Gauss as initializers draw them."""
    draw = np.random.default_rng(first)
    nbytes = rows * COLUMNS * 2
    header = {
        f"model.layers.{first + number}.mlp.up_proj.weight": {
            "dtype": "BF16",
            "shape": [rows, COLUMNS],
            "data_offsets": [number * nbytes, (number + 1) * nbytes],
        }
        for number in range(tensors)
    }
    text = json.dumps(header).encode()
    values = draw.normal(0, 0.02, rows * COLUMNS).astype(np.float32)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for number in range(tensors):
            file.write((np.roll(values, number).view(np.uint32) >> 16).astype("<u2").tobytes())
    return path


def read_raw(path: Path) -> None:
    """The least that any reader does."""
    with path.open("rb", buffering=0) as file:
        while file.readinto(_BUFFER):
            pass


def sha256(path: Path) -> str:
    """What `sha256sum` does."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(_BUFFER):
            digest.update(memoryview(_BUFFER)[:count])
    return digest.hexdigest()


def isfinite(path: Path) -> bool:
    """The bytes as F32, asked only whether they are finite."""
    finite = True
    values = np.frombuffer(_BUFFER, np.float32)
    with path.open("rb", buffering=0) as file:
        while file.readinto(_BUFFER):
            finite &= bool(np.isfinite(values).all())
    return finite


def read_values(path: Path) -> object:
    """All values, without digests."""
    return inspect(path, values="all", checksums=False)


def read_both(path: Path) -> object:
    """All values, and the digest beside the file."""
    return inspect(path, values="all")


def sample(path: Path) -> object:
    """A sample of the values."""
    return inspect(path, values="sample")


def measure() -> Iterator[Measurement]:
    """The large file, then many tensors."""
    with tempfile.TemporaryDirectory() as folder:
        large = write_weights(Path(folder, "model.safetensors"), MATRICES, ROWS)
        small = write_weights(Path(folder, "small.safetensors"), 1, 128)
        yield from _whole(large, small)
        large.unlink()
        yield from _sample(Path(folder), small)


def _whole(large: Path, small: Path) -> Iterator[Measurement]:
    large.with_name("model.safetensors.sha256").write_text(sha256(large))
    yardsticks: dict[str, tuple[Callable[[Path], object], float | None]] = {
        "raw read": (read_raw, BUDGET_RAW),
        "sha256": (sha256, BUDGET_SHA256),
        "numpy.isfinite of the bytes as F32": (isfinite, BUDGET_ISFINITE),
    }
    jobs: list[Callable[[Path], object]] = [read_values, read_both, *(job for job, _ in yardsticks.values())]
    ours, both, *theirs = medians([partial(job, large) for job in jobs], ROUNDS)
    what = f"inspect --values all, {large.stat().st_size // MIB} MiB of BF16"
    for (name, (_, budget)), seconds in zip(yardsticks.items(), theirs, strict=True):
        yield Measurement(what=what, value=ours, yardstick=name, yardstick_value=seconds, budget=budget)
    digest = theirs[1]
    yield Measurement(
        what=f"{what}, with sha256", value=both, yardstick="sha256", yardstick_value=digest, budget=BUDGET_BOTH
    )
    memory = added_memory(read_both, large, small)
    if memory is not None:
        yield Measurement(what=f"{what}, with sha256", value=memory, unit="MiB", budget=BUDGET_MIB)


def _cpu_seconds(call: Callable[[], object]) -> float:
    """The median CPU time of this process: a sample is all computation, and other processes do not count."""
    taken: list[float] = []
    for _ in range(ROUNDS):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def _sample(folder: Path, small: Path) -> Iterator[Measurement]:
    many = folder / "many"
    many.mkdir()
    places: dict[str, str] = {}
    for number in range(FILES):
        name = f"model-{number + 1:05}-of-{FILES:05}.safetensors"
        first, count = TENSORS * number // FILES, TENSORS * (number + 1) // FILES - TENSORS * number // FILES
        write_weights(many / name, count, SAMPLED_ROWS, first)
        places |= {f"model.layers.{first + tensor}.mlp.up_proj.weight": name for tensor in range(count)}
    (many / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    seconds = _cpu_seconds(partial(sample, many))
    what = f"inspect --values sample, {TENSORS:,} tensors in {FILES} files, CPU time"
    yield Measurement(what=what, value=seconds, budget=BUDGET_SAMPLE)
    memory = added_memory(sample, many, small)
    if memory is not None:
        yield Measurement(what=what, value=memory, unit="MiB", budget=BUDGET_SAMPLE_MIB)
