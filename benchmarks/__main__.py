"""Run the benchmarks named on the command line, or all of them. Exit status 1 if a budget is missed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import Final

from attrs import asdict

from benchmarks.measurement import Measurement

NAMES: Final = (
    "processes",
    "lookup",
    "structuring",
    "small_checkpoints",
    "safetensors_headers",
    "shards",
    "gguf_header",
    "onnx_walk",
    "linear",
    "plugin_scan",
    "values_read",
    "surveys",
)
LIBRARIES: Final = ("attrs", "cattrs", "click", "gguf", "modelinfo-cli", "modelvet", "msgspec", "onnx", "safetensors")
HEAD: Final = ("what", "quantlevels", "memory added", "compared with", "takes", "memory added", "ratio", "budget", "")


def main(arguments: list[str]) -> int:
    """Measure, print a row as soon as it is measured, and check the budgets."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; all by default")
    parser.add_argument("--json", action="store_true", help="print one record with all measurements")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown benchmark: {', '.join(sorted(unknown))}; choose from {', '.join(NAMES)}")
    # imported as they come up: libraries that one of them needs must not be in memory while others are measured
    rows = chain.from_iterable(import_module(f"benchmarks.{name}").measure() for name in options.names or NAMES)
    if options.json:
        return _print_json(rows)
    return _print_table(rows)


def _print_json(rows: Iterable[Measurement]) -> int:
    measured = list(rows)
    machine = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "libraries": _versions(),
    }
    record = [{**asdict(row), "ratio": row.ratio, "held": row.held} for row in measured]
    print(json.dumps({"machine": machine, "measurements": record}, indent=2))
    return 0 if all(row.held for row in measured) else 1


def _versions() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):  # not every benchmark needs every library
            versions[name] = version(name)
    return versions


def _print_table(rows: Iterable[Measurement]) -> int:
    all_held = True
    print(_line(HEAD))
    print(_line(["---"] * len(HEAD)))
    for row in rows:
        print(_line(row.cells()), flush=True)
        all_held &= row.held
    return 0 if all_held else 1


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
