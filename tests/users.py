"""A process that may no more than everybody, also if root runs the tests, whom the system refuses nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unprivileged() -> Generator[Path]:
    """An empty folder of another user that everybody can reach, while this process may no more than everybody."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(65534)
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)
        for place in folder.rglob("*"):
            place.chmod(0o755)
        shutil.rmtree(folder)


@contextmanager
def owner() -> Generator[None]:
    """Within `unprivileged`: as the user who owns the folder."""
    effective = os.geteuid()
    os.seteuid(os.getuid())
    try:
        yield
    finally:
        os.seteuid(effective)
