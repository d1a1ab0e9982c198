"""The lists of distributed PyTorch checkpoints."""

from __future__ import annotations

from fuzz.containers import CONTAINERS
from fuzz.invariants import check_file

SEEDS = tuple((CONTAINERS / f"dcp/{name}/.metadata").read_bytes() for name in ("nested", "with_optimizer", "float8"))


def run(data: bytes) -> None:
    """Inspect a file of these bytes."""
    check_file(".metadata", data)
