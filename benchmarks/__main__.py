"""Run the benchmarks named on the command line, or all of them; 1 where a budget is missed."""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks.measurement import Measurement

NAMES = (
    "import_time",
    "lookup",
    "plugin_scan",
    "structuring",
    "gguf_header",
    "safetensors_headers",
    "onnx_walk",
    "schemes_fold",
    "linear",
)


def row(measurement: Measurement) -> str:
    """One line of the table."""
    budget = "" if measurement.budget is None else f"<= {measurement.budget:g} {measurement.unit}"
    verdict = "" if measurement.budget is None else ("held" if measurement.held else "MISSED")
    return f"{measurement.name:<58} {measurement.value:>10.2f} {measurement.unit:<4} {budget:<14} {verdict}".rstrip()


def main(names: list[str]) -> int:
    """Measure, print, and say whether every budget was held."""
    if unknown := set(names) - set(NAMES):
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    held = True
    for name in names or NAMES:
        for measurement in import_module(f"benchmarks.{name}").measure():
            print(row(measurement), flush=True)
            held &= measurement.held
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
