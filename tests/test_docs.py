"""Every example in the pages of `docs/` is run, in the order of the page, and prints what the page says.

A block of python is run in a folder and a namespace of its page. A block of text is what the python before it printed.
A block with a file name after its language is that file.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from quantlevels import levels

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"^```(?P<language>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [page.name for page in sorted(DOCS.glob("*.md"))])
def test_examples(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(levels, "_registered", levels._registered)  # what an example registers ends with its page
    module = ModuleType(f"examples_of_{page.removesuffix('.md')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
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
            assert printed == block["text"]
