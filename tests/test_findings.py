"""What is a finding and, of honest checkpoints, what is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.writers import gguf, safetensors, torch_archive, torch_pickle

from quantlevels import CheckpointError, inspect
from quantlevels.findings import Finding

Q8_0, Q2_K, Q3_K, Q4_K, Q5_0, Q6_K, MXFP4, F16, F32 = 8, 10, 11, 12, 6, 14, 39, 1, 0
EMBEDDING = ("BF16", [32, 128])
GPTQ = {"up.qweight": ("I32", [16, 256]), "up.qzeros": ("I32", [1, 32]), "up.scales": ("F16", [1, 256])}
GPTQ_CONFIG = {"quant_method": "gptq", "bits": 4, "group_size": 128}


def of_gguf(
    folder: Path,
    label: int | None,
    tensors: Mapping[str, tuple[int, list[int]]],
    name: str = "model.gguf",
    **more: object,
) -> list[Finding]:
    metadata = {**({} if label is None else {"general.file_type": label}), **more}
    (folder / name).write_bytes(gguf(tensors, metadata))
    return list(inspect(folder).findings)


def of_folder(folder: Path, tensors: Mapping[str, tuple[str, list[int]]], **config: object) -> list[str]:
    (folder / "model.safetensors").write_bytes(safetensors(tensors))
    (folder / "config.json").write_text(json.dumps(config))
    return [finding.code for finding in inspect(folder).findings]


#: label → tensors of an honest file under it
HONEST: dict[str, tuple[int, dict[str, tuple[int, list[int]]]]] = {
    "Q3_K_M with queries, keys and values in one tensor": (
        12,
        {
            "blk.0.attn_qkv.weight": (Q4_K, [768, 256]),
            "blk.0.attn_output.weight": (Q4_K, [256, 256]),
            "blk.0.ffn_up.weight": (Q3_K, [1024, 256]),
            "blk.0.ffn_down.weight": (Q4_K, [256, 1024]),
        },
    ),
    "Q4_K_M with a wide embedding": (
        15,
        {"token_embd.weight": (Q6_K, [4096, 256]), "blk.0.attn_q.weight": (Q4_K, [256, 256])},
    ),
    "MXFP4_MOE of a model with few experts": (
        38,
        {
            "blk.0.attn_q.weight": (Q8_0, [512, 512]),
            "blk.0.ffn_up_exps.weight": (MXFP4, [2, 64, 512]),
        },
    ),
    "F16 with norms in F32": (1, {"blk.0.attn_q.weight": (F16, [256, 256]), "blk.0.attn_norm.weight": (F32, [256])}),
}


@pytest.mark.parametrize(("label", "tensors"), HONEST.values(), ids=HONEST)
def test_mixtures_of_llama_cpp_under_their_label_are_fine(
    tmp_path: Path, label: int, tensors: dict[str, tuple[int, list[int]]]
) -> None:
    assert of_gguf(tmp_path, label, tensors) == []


#: rows of 896 weights, which blocks of 256 do not tile, and rows of 1,024, which they do
RAGGED = {
    "token_embd.weight": (Q8_0, [4096, 896]),
    "blk.0.attn_q.weight": (Q5_0, [896, 896]),
    "blk.0.attn_norm.weight": (F32, [896]),
    "blk.0.ffn_down.weight": (Q4_K, [896, 1024]),
    "blk.1.ffn_down.weight": (Q6_K, [896, 1024]),
}


def test_rows_that_do_not_fill_blocks_are_a_fallback(tmp_path: Path) -> None:
    (finding,) = of_gguf(tmp_path, 15, RAGGED)
    assert (finding.code, finding.severity) == ("QL110", "warning")
    assert "2 tensors cannot be Q4_K" in finding.message
    assert "rows of 896 weights became Q5_0, Q8_0" in finding.message


def test_widened_tensors_alone_do_not_contradict_the_label(tmp_path: Path) -> None:
    tensors = {"blk.0.attn_q.weight": (Q5_0, [96, 96]), "blk.0.ffn_down.weight": (Q6_K, [96, 256])}
    assert [finding.code for finding in of_gguf(tmp_path, 15, tensors)] == ["QL110"]


#: a file of Q4_K under its name → whether the name says something else
NAMES = {
    "model-Q4_K_M.gguf": False,
    "model.q4_k_m.gguf": False,
    "model-Q4_K_L.gguf": False,  # a recipe of others, of the same type
    "model-UD-IQ2_XXS.gguf": False,  # dynamic recipes differ from model to model
    "model-f16-Q4_K_M.gguf": False,
    "model-7b.gguf": False,
    "q8ball-v1_0.gguf": False,
    "model-IQ3_XXS.gguf": True,
    "model-Q8_0.gguf": True,
    "model-Q4_K_S.gguf": True,
    "model-BF16.gguf": True,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_of_another_recipe_is_a_finding(tmp_path: Path, name: str) -> None:
    tensors = {"blk.0.attn_q.weight": (Q4_K, [256, 256]), "blk.0.attn_v.weight": (Q6_K, [64, 256])}
    assert [finding.code for finding in of_gguf(tmp_path, 15, tensors, name)] == ["QL114"] * NAMES[name]


def test_the_parameters_a_gguf_claims_are_counted(tmp_path: Path) -> None:
    tensors = {"blk.0.attn_q.weight": (Q4_K, [256, 256])}
    assert of_gguf(tmp_path, 15, tensors, **{"general.parameter_count": 65_536}) == []
    (finding,) = of_gguf(tmp_path, 15, tensors, **{"general.parameter_count": 65_537})
    assert finding.message == "general.parameter_count claims 65537 parameters, but the tensors hold 65,536"


@pytest.mark.parametrize(("declared", "ahead", "codes"), [(2, 0, []), (3, 1, []), (3, 0, ["QL115"]), (1, 0, [])])
def test_layers_that_a_gguf_declares_are_there(tmp_path: Path, declared: int, ahead: int, codes: list[str]) -> None:
    tensors = {f"blk.{number}.attn_q.weight": (Q4_K, [256, 256]) for number in range(2)}
    metadata = {"llama.block_count": declared, "llama.nextn_predict_layers": ahead}
    assert [finding.code for finding in of_gguf(tmp_path, 15, tensors, **metadata)] == codes


def test_a_label_over_another_level_is_a_finding(tmp_path: Path) -> None:
    (finding,) = of_gguf(tmp_path, 15, {"blk.0.ffn_up.weight": (Q2_K, [256, 256])})
    assert (finding.code, finding.where) == ("QL106", "model.gguf")


def test_tensors_that_mixtures_widen_must_not_be_narrower(tmp_path: Path) -> None:
    tensors = {"blk.0.ffn_up.weight": (Q4_K, [256, 256]), "blk.0.ffn_down.weight": (Q2_K, [256, 1024])}
    assert [finding.code for finding in of_gguf(tmp_path, 15, tensors)] == ["QL106"]


def test_a_label_is_not_compared_with_one_part(tmp_path: Path) -> None:
    tensors = {"blk.0.attn_q.weight": (Q6_K, [512, 512])}
    (tmp_path / "model-00001-of-00002.gguf").write_bytes(gguf(tensors, {"general.file_type": 15}))
    assert [finding.code for finding in inspect(tmp_path).findings] == ["QL201"]


def test_a_single_pickled_part_reports_no_missing_tensors(tmp_path: Path) -> None:
    part = tmp_path / "pytorch_model-00001-of-00002.bin"
    part.write_bytes(torch_archive(*torch_pickle({"embed_tokens.weight": ("BFloat16Storage", [32, 128])})))
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": GPTQ_CONFIG}))
    assert inspect(part).findings == ()


def test_projectors_and_importance_matrices_are_not_second_models(tmp_path: Path) -> None:
    (tmp_path / "mmproj-model-F16.gguf").write_bytes(gguf({"v.blk.0.attn_q.weight": (F16, [64, 64])}))
    (tmp_path / "model.imatrix.gguf").write_bytes(gguf({"blk.0.attn_q.weight.in_sum2": (F32, [1, 256])}))
    assert inspect(tmp_path).files[0].path == "mmproj-model-F16.gguf"
    (beside,) = of_gguf(tmp_path, 15, {"blk.0.attn_q.weight": (Q4_K, [256, 256])})
    assert (beside.code, beside.severity, beside.where) == ("QL402", "info", "mmproj-model-F16.gguf")
    (tmp_path / "model-Q8_0.gguf").write_bytes(gguf({"blk.0.attn_q.weight": (Q8_0, [256, 256])}))
    with pytest.raises(CheckpointError, match=r"holds 2 models, name one of them: 'model-Q8_0\.gguf', 'model\.gguf'$"):
        inspect(tmp_path)


def test_a_quantized_label_over_plain_weights_is_a_stale_one(tmp_path: Path) -> None:
    (finding,) = of_gguf(tmp_path, 15, {"blk.0.ffn_up.weight": (F16, [256, 256])})
    assert str(finding) == (
        "QL103 not-quantized: model.gguf: gguf is declared with Q4_K, but all 65,536 parameters are stored as FP16"
    )


def test_declared_plain_fp8_is_fine(tmp_path: Path) -> None:
    tensors = {"up.weight": ("F8_E4M3", [128, 128]), "norm.weight": ("BF16", [128])}
    assert of_folder(tmp_path, tensors, dtype="float8_e4m3fn") == []
    assert of_folder(tmp_path, tensors, dtype="bfloat16") == ["QL104"]


def test_declared_fp8_that_is_not_stored_is_reported(tmp_path: Path) -> None:
    assert of_folder(tmp_path, {"up.weight": ("BF16", [128, 128])}, dtype="float8_e4m3fn") == ["QL105"]


def test_norms_in_fp32_beside_quantized_weights_are_fine(tmp_path: Path) -> None:
    tensors = {**GPTQ, "norm.weight": ("F32", [256])}
    assert of_folder(tmp_path, tensors, dtype="float16", quantization_config=GPTQ_CONFIG) == []


def test_an_fp32_embedding_beside_quantized_weights_is_reported(tmp_path: Path) -> None:
    tensors = {**GPTQ, "embed_tokens.weight": ("F32", [32, 128])}
    assert of_folder(tmp_path, tensors, dtype="float16", quantization_config=GPTQ_CONFIG) == ["QL105"]


def test_tensors_of_a_missing_shard_are_not_reported_missing(tmp_path: Path) -> None:
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    placed = {"embed_tokens.weight": first, **dict.fromkeys(GPTQ, second)}
    index = {"metadata": {"total_parameters": 36_864}, "weight_map": placed}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": GPTQ_CONFIG}))
    (tmp_path / first).write_bytes(safetensors({"embed_tokens.weight": EMBEDDING}))
    assert [finding.code for finding in inspect(tmp_path).findings] == ["QL201"]
    assert inspect(tmp_path / first).findings == ()
