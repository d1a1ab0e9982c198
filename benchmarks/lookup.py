"""Finding a level by a name it has been found by before, against a plain dict and an Enum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from timeit import Timer

from benchmarks.measurement import Measurement, best
from quantlevels import levels

LOOKUPS = 10_000
ROUNDS = 300


class Plain(Enum):
    """What the five would be as an Enum."""

    FP32 = "None"
    FP16 = "Float16"
    BF16 = "BFloat16"
    Int8 = "Int8"
    Int4 = "Int4"


def loop(table: object) -> Callable[[], object]:
    """Look one name up many times."""
    timer = Timer("table['Int8']", globals={"table": table})
    return lambda: timer.timeit(LOOKUPS)


def measure() -> Iterator[Measurement]:
    """Loop and all: the loop is in every term alike."""
    plain, enum, ours = best(
        loop({level.name: level for level in levels}),
        loop(Plain),
        loop(levels),
        rounds=ROUNDS,
    )
    yield Measurement("levels['Int8'] / dict['Int8']", ours / plain, budget=2)
    yield Measurement("levels['Int8'] / Enum['Int8']", ours / enum, budget=1)
