"""What each finding means and what to do about it: the sections of ``explanations.md``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


def explanation(code: str) -> str:
    """The paragraphs on a code of ``quantlevels.findings.CODES``, an empty line between two, each on one line.

    Raises:
        KeyError: if the code does not exist.
    """
    return _sections()[code]


@cache
def _sections() -> dict[str, str]:
    text = files("quantlevels.inspection").joinpath("explanations.md").read_text(encoding="utf-8")
    found = {}
    for section in text.split("\n## ")[1:]:
        heading, *paragraphs = section.strip().split("\n\n")
        found[heading.split()[0]] = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
    return found
