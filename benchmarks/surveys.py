"""A survey beside a plain loop over the same checkpoints: in this process, on a Dask cluster, and ten times as many."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks.checkpoints import GPTQ, dense, gptq_experts, write
from benchmarks.measurement import Measurement, added_memory, medians
from quantlevels import inspect
from quantlevels.survey import survey
from quantlevels.survey.writers import writer

MANY: Final = 2_000
FEW: Final = MANY // 10
TENSORS: Final = 12
ROWS: Final = 100_000
ROUNDS: Final = 3
LOOP: Final = "a loop of inspect"


def measure() -> Iterator[Measurement]:
    """Every budget of a survey; that of Dask only if Dask is installed."""
    with tempfile.TemporaryDirectory() as folder:
        few, many = _fleet(Path(folder, "few"), FEW), _fleet(Path(folder, "many"), MANY)
        ours, loop, tenth, first = medians(
            [lambda: survey_all(many), lambda: _loop(many), lambda: survey_all(few), lambda: next(survey(many))], ROUNDS
        )
        what = f"survey, {MANY:,} checkpoints"
        yield Measurement(what=what, value=ours, yardstick=LOOP, yardstick_value=loop, budget=1.3)
        yield Measurement(what=what, value=ours, yardstick=f"{FEW:,} of them", yardstick_value=tenth, budget=10.5)
        yield Measurement(what=f"{what}, its first row", value=first, budget=0.5)
        added = added_memory(survey_all, many, few)
        if added is not None:
            yield Measurement(what=f"{what}, after {FEW:,}", value=added, unit="MiB", budget=4)
        if find_spec("distributed"):
            yield _dask(many)
        if find_spec("pyarrow"):
            yield from _writing(few)


def _fleet(folder: Path, count: int) -> Path:
    """Small checkpoints, half of them quantized."""
    for number in range(count):
        if number % 2:
            write(folder / str(number), dense(), TENSORS, config={"dtype": "bfloat16"})
        else:
            write(folder / str(number), gptq_experts(), TENSORS, config=GPTQ)
    return folder


def _loop(folder: Path) -> None:
    for path in folder.iterdir():
        inspect(path)


def survey_all(folder: Path) -> None:
    """Every row of a survey, none of them kept."""
    deque(survey(folder), maxlen=0)


def _dask(folder: Path) -> Measurement:
    """A cluster of two processes on this machine against the loop, in seconds that pass: both use several processes."""
    distributed: Any = import_module("distributed")  # Any: dask brings no types
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        executor = client.get_executor(pure=False)

        def on_cluster() -> None:
            deque(survey(folder, executor=executor, workers=2), maxlen=0)

        on_cluster()  # workers import what they need
        jobs: list[Callable[[], object]] = [on_cluster, lambda: _loop(folder)]
        ours, loop = medians(jobs, ROUNDS, time.perf_counter)
    what = f"survey, {MANY:,} checkpoints, Dask with 2 workers"
    return Measurement(what=what, value=ours, yardstick=LOOP, yardstick_value=loop, budget=2.5)


def write_rows(folder: Path) -> None:
    """Write one row many times to Parquet, as often as the file `rows` in the folder says."""
    row = next(survey(folder / "model"))
    with (folder / "rows.parquet").open("wb") as stream, writer("parquet", stream) as rows:
        for _ in range(int((folder / "rows").read_text(encoding="ascii"))):
            rows.write(row)


def _writing(few: Path) -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("small", 1), ("large", ROWS)):
            target = Path(folder, name)
            target.mkdir()
            (target / "rows").write_text(str(rows), encoding="ascii")
            (target / "model").symlink_to(few / "0")
        added = added_memory(write_rows, Path(folder, "large"), Path(folder, "small"))
        if added is not None:
            yield Measurement(what=f"{ROWS:,} rows into Parquet", value=added, unit="MiB", budget=64)
