"""Paths that CONTRIBUTING and SECURITY name are there, and every module of the package has its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import quantlevels

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/quantlevels"
#: where a path in backticks may begin
BASES = (ROOT, PACKAGE)
PATH = re.compile(r"`([a-z_]+(?:/[a-zA-Z_]*)+(?:\.[a-z]+)?)`")


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_named_paths_exist(page: str) -> None:
    paths = set(PATH.findall((ROOT / page).read_text(encoding="utf-8")))
    assert paths
    assert not [path for path in paths if not any((base / path).exists() for base in BASES)]


def test_every_module_has_its_row() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    named = {name.rstrip("/") for row in rows for name in re.findall(r"`([a-z_]+/?)`", row)}
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert modules - {"__init__", "__main__", "testing"} == named


@pytest.mark.skipif(not (ROOT / "CITATION.cff").exists(), reason="an sdist has no citation")
def test_changelog_and_citation_name_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)[0] in ("Unreleased", quantlevels.__version__)
    assert f"\nversion: {quantlevels.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
