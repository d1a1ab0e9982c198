"""Importing quantlevels, as whole processes, against importing attrs, on which it stands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

from benchmarks.measurement import Measurement, best

ROUNDS = 40


def process(statement: str) -> Callable[[], object]:
    """Run one statement in a Python of its own."""
    return lambda: subprocess.run([sys.executable, "-c", statement], check=True)


def measure() -> Iterator[Measurement]:
    """Interleaved, the best of many."""
    attrs, package, names = best(
        process("import attrs"),
        process("import quantlevels"),
        process("from quantlevels import INT4, levels"),
        rounds=ROUNDS,
    )
    yield Measurement("import quantlevels / import attrs", package / attrs, budget=1.10)
    yield Measurement("from quantlevels import INT4, levels / import attrs", names / attrs)
