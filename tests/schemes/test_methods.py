"""The page that says which methods are read says it of all of them."""

from __future__ import annotations

import re
from pathlib import Path

from quantlevels.schemes import shipped

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_lists_exactly_the_methods_that_are_read() -> None:
    rows = re.findall(r"^\| (`.*?) \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {method for row in rows for method in re.findall(r"`([^`]+)`", row)}
    assert listed == {scheme.method for scheme in shipped().values()}
