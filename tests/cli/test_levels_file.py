"""``--levels-file``: levels of a file's own, on the commands that name levels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def quantlevels(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, for it registers levels."""
    return subprocess.run(
        [sys.executable, "-m", "quantlevels", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text("[levels.Int4Mine]\nbits_per_param = 4\nblock = { weights = 32, bits = 144 }\n")
    return str(path)


def test_its_levels_are_known_wherever_the_option_stands(file: str) -> None:
    shown = quantlevels("show", "Int4Mine", "--levels-file", file, "--json")
    assert json.loads(shown.stdout)["name"] == "Int4Mine"
    sized = quantlevels("size", "--levels-file", file, "--params", "1M", "--level", "Int4Mine", "--json")
    assert json.loads(sized.stdout)["tensor_bytes"] == 1_000_000 * 144 // 32 // 8


def test_its_mistakes_are_one_line_each(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[levels.Int4]\nbits_per_param = 5\n[levels.Mine]\nbits_per_param = 0\n")
    refused = quantlevels("list", "--levels-file", str(path))
    assert refused.returncode == 2
    assert not refused.stdout
    lines = refused.stderr.splitlines()
    assert len(lines) == 2
    assert all("bad.toml: $.levels." in line for line in lines)
