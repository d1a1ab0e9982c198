"""A cost beside what it is compared with, and how times and memory are taken."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, TypeAlias, final

from attrs import frozen

MIB: Final = 1 << 20
Unit: TypeAlias = Literal["s", "MiB"]
#: What one side of a comparison does with the path of its input.
Job: TypeAlias = Callable[[Path], object]


@final
@frozen(kw_only=True)
class Measurement:
    """One cost of quantlevels.

    Args:
        what: the job.
        value: seconds, or MiB of memory where `unit` says so.
        memory: MiB of memory that the job added; None if it was not measured.
        yardstick: what does the same job, or the least of it; empty if the cost stands alone.
        yardstick_value, yardstick_memory: its cost.
        budget: the most that `ratio` may be, or `value` without a yardstick; None for information.
    """

    what: str
    value: float
    unit: Unit = "s"
    memory: float | None = None
    yardstick: str = ""
    yardstick_value: float | None = None
    yardstick_memory: float | None = None
    budget: float | None = None

    @property
    def ratio(self) -> float | None:
        """The cost in units of the yardstick's."""
        return self.value / self.yardstick_value if self.yardstick_value else None

    @property
    def held(self) -> bool:
        """Whether the cost is within its budget."""
        cost = self.value if self.ratio is None else self.ratio
        return self.budget is None or cost <= self.budget

    def cells(self) -> list[str]:
        """The row of a table."""
        budget = ""
        if self.budget is not None:
            budget = f"≤ {shown(self.budget, self.unit)}" if self.ratio is None else f"≤ {self.budget:.3g}"
        return [
            self.what,
            shown(self.value, self.unit),
            shown(self.memory, "MiB"),
            self.yardstick,
            shown(self.yardstick_value, self.unit),
            shown(self.yardstick_memory, "MiB"),
            "" if self.ratio is None else f"{self.ratio:.3g}",
            budget,
            "" if self.held else "MISSED",
        ]


def shown(value: float | None, unit: Unit) -> str:
    """A cost with three digits; empty for None."""
    if value is None:
        return ""
    if unit == "MiB":
        return f"{value:.1f} MiB"
    for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {name}"
    return f"{value * 1e9:.3g} ns"


@contextmanager
def gc_off() -> Generator[None]:
    """No garbage collection; what there is, is collected before."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def children_time() -> float:
    """CPU seconds of all child processes that have ended."""
    import resource  # here: Windows has no such module

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def medians(
    calls: Sequence[Callable[[], object]], rounds: int, clock: Callable[[], float] = time.process_time
) -> list[float]:
    """The median CPU time of each call in seconds, which other programs on the machine do not lengthen.

    The calls take turns, so that a noisy moment affects all of them. Results are freed after the clock has stopped.
    """
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        with gc_off():
            for call, taken in zip(calls, times, strict=True):
                start = clock()
                result = call()
                taken.append(clock() - start)
                del result
    return [statistics.median(taken) for taken in times]


def process(*command: str) -> Callable[[], object]:
    """Run a whole process from its start to its end."""
    # byte code is written, as it is for an installed package
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


def added_memory(job: Job, path: Path, small: Path) -> float | None:
    """The most MiB that a job adds to a new process which did it once with a small input; None if Linux is missing."""
    if not sys.platform.startswith("linux"):
        return None
    name = job.__name__  # ty: ignore[missing-attribute]  # jobs are functions of modules
    command = [sys.executable, "-m", "benchmarks.measurement", job.__module__, name, str(path), str(small)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    return int(done.stdout) / MIB


def _rss(field: str) -> int:
    """Resident bytes of this process: ``VmRSS`` now, ``VmHWM`` at most since the mark was last reset."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise LookupError(field)


def _print_added_memory(module: str, name: str, path: str, small: str) -> None:
    from importlib import import_module

    job: Job = getattr(import_module(module), name)
    job(Path(small))  # imports what the job imports
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM
    before = _rss("VmRSS")
    with gc_off():
        result = job(Path(path))
    added = _rss("VmHWM") - before
    del result
    print(added)


if __name__ == "__main__":
    _print_added_memory(*sys.argv[1:])
