"""Checkpoints of the methods of diffusion models, NPUs and engines: ``tests/data/methods/make.py`` wrote them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from fuzz.writers import framed, safetensors_header

from quantlevels import Inspection, inspect

FILE: Final = Path(__file__).parent.parent / "data/methods/checkpoints.jsonl"
ROWS: Final[dict[str, dict[str, Any]]] = {row["name"]: row for row in map(json.loads, FILE.read_text().splitlines())}

#: methods whose declarations are read
DECLARED: Final = (
    *("sdnq", "nunchaku_lite", "w4afp8", "minimax_m3_nvfp4", "humming", "marlin", "gptq_marlin_24"),
    *("bitblas", "qoq", "deepspeedfp"),
)


def written(row: dict[str, Any], folder: Path) -> Path:
    """A checkpoint with the text of its marker tensors, and a hole for all other data."""
    texts = {name: text.encode() for name, text in row["texts"].items()}
    markers = {name: row["tensors"][name] for name in texts}
    others = {name: entry for name, entry in row["tensors"].items() if name not in texts}
    header, nbytes = safetensors_header({**markers, **others}, row["metadata"])
    with (folder / "model.safetensors").open("wb") as file:
        file.write(framed(header) + b"".join(texts.values()))
        file.truncate(len(framed(header)) + nbytes)
    for name, content in row["files"].items():
        (folder / name).write_text(json.dumps(content))
    return folder


def quantized(found: Inspection) -> list[list[Any]]:
    """Level, group size, symmetry, parameters and bytes of all that is quantized."""
    assert found.stored is not None
    return [
        [getattr(one.level, "name", str(one.level)), one.group_size, one.symmetric, one.parameters, one.nbytes]
        for one in found.stored.levels
        if one.quantized
    ]


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row["method"] in DECLARED])
def test_a_written_checkpoint_is_read_exactly(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    found = inspect(written(row, tmp_path))
    assert found.stored is not None
    assert found.declared is not None
    assert found.declared.method == row["method"]
    assert [finding.code for finding in found.findings] == row["findings"]
    assert sorted(quantized(found), key=str) == sorted(row["levels"], key=str)
    assert found.stored.parameters == row["parameters"]
