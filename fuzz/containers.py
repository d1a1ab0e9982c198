"""Where the small files are that the tools of containers wrote themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CONTAINERS: Final = Path(__file__).parents[1] / "tests/data/containers"
