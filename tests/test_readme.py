"""What the README prints was really printed; ``python -m tests.test_readme`` has the commands print it anew."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
from tests.consoles import commands, print_anew, printed

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"

COMMANDS = commands(README)


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
    assert printed(ROOT, arguments) == COMMANDS[arguments]


if __name__ == "__main__":
    print_anew(README, ROOT)
