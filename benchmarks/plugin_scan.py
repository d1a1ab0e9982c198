"""The first miss in an environment of 1,000 distributions, against importlib_metadata's own scan of the same one.

Each is taken in processes of its own, for both keep what they have read.
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

DISTRIBUTIONS = 1000
ROUNDS = 15
BUDGET = 1.3

SCAN: Final = "from importlib_metadata import entry_points; entry_points(group='quantlevels.levels')"
MISS: Final = "assert 'NoSuchLevel' not in levels"
TIMED: Final = """
import time
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
    """How long ``timed`` takes after ``first``."""
    process = subprocess.run(
        [sys.executable, "-c", TIMED.format(timed=timed, first=first)],
        env={**os.environ, "PYTHONPATH": str(site)},
        check=True,
        capture_output=True,
        text=True,
    )
    return float(process.stdout)


def ratio(site: Path, first: str = "") -> float:
    """The first miss in units of the scan, as medians of processes taken in turns."""
    pairs = [(seconds(site, MISS, first), seconds(site, SCAN, first)) for _ in range(ROUNDS)]
    return statistics.median(miss for miss, _ in pairs) / statistics.median(scan for _, scan in pairs)


def measure() -> Iterator[Measurement]:
    """With few plugins and with many; with the import of importlib_metadata and without."""
    for plugins in 10, 100:
        with tempfile.TemporaryDirectory() as folder:
            site = Path(folder)
            install(site, plugins)
            what = f"first miss / entry_points(), {plugins} plugins of {DISTRIBUTIONS:,}"
            yield Measurement(what, ratio(site), BUDGET)
            yield Measurement(f"{what}, imported", ratio(site, "import importlib_metadata"), BUDGET)
