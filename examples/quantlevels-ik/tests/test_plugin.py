"""What every plugin should test of itself, and what this one is for."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import pytest
import quantlevels_ik

from quantlevels import QuantizationLevel, inspect, levels
from quantlevels.testing import check_plugin

TYPES = [value for value in vars(quantlevels_ik).values() if type(value) is QuantizationLevel]
ALIGNMENT = 32


def test_the_contract_of_plugins() -> None:
    check_plugin("quantlevels-ik")


@pytest.mark.parametrize("level", TYPES, ids=lambda level: level.name)
def test_every_type_is_found_by_name_and_number(level: QuantizationLevel) -> None:
    name, number = level.spellings["ggml"]
    assert level.name == name
    assert levels[level.name.lower()] is level
    assert levels.from_dialect("ggml", number) is levels.from_dialect("gguf", name) is level


def test_all_types_of_the_fork_are_here() -> None:
    assert len(TYPES) == 57
    assert sum(level.block.row_bits > 0 for level in TYPES) == 20
    assert max(number for level in TYPES for number in level.spellings["ggml"] if isinstance(number, int)) == 399


@pytest.mark.parametrize(
    ("level", "row_bytes"),
    [
        (quantlevels_ik.IQ4_K, 16 * 144),
        (quantlevels_ik.IQ4_KS, 16 * 136 + 4),
        (quantlevels_ik.IQ4_KSS, 16 * 128 + 4),
        (quantlevels_ik.IQ2_KS, 16 * 70 + 2),
        (quantlevels_ik.IQ2_BN, 64 * 16 + 4),
        (quantlevels_ik.IQ1_S_R4, 128 * 6 + 2),
        (quantlevels_ik.Q8_KV, 128 * 32 + 8),
        (quantlevels_ik.Q8_K16, 64 * 64 + 20),
        (quantlevels_ik.BF16_R16, 4096 * 2),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_row_takes_its_blocks_and_what_is_beside_them(level: QuantizationLevel, row_bytes: int) -> None:
    assert level.nbytes((4096,)) == row_bytes
    assert level.nbytes((3, 256, 4096)) == 3 * 256 * row_bytes


def gguf(tensors: dict[str, tuple[int, int, int, int]]) -> bytes:
    """A GGUF: name → type, weights of a row, rows, reserved bytes."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0)
    offset = 0
    for name, (number, row, rows, nbytes) in tensors.items():
        head += struct.pack("<Q", len(name)) + name.encode()
        head += struct.pack("<IQQIQ", 2, row, rows, number, offset)
        offset += -(-nbytes // ALIGNMENT) * ALIGNMENT
    return head + bytes(-len(head) % ALIGNMENT + offset)


@pytest.mark.parametrize("level", TYPES, ids=lambda level: level.name)
def test_a_file_of_the_type_is_read_exactly(tmp_path: Path, level: QuantizationLevel) -> None:
    path = tmp_path / "model.gguf"
    number = next(word for word in level.spellings["ggml"] if isinstance(word, int))
    nbytes = level.nbytes((48, 512))
    path.write_bytes(gguf({"blk.0.ffn_up.weight": (number, 512, 48, nbytes), "output.weight": (1, 512, 1, 1024)}))
    report = inspect(path)
    assert report.findings == ()
    assert report.stored is not None
    (stored,) = (row for row in report.stored.levels if row.level is level)
    assert (stored.parameters, stored.nbytes) == (48 * 512, nbytes)
    assert stored.bits_per_weight == Fraction(8 * nbytes, 48 * 512)
    assert report.stored.tensor_bytes == nbytes + 1024


@pytest.mark.parametrize("level", [quantlevels_ik.IQ4_KS, quantlevels_ik.IQ2_KL, quantlevels_ik.IQ1_BN])
def test_rows_without_room_for_their_scale_are_reported(tmp_path: Path, level: QuantizationLevel) -> None:
    """As files that an old gguf-py wrote anew: ikawrakow/ik_llama.cpp#2437."""
    path = tmp_path / "model.gguf"
    number = next(word for word in level.spellings["ggml"] if isinstance(word, int))
    blocks = level.nbytes((48, 512)) - 48 * level.block.row_bits // 8
    up, down = "blk.0.ffn_up.weight", "blk.0.ffn_down.weight"
    path.write_bytes(gguf({up: (number, 512, 48, blocks), down: (number, 512, 48, blocks)}))
    report = inspect(path)
    (finding,) = (finding for finding in report.findings if finding.code == "QL303")
    assert finding.where == up
    assert f"2 tensors of {level.name} lack {level.block.row_bits // 8} bytes per row" in finding.message
    assert report.stored is not None
    assert report.stored.tensor_bytes == 2 * blocks
