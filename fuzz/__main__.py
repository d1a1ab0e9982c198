"""``python -m fuzz TARGET --seconds 1200``: run one target until the time is over or something gives."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

from fuzz import TARGETS, Target, target
from fuzz.mutation import mutated

_SLOW = 2.0  # seconds of the processor for inputs of a few KB
_HANG = 30  # seconds


def main() -> int:
    """Run, and give the exit status: 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the mutations without atheris")
    parser.add_argument("--plain", action="store_true", help="mutations alone, even where atheris is installed")
    parser.add_argument("--found", type=Path, default=Path("found"), help="folder for inputs that failed")
    arguments = parser.parse_args()
    chosen = target(arguments.target)
    if find_spec("atheris") and not arguments.plain:
        return _atheris(arguments.target, arguments.seconds, arguments.found)
    return _mutations(chosen, arguments.seconds, arguments.seed, arguments.found / arguments.target)


def _mutations(chosen: Target, seconds: float, seed: int, found: Path) -> int:
    random = Random(seed)
    failures: Counter[str] = Counter()
    executions = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(random, chosen.SEEDS)
        start = time.process_time()
        try:
            chosen.run(data)
            place = f"took more than {_SLOW:g} s" if time.process_time() - start > _SLOW else ""
        except Exception as error:  # whatever it is, it was not promised
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {error}"[:200]
        executions += 1
        if place:
            if not failures[place]:
                found.mkdir(parents=True, exist_ok=True)
                (found / f"{len(failures)}").write_bytes(data)
            failures[place] += 1
    print(f"{executions:,} executions, {len(failures)} findings")
    for place, count in failures.items():
        print(f"  {count:,} x {place}")
    return 1 if failures else 0


def _atheris(name: str, seconds: float, found: Path) -> int:
    atheris: Any = import_module("atheris")  # Any: a tool of who fuzzes, that may be missing

    with atheris.instrument_imports(include=["quantlevels"]):
        for module in [module for module in sys.modules if module.startswith("quantlevels")]:
            del sys.modules[module]  # to be instrumented when it is imported again
        for module in [module for module in sys.modules if module.startswith("fuzz.")]:
            del sys.modules[module]
        chosen = target(name)
    seeds = found / name / "seeds"
    seeds.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(chosen.SEEDS):
        (seeds / str(index)).write_bytes(seed)
    options = [f"-max_total_time={seconds:.0f}", f"-artifact_prefix={found / name}/", f"-timeout={_HANG}"]
    atheris.Setup([sys.argv[0], *options, str(seeds)], chosen.run)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
