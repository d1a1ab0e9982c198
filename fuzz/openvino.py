"""OpenVINO models, without the file of their bytes."""

from __future__ import annotations

from fuzz.containers import CONTAINERS
from fuzz.invariants import check_file

SEEDS = tuple((CONTAINERS / f"openvino/{name}/openvino_model.xml").read_bytes() for name in ("fp16", "cb4", "nvfp4"))


def run(data: bytes) -> None:
    """Inspect a file of these bytes."""
    check_file("model.xml", data)
