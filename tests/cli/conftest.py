"""The command line as tests use it: in this process where that is enough, in a real one at the edges."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from quantlevels.cli.commands import run


@frozen
class Answer:
    status: int
    out: str
    err: str


Ask = Callable[..., Answer]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """``ask("show", "int4")``: the command in this process, its output not a terminal."""

    def ask(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        return Answer(status, *capsys.readouterr())

    return ask


@pytest.fixture
def process() -> Ask:
    """``process("show", "int4")``: the command in a process of its own; ``env=`` and ``stdin=`` as in `subprocess`."""

    def process(*arguments: str | Path, **options: object) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "quantlevels", *map(str, arguments)],
            capture_output=True,
            timeout=60,
            check=False,
            **options,
        )
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    return process
