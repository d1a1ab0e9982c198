"""A cost beside its budget, and how costs are taken."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import final

from attrs import frozen


@final
@frozen
class Measurement:
    """One cost.

    Args:
        name: what was measured against what.
        value: the cost, in ``unit``.
        budget: the most it may be; None where it is for information.
        unit: what value and budget count; ``x`` is a ratio.
    """

    name: str
    value: float
    budget: float | None = None
    unit: str = "x"

    @property
    def held(self) -> bool:
        """Whether the cost is within its budget."""
        return self.budget is None or self.value <= self.budget


def best(*calls: Callable[[], object], rounds: int) -> list[float]:
    """The shortest time in seconds of each call, taken in turns so that a noisy moment harms all alike."""
    times = [float("inf")] * len(calls)
    for _ in range(rounds):
        for place, call in enumerate(calls):
            start = time.perf_counter()
            call()
            times[place] = min(times[place], time.perf_counter() - start)
    return times


def peak(call: Callable[[], object]) -> float:
    """The most memory that a call adds, in MiB."""
    tracemalloc.start()
    call()
    added = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return added / (1 << 20)
