"""Layouts of one 1024 by 2048 weight, as quantizers write it or their sources say, with a config and without.

``tests/data/schemes/layouts.jsonl``: one layout a line. ``ran`` tells those that the package named as source wrote from
those worked out from its source; ``aside`` are tensors that the bits per weight leave out: activations, settings.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Found, Look

PARAMETERS = 1024 * 2048
FILE = Path(__file__).parent.parent / "data/schemes/layouts.jsonl"
LAYOUTS: dict[str, dict[str, Any]] = {row["layout"]: row for row in map(json.loads, FILE.read_text().splitlines())}

#: What shapes leave open: bits of a code against size of a group, or codes in a byte.
AMBIGUOUS = (
    *(f"gemma quantized b{bits}" for bits in (2, 4)),
    *(f"metal b{bits} g64" for bits in (2, 4, 8)),
    *(name for name in LAYOUTS if name.startswith(("vptq ", "hqq "))),
    *(f"ct W{bits}A16" for bits in range(2, 9)),
    *(
        f"mlx affine b{bits} g{group} {dtype}"
        for dtype in ("bfloat16", "float32")
        for bits, group in (
            *((1, 64), (1, 128), (2, 32), (2, 64), (2, 128), (3, 64), (3, 128)),
            *((4, 32), (4, 64), (4, 128), (6, 32), (6, 64), (8, 32), (8, 64)),
        )
    ),
    "bitnet offline",
)
#: Rows that are padded to whole words, with nothing beside them that counts them.
PADDED = ("hqq b3 gNone axis0",)
#: Codes that are kept in bytes although they are narrower: without a config they are what holds them.
BYTES = (
    *(f"ct W{bits}A8" for bits in range(2, 8)),
    *(f"ct W{bits}A4" for bits in (2, 3, 4)),
    "ct W4AFP8",
    "torchao IntxWeightOnlyConfig int4 g32",
    "torchao IntxWeightOnlyConfig int2 g32",
    "torchao Int8DynamicActivationIntxWeightConfig",
)
WIDER = (*BYTES, *(name for name in LAYOUTS if name.startswith(("hqq b5", "hqq b6"))))


def checkpoint(row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Tensors, those left aside, and the configs."""
    tensors, aside = (
        {f"{row['module']}.{name}": tensor for name, tensor in row.get(k, {}).items()} for k in ("tensors", "aside")
    )
    return tensors, aside, {"config": row.get("config"), "files": row.get("files")}


def check(found: Found, row: dict[str, Any], level: str, aside: int) -> None:
    ((stored, group_size, _, parameters),) = found.quantized
    assert (stored, group_size, parameters) == (level, row["group_size"], PARAMETERS)
    assert found.stored.parameters == PARAMETERS
    if row["bits_per_weight"]:
        assert Fraction(8 * (found.stored.tensor_bytes - aside), PARAMETERS) == Fraction(row["bits_per_weight"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_its_config_a_layout_gives_its_weight(layout: str, look: Look) -> None:
    row = LAYOUTS[layout]
    tensors, aside, configs = checkpoint(row)
    found = look(tensors | aside, **configs)
    if layout in PADDED:
        assert found.ambiguous
        return
    check(found, row, row["level"], look(aside).stored.tensor_bytes if aside else 0)
    assert found.codes == (["QL101"] if layout in WIDER else [])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_without_a_config_are_known_or_ambiguous(layout: str, look: Look) -> None:
    row = LAYOUTS[layout]
    tensors, aside, _ = checkpoint(row)
    found = look(tensors | aside)
    if layout in AMBIGUOUS:
        assert found.ambiguous
        assert not found.quantized[0][3]
    else:
        level = "Int8" if layout in BYTES else row["level"]
        check(found, row, level, look(aside).stored.tensor_bytes if aside else 0)
        assert found.codes == ["QL104"]
