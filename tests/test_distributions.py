"""The wheel and the sdist: the same bytes wherever they are built, a page that an index can show, no file too many."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import quantlevels

pytest.importorskip("hatch_fancy_pypi_readme")

ROOT = Path(__file__).parents[1]
#: not in a clone: what tools leave behind
_LEFTOVERS = shutil.ignore_patterns(".*cache", ".git", ".hypothesis", ".venv", "__pycache__", "build", "dist", "site")


def build(target: str, source: Path, *, umask: int = 0o022) -> Path:
    """Build one distribution of a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(source / "dist")]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1764547200"}
    options = {} if sys.platform == "win32" else {"umask": umask}
    subprocess.run(command, cwd=source, env=environment, check=True, capture_output=True, **options)
    (built,) = (source / "dist").glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


def copied(folder: Path) -> Path:
    """A copy of the checkout, whose files are of today."""
    return shutil.copytree(ROOT, folder, ignore=_LEFTOVERS, copy_function=shutil.copyfile, symlinks=True)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("one") / "checkout")


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    return build("wheel", checkout)


@pytest.fixture(scope="module")
def sdist(checkout: Path) -> Path:
    return build("sdist", checkout)


def names_in(sdist: Path) -> Iterator[str]:
    """The names of the files in a sdist, without its folder."""
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            yield member.name.partition("/")[2]


def long_description(wheel: Path) -> str:
    """What an index shows of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(metadata)).get_payload()


def test_wheel_has_the_version_of_the_package(wheel: Path) -> None:
    assert wheel.name == f"quantlevels-{quantlevels.__version__}-py3-none-any.whl"


def test_wheel_is_the_same_wherever_it_is_built(wheel: Path, tmp_path: Path) -> None:
    elsewhere = copied(tmp_path / "another folder")
    for path in elsewhere.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o700 if path.is_dir() else 0o600)
    assert build("wheel", elsewhere, umask=0o077).read_bytes() == wheel.read_bytes()


def test_wheel_of_the_sdist_is_that_of_the_checkout(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    assert build("wheel", unpacked).read_bytes() == wheel.read_bytes()


def test_wheel_holds_the_package_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        assert "quantlevels/py.typed" in archive.namelist()
    assert tops == {"quantlevels", f"quantlevels-{quantlevels.__version__}.dist-info"}


def test_sdist_holds_what_its_tests_need_and_no_more(sdist: Path) -> None:
    tops = {name.partition("/")[0] for name in names_in(sdist)}
    assert {"src", "tests", "docs", "examples", "typings", "README.md", "pyproject.toml", "mkdocs.yml"} <= tops
    assert not tops & {".ci", ".github", ".git", ".venv", "dist", "site", "CITATION.cff", "action.yml"}


def test_links_of_the_long_description_are_absolute(wheel: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", long_description(wheel))
    assert "https://github.com/quantlevels/quantlevels/blob/main/docs/findings.md" in links
    assert "https://raw.githubusercontent.com/quantlevels/quantlevels/main/docs/inspect.svg" in links
    assert not [link for link in links if not link.startswith("https://")]


def test_long_description_installs_from_the_index(wheel: Path) -> None:
    assert "pip install 'quantlevels[cli]'" in long_description(wheel)
    assert "git+" not in long_description(wheel)
