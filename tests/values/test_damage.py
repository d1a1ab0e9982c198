"""Damage in weights is found, with its place; what honest weights do is not damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.values.examples import changed, gptq
from tests.values.models import bf16, codes, f16, f32, gauss, layers, random, write

from quantlevels import VerificationError, inspect, verify

UP = "model.layers.1.mlp.up_proj.weight"
SCALES, CODES = (f"model.layers.0.mlp.up_proj.{side}" for side in ("scales", "qweight"))


NANS = [(bf16, 0x7FC0), (bf16, 0xFFFF), (f16, 0x7E00), (f16, 0xFE01), (f32, 0x7FC00000), (f32, 0xFF800001)]
INFINITIES = [(bf16, 0x7F80), (bf16, 0xFF80), (f16, 0xFC00), (f32, 0x7F800000)]


@pytest.mark.parametrize(("make", "bits"), NANS + INFINITIES)
@pytest.mark.parametrize("mode", ["sample", "all"])
def test_one_value_that_is_not_finite_is_found(tmp_path: Path, make: Any, bits: int, mode: Any) -> None:
    tensors = layers(make)
    tensors[UP] = changed(tensors[UP], 17, 5, bits)

    report = inspect(write(tmp_path, tensors), values=mode)

    assert report.values is not None
    (damage,) = report.values.damage
    assert (damage.code, damage.tensor, damage.count, damage.first) == ("QL601", UP, 1, (17, 5))
    kind = "NaN" if (make, bits) in NANS else "infinite"
    assert f"1 {kind}, first at [17, 5]" in report.findings[-1].message
    with damage_file(tmp_path).open("rb") as file:
        file.seek(damage.offset or 0)
        assert int.from_bytes(file.read(tensors[UP][1].itemsize), "little") == bits


def damage_file(folder: Path) -> Path:
    """The file of `write`."""
    return folder / "model.safetensors"


def test_damaged_values_alone_fail_verification(tmp_path: Path) -> None:
    tensors = layers(bf16)
    tensors[UP] = changed(tensors[UP], 0, 0, 0x7FC0)
    write(tmp_path, tensors)

    verify(tmp_path)
    verify(tmp_path, values="all", ignore="QL601")
    with pytest.raises(VerificationError, match="QL601"):
        verify(tmp_path, values="all")


@pytest.mark.parametrize("bits", [0x7F, 0xFF])
def test_nan_codes_of_fp8_are_found(tmp_path: Path, bits: int) -> None:
    weight = random().integers(0, 0x7F, (64, 64), dtype=np.uint8)
    weight[3, 7] = bits
    scale = np.full((1,), 0.01, "<f4")

    write(tmp_path, {"fc.weight": ("F8_E4M3", weight), "fc.weight_scale": ("F32", scale)})

    assert codes(tmp_path) == {"QL601"}


def test_scales_that_are_not_finite_are_found(tmp_path: Path) -> None:
    tensors = gptq(0.01)
    tensors[SCALES][1][1, 5] = np.nan

    assert codes(write(tmp_path, tensors)) == {"QL601"}


def test_packed_codes_are_not_judged_as_floats(tmp_path: Path) -> None:
    words = random().integers(0, 2**16, (4096, 1), dtype="<u2")
    absmax = np.full(128, 0.02, "<f4")
    table = np.linspace(-1, 1, 16).astype("<f4")
    state = np.frombuffer(b'{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [128, 128]}', "u1")

    write(
        tmp_path,
        {
            "fc.weight": ("BF16", words),
            "fc.weight.absmax": ("F32", absmax),
            "fc.weight.quant_map": ("F32", table),
            "fc.weight.quant_state.bitsandbytes__nf4": ("U8", state),
        },
    )

    assert codes(tmp_path) == set()


def blank(path: Path, begin: int, end: int) -> None:
    """Zeros over some bytes of a file."""
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(bytes(end - begin))


@pytest.mark.parametrize(("begin", "end"), [(40960, 40960 + 32768), (70000, 70000 + 4096 * 8 - 70000 % 4096)])
def test_zero_pages_inside_a_row_are_found(tmp_path: Path, begin: int, end: int) -> None:
    write(tmp_path, layers(bf16, rows=100, columns=500))

    blank(damage_file(tmp_path), begin, end)

    report = inspect(tmp_path, values="all")
    (finding,) = (finding for finding in report.findings if finding.code >= "QL6")
    assert finding.code == "QL602"
    assert f"{end - begin:,} zero bytes from byte {begin:,}" in finding.message


def test_an_unwritten_tail_is_one_region(tmp_path: Path) -> None:
    write(tmp_path, layers(bf16, rows=100, columns=500))
    path = damage_file(tmp_path)
    size = path.stat().st_size

    with path.open("r+b") as file:
        file.truncate(122880)
        file.truncate(size)

    assert codes(tmp_path) == {"QL602"}
    assert codes(tmp_path, values="sample") == {"QL602"}


def test_zero_rows_are_padding(tmp_path: Path) -> None:
    embedding = gauss(1024, 64)
    embedding[700:] = 0

    write(tmp_path, {"model.embed_tokens.weight": bf16(embedding), "model.norm.weight": bf16(np.ones(64))})

    assert codes(tmp_path) == set()


def test_a_zero_matrix_is_damage_only_among_others(tmp_path: Path) -> None:
    tensors = layers(bf16)
    zero = bf16(np.zeros((128, 256)))

    assert codes(write(tmp_path / "one", {**tensors, UP: zero})) == {"QL603"}
    assert codes(write(tmp_path / "all", dict.fromkeys(tensors, zero))) == set()
    assert codes(write(tmp_path / "head", {**tensors, "lm_head.weight": zero})) == set()


@pytest.mark.parametrize("name", ["layers.{}.q_proj.lora_B.weight", "layers.{}.gate.weight", "zero_convs.{}.0.weight"])
def test_what_is_zero_by_design_is_no_damage(tmp_path: Path, name: str) -> None:
    tensors = {name.format(layer): bf16(gauss(64, 64, seed=layer)) for layer in range(3)}

    write(tmp_path, {**tensors, name.format(1): bf16(np.zeros((64, 64)))})

    assert codes(tmp_path) == set()


def test_zero_scales_with_varied_codes_are_dead(tmp_path: Path) -> None:
    assert codes(write(tmp_path / "dead", gptq(0.0))) == {"QL604"}
    assert codes(write(tmp_path / "sound", gptq(0.01))) == set()


def test_constant_codes_are_found_unless_scales_are_zero(tmp_path: Path) -> None:
    assert codes(write(tmp_path / "constant", gptq(0.01, 0x88888888))) == {"QL605"}
    assert codes(write(tmp_path / "zero", gptq(0.0, 0x88888888))) == set()


@pytest.mark.parametrize(("make", "bit"), [(bf16, 14), (f32, 30)])
def test_a_flipped_exponent_bit_is_found(tmp_path: Path, make: Any, bit: int) -> None:
    tensors = layers(make)
    words = tensors[UP][1].view(f"<u{tensors[UP][1].itemsize}")
    tensors[UP] = changed(tensors[UP], 100, 31, int(words[100, 31]) ^ (1 << bit))

    report = inspect(write(tmp_path, tensors), values="all")

    assert report.values is not None
    assert [(damage.code, damage.first) for damage in report.values.damage] == [("QL606", (100, 31))]


def test_large_whole_numbers_are_no_damage(tmp_path: Path) -> None:
    positions = np.arange(512 * 64).reshape(512, 64)

    assert codes(write(tmp_path, {"table.weight": f32(positions)})) == set()


@pytest.mark.parametrize("make", [bf16, f16, f32])
def test_swapped_bytes_are_told_as_such_alone(tmp_path: Path, make: Any) -> None:
    tensors = {name: (dtype, elements.byteswap()) for name, (dtype, elements) in layers(make).items()}

    assert codes(write(tmp_path, tensors)) == {"QL607"}


@pytest.mark.parametrize("zero", [(1, 5), (0, 0)])
def test_a_zero_scale_is_dead_if_codes_vary(tmp_path: Path, zero: tuple[int, int]) -> None:
    tensors = gptq(0.01)
    tensors[SCALES][1][zero] = 0
    report = inspect(write(tmp_path / "dead", tensors), values="all")
    assert report.values is not None
    assert [(damage.code, damage.first) for damage in report.values.damage] == [("QL604", zero)]

    group, output = zero
    tensors[CODES][1][group * 16 : group * 16 + 16, output] = np.uint32(0x88888888).astype("<i4")

    assert codes(write(tmp_path / "zeros", tensors)) == set()


def test_swapped_f32_with_padded_values_is_found(tmp_path: Path) -> None:
    values = (bf16(gauss(128, 256))[1].astype("<u4") << 16).view("<f4")

    assert codes(write(tmp_path, {"fc.weight": ("F32", values.byteswap())})) == {"QL607"}


def test_zeros_and_infinities_alone_are_a_mask(tmp_path: Path) -> None:
    mask = np.triu(np.full((64, 64), -np.inf), 1)

    assert codes(write(tmp_path / "mask", {"attend.weight": bf16(mask)})) == set()
    mask[5, 7] = np.nan
    assert codes(write(tmp_path / "nan", {"attend.weight": bf16(mask)})) == {"QL601"}


@pytest.mark.parametrize(("value", "expected"), [(0xFF, {"QL601"}), (0xFE, set())])
def test_nan_among_e8m0_scales_is_found(tmp_path: Path, value: int, expected: set[str]) -> None:
    blocks = random().integers(0, 256, (2, 64, 4, 16), dtype=np.uint8)
    scales = np.full((2, 64, 4), 120, np.uint8)
    scales[1, 3, 2] = value
    config = {"quantization_config": {"quant_method": "mxfp4"}}

    write(
        tmp_path,
        {
            "model.layers.0.mlp.experts.down_proj_blocks": ("U8", blocks),
            "model.layers.0.mlp.experts.down_proj_scales": ("U8", scales),
        },
        **config,
    )

    assert codes(tmp_path) == expected
