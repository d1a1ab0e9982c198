"""What the README prints was really printed; ``python -m tests.test_readme`` has the commands print it anew."""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"

#: a command line of quantlevels in a console block, and what is printed under it
_COMMAND = re.compile(r"^\$ quantlevels (?P<arguments>.+)\n(?P<printed>(?:(?!\$ |```).*\n)*)", re.MULTILINE)
COMMANDS: dict[str, str] = dict(_COMMAND.findall(README.read_text(encoding="utf-8")))


def printed(arguments: str) -> str:
    line = [sys.executable, "-m", "quantlevels", *shlex.split(arguments)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    return done.stdout + done.stderr


def test_python_examples() -> None:
    failed, attempted = doctest.testfile(str(README), module_relative=False, encoding="utf-8")
    assert attempted
    assert not failed


def test_pictures_are_there() -> None:
    """That the one of an inspection is what the command draws today, `tests/cli/test_docs.py` sees."""
    pictures = re.findall(r"^!\[(.+)\]\((.+)\)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert [place for _, place in pictures] == ["docs/inspect.svg"]
    assert all((ROOT / place).is_file() for _, place in pictures)


@pytest.mark.parametrize("arguments", COMMANDS)
def test_commands(arguments: str) -> None:
    assert printed(arguments) == COMMANDS[arguments]


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    anew = _COMMAND.sub(lambda found: f"$ quantlevels {found['arguments']}\n{printed(found['arguments'])}", text)
    README.write_text(anew, encoding="utf-8")
