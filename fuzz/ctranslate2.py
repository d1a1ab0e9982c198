"""CTranslate2 models."""

from __future__ import annotations

from fuzz.containers import CONTAINERS
from fuzz.invariants import check_file

SEEDS = tuple((CONTAINERS / f"ctranslate2/{name}/model.bin").read_bytes() for name in ("int8", "int16", "bfloat16"))


def run(data: bytes) -> None:
    """Inspect a file of these bytes."""
    check_file("model.bin", data)
