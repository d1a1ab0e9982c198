"""Checkpoints of other containers against the model they were made of, by the names that survive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.checkpoint.writers import BLOCKS, GgmlTensor, ggml_file, nemo, whisper_head, write_mlc
from tests.writers import torch_archive, torch_pickle, write_safetensors

from quantlevels.inspection.comparison import Comparison, compare

CONTAINERS = Path(__file__).parent / "data/containers"
CONVERTED = CONTAINERS / "openvino/converted"


def storage(comparison: Comparison) -> dict[str, tuple[str, ...]]:
    """Name of a weight that changed → the levels it has on the other side."""
    return {change.name: tuple(stored.level.name for stored in change.after) for change in comparison.changed}


def test_openvino_keeps_the_names_of_pytorch() -> None:
    compared = compare(CONVERTED / "source", CONVERTED / "fp32")
    assert compared.same
    assert len(list(compared.before.weights())) == 3


@pytest.mark.parametrize(("name", "level"), [("fp16", "Float16"), ("int4_sym", "Int4")])
def test_every_weight_of_openvino_is_found_in_its_source(name: str, level: str) -> None:
    compared = compare(CONVERTED / "source", CONVERTED / name)
    assert storage(compared) == dict.fromkeys(("embed_tokens", "layers.0", "lm_head"), (level,))
    assert (compared.only_before, compared.only_after) == ((), ())


def test_two_ctranslate2_models_by_their_own_names() -> None:
    compared = compare(CONTAINERS / "ctranslate2/float32", CONTAINERS / "ctranslate2/int8")
    assert set(storage(compared).values()) == {("Int8",)}
    assert "decoder/layer_0/self_attention/linear_0/weight" in "\n".join(storage(compared))
    assert (compared.only_before, compared.only_after) == ((), ())


@pytest.mark.parametrize(("before", "after"), [("bfloat16", "nested"), ("nested", "bfloat16")])
def test_the_part_of_a_training_state_does_not_matter(before: str, after: str) -> None:
    assert compare(CONTAINERS / "dcp" / before, CONTAINERS / "dcp" / after).same


def test_a_nemo_archive_against_the_file_in_it(tmp_path: Path) -> None:
    weights = torch_archive(*torch_pickle({"encoder.up.weight": ("FloatStorage", (4, 8))}))
    (tmp_path / "model.ckpt").write_bytes(weights)
    (tmp_path / "model.nemo").write_bytes(nemo(weights))
    assert compare(tmp_path / "model.ckpt", tmp_path / "model.nemo").same


def test_mlx_archives_keep_the_names_of_transformers(tmp_path: Path) -> None:
    shapes = {"layers.0.mlp.up_proj.weight": ("F32", (32, 128)), "norm.weight": ("F16", (128,))}
    source = write_safetensors(tmp_path / "model.safetensors", shapes)
    compared = compare(source, CONTAINERS / "npz/q4_g64")
    assert storage(compared) == {"layers.0.mlp.up_proj": ("Int4",)}
    assert (compared.only_before, compared.only_after) == ((), ())


def test_mlc_fuses_projections(tmp_path: Path) -> None:
    attention, mlp = "model.layers.0.self_attn", "model.layers.0.mlp"
    rows = {f"{attention}.q_proj": 64, f"{attention}.k_proj": 32, f"{attention}.v_proj": 32}
    rows |= {f"{mlp}.gate_proj": 128, f"{mlp}.up_proj": 128, f"{mlp}.down_proj": 64}
    shapes = {f"{name}.weight": ("BF16", (count, 128)) for name, count in rows.items()}
    source = write_safetensors(tmp_path / "model.safetensors", shapes)
    arrays = {}
    for name, count in {f"{attention}.qkv_proj": 128, f"{mlp}.gate_up_proj": 256, f"{mlp}.down_proj": 64}.items():
        arrays[f"{name}.q_weight"] = ("uint32", (count, 16), 4, "raw")
        arrays[f"{name}.q_scale"] = ("float16", (count, 4), 2, "raw")
    folder = write_mlc(tmp_path / "mlc", arrays, name="ndarray-cache.json")
    (folder / "mlc-chat-config.json").write_text(json.dumps({"quantization": "q4f16_1"}))
    compared = compare(source, folder)
    assert len(compared.changed) == 3
    assert {(change.parameters_before, change.parameters_after) for change in compared.changed} == {
        (128 * 128,) * 2,
        (256 * 128,) * 2,
        (64 * 128,) * 2,
    }
    assert (compared.only_before, compared.only_after) == ((), ())


def test_whisper_cpp_keeps_the_names_of_openai(tmp_path: Path) -> None:
    shapes = {"decoder.token_embedding.weight": (5, 256), "encoder.blocks.0.attn.query.weight": (256, 256)}
    source = write_safetensors(tmp_path / "model.safetensors", {name: ("F16", shape) for name, shape in shapes.items()})
    tensors = [
        GgmlTensor(name=name, type=type, shape=shape, block=BLOCKS[type])
        for (name, shape), type in zip(shapes.items(), (1, 8), strict=True)
    ]
    path = tmp_path / "ggml-model.bin"
    path.write_bytes(ggml_file(whisper_head(2007), tensors))
    compared = compare(source, path)
    assert storage(compared) == {"encoder.blocks.0.attn.query": ("Q8_0",)}
    assert (compared.only_before, compared.only_after) == ((), ())


def test_a_prefix_is_kept_if_some_names_are_the_same(tmp_path: Path) -> None:
    before = write_safetensors(tmp_path / "a.safetensors", {"m.m.w": ("F32", (2, 2)), "m.w": ("F32", (2, 2))})
    after = write_safetensors(tmp_path / "b.safetensors", {"m.w": ("F32", (2, 2))})
    compared = compare(before, after)
    assert (compared.only_before, compared.only_after) == (("m.m.w",), ())
