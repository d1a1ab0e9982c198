"""The first unknown name in an environment of 1,000 distributions, against importlib_metadata's own scan of it.

Each run is a process of its own, since both keep what they have read.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.measurement import Measurement

DISTRIBUTIONS: Final = 1000
ROUNDS: Final = 15
BUDGET: Final = 1.3

SCAN: Final = "from importlib_metadata import entry_points; entry_points(group='quantlevels.levels')"
MISS: Final = "assert 'NoSuchLevel' not in levels"
TIMED: Final = """
import gc, time
gc.disable()
from quantlevels import levels
levels.get("Q4_K")
{first}
start = time.perf_counter()
{timed}
print(time.perf_counter() - start)
"""


def install(site: Path, plugins: int) -> None:
    """What installers leave behind; ``plugins`` of the distributions bring five levels each, others have scripts."""
    for i in range(DISTRIBUTIONS):
        info = site / f"package_{i}-1.0.dist-info"
        info.mkdir(parents=True)
        requires = "".join(f"Requires-Dist: package-{j}>=1\n" for j in range(10))
        head = f"Metadata-Version: 2.4\nName: package-{i}\nVersion: 1.0\nSummary: one of many\n{requires}\n"
        (info / "METADATA").write_text(head + "A line of its description.\n" * 100)
        if i % (DISTRIBUTIONS // plugins) == 0:
            entries = "".join(f"Level{i}N{j} = package_{i}:LEVEL{j}\n" for j in range(5))
            (info / "entry_points.txt").write_text(f"[quantlevels.levels]\n{entries}")
        elif i % 3 == 0:
            scripts = "".join(f"package-{i}-{j} = package_{i}.cli:main_{j}\n" for j in range(3))
            (info / "entry_points.txt").write_text(f"[console_scripts]\n{scripts}\n[other.group]\nx = package_{i}:x\n")


def seconds(site: Path, timed: str, first: str) -> float:
    """How long ``timed`` takes after ``first``, in a new process."""
    process = subprocess.run(
        [sys.executable, "-c", TIMED.format(timed=timed, first=first)],
        env={**os.environ, "PYTHONPATH": str(site)},
        check=True,
        capture_output=True,
        text=True,
    )
    return float(process.stdout)


def measure() -> Iterator[Measurement]:
    """With few plugins and with many; with the import of importlib_metadata and without."""
    for plugins in 10, 100:
        with tempfile.TemporaryDirectory() as folder:
            site = Path(folder)
            install(site, plugins)
            for what, first in (("", ""), (", imported before", "import importlib_metadata")):
                pairs = [(seconds(site, MISS, first), seconds(site, SCAN, first)) for _ in range(ROUNDS)]
                yield Measurement(
                    what=f"first miss, {plugins} plugins in {DISTRIBUTIONS:,} distributions{what}",
                    value=statistics.median(miss for miss, _ in pairs),
                    yardstick="importlib_metadata.entry_points()",
                    yardstick_value=statistics.median(scan for _, scan in pairs),
                    budget=BUDGET,
                )
