"""Many small checkpoints, one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.checkpoints import GPTQ, dense, gptq_experts, load_json, open_and_list, write
from benchmarks.measurement import Measurement, medians
from quantlevels import inspect

TENSORS: Final = 40
ROUNDS: Final = 300
YARDSTICKS: Final = {"json.loads of header and config": load_json, "safetensors.safe_open, keys": open_and_list}


def measure() -> Iterator[Measurement]:
    """Full inspections against parsing the same JSON, and against opening the file by the safetensors library."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = {
            "BF16": write(Path(folder, "plain"), dense(), TENSORS, config={"dtype": "bfloat16"}),
            "GPTQ": write(Path(folder, "gptq"), gptq_experts(), TENSORS, config=GPTQ),
        }
        for name, path in checkpoints.items():
            ours, parsing, opening = medians(
                [partial(job, path) for job in (inspect, load_json, open_and_list)], ROUNDS
            )
            what = f"inspect, {TENSORS} tensors in {name}"
            yield Measurement(
                what=what, value=ours, yardstick="json.loads of header and config", yardstick_value=parsing
            )
            yield Measurement(what=what, value=ours, yardstick="safetensors.safe_open, keys", yardstick_value=opening)
