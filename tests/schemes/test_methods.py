"""The page of methods lists every method that is read, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from quantlevels.schemes import shipped_schemes

PAGE = Path(__file__).parents[2] / "docs/methods.md"


def test_the_page_lists_exactly_the_known_methods() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {method for row in rows for method in re.findall(r"`([^`]+)`", row)}
    assert listed == {scheme.method for scheme in shipped_schemes().values()}
