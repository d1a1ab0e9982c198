"""Console blocks of a page: command lines of quantlevels, and what is printed under them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

_COMMAND = re.compile(r"^\$ quantlevels (?P<arguments>.+)\n(?P<printed>(?:(?!\$ |```).*\n)*)", re.MULTILINE)


def commands(page: Path) -> dict[str, str]:
    """The arguments of each command of a page → what the page says that it prints."""
    return dict(_COMMAND.findall(page.read_text(encoding="utf-8")))


def printed(folder: Path, arguments: str) -> str:
    """What a command prints in a folder."""
    line = [sys.executable, "-m", "quantlevels", *shlex.split(arguments)]
    done = subprocess.run(line, cwd=folder, capture_output=True, encoding="utf-8", check=False)
    return done.stdout + done.stderr


def printed_anew(text: str, folder: Path) -> str:
    """A text with what its commands print today under each of them."""
    return _COMMAND.sub(
        lambda found: f"$ quantlevels {found['arguments']}\n{printed(folder, found['arguments'])}", text
    )


def print_anew(page: Path, folder: Path) -> None:
    """Put under each command of a page what it prints today."""
    page.write_text(printed_anew(page.read_text(encoding="utf-8"), folder), encoding="utf-8")
