"""Install lines of the site: run by MkDocs on every page.

The pages install from the repository, which works before anything was released. The workflow that publishes the site
sets QUANTLEVELS_RELEASE to the newest tag, if there is one; then they install from the package index.
"""

from __future__ import annotations

import os


def as_released(text: str, tag: str) -> str:
    """A page with install lines that name the package index and the tag."""
    return text.replace(" @ git+https://github.com/quantlevels/quantlevels", "").replace("rev: main", f"rev: {tag}")


def on_page_markdown(markdown: str, **_context: object) -> str:
    """Called by MkDocs."""
    tag = os.environ.get("QUANTLEVELS_RELEASE")
    return as_released(markdown, tag) if tag else markdown
