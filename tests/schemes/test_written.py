"""Checkpoints that real quantizers wrote: ``tests/data/schemes/make.py`` made them, and tells how."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from quantlevels import Inspection, inspect

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[..., Inspection]

FOLDER: Final = Path(__file__).parent.parent / "data/schemes"

#: name of a checkpoint → level, group size and number of its quantized weights; and what is found
WRITTEN: Final[dict[str, tuple[set[tuple[str, int | None, int]], list[str]]]] = {
}
#: those whose shapes leave something open, and those that are told wide where their config knows them narrow
AMBIGUOUS: Final = ("hqq_3bit", "hqq_4bit_rows", "quanto_qint2", "quanto_qint4")
IN_BYTES: Final = ("torchao_intx_by_name",)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Inspect a checkpoint with a hole for its data, with its configs or without."""

    def read(name: str, *, configs: bool = True) -> Inspection:
        for path in (FOLDER / name).glob("*.json"):
            if configs and path.name not in ("header.json", "truth.json"):
                shutil.copy(path, tmp_path)
        raw = (FOLDER / name / "header.json").read_bytes()
        ends = [entry["data_offsets"][1] for key, entry in json.loads(raw).items() if key != "__metadata__"]
        with (tmp_path / "model.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(raw)) + raw)
            file.truncate(8 + len(raw) + max(ends))
        return inspect(tmp_path)

    return read


def truth(name: str) -> int:
    count: int = json.loads((FOLDER / name / "truth.json").read_text())["parameters"]
    return count


def test_every_checkpoint_is_expected() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == set(WRITTEN)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_written_checkpoint_holds_the_parameters_of_its_model(name: str, read: Read) -> None:
    quantized, codes = WRITTEN[name]
    found = read(name)
    assert found.stored is not None
    assert found.stored.parameters == truth(name)
    assert sum(level.nbytes for level in found.stored.levels) == found.stored.tensor_bytes
    assert {
        (str(getattr(one.level, "name", one.level)), one.group_size, one.weights)
        for one in found.stored.levels
        if one.quantized
    } == quantized
    assert [finding.code for finding in found.findings] == codes


@pytest.mark.parametrize("name", WRITTEN)
def test_without_configs_it_is_told_by_its_layout_or_said_to_be_ambiguous(name: str, read: Read) -> None:
    quantized, _ = WRITTEN[name]
    found = read(name, configs=False)
    assert found.stored is not None
    if name in AMBIGUOUS:
        assert "QL303" in [finding.code for finding in found.findings]
        return
    assert found.stored.parameters == truth(name)
    assert [finding.code for finding in found.findings] == ["QL104"]
    levels = {str(getattr(one.level, "name", one.level)) for one in found.stored.levels if one.quantized}
    assert levels == ({"Int8"} if name in IN_BYTES else {level for level, *_ in quantized})
