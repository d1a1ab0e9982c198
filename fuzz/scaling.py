"""``python -m fuzz.scaling --seconds 600``: inputs in three sizes, of which the larger may cost no more for each byte.

Each find is an input whose time or memory grows faster than its bytes, that costs more than any input may, that ends a
process, or that raises what was not promised. It is printed with its builder and seed, which make it again:
``python -m fuzz.scaling --only NAME --seed SEED --once``.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final, final

from attrs import field, frozen

from fuzz.growing import BUILDERS, Build, Files
from quantlevels import CheckpointError, ConfigError, QuantizationLevel, inspect
from quantlevels.config import levels_file, load
from quantlevels.vocabulary.registry import Registry

MIB: Final = 1 << 20
#: what any input may cost, whatever it holds
_LEAST_BYTES, _PER_BYTE = 64 * MIB, 16
_LEAST_SECONDS, _SECONDS_PER_BYTE = 2.0, 4e-6
#: the smallest size of an input is the first that has so many bytes, or so many parts
_SMALL, _MOST_PARTS = 30_000, 1 << 16
_GROWTH: Final = 4
#: exponents of cost over bytes that are faster than linear; noise, caches and sorting stay below
_MOST_TIME_EXPONENT, _MOST_MEMORY_EXPONENT = 1.4, 1.25
#: costs that are too small to tell how they grow
_LEAST_TOLD_SECONDS, _LEAST_TOLD_BYTES = 0.02, 24 * MIB  # free memory of the heap hides the first of it
_TRIES: Final = 3
#: of one process
_MOST_SECONDS, _MOST_ADDRESSES = 60, 4 << 30


@frozen
class _Settings:
    """What a config file may hold."""

    weights: Mapping[str, QuantizationLevel] = field(factory=dict[str, QuantizationLevel])
    items: tuple[QuantizationLevel, ...] = ()
    level: QuantizationLevel | None = None


@final
@frozen
class Cost:
    """What one input took: its bytes, seconds of the processor, bytes of memory; and what went wrong, if anything."""

    size: int
    seconds: float
    memory: int
    wrong: str = ""
    #: false for a file of settings, in which each mistake is an exception: what it costs must be linear, and no more
    is_header: bool = True


def _read(path: Path) -> None:
    """Read a file as users do, up to the text of each finding."""
    with suppress(CheckpointError, ConfigError):
        if path.stem == "settings":
            load(path, _Settings)
        elif path.stem == "levels":
            levels_file(path, registry=Registry(plugins="off"))
        else:
            report = inspect(path)
            json.dumps(report.to_record())
            for finding in report.findings:
                str(finding)


def _in_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:  # Any: JSON
    """What work gives that is done in a process of its own, which takes its memory along."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS + 1))
            resource.setrlimit(resource.RLIMIT_AS, (_MOST_ADDRESSES, _MOST_ADDRESSES))
            with os.fdopen(writer, "w") as out:
                json.dump(work(), out)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    if text:
        found: dict[str, Any] = json.loads(text)  # Any: JSON
        return found
    code = os.waitstatus_to_exitcode(status)
    return {"wrong": f"ended by {signal.Signals(-code).name}" if code < 0 else "ended without an answer"}


def _write(folder: Path, files: Files) -> dict[str, Any]:  # Any: JSON
    """Write an input, and give the name of what to read and the bytes of all: contents and names of files."""
    for name, content in files.items():
        if name:
            (folder / name).write_bytes(content)
    return {"name": next(iter(files)), "size": sum(len(name) + len(content) for name, content in files.items())}


