"""A survey as one page for a browser: sortable, filterable, and without anything from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from quantlevels.inspection.records import SurveyRow

_PLACE: Final = "/*DATA*/"
#: what would end the script that holds the data, or begin a comment in it
_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def page(rows: Iterable[SurveyRow], roots: Sequence[str]) -> str:
    """The page of some rows.

    Args:
        rows: what the page lists.
        roots: what was surveyed, for its heading.
    """
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    data = json.dumps({"made": made, "roots": list(roots), "rows": list(rows)}, separators=(",", ":"))
    # JSON keeps its meaning with these escapes, and HTML sees no tag: names in files are anybody's to choose
    for char, escape in _ESCAPES.items():
        data = data.replace(char, escape)
    template = files("quantlevels.survey").joinpath("page.html").read_text(encoding="utf-8")
    return template.replace(_PLACE, data)
