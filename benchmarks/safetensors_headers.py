"""A safetensors file of 100,000 tensors: the full inspection against parsing its header."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.checkpoints import (
    GPTQ,
    TensorRow,
    bf16_experts,
    decode_typed,
    gptq_experts,
    load_json,
    open_and_list,
    write,
)
from benchmarks.measurement import Job, Measurement, added_memory, medians
from quantlevels import inspect

TENSORS: Final = 100_000
ROUNDS: Final = 11
BUDGET: Final = 1.25

#: what the inspection is compared with → its budget
YARDSTICKS: Final[dict[str, tuple[Job, float | None]]] = {
    "json.loads of the header": (load_json, BUDGET),
    "msgspec, typed decoding of the header": (decode_typed, None),
    "safetensors.safe_open, keys": (open_and_list, None),
}


def measure() -> Iterator[Measurement]:
    """Plain weights, and packed ones, whose tensors are folded into weights."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoints: dict[str, tuple[Callable[[], Iterator[TensorRow]], Mapping[str, object]]] = {
            "BF16": (bf16_experts, {"dtype": "bfloat16"}),
            "GPTQ": (gptq_experts, GPTQ),
        }
        for name, (tensors, config) in checkpoints.items():
            path = write(Path(folder, name), tensors(), TENSORS, config=config)
            small = write(Path(folder, f"{name}-small"), tensors(), 100, config=config)
            yield from _compared(f"inspect, {TENSORS:,} tensors in {name}", path, small)


def _compared(what: str, path: Path, small: Path) -> Iterator[Measurement]:
    jobs = [inspect, *(job for job, _ in YARDSTICKS.values())]
    ours, *theirs = medians([partial(job, path) for job in jobs], ROUNDS)
    memory = added_memory(inspect_path, path, small)
    for (yardstick, (job, budget)), seconds in zip(YARDSTICKS.items(), theirs, strict=True):
        yield Measurement(
            what=what,
            value=ours,
            memory=memory,
            yardstick=yardstick,
            yardstick_value=seconds,
            yardstick_memory=added_memory(job, path, small),
            budget=budget,
        )


def inspect_path(path: Path) -> object:
    """The job of quantlevels, as one of this module's."""
    return inspect(path)
