"""What ten times the tensors cost, inspected in full."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.measurement import Measurement, best
from quantlevels import inspect

FEW, MANY = 10_000, 100_000
ROUNDS = 15
_NBYTES = 2 * 128 * 128


def write_safetensors(path: Path, tensors: int) -> None:
    """A file of BF16 matrices named as those of a mixture of experts; the data is a hole."""
    header = {
        f"model.layers.{index // 256}.mlp.experts.{index % 256}.up_proj.weight": {
            "dtype": "BF16",
            "shape": [128, 128],
            "data_offsets": [index * _NBYTES, (index + 1) * _NBYTES],
        }
        for index in range(tensors)
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(file.tell() + tensors * _NBYTES)


def measure() -> Iterator[Measurement]:
    """Safetensors, the best of several, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        few, many = Path(folder, "few.safetensors"), Path(folder, "many.safetensors")
        write_safetensors(few, FEW)
        write_safetensors(many, MANY)
        least, most = best(partial(inspect, few), partial(inspect, many), rounds=ROUNDS)
    yield Measurement(f"inspecting {MANY:,} tensors / {FEW:,} tensors", most / least, budget=11)
    yield Measurement(f"inspecting {MANY:,} tensors", most * 1000, unit="ms")
