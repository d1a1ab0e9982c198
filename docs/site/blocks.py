"""Code blocks with a file name: run by MkDocs on every page.

After its language, a block may have the name of its file, which the tests of the pages read. GitHub ignores that name,
but the extension of the site does not take such a block for code. On the site, the name becomes the block's title.
"""

from __future__ import annotations

import re
from typing import Final

_NAMED: Final = re.compile(r"^```(?P<language>\w+) (?P<file>[^\s=]+)$", re.MULTILINE)


def on_page_markdown(markdown: str, **_context: object) -> str:
    """Called by MkDocs."""
    return _NAMED.sub(r'```\g<language> title="\g<file>"', markdown)
