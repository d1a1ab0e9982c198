"""Finding a level by a spelling that was found before, against a look-up in a plain dict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from timeit import Timer
from typing import Final

from benchmarks.measurement import Measurement, medians
from quantlevels import levels

LOOKUPS: Final = 20_000
ROUNDS: Final = 200
#: spelling → the most that a look-up may cost, in look-ups of a dict
BUDGETS: Final = {"Int8": 2, "torch.bfloat16": 4, "q4_k": 4}


def measure() -> Iterator[Measurement]:
    """One look-up; the loop around it, the same on both sides, is counted on both."""
    for spelling, budget in BUDGETS.items():
        ours, theirs = medians([_loop(levels, spelling), _loop({spelling: levels[spelling]}, spelling)], ROUNDS)
        yield Measurement(
            what=f"levels[{spelling!r}]",
            value=ours / LOOKUPS,
            yardstick=f"dict[{spelling!r}]",
            yardstick_value=theirs / LOOKUPS,
            budget=budget,
        )


def _loop(table: object, spelling: str) -> Callable[[], object]:
    timer = Timer("table[spelling]", globals={"table": table, "spelling": spelling})
    return lambda: timer.timeit(LOOKUPS)
