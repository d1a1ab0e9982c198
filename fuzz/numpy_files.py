"""NumPy arrays and archives of them."""

from __future__ import annotations

from fuzz.containers import CONTAINERS
from fuzz.invariants import check_file

SEEDS = (
    *((CONTAINERS / f"npz/{name}/weights.npz").read_bytes() for name in ("q4_g64", "compressed")),
    (CONTAINERS / "npz/array.npy").read_bytes(),
)


def run(data: bytes) -> None:
    """Inspect a file of these bytes."""
    check_file("weights.npz", data)
