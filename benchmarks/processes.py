"""Whole processes: imports, the command line, a first small checkpoint."""

from __future__ import annotations

import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.checkpoints import GPTQ, dense, gptq_experts, write
from benchmarks.measurement import Measurement, children_time, medians, process

ROUNDS: Final = 25

BARE: Final = """
import click

@click.group()
@click.version_option("1.0", prog_name="bare")
def main() -> None:
    "A program with two commands."

@main.command()
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def first(path: str, as_json: bool) -> None:
    "One command."

@main.command()
@click.argument("path")
def second(path: str) -> None:
    "Another command."

main()
"""


def measure() -> Iterator[Measurement]:
    """Imports and reading against ``import attrs``, help and version against a bare click program."""
    with tempfile.TemporaryDirectory() as folder:
        plain = str(write(Path(folder, "plain"), dense(), 8, config={"dtype": "bfloat16"}))
        quantized = str(write(Path(folder, "quantized"), gptq_experts(), 10, config=GPTQ))
        bare = Path(folder, "bare.py")
        bare.write_text(BARE, encoding="utf-8")
        yield from _beside_attrs(plain, quantized)
        for option in ("--version", "--help"):
            ours, theirs = _alternating([_command(), option], [sys.executable, str(bare), option])
            yield Measurement(
                what=f"quantlevels {option}",
                value=ours,
                yardstick="click program with two commands",
                yardstick_value=theirs,
                budget=1.35,
            )


def _beside_attrs(plain: str, quantized: str) -> Iterator[Measurement]:
    rows = {
        "from quantlevels import INT4, levels": (
            [sys.executable, "-c", "from quantlevels import INT4, levels"],
            1.12,
        ),
        "from quantlevels import inspect, first checkpoint": (
            [sys.executable, "-c", f"from quantlevels import inspect; inspect({plain!r})"],
            2.0,
        ),
        "quantlevels inspect, quantized checkpoint": ([_command(), "inspect", quantized], 2.2),
    }
    for what, (command, budget) in rows.items():
        ours, theirs = _alternating(command, [sys.executable, "-c", "import attrs"])
        yield Measurement(
            what=what, value=ours, yardstick="python -c 'import attrs'", yardstick_value=theirs, budget=budget
        )


def _alternating(ours: list[str], theirs: list[str]) -> list[float]:
    commands = [process(*ours), process(*theirs)]
    for command in commands:
        command()  # writes the byte code
    return medians(commands, ROUNDS, clock=children_time)


def _command() -> str:
    return str(Path(sysconfig.get_path("scripts"), "quantlevels"))
