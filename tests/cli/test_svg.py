"""Pictures: well-formed, self-contained, and nothing over anything else."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from tests.cli.conftest import INT4_CONFIG, PLAIN, W4A8, W4A16, Tensors, write_checkpoint

from quantlevels import levels
from quantlevels.cli.render import width as columns
from quantlevels.vocabulary.formats import NOT_OF_WEIGHTS

if TYPE_CHECKING:
    from tests.cli.conftest import Ask

NAME = '<script>alert("1")</script> & \x1b[31m]]>'
TEXT = "{http://www.w3.org/2000/svg}text"
#: width of a character of the monospaced and, generously, of the proportional fonts
WIDTHS = {"title": 11.5, "big": 14.5, "small": 6.6}


def boxes(picture: str) -> list[tuple[str, float, float, float]]:
    """Content, line, left and right edge of every text."""
    found = []
    for text in ET.fromstring(picture).iter(TEXT):
        content = text.text or ""
        width = columns(content) * WIDTHS.get(text.get("class", "").split(" ")[0], 7.83)
        x = float(text.get("x", "0")) - width * {"end": 1, "middle": 0.5}.get(text.get("text-anchor", ""), 0)
        found.append((content, float(text.get("y", "0")), x, x + width))
    return found


def overlaps(picture: str) -> list[tuple[str, str]]:
    return [
        (a[0], b[0])
        for a, b in combinations(boxes(picture), 2)
        if abs(a[1] - b[1]) < 11 and a[2] < b[3] - 1 and b[2] < a[3] - 1
    ]


@pytest.fixture
def pictures(ask: Ask, tmp_path: Path) -> dict[str, str]:
    """One of each, of checkpoints with many levels and names that are hostile."""
    dtypes = ("F64", "F32", "BF16", "F16", "I8", "U8", "F8_E4M3", "F8_E5M2", "F4", "F6_E2M3", "F6_E3M2", "C64")
    many = {f"layers.0.{NAME}{n}.weight": (dtype, (64 * (n + 1), 64)) for n, dtype in enumerate(dtypes)}
    tensors = {name.replace("mlp", NAME): tensor for name, tensor in W4A8.items()}
    first = write_checkpoint(tmp_path / "an & a < b" / ("long " * 40), {**tensors, **many}, INT4_CONFIG)
    second = write_checkpoint(tmp_path / ("模型 " * 20), {**W4A16, **PLAIN}, INT4_CONFIG)
    commands = {
        "inspect": ("inspect", first),
        "compare": ("compare", first, second),
        "fit": ("fit", "--params", "70.6B", "--memory", "80GB", "--all"),
    }
    for name, command in commands.items():
        assert ask(*command, "--svg", tmp_path / f"{name}.svg").status in (0, 1)
    return {name: (tmp_path / f"{name}.svg").read_text() for name in commands}


@pytest.mark.parametrize("name", ["inspect", "compare", "fit"])
def test_pictures_stand_alone(pictures: dict[str, str], name: str) -> None:
    picture = pictures[name]
    root = ET.fromstring(picture)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "style", "rect", "text", "line"}
    assert not re.search(r"\b(href|src|url\(|@import)", picture)
    assert "prefers-color-scheme:dark" in picture


@pytest.mark.parametrize("name", ["inspect", "compare", "fit"])
def test_nothing_overlaps_or_leaves_the_picture(pictures: dict[str, str], name: str) -> None:
    assert overlaps(pictures[name]) == []
    _, _, width, height = map(float, ET.fromstring(pictures[name]).get("viewBox", "").split())
    assert all(left >= 0 and right <= width and 0 < y < height for _, y, left, right in boxes(pictures[name]))


@pytest.mark.parametrize("name", ["Kimi-K2-" * 12 + "W4A8", "模型🦙" * 20, "x"])
def test_large_and_wide_does_not_overlap(ask: Ask, tmp_path: Path, name: str) -> None:
    tensors: Tensors = {"model.layers.0.mlp.up_proj.weight": ("F8_E4M3FNUZ", (1_000_000, 1_026_408))}
    model = write_checkpoint(tmp_path / name, tensors)
    for command in (("inspect", model), ("compare", model, model)):
        ask(*command, "--svg", tmp_path / "it.svg")
        picture = (tmp_path / "it.svg").read_text()
        assert overlaps(picture) == []
        assert max(right for *_, right in boxes(picture)) <= 860
        assert "W4A8" in picture or not name.endswith("W4A8")


def test_fit_names_every_level(pictures: dict[str, str]) -> None:
    named = {word.strip(",") for content, *_ in boxes(pictures["fit"]) for word in content.split()}
    assert {level.label for level in levels if level.name not in NOT_OF_WEIGHTS} <= named


def test_a_picture_that_cannot_be_written_is_one_line(ask: Ask, w4a16: Path, tmp_path: Path) -> None:
    answer = ask("inspect", w4a16, "--svg", tmp_path / "no" / "such" / "folder.svg")
    assert (answer.status, answer.err.count("\n")) == (2, 1)
