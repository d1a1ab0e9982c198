"""Checkpoints that real quantizers wrote: ``tests/data/schemes/make.py`` made them, and tells how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.fixtures import SCHEMES, write_scheme

from quantlevels import Inspection, inspect

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[..., Inspection]

#: name of a checkpoint → level, group size and number of its quantized weights; and what is found
WRITTEN: Final[dict[str, tuple[set[tuple[str, int | None, int]], list[str]]]] = {
    "auto_round_experts_gptq": ({("Int4", 32, 32)}, []),
    "auto_round_mixed": ({("Int4", 64, 12), ("Int8", 64, 2)}, []),
    "bitsandbytes_fp4_in_bf16": ({("BNB_FP4", 64, 14)}, []),
    "bitsandbytes_int8": ({("Int8", None, 14)}, []),
    "bitsandbytes_nf4_twice": ({("NF4", 64, 14)}, []),
    "compressed_tensors_experts_w4a16": ({("Int4", 32, 32)}, []),
    "compressed_tensors_fp8_block": ({("Float8E4M3FN", None, 14)}, []),
    "compressed_tensors_mixed": ({("Int4", 64, 6), ("Int8", None, 8)}, []),
    "compressed_tensors_nvfp4a16": ({("NVFP4", 16, 14)}, []),
    "compressed_tensors_w3_asymmetric_rows": ({("Int3", None, 14)}, []),
    "compressed_tensors_w4a8": ({("Int4", 64, 14)}, ["QL101"]),
    "gptqmodel_awq": ({("Int4", 32, 14)}, []),
    "gptqmodel_bitsandbytes_fp4": ({("BNB_FP4", 64, 12)}, []),
    "gptqmodel_bitsandbytes_int8": ({("Int8", None, 14)}, []),
    "gptqmodel_dynamic": ({("Int4", 64, 10), ("Int8", 32, 1), ("Int8", 64, 2)}, []),
    "gptqmodel_fp8": ({("Float8E5M2", None, 14)}, []),
    "gptqmodel_ggml": ({("Q4_0", None, 10), ("Q6_K", None, 2)}, []),
    "gptqmodel_head": ({("Int3", 32, 14), ("Int8", 32, 1)}, []),
    "gptqmodel_paroquant": ({("Int4", 64, 14)}, []),
    "gptqmodel_planar_5bit": ({("Int5", 64, 14)}, []),
    "gptqmodel_qqq": ({("Int4", 128, 12)}, []),
    "gptqmodel_qqq_rows": ({("Int4", None, 14)}, []),
    "gptqmodel_v2_rows": ({("Int8", None, 14)}, []),
    "gptqmodel_vptq": ({("VPTQ_2", 8, 14)}, []),
    "hqq_3bit": ({("Int3", 64, 14)}, []),
    "hqq_4bit_rows": ({("Int4", None, 14)}, []),
    "mlx_5bit": ({("Int5", 32, 16)}, []),
    "mlx_experts_4bit": ({("Int4", 64, 16), ("Int8", 64, 2)}, []),
    "mlx_nvfp4": ({("NVFP4", 16, 15)}, []),
    "modelopt_fp8_cache": ({("Float8E4M3FN", None, 14)}, []),
    "modelopt_int4_awq": ({("Int4", 128, 14)}, []),
    "modelopt_mxfp4": ({("MXFP4", 32, 14)}, []),
    "modelopt_nvfp4_affine_cache": ({("Float8E4M3FN", None, 14)}, []),
    "modelopt_nvfp4_by_32": ({("NVFP4", 32, 14)}, []),
    "modelopt_nvfp4_experts": ({("NVFP4", 16, 32)}, []),
    "quanto_qfloat8": ({("Float8E4M3FN", None, 14)}, []),
    "quanto_qint2": ({("Int2", 128, 12), ("Int2", 96, 2)}, []),
    "quanto_qint4": ({("Int4", 32, 12), ("Int4", 96, 2)}, []),
    "quanto_qint4_rows": ({("Int4", None, 14)}, []),
    "quark_int4_over_fp8": ({("Int4", None, 14)}, []),
    "quark_int4_rows": ({("Int4", None, 14)}, []),
    "quark_int8": ({("Int8", None, 14)}, []),
    "quark_mxfp4": ({("MXFP4", 32, 14)}, []),
    "quark_nvfp4": ({("NVFP4", 16, 14)}, []),
    "torchao_float8": ({("Float8E4M3FN", None, 14)}, []),
    "torchao_int8_rows": ({("Int8", None, 14)}, []),
    "torchao_mxfp4": ({("MXFP4", 32, 14)}, []),
    "torchao_intx_by_name": ({("Int4", 32, 6), ("Int8", None, 12)}, ["QL101"]),
}
#: those whose shapes leave something open, and those that are told wide where their config knows them narrow
AMBIGUOUS: Final = (
    "compressed_tensors_experts_w4a16",
    "compressed_tensors_mixed",
    "compressed_tensors_w3_asymmetric_rows",
    "gptqmodel_bitsandbytes_fp4",
    "gptqmodel_ggml",
    "gptqmodel_vptq",
    "hqq_3bit",
    "hqq_4bit_rows",
    "mlx_experts_4bit",
    "modelopt_nvfp4_by_32",
)
IN_BYTES: Final = ("torchao_intx_by_name", "compressed_tensors_w4a8")


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Inspect a checkpoint with a hole for its data, with its configs or without."""

    def read(name: str, *, configs: bool = True) -> Inspection:
        return inspect(write_scheme(name, tmp_path, configs=configs))

    return read


def truth(name: str) -> int:
    count: int = json.loads((SCHEMES / name / "truth.json").read_text())["parameters"]
    return count


def test_every_checkpoint_is_expected() -> None:
    assert {path.name for path in SCHEMES.iterdir() if path.is_dir()} == set(WRITTEN)


@pytest.mark.parametrize("name", WRITTEN)
def test_written_checkpoints_have_their_models_parameters(name: str, read: Read) -> None:
    quantized, codes = WRITTEN[name]
    found = read(name)
    assert found.stored is not None
    assert found.stored.parameters == truth(name)
    assert sum(level.nbytes for level in found.stored.levels) == found.stored.tensor_bytes
    assert {
        (str(getattr(row.level, "name", row.level)), row.group_size, row.weights)
        for row in found.stored.levels
        if row.quantized
    } == quantized
    assert [finding.code for finding in found.findings] == codes


@pytest.mark.parametrize("name", WRITTEN)
def test_without_configs_it_is_known_or_ambiguous(name: str, read: Read) -> None:
    quantized, _ = WRITTEN[name]
    found = read(name, configs=False)
    assert found.stored is not None
    if name in AMBIGUOUS:
        assert "QL303" in [finding.code for finding in found.findings]
        return
    assert found.stored.parameters == truth(name)
    assert [finding.code for finding in found.findings] == ["QL104"]
    levels = {str(getattr(row.level, "name", row.level)) for row in found.stored.levels if row.quantized}
    assert levels == ({"Int8"} if name in IN_BYTES else {level for level, *_ in quantized})
