"""The measuring of the benchmarks: medians, memory, budgets, and the record for machines."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import pytest
from benchmarks import __main__ as program
from benchmarks.measurement import MIB, Measurement, added_memory, medians, shown

HOME = Path(program.__file__).parent


def test_every_benchmark_has_its_name() -> None:
    shared = {"__init__", "__main__", "measurement", "checkpoints"}
    assert {path.stem for path in HOME.glob("*.py")} - shared == set(program.NAMES)


def test_garbage_collection_is_off_while_the_clock_runs() -> None:
    states: list[bool] = []
    medians([lambda: states.append(gc.isenabled())] * 2, rounds=3)
    assert states == [False] * 6
    assert gc.isenabled()


def allocate(path: Path) -> object:
    """A job that needs as many bytes as its input has."""
    return bytearray(path.stat().st_size)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured on Linux alone")
def test_memory_is_what_a_job_adds(tmp_path: Path) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    small.write_bytes(b"")
    with large.open("wb") as file:
        file.truncate(64 * MIB)
    added = added_memory(allocate, large, small)
    assert added is not None
    assert 63 < added < 70


@pytest.mark.parametrize(
    ("measurement", "ratio", "held"),
    [
        (Measurement(what="a", value=3.0, yardstick="b", yardstick_value=2.0, budget=1.5), 1.5, True),
        (Measurement(what="a", value=3.1, yardstick="b", yardstick_value=2.0, budget=1.5), 1.55, False),
        (Measurement(what="a", value=3.0, unit="MiB", budget=2.0), None, False),
        (Measurement(what="a", value=3.0), None, True),
    ],
)
def test_a_budget_is_of_the_ratio_or_of_the_value(measurement: Measurement, ratio: float | None, held: bool) -> None:
    assert (measurement.ratio, measurement.held) == (ratio, held)


def test_costs_are_shown_with_three_digits() -> None:
    assert [shown(value, "s") for value in (1.234, 0.01234, 1.234e-5, 1.234e-8, None)] == [
        "1.23 s",
        "12.3 ms",
        "12.3 µs",
        "12.3 ns",
        "",
    ]


def test_json_is_one_record_with_every_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    status = program.main(["structuring", "--json"])
    record = json.loads(capsys.readouterr().out)
    assert record["machine"]["python"] == sys.version.split()[0]
    first, *_ = record["measurements"]
    assert first["ratio"] == pytest.approx(first["value"] / first["yardstick_value"])
    assert status == int(not all(row["held"] for row in record["measurements"]))
