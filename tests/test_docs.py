"""Every example in the pages of `docs/` is run, in the order of the page, and prints what the page says.

A block of python is run in a folder and a namespace of its page. A block of text is what the python before it printed.
A block of console commands of quantlevels is followed by what they print. A block with a file name after its language
is that file. ``python -m tests.test_docs survey.md`` prints the text and console blocks of a page anew.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.consoles import printed_anew
from tests.survey.stores import write_fleet
from tests.values.examples import write_release

from quantlevels import levels

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLES = DOCS.parent / "examples"
_BLOCK = re.compile(r"^```(?P<language>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
#: pages whose console blocks are shown with models of their own, by a test of their own
_OWN_TESTS = ("command-line.md",)
#: page → the libraries that its examples show, and that may be missing
_LIBRARIES = {
    "remote.md": ("fsspec", "huggingface_hub", "urllib3"),
    "survey.md": ("duckdb", "fsspec", "huggingface_hub", "urllib3"),
    "settings.md": ("click", "typer", "cyclopts", "tyro", "pydantic_settings", "omegaconf", "hydra"),
}
#: page → what has to be in the folder in which it is run
_PREPARED: dict[str, Callable[[Path], object]] = {
    "remote.md": lambda folder: shutil.copytree(EXAMPLES, folder / "examples"),
    "survey.md": write_fleet,
    "values.md": write_release,
    "tutorial.md": lambda folder: shutil.copytree(EXAMPLES, folder / "examples"),
}


def rerun(page: str, folder: Path, module: ModuleType) -> Iterator[tuple[re.Match[str], str]]:
    """Each block of a page that shows output, and what is printed now."""
    text = (DOCS / page).read_text(encoding="utf-8")
    _PREPARED.get(page, lambda _: None)(folder)
    printed = ""
    for block in _BLOCK.finditer(text):
        if block["file"]:
            Path(block["file"]).write_text(block["text"], encoding="utf-8")
        elif block["language"] == "python":
            line = text.count("\n", 0, block.start("text"))
            code = compile("\n" * line + block["text"], str(DOCS / page), "exec", dont_inherit=True)
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, vars(module))
            printed = out.getvalue()
        elif block["language"] == "text":
            yield block, printed
        elif block["language"] == "console" and page not in _OWN_TESTS:
            yield block, printed_anew(block["text"], folder)


@pytest.mark.parametrize("page", [page.name for page in sorted(DOCS.glob("*.md"))])
def test_examples(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in _LIBRARIES.get(page, ()):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(levels, "_registered", levels._registered)  # what an example registers ends with its page
    module = ModuleType(f"examples_of_{page.removesuffix('.md')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block, printed in rerun(page, tmp_path, module):
        assert printed == block["text"]


def test_a_released_site_installs_from_the_index() -> None:
    as_released = runpy.run_path(str(DOCS / "site/released.py"))["as_released"]
    for page in (DOCS.parent / "README.md", *DOCS.glob("*.md")):
        released = as_released(page.read_text(encoding="utf-8"), "v1.2.3")
        assert "git+" not in released
        assert "rev: main" not in released
    assert "rev: v1.2.3" in as_released((DOCS / "ci.md").read_text(encoding="utf-8"), "v1.2.3")


def test_the_site_shows_the_names_of_files_as_titles() -> None:
    on_page_markdown = runpy.run_path(str(DOCS / "site/blocks.py"))["on_page_markdown"]
    assert on_page_markdown("```toml serve.toml\na = 1\n```\n") == '```toml title="serve.toml"\na = 1\n```\n'
    for page in DOCS.glob("*.md"):
        fences = re.findall(r"^```.+$", on_page_markdown(page.read_text(encoding="utf-8")), re.MULTILINE)
        assert all(re.fullmatch(r'```\w+( title="[^"]+")?', fence) for fence in fences), page


def print_page_anew(page: str) -> None:
    """Put what is printed today into the blocks of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    module = sys.modules["examples"] = ModuleType("examples")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        blocks = list(rerun(page, Path(folder), module))
        os.chdir(DOCS)
    for block, printed in reversed(blocks):
        text = text[: block.start("text")] + printed + text[block.end("text") :]
    (DOCS / page).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print_page_anew(name)
