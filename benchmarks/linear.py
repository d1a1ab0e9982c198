"""What ten times the tensors cost, inspected in full."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.checkpoints import Row, write
from benchmarks.measurement import Measurement, best
from quantlevels import inspect

FEW, MANY = 10_000, 100_000
ROUNDS = 15


def tensors() -> Iterator[Row]:
    """BF16 matrices named as those of a mixture of experts."""
    for matrix in count():
        yield f"model.layers.{matrix // 256}.mlp.experts.{matrix % 256}.up_proj.weight", "BF16", [128, 128], 2 * 128**2


def measure() -> Iterator[Measurement]:
    """Safetensors, the best of several, in turns."""
    with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as many:
        write(Path(few), tensors(), FEW)
        write(Path(many), tensors(), MANY)
        least, most = best(partial(inspect, few), partial(inspect, many), rounds=ROUNDS)
    yield Measurement(f"inspecting {MANY:,} tensors / {FEW:,} tensors", most / least, budget=11)
    yield Measurement(f"inspecting {MANY:,} tensors", most * 1000, unit="ms")
