"""The scales inside the blocks of ggml types, held against gguf-py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from tests.values.models import bf16, codes, gauss, random, write

from quantlevels import inspect
from quantlevels.values.ggml import BLOCK_SCALES

#: types that gguf-py decodes, so that NaN in a scale shows
DECODED = [name for name in BLOCK_SCALES if name in Type.__members__ and Type[name] in gguf.quants._type_traits]
WRITTEN = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4")


def write_gguf(path: Path, tensors: dict[str, np.ndarray[Any, Any]], kind: Type, endian: Any = None) -> Path:
    """A GGUF file with these blocks."""
    options = {} if endian is None else {"endianess": endian}
    writer = gguf.GGUFWriter(path, "llama", **options)
    for name, blocks in tensors.items():
        writer.add_tensor(name, blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def sound(name: str, rows: int = 64, blocks: int = 4) -> np.ndarray[Any, Any]:
    """Blocks with random codes and scales of one."""
    scales = BLOCK_SCALES[name]
    data = random().integers(0, 256, (rows * blocks, scales.nbytes), dtype=np.uint8)
    scale_of_one = {2: b"\x00\x3c", 4: b"\x00\x00\x80\x3f", 1: b"\x30"}[scales.encoding.nbytes]
    for offset in scales.offsets:
        data[:, offset : offset + len(scale_of_one)] = np.frombuffer(scale_of_one, np.uint8)
    return data.reshape(rows, blocks * scales.nbytes)


@pytest.mark.parametrize("name", sorted(set(DECODED) - {"NVFP4"}))
@pytest.mark.parametrize("mode", ["sample", "all"])
def test_nan_in_each_scale_field_is_found(tmp_path: Path, name: str, mode: Any) -> None:
    scales = BLOCK_SCALES[name]
    nan = {2: b"\x00\x7e", 1: b"\xff"}[scales.encoding.nbytes]
    clean = sound(name)
    assert codes(write_gguf(tmp_path / "clean.gguf", {"blk.0.ffn_up.weight": clean}, Type[name]), values=mode) == set()
    for offset in scales.offsets:
        damaged = clean.copy()
        damaged.reshape(-1, scales.nbytes)[11, offset : offset + len(nan)] = np.frombuffer(nan, np.uint8)
        with np.errstate(all="ignore"):
            decoded = gguf.quants.dequantize(damaged, Type[name])
        assert np.isnan(decoded).any() or name == "MXFP4"  # gguf-py has a number for the NaN of E8M0

        report = inspect(
            write_gguf(tmp_path / "damaged.gguf", {"blk.0.ffn_up.weight": damaged}, Type[name]), values=mode
        )

        assert report.values is not None
        (damage,) = report.values.damage
        assert (damage.code, damage.count, damage.first) == ("QL601", 1, (11,))


def test_nan_in_iq1_m_scales_is_found(tmp_path: Path) -> None:
    clean = random().integers(0, 256, (64, 4 * 56), dtype=np.uint8)
    words = clean.reshape(-1, 56)[:, 48:].view("<u2")
    words &= 0x0FFF
    words[:, 3] |= 0x3000
    assert codes(write_gguf(tmp_path / "clean.gguf", {"blk.0.ffn_up.weight": clean}, Type.IQ1_M)) == set()

    words[7] |= np.array([0x1000, 0x0000, 0xE000, 0x7000], "<u2")
    with np.errstate(all="ignore"):
        assert np.isnan(gguf.quants.dequantize(clean, Type.IQ1_M)).any()

    assert codes(write_gguf(tmp_path / "damaged.gguf", {"blk.0.ffn_up.weight": clean}, Type.IQ1_M)) == {"QL601"}


def test_scales_of_the_other_byte_order_are_swapped(tmp_path: Path) -> None:
    weights = gauss(64, 256)
    weights[3, 5] = np.nan

    write_gguf(tmp_path / "f32.gguf", {"blk.0.ffn_up.weight": weights}, Type.F32, gguf.GGUFEndian.BIG)

    report = inspect(tmp_path / "f32.gguf", values="all")
    assert report.values is not None
    assert [(damage.code, damage.first) for damage in report.values.damage] == [("QL601", (3, 5))]


@pytest.mark.parametrize("name", WRITTEN)
def test_values_decoded_by_gguf_py_show_their_bits(tmp_path: Path, name: str) -> None:
    bits = {"Q4_0": 4, "Q4_1": 4, "Q8_0": 8, "TQ1_0": 2, "TQ2_0": 2, "MXFP4": 4}.get(name)
    tensors = {}
    for layer in range(3):
        blocks = gguf.quants.quantize(gauss(128, 512, seed=layer), Type[name])
        tensors[f"layers.{layer}.weight"] = bf16(gguf.quants.dequantize(blocks, Type[name]))

    report = inspect(write(tmp_path, tensors), values="all")

    assert report.values is not None
    assert [effective.bits for effective in report.values.effective] == ([] if bits is None else [bits])


@pytest.mark.parametrize("name", WRITTEN)
def test_what_gguf_py_quantizes_is_sound(tmp_path: Path, name: str) -> None:
    blocks = {"blk.0.ffn_up.weight": gguf.quants.quantize(gauss(64, 512), Type[name])}
    blocks["blk.1.ffn_up.weight"] = gguf.quants.quantize(np.zeros((64, 512), np.float32), Type[name])
    blocks["blk.2.ffn_up.weight"] = blocks["blk.0.ffn_up.weight"].copy()
    blocks["blk.2.ffn_up.weight"][:16] = blocks["blk.1.ffn_up.weight"][:16]  # rows of zeros

    found = codes(write_gguf(tmp_path / "model.gguf", blocks, Type[name]))

    assert found <= {"QL603"}


def test_blocks_of_zero_scales_with_codes_are_dead(tmp_path: Path) -> None:
    blocks = sound("Q4_0")
    blocks.reshape(-1, 18)[:, :2] = 0

    assert codes(write_gguf(tmp_path / "model.gguf", {"blk.0.ffn_up.weight": blocks}, Type.Q4_0)) == {"QL604"}
