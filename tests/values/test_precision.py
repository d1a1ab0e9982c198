"""What weights are inside is stated exactly; honest weights get no statement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tests.values.models import bf16, codes, f16, f32, gauss, int4, layers, random, write

from quantlevels import inspect


def effective(folder: Path, mode: Any = "all") -> list[dict[str, Any]]:  # Any: JSON
    """The ``effective`` part of the record."""
    report = inspect(folder, values=mode)
    assert report.values is not None
    return [dict(weights) for weights in report.values.to_record()["effective"]]


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("make", [bf16, f16, f32])
@pytest.mark.parametrize("mode", ["sample", "all"])
def test_dequantized_int4_is_four_bits_in_its_groups(tmp_path: Path, group: int, make: Any, mode: Any) -> None:
    write(tmp_path, layers(lambda values: make(int4(values, group))))

    (found,) = effective(tmp_path, mode)

    assert (found["rule"], found["bits"], found["group_size"]) == ("distinct", 4, group)
    assert (found["weights"], found["parameters"]) == (3, 3 * 128 * 256)
    assert codes(tmp_path) == {"QL622"}


def fp8(values: Any, kind: Any, block: int | None) -> Any:
    """Weights as they come back from FP8 with one scale per block, per tensor if no block is given."""
    values = values.astype(np.float64)
    for row in range(0, values.shape[0], block or values.shape[0]):
        for column in range(0, values.shape[1], block or values.shape[1]):
            part = values[row : row + (block or values.shape[0]), column : column + (block or values.shape[1])]
            scale = np.float32(np.abs(part).max() / float(ml_dtypes.finfo(kind).max))
            part[:] = (part / scale).astype(kind).astype(np.float32) * scale
    return values.astype(np.float32)


@pytest.mark.parametrize("block", [128, None])
@pytest.mark.parametrize(
    ("kind", "level"), [(ml_dtypes.float8_e4m3fn, "Float8E4M3FN"), (ml_dtypes.float8_e5m2, "Float8E5M2")]
)
@pytest.mark.parametrize("make", [bf16, f16, f32])
def test_dequantized_fp8_is_named(tmp_path: Path, block: int | None, kind: Any, level: str, make: Any) -> None:
    write(tmp_path, layers(lambda values: make(fp8(values, kind, block)), rows=256))

    (found,) = effective(tmp_path)

    assert (found["rule"], found["level"]) == ("mantissas", level)
    assert found["block"] == (None if block is None else [128, 128])
    assert codes(tmp_path) == {"QL622"}


def test_f32_that_fits_bf16_is_an_upcast(tmp_path: Path) -> None:
    def padded(values: Any) -> Any:
        return f32((bf16(values)[1].astype(np.uint32) << 16).view(np.float32))

    write(tmp_path, layers(padded))

    assert [weights["level"] for weights in effective(tmp_path)] == ["BFloat16"]
    assert codes(tmp_path) == {"QL621"}


def test_f32_that_fits_fp16_is_an_upcast(tmp_path: Path) -> None:
    write(tmp_path, layers(lambda values: f32(values.astype(np.float16))))

    assert [weights["level"] for weights in effective(tmp_path)] == ["Float16"]
    assert codes(tmp_path) == {"QL621"}


def test_one_honest_value_refutes_an_upcast(tmp_path: Path) -> None:
    def nearly(values: Any) -> Any:
        values = values.astype(np.float16).astype(np.float32)
        values[-1, -1] = 0.1234567
        return f32(values)

    write(tmp_path, layers(nearly))

    assert effective(tmp_path) == []


def test_ternary_weights_are_named(tmp_path: Path) -> None:
    write(tmp_path, layers(lambda values: bf16(np.rint(np.clip(values / 0.02, -1, 1)) * 0.0173)))

    assert [(weights["level"], weights["bits"]) for weights in effective(tmp_path)] == [("Ternary", 2)]


@pytest.mark.parametrize("make", [bf16, f16, f32])
def test_dequantized_q8_0_is_a_lattice(tmp_path: Path, make: Any) -> None:
    def q8_0(values: Any) -> Any:
        groups = values.reshape(-1, 32)
        scales = np.abs(groups).max(axis=1, keepdims=True) / 127
        codes = np.rint(groups / scales)
        return make((codes * scales.astype(np.float16).astype(np.float32)).reshape(values.shape))

    write(tmp_path, layers(q8_0))

    assert [weights["level"] for weights in effective(tmp_path)] == ["Q8_0"]


HONEST = {
    "gauss": lambda shape, seed: gauss(*shape, seed=seed),
    "student": lambda shape, seed: random(seed).standard_t(4, shape) * 0.02,
    "laplace": lambda shape, seed: random(seed).laplace(0, 0.02, shape),
    "uniform": lambda shape, seed: random(seed).uniform(-0.05, 0.05, shape),
    "near one": lambda shape, seed: 1 + random(seed).normal(0, 0.02, shape),
    "tiny": lambda shape, seed: random(seed).normal(0, 1e-7, shape),
    "sparse": lambda shape, seed: gauss(*shape, seed=seed) * (random(seed).random(shape) < 0.1),
    "identity": lambda shape, seed: np.eye(*shape),
    "one-hot": lambda shape, seed: np.eye(shape[1])[random(seed).integers(0, shape[1], shape[0])],
    "constant": lambda shape, seed: np.full(shape, 0.5),
    "signs": lambda shape, seed: np.sign(random(seed).normal(0, 1, shape)) / 16,
    "logarithms": lambda shape, seed: np.tile(np.log(np.arange(1, 17)), (shape[0], shape[1] // 16)),
}


@pytest.mark.parametrize("make", [bf16, f16, f32])
@pytest.mark.parametrize("kind", HONEST)
def test_honest_weights_get_no_statement(tmp_path: Path, kind: str, make: Any) -> None:
    tensors = {f"layers.{layer}.weight": make(HONEST[kind]((128, 256), layer)) for layer in range(3)}

    write(tmp_path, tensors)

    assert codes(tmp_path) == set()
    assert effective(tmp_path) == []


def test_packed_weights_with_few_codes_are_found(tmp_path: Path) -> None:
    weight = random().integers(-8, 8, (128, 128), dtype=np.int8)
    scales = np.full((128, 1), 0.01, "<f4")

    write(tmp_path, {"fc.weight": ("I8", weight), "fc.weight_scale": ("F32", scales)})

    assert [(weights["rule"], weights["bits"], weights["levels"]) for weights in effective(tmp_path)] == [
        ("unused-codes", 4, 16)
    ]


@pytest.mark.parametrize("make", [bf16, f16, f32])
def test_reading_all_finds_groups_along_columns(tmp_path: Path, make: Any) -> None:
    write(tmp_path, layers(lambda values: make(int4(np.ascontiguousarray(values.T), 128).T), rows=256, columns=192))

    (found,) = effective(tmp_path)

    assert (found["bits"], found["group_size"]) == (4, 128)
    (finding,) = (finding for finding in inspect(tmp_path, values="all").findings if finding.code == "QL622")
    assert "along columns" in finding.message


@pytest.mark.parametrize("make", [bf16, f16, f32])
def test_dequantized_int8_rows_are_eight_bits(tmp_path: Path, make: Any) -> None:
    def int8(values: Any) -> Any:
        scales = np.abs(values).max(axis=1, keepdims=True) / 127
        return make(np.rint(values / scales) * scales)

    write(tmp_path, layers(int8, rows=32, columns=2048))

    assert [(weights["rule"], weights["bits"], weights["group_size"]) for weights in effective(tmp_path)] == [
        ("distinct", 8, None)
    ]


@pytest.mark.parametrize("make", [bf16, f16, f32])
def test_dequantized_nvfp4_has_two_mantissas_in_its_groups(tmp_path: Path, make: Any) -> None:
    def nvfp4(values: Any) -> Any:
        groups = values.reshape(-1, 16)
        scales = (np.abs(groups).max(axis=1, keepdims=True) * 100).astype(ml_dtypes.float8_e4m3fn).astype(
            np.float32
        ) / 600
        return make(
            ((groups / scales).astype(ml_dtypes.float4_e2m1fn).astype(np.float32) * scales).reshape(values.shape)
        )

    write(tmp_path, layers(nvfp4))

    assert [(weights["rule"], weights["bits"], weights["group_size"]) for weights in effective(tmp_path)] == [
        ("mantissas", 4, 16)
    ]


def test_power_of_two_scales_leave_few_significant_bits(tmp_path: Path) -> None:
    write(tmp_path, layers(lambda values: bf16((values * 64).astype(ml_dtypes.float8_e4m3fn).astype(np.float32))))

    assert [(weights["rule"], weights["bits"]) for weights in effective(tmp_path)] == [("significant-bits", 8)]
