"""Two checkpoints side by side, and names that differ with the container alone."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from quantlevels import CheckpointError
from quantlevels.comparison import compare, gguf_name


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("model.embed_tokens", "token_embd"),
        ("lm_head", "output"),
        ("model.norm", "output_norm"),
        ("model.layers.7.input_layernorm", "blk.7.attn_norm"),
        ("model.layers.7.self_attn.q_proj", "blk.7.attn_q"),
        ("model.layers.7.self_attn.q_proj.bias", "blk.7.attn_q.bias"),
        ("model.layers.7.self_attn.o_proj", "blk.7.attn_output"),
        ("model.layers.7.self_attn.k_norm", "blk.7.attn_k_norm"),
        ("model.layers.7.post_attention_layernorm", "blk.7.ffn_norm"),
        ("model.layers.7.mlp.down_proj", "blk.7.ffn_down"),
        ("model.layers.7.mlp.gate", "blk.7.ffn_gate_inp"),
        ("model.layers.7.mlp.experts.31.up_proj", "blk.7.ffn_up_exps"),
        ("model.layers.7.mlp.experts.down_proj", "blk.7.ffn_down_exps"),
        ("model.layers.7.mlp.shared_experts.gate_proj", "blk.7.ffn_gate_shexp"),
        ("model.layers.7.block_sparse_moe.experts.3.w2", "blk.7.ffn_down_exps"),
        ("model.layers.7.self_attn.kv_a_proj_with_mqa", "blk.7.attn_kv_a_mqa"),
        ("model.layers.7.self_attn.kv_b_proj", "blk.7.attn_kv_b"),
        ("model.layers.7.self_attn.q_a_proj", "blk.7.attn_q_a"),
        ("model.language_model.layers.7.mlp.up_proj", "blk.7.ffn_up"),
        ("language_model.model.layers.7.mlp.up_proj", "blk.7.ffn_up"),
        ("vision_tower.encoder.layers.7.mlp.up_proj", "vision_tower.encoder.layers.7.mlp.up_proj"),
        ("something.else", "something.else"),
    ],
)
def test_names_of_transformers_in_llama_cpp(name: str, given: str) -> None:
    assert gguf_name(name) == given


def test_what_stands_after_attention_depends_on_the_model() -> None:
    norms = ("post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
    given = [gguf_name(f"model.layers.0.{norm}", sandwich=True) for norm in norms]
    assert given == ["blk.0.post_attention_norm", "blk.0.ffn_norm", "blk.0.post_ffw_norm"]


def gguf(path: Path, tensors: Mapping[str, tuple[int, tuple[int, ...], int]]) -> Path:
    """A GGUF v3 file of these tensors: name → ggml type, shape with rows last, bytes; the data is a hole."""
    head, offset = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0)), 0
    for name, (kind, shape, nbytes) in tensors.items():
        head += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", kind, offset)
        offset += -(-nbytes // 32) * 32
    head += bytes(-len(head) % 32)
    path.write_bytes(head)
    os.truncate(path, len(head) + offset)
    return path


def safetensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """A safetensors file of these tensors in BF16."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + end)
    return path


def test_a_transformers_model_against_its_gguf(tmp_path: Path) -> None:
    """Names are matched, and the experts of a layer, one tensor each, with the one tensor llama.cpp makes of them."""
    before = safetensors(
        tmp_path / "model.safetensors",
        {
            "model.embed_tokens.weight": (32, 256),
            "model.norm.weight": (256,),
            **{f"model.layers.0.mlp.experts.{n}.up_proj.weight": (64, 256) for n in range(4)},
            "model.layers.0.rotary.weight": (8,),
        },
    )
    after = gguf(
        tmp_path / "model.gguf",
        {
            "token_embd.weight": (30, (32, 256), 16384),
            "output_norm.weight": (0, (256,), 1024),
            "blk.0.ffn_up_exps.weight": (12, (4, 64, 256), 36864),
            "rope_freqs.weight": (0, (8,), 32),
        },
    )
    report = compare(before, after)
    assert {change.name: (change.bytes_before, change.bytes_after) for change in report.changed} == {
        "model.norm": (512, 1024),
        "model.layers.0.mlp.experts.0.up_proj": (131_072, 36_864),
    }
    assert (report.only_before, report.only_after) == (("model.layers.0.rotary",), ("rope_freqs",))
    assert not report.same


def test_the_same_file_has_the_same_recipe(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "model.safetensors", {"model.norm.weight": (256,)})
    report = compare(path, path)
    assert report.same
    assert report.levels[0].gained == 0


def test_a_config_alone_has_nothing_to_compare(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "model.safetensors", {"model.norm.weight": (256,)})
    (tmp_path / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    with pytest.raises(CheckpointError, match="no weights to compare"):
        compare(path, tmp_path / "config.json")
