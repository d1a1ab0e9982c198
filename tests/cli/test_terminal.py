"""What reaches a terminal: widths, colors, and nothing that a file could have smuggled in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.cli.conftest import INT4_CONFIG, W4A8, W4A16, Tensors, write_checkpoint, write_shards

from quantlevels.cli.program import reasons
from quantlevels.cli.render import beginning, end, visible, width

pty = pytest.importorskip("pty")

#: colors and styles, the only sequences that may be written
SGR = re.compile(r"\x1b\[[0-9;]*m")
#: ESC, an 8-bit CSI, an OSC that sets the title, right-to-left override, newline, bell
HOSTILE = "evil\x1b[2Jname\x9b31m\x1b]0;title\x07\u202egnp.exe\n\u2028end"


QUANTLEVELS = [sys.executable, "-m", "quantlevels"]


def on_terminal(
    *arguments: str | Path, columns: int = 80, program: Sequence[str] = QUANTLEVELS, **environment: str
) -> str:
    """What the command writes to a terminal of so many columns."""
    reader, writer = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color", **environment}
    with subprocess.Popen(
        [*program, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer,
        env=environment,
    ):
        os.close(writer)
        written = b""
        while True:
            try:
                chunk = os.read(reader, 65536)
            except OSError:  # how Linux says that the other side is closed
                break
            if not chunk:
                break
            written += chunk
    os.close(reader)
    return written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [50, 80, 140])
def test_nothing_important_is_wrapped_away(columns: int, w4a8: Path) -> None:
    text = SGR.sub("", on_terminal("inspect", w4a8, columns=columns, NO_COLOR="1"))
    assert max(map(len, text.splitlines())) <= columns
    flat = " ".join(text.split())
    for fact in ("INT4 at 4.125 bits, groups of 128, symmetric", "INT4 at 8.125 bits", "96.75 KiB (99,072 B)", "QL101"):
        assert fact in flat


#: as many weights as people serve, at a level with a long name
LARGE: Tensors = {
    "model.layers.0.mlp.up_proj.weight": ("F8_E4M3FNUZ", (671_000, 1_000_000)),
    "model.norm.weight": ("BF16", (128,)),
}


@pytest.mark.parametrize("columns", [60, 72, 80, 100, 140])
def test_no_figure_is_folded(columns: int, tmp_path: Path) -> None:
    lines = SGR.sub("", on_terminal("inspect", write_checkpoint(tmp_path, LARGE), columns=columns)).splitlines()
    assert max(map(len, lines)) <= columns
    figures = ["FP8_E4M3FNUZ", "671,000,000,000", "624.92 GiB", "8.0000", "100.0%"]
    row = next(line for line in lines if line.startswith(" FP8_E4M3FNUZ "))
    assert [figure for figure in figures if figure in row] == figures


@pytest.mark.parametrize("columns", [0, 1, 9])
def test_a_terminal_without_width_loses_nothing(columns: int, w4a8: Path) -> None:
    text = "".join(SGR.sub("", on_terminal("inspect", w4a8, columns=columns)).split())
    assert "INT4at4.125bits,groupsof128,symmetric+BF16" in text
    assert "model.layers.0.mlp.up_proj" in text


def test_an_ascii_terminal_gets_no_bars(w4a8: Path) -> None:
    assert r"\u2501" not in on_terminal("inspect", w4a8, PYTHONIOENCODING="ascii")


def test_wide_characters_count_twice(tmp_path: Path, w4a16: Path) -> None:
    name = "model.layers.0." + "投影" * 30 + ".end"
    other = write_checkpoint(tmp_path / ("模型" * 12), {**W4A16, name: ("BF16", (4, 4))}, INT4_CONFIG)
    text = SGR.sub("", on_terminal("compare", other, w4a16, columns=60))
    assert max(width(line) for line in text.splitlines()) <= 60
    assert "投影.end " in text


def test_github_annotations_stay_whole_lines_on_a_terminal(w4a8: Path) -> None:
    (line,) = on_terminal("verify", w4a8, "--format", "github", columns=50).splitlines()
    assert line.startswith("::error file=")
    assert line.endswith(" bytes")


def test_a_terminal_gets_bars_and_colors(w4a8: Path) -> None:
    text = on_terminal("inspect", w4a8)
    assert "━" in text
    assert "\x1b[" in text


def test_no_color_is_honored(w4a8: Path) -> None:
    text = on_terminal("inspect", w4a8, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3\d", text)


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_names_from_files_cannot_move_the_cursor(command: str, tmp_path: Path) -> None:
    tensors = {**W4A8, HOSTILE: ("BF16", (4, 4))}
    tensors = {name.replace("up_proj", f"up{HOSTILE}"): tensor for name, tensor in tensors.items()}
    folder = write_checkpoint(tmp_path / "model", tensors, INT4_CONFIG)
    text = SGR.sub("", on_terminal(command, folder))
    assert "QL101" in text
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    assert r"\x1b[2J" in text.replace("\n  ", "")


def test_a_path_cannot_move_the_cursor(tmp_path: Path) -> None:
    text = on_terminal("inspect", tmp_path / "a\x1b[31mb")
    assert "\x1b[31m" not in text


def test_visible_escapes_and_cuts() -> None:
    assert visible(HOSTILE + "\ud800").isprintable()
    assert visible("näïve 模型 ✓") == "näïve 模型 ✓"
    assert len(visible("x" * 1_000_000)) <= 301


def test_text_is_cut_by_the_columns_it_takes() -> None:
    assert (width("a模b"), width("e\u0301"), width("")) == (4, 1, 0)
    assert (beginning("a模b", 2), beginning("a模b", 3), beginning("ab", 9)) == ("a", "a模", "ab")
    assert (end("a模b", 2), end("a模b", 3), end("ab", 0)) == ("b", "模b", "")


def test_a_slow_folder_gets_a_bar_that_goes_away(tmp_path: Path) -> None:
    sharded = write_shards(tmp_path / "many", 5)
    slow = (
        "import sys, quantlevels.cli.progress as p\n"
        "p.progress_bar.__defaults__ = (-1,)\n"
        "from quantlevels.cli.program import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    (tmp_path / "slow.py").write_text(slow)
    text = on_terminal("inspect", sharded, program=[sys.executable, str(tmp_path / "slow.py")])
    assert "reading headers" in text
    assert "/5 files" in SGR.sub("", text)
    assert "\x1b[2K" in text
    assert "5 files)" in SGR.sub("", text.rpartition("\x1b[2K")[2])


def test_no_bar_for_a_fast_folder(tmp_path: Path) -> None:
    assert "reading" not in on_terminal("inspect", write_shards(tmp_path / "many", 5))


def test_an_error_of_the_system_without_a_number_keeps_its_words() -> None:
    """Libraries raise OSError with a text alone, which has no ``strerror``."""
    assert reasons(OSError("the mount is gone")) == ("output: the mount is gone",)
