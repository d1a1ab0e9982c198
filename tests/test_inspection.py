"""The inspection record: what is claimed beside what is stored, exact."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from tests.writers import Tensors, write_safetensors

from quantlevels import BF16, FP32, inspect, levels
from quantlevels.inspection.schema import record_schema


def write(folder: Path, tensors: Tensors, name: str = "model.safetensors", **configs: object) -> Path:
    """A checkpoint of zeros with config files beside it: ``config={...}`` is config.json."""
    write_safetensors(folder / name, tensors)
    for config, content in configs.items():
        (folder / f"{config}.json").write_text(json.dumps(content))
    return folder


PLAIN: Tensors = {
    "model.embed_tokens.weight": ("BF16", [10, 4]),
    "model.layers.0.mlp.gate.weight": ("BF16", [4, 4]),
    "model.layers.0.input_layernorm.weight": ("F32", [4]),
    "model.layers.0.self_attn.position_ids": ("I64", [1, 8]),
}


def test_record_of_plain_weights_has_all_keys_of_the_schema(tmp_path: Path) -> None:
    record = inspect(write(tmp_path, PLAIN, config={"torch_dtype": "bfloat16"})).to_record()
    assert record == {
        "schema_version": 1,
        "path": str(tmp_path),
        "format": "safetensors",
        "declared": {
            "source": "config.json",
            "method": None,
            "known": True,
            "dtype": "BFloat16",
            "kv_cache": None,
            "levels": [],
        },
        "stored": {
            "parameters": 60,
            "quantized_parameters": 0,
            "tensors": 4,
            "tensor_bytes": 56 * 2 + 4 * 4 + 8 * 8,
            "bits_per_weight": (56 * 2 + 4 * 4) * 8 / 60,
            "buffers": {"tensors": 1, "bytes": 64},
            "unexplained": {"tensors": 0, "bytes": 0},
            "levels": [
                {
                    "level": "BFloat16",
                    "label": "BF16",
                    "bits_per_param": 16,
                    "group_size": None,
                    "symmetric": None,
                    "quantized": False,
                    "parameters": 56,
                    "weights": 2,
                    "bytes": 112,
                    "bits_per_weight": 16.0,
                },
                {
                    "level": "None",
                    "label": "FP32",
                    "bits_per_param": 32,
                    "group_size": None,
                    "symmetric": None,
                    "quantized": False,
                    "parameters": 4,
                    "weights": 1,
                    "bytes": 16,
                    "bits_per_weight": 32.0,
                },
            ],
        },
        "findings": [],
        "files": [{"path": "model.safetensors", "bytes": (tmp_path / "model.safetensors").stat().st_size}],
    }


def test_a_bias_counts_its_bytes_with_its_quantized_weight(
    tmp_path: Path,
) -> None:
    tensors: Tensors = {
        "fc.weight": ("F8_E4M3", [8, 16]),
        "fc.weight_scale": ("F32", [8, 1]),
        "fc.bias": ("BF16", [8]),
        "norm.weight": ("BF16", [16]),
    }
    stored = inspect(write(tmp_path, tensors)).stored
    assert stored is not None
    by_level = {one.level: one for one in stored.levels}
    codes = by_level[levels["Float8E4M3FN"]]
    assert (codes.parameters, codes.nbytes, codes.quantized) == (128, 128 + 32 + 16, True)
    assert (by_level[BF16].parameters, by_level[BF16].nbytes) == (24, 32)
    assert by_level[BF16].bits_per_weight == 16
    assert sum(one.nbytes for one in stored.levels) == stored.tensor_bytes
    assert stored.bits_per_weight == Fraction(8 * stored.tensor_bytes, 152)


def test_nothing_is_declared_without_a_config(tmp_path: Path) -> None:
    assert inspect(write(tmp_path, PLAIN)).declared is None


def test_a_config_alone_has_nothing_stored(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"dtype": "float32"}')
    inspection = inspect(tmp_path / "config.json")
    assert inspection.format == "config"
    assert inspection.stored is None
    assert inspection.declared is not None
    assert inspection.declared.dtype is FP32


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ({"torch_dtype": "bfloat16"}, "BFloat16"),
        ({"dtype": "float16", "torch_dtype": "float32"}, "Float16"),
        ({"text_config": {"dtype": "bfloat16"}}, "BFloat16"),
        ({"torch_dtype": "float32", "text_config": {"torch_dtype": "bfloat16"}}, "None"),
        ({"torch_dtype": "torch.bfloat16"}, "BFloat16"),
        ({"dtype": "auto"}, None),
        ({"dtype": None}, None),
    ],
)
def test_declared_dtype_is_found_under_either_key_and_in_inner_configs(
    tmp_path: Path, config: object, dtype: str | None
) -> None:
    declared = inspect(write(tmp_path, PLAIN, config=config)).declared
    assert (declared.dtype.name if declared and declared.dtype else None) == dtype


def test_a_dtype_that_is_not_text_is_found_with_its_place(tmp_path: Path) -> None:
    (finding,) = inspect(write(tmp_path, PLAIN, config={"text_config": {"dtype": 16}})).findings
    assert (finding.code, finding.where) == ("QL305", "config.json")
    assert finding.message == "$.text_config.dtype: expected the name of a dtype, got 16"


def test_an_unknown_dtype_is_reported_and_nothing_is_made_of_it(tmp_path: Path) -> None:
    inspection = inspect(write(tmp_path, PLAIN, config={"dtype": "__import__('os').system('true')"}))
    assert inspection.declared is None
    assert [finding.code for finding in inspection.findings] == ["QL301"]


@pytest.mark.parametrize(("claim", "codes"), [(60, []), ("60", []), (61, ["QL107"]), (-1, ["QL107"]), ("x", ["QL107"])])
def test_the_parameter_claim_of_an_index_is_checked(tmp_path: Path, claim: object, codes: list[str]) -> None:
    write(tmp_path, PLAIN, name="model-00001-of-00001.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps(
            {
                "metadata": {"total_parameters": claim},
                "weight_map": dict.fromkeys(PLAIN, "model-00001-of-00001.safetensors"),
            }
        )
    )
    assert [finding.code for finding in inspect(tmp_path).findings] == codes


def test_weights_name_what_each_module_is_stored_as(tmp_path: Path) -> None:
    weights = {name: (part.level, part.parameters) for name, part in inspect(write(tmp_path, PLAIN)).weights()}
    assert weights == {
        "model.embed_tokens.weight": (BF16, 40),
        "model.layers.0.mlp.gate.weight": (BF16, 16),
        "model.layers.0.input_layernorm.weight": (FP32, 4),
    }


def test_an_unknown_type_has_no_level_name_in_records(tmp_path: Path) -> None:
    packed = {"up.weight": ("U32", [8, 8]), "up.scales": ("BF16", [8, 1]), "up.biases": ("BF16", [8, 1])}
    record = inspect(write(tmp_path, PLAIN | packed)).to_record()
    (unknown,) = (level for level in record["stored"]["levels"] if level["level"] is None)
    assert unknown["label"]
    schema: Any = record_schema("inspection")
    level = schema["properties"]["stored"]["anyOf"][0]["properties"]["levels"]["items"]["properties"]["level"]
    assert {"type": "null"} in level["anyOf"]
