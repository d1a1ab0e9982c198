"""What ten and a hundred times the tensors cost, in time and in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.checkpoints import TensorRow, bf16_experts, dotless, gptq_experts, json_bytes, load_json, write
from benchmarks.measurement import MIB, Job, Measurement, added_memory, medians
from benchmarks.safetensors_headers import inspect_path
from quantlevels import inspect

COUNTS: Final = (10_000, 100_000, 1_000_000)
#: of each, since one safetensors file cannot have a header for a million tensors
SHARDS: Final = 10
ROUNDS: Final = 5
BUDGET: Final = 12
#: peak memory: so many times the headers and the index, and so many MiB
HEADERS: Final = 3
FIXED_MIB: Final = 32

KINDS: Final[dict[str, Callable[[], Iterator[TensorRow]]]] = {
    "BF16": bf16_experts,
    "GPTQ": gptq_experts,
    "names without dots": dotless,
}

#: A dictionary that no longer fits the caches of a processor takes more time per key, whoever makes it. What ten times
#: the tensors cost in parsing the JSON alone shows how much of ours that is.
JOBS: Final[dict[str, tuple[Job, float | None]]] = {"inspect": (inspect, BUDGET), "json.loads": (load_json, None)}


def measure() -> Iterator[Measurement]:
    """Ten thousand tensors, a hundred thousand, a million, each against a tenth of it."""
    for kind, tensors in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            paths = [write(Path(folder, str(number)), tensors(), number, shards=SHARDS) for number in COUNTS]
            for work, (job, budget) in JOBS.items():
                times = medians([partial(job, path) for path in paths], ROUNDS)
                for number, less, more, tenth in zip(COUNTS[1:], times, times[1:], COUNTS, strict=False):
                    yield Measurement(
                        what=f"{work}, {number:,} tensors, {kind}",
                        value=more,
                        yardstick=f"{tenth:,} tensors",
                        yardstick_value=less,
                        budget=budget,
                    )
            yield from _memory(kind, paths)


def _memory(kind: str, paths: list[Path]) -> Iterator[Measurement]:
    memory = added_memory(inspect_path, paths[-1], paths[0])
    if memory is not None:
        header = json_bytes(paths[-1]) / MIB
        yield Measurement(
            what=f"inspect, {COUNTS[-1]:,} tensors, {kind}, {header:.0f} MiB of headers and index",
            value=memory,
            unit="MiB",
            budget=HEADERS * header + FIXED_MIB,
        )