def _timed(path: Path) -> dict[str, Any]:  # Any: JSON
    before, start = _resident(), time.process_time()
    try:
        _read(path)
    except MemoryError:
        return {"wrong": "out of memory"}
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return {"wrong": f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {error}"[:200]}
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "memory": max(0, peak - before)}


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def cost(build: Build, seed: str, n: int, tries: int = 1) -> Cost:
    """What it takes to read an input of a size, the least of several tries."""
    folder = Path(tempfile.mkdtemp(prefix="scaling-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        written = _in_child(lambda: _write(folder, build(Random(seed), n)))
        if "wrong" in written:
            return Cost(0, 0, 0, f"not made: {written['wrong']}")
        results = [_in_child(lambda: _timed(folder / written["name"])) for _ in range(tries)]
    finally:
        shutil.rmtree(folder)
    for result in results:
        if "wrong" in result:
            return Cost(written["size"], _MOST_SECONDS, 0, result["wrong"])
    return Cost(
        size=written["size"],
        seconds=min(result["seconds"] for result in results),
        memory=min(result["memory"] for result in results),
        is_header=not written["name"].startswith(("settings", "levels")),
    )


def _beyond(cost: Cost) -> str:
    """What is wrong with the cost of an input on its own; empty if nothing is."""
    if cost.wrong:
        return cost.wrong
    if cost.is_header and cost.memory > _LEAST_BYTES + _PER_BYTE * cost.size:
        return f"{cost.memory / MIB:.0f} MiB for {cost.size / MIB:.1f} MiB"
    if cost.is_header and cost.seconds > _LEAST_SECONDS + _SECONDS_PER_BYTE * cost.size:
        return f"{cost.seconds:.1f} s for {cost.size / 1e6:.1f} MB"
    return ""


def _exponent(small: float, middle: float, large: float, sizes: Sequence[int], least: float) -> float:
    """The power of its bytes by which a cost grows; 0 if that cannot be told.

    It is that of what each size adds: what all have in common does not count.
    """
    added, bytes_added = middle - small, sizes[1] - sizes[0]
    more, bytes_more = large - middle, sizes[2] - sizes[1]
    if added < least or more <= added or bytes_added <= 0 or bytes_more < 2 * bytes_added:
        return 0
    return math.log(more / added) / math.log(bytes_more / bytes_added)


def _growth(costs: Sequence[Cost]) -> str:
    """What is wrong with how the costs of an input in three sizes grow; empty if nothing is."""
    sizes = [cost.size for cost in costs]
    small, middle, large = (cost.seconds for cost in costs)
    exponent = _exponent(small, middle, large, sizes, _LEAST_TOLD_SECONDS)
    if exponent > _MOST_TIME_EXPONENT:
        return f"time grows by the power of {exponent:.2f}: {small:.3f}, {middle:.3f}, {large:.3f} s"
    small, middle, large = (cost.memory / MIB for cost in costs)
    exponent = _exponent(small, middle, large, sizes, _LEAST_TOLD_BYTES / MIB)
    if exponent > _MOST_MEMORY_EXPONENT:
        return f"memory grows by the power of {exponent:.2f}: {small:.0f}, {middle:.0f}, {large:.0f} MiB"
    return ""


def check(name: str, seed: str, *, verbose: bool = False) -> str:
    """Measure an input in three sizes; what is wrong with it, or nothing.

    What grows too fast is measured again, as another process may have been in the way, and once more in a larger size:
    a cost that has a limit of its own, as that of matching patterns, grows fast until it is reached.
    """
    build, n = BUILDERS[name], 16
    while n < _MOST_PARTS and sum(map(len, build(Random(seed), n).values())) < _SMALL:
        n *= 2
    numbers = [n, n * _GROWTH, n * _GROWTH**2]
    costs = [cost(build, seed, number) for number in numbers]
    if any(map(_beyond, costs)) or _growth(costs):
        costs = [cost(build, seed, number, _TRIES) for number in numbers]
    if _growth(costs) and not any(map(_beyond, costs)):
        numbers = [number * _GROWTH for number in numbers]
        costs = [*costs[1:], cost(build, seed, numbers[-1], _TRIES)]
    if verbose:
        for each in costs:
            print(f"  {name} {seed}: {each}", flush=True)
    wrong = next(filter(None, map(_beyond, costs)), "") or _growth(costs)
    return f"{wrong} (n = {numbers[0]}, {costs[-1].size:,} bytes at most)" if wrong else ""


def main() -> int:
    """Run until so many seconds of the processor are used; the exit status is 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.scaling", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of the processor, in all processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=BUILDERS, action="append", help="builders to run; all if not given")
    parser.add_argument("--once", action="store_true", help="measure this seed alone, and print its costs")
    arguments = parser.parse_args()
    names = arguments.only or list(BUILDERS)
    gc.freeze()
    done: Counter[str] = Counter()
    found: Counter[str] = Counter()
    seed = arguments.seed
    _warm_up()
    while arguments.once or _used() < arguments.seconds:
        for name in names:
            done[name] += 1
            if wrong := check(name, f"{name} {seed}", verbose=arguments.once):
                found[name] += 1
                print(f"{name} --seed {seed}: {wrong}", flush=True)
        seed += 1
        if arguments.once:
            break
        if not (seed - arguments.seed) % 5:
            print(f"# {done.total():,} inputs, {found.total()} found, {_used():,.0f} s, seed {seed}", flush=True)
    print(f"{done.total():,} inputs in three sizes, {found.total()} found, {_used():,.0f} s of the processor")
    return 1 if found else 0


def _warm_up() -> None:
    """Import what readers import when they are first used: it is no cost of an input."""
    folder = Path(tempfile.mkdtemp(prefix="scaling-"))
    for name, build in BUILDERS.items():
        for seed in range(20):
            place = folder / f"{name}-{seed}"
            place.mkdir()
            with suppress(Exception):
                _read(place / _write(place, build(Random(seed), 4))["name"])
    shutil.rmtree(folder)
    gc.collect()


def _used() -> float:
    """Seconds of the processor that this process and those it started have taken."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    sys.exit(main())
