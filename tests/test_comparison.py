"""Two checkpoints side by side, and names that differ with the container alone."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.writers import write_safetensors

from quantlevels import CheckpointError
from quantlevels.inspection.comparison import compare
from quantlevels.llamacpp import gguf_names, matched

ATTENTION = "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj"
NORMS = "input_layernorm post_attention_layernorm"
DENSE = "mlp.gate_proj mlp.up_proj mlp.down_proj"
EXPERTS = "mlp.gate mlp.experts.gate_proj mlp.experts.up_proj mlp.experts.down_proj"
SHARED = "mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.shared_experts.down_proj"
LATENT = (
    "self_attn.q_a_proj self_attn.q_b_proj self_attn.q_a_layernorm self_attn.kv_a_proj_with_mqa self_attn.kv_b_proj"
)

#: architecture of gguf-py → the modules of a layer, and those outside, as transformers has them
ARCHITECTURES = {
    "LLAMA": (f"{ATTENTION} {NORMS} {DENSE}", "model.embed_tokens model.norm lm_head"),
    "QWEN2MOE": (f"{ATTENTION} {NORMS} {EXPERTS} mlp.shared_expert_gate mlp.shared_expert.up_proj", ""),
    "QWEN3MOE": (f"{ATTENTION} {NORMS} {EXPERTS} self_attn.q_norm self_attn.k_norm", ""),
    "QWEN3NEXT": (f"{ATTENTION} {NORMS} {EXPERTS} linear_attn.in_proj_qkvz linear_attn.A_log linear_attn.out_proj", ""),
    "GEMMA3": (f"{ATTENTION} {NORMS} {DENSE} pre_feedforward_layernorm post_feedforward_layernorm", "model.norm"),
    "GEMMA3N": ("per_layer_input_gate altup.correction_coefs laurel.linear_left", "model.embed_tokens_per_layer"),
    "PHI2": ("self_attn.q_proj self_attn.dense mlp.fc1 mlp.fc2 input_layernorm", "model.final_layernorm"),
    "PHI3": (f"self_attn.qkv_proj self_attn.o_proj mlp.gate_up_proj mlp.down_proj {NORMS}", ""),
    "DEEPSEEK2": (f"{LATENT} self_attn.o_proj {NORMS} {EXPERTS} {SHARED}", ""),
    "GPT_OSS": (f"{ATTENTION} {NORMS} self_attn.sinks mlp.router mlp.experts.down_proj", ""),
    "LLAMA4": (f"{ATTENTION} feed_forward.router feed_forward.experts.up_proj feed_forward.shared_expert.up_proj", ""),
    "OLMO2": (f"{ATTENTION} self_attn.q_norm post_attention_layernorm post_feedforward_layernorm {DENSE}", ""),
    "GLM4": (f"{NORMS} post_self_attn_layernorm post_mlp_layernorm mlp.gate_up_proj mlp.down_proj", ""),
    "GLM4_MOE": (f"{ATTENTION} {NORMS} {EXPERTS} {SHARED} eh_proj enorm hnorm shared_head.norm", ""),
    "LFM2": ("operator_norm ffn_norm feed_forward.w1 self_attn.out_proj conv.in_proj", "model.embedding_norm"),
    "STARCODER2": (f"{ATTENTION} {NORMS} mlp.c_fc mlp.c_proj", ""),
    "MINIMAXM2": ("block_sparse_moe.gate block_sparse_moe.experts.w1 block_sparse_moe.experts.w2", ""),
    "GRANITE_MOE": ("block_sparse_moe.router.layer block_sparse_moe.output_linear shared_mlp.output_linear", ""),
}
OTHERS = {
    "GPT2": "transformer.wte transformer.wpe transformer.ln_f transformer.h.0.attn.c_attn transformer.h.0.mlp.c_proj",
    "FALCON": "transformer.word_embeddings transformer.h.0.self_attention.query_key_value transformer.h.0.ln_attn",
    "GPTNEOX": "gpt_neox.embed_in gpt_neox.layers.0.attention.dense gpt_neox.layers.0.mlp.dense_h_to_4h embed_out",
    "MAMBA": "backbone.embeddings backbone.norm_f backbone.layers.0.norm backbone.layers.0.mixer.in_proj",
    "BERT": "embeddings.word_embeddings encoder.layer.0.attention.self.query encoder.layer.0.output.LayerNorm",
}


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *OTHERS])
def test_names_are_what_gguf_py_has(architecture: str) -> None:
    py = pytest.importorskip("gguf")
    given = py.get_tensor_name_map(py.MODEL_ARCH[architecture], 1)
    inside, outside = ARCHITECTURES.get(architecture, ("", OTHERS.get(architecture, "")))
    names = [*(f"model.layers.0.{name}" for name in inside.split()), *outside.split()]
    expected = {name: given.get_name(name) for name in names}
    assert None not in expected.values()
    assert matched(names, set(expected.values())) == expected


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("lm_head", "output"),
        ("model.layers.7.self_attn.q_proj.bias", "blk.7.attn_q.bias"),
        ("model.layers.7.mlp.experts.31.up_proj", "blk.7.ffn_up_exps"),
        ("model.layers.7.mlp.experts.down_proj_bias", "blk.7.ffn_down_exps.bias"),
        ("model.layers.7.mlp.gate.e_score_correction_bias", "blk.7.exp_probs_b.bias"),
        ("model.layers.7.block_sparse_moe.experts.3.w2", "blk.7.ffn_down_exps"),
        ("model.language_model.layers.7.mlp.up_proj", "blk.7.ffn_up"),
        ("language_model.model.layers.7.mlp.up_proj", "blk.7.ffn_up"),
        ("language_model.lm_head", "output"),
    ],
)
def test_names_of_transformers_in_llama_cpp(name: str, given: str) -> None:
    assert gguf_names(name) == (given,)


@pytest.mark.parametrize("name", ["vision_tower.encoder.layers.7.mlp.up_proj", "something.else", ""])
def test_names_that_llama_cpp_has_no_other_for(name: str) -> None:
    assert gguf_names(name) == ()
    assert matched([name], ()) == {name: name}


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


def safetensors(path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str = "BF16") -> Path:
    """A safetensors file of these tensors, all of one dtype."""
    return write_safetensors(path, {name: (dtype, shape) for name, shape in shapes.items()})


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


def test_what_is_fused_on_one_side(tmp_path: Path) -> None:
    """Queries, keys and values, the gates of experts, and a latent: in one tensor here and in several there."""
    layer = "model.layers.0"
    before = safetensors(
        tmp_path / "model.safetensors",
        {
            f"{layer}.attention.wqkv.weight": (96, 32),
            f"{layer}.mlp.experts.gate_up_proj": (4, 32, 128),
            f"{layer}.self_attn.kv_b_proj.weight": (64, 32),
            f"{layer}.mlp.shared_experts.gate_proj.weight": (32, 32),
            f"{layer}.mlp.shared_experts.up_proj.weight": (32, 32),
        },
    )
    after = gguf(
        tmp_path / "model.gguf",
        {
            **{f"blk.0.attn_{part}.weight": (30, (32, 32), 2048) for part in "qkv"},
            **{f"blk.0.ffn_{part}_exps.weight": (30, (4, 64, 32), 16384) for part in ("gate", "up")},
            **{f"blk.0.attn_{part}_b.weight": (30, (2, 16, 32), 2048) for part in "kv"},
            "blk.0.ffn_gate_up_shexp.weight": (30, (64, 32), 4096),
        },
    )
    for report in (compare(before, after), compare(after, before)):
        assert report.same, (report.changed, report.only_before, report.only_after)


def test_the_same_blocks_in_one_tensor_and_in_two(tmp_path: Path) -> None:
    """gpt-oss: MXFP4 with the scales apart, gates and ups in one tensor, and what llama.cpp makes of it."""
    experts = "model.layers.0.mlp.experts"
    before = safetensors(
        tmp_path / "model.safetensors",
        {
            f"{experts}.gate_up_proj_blocks": (2, 128, 2, 16),
            f"{experts}.gate_up_proj_scales": (2, 128, 2),
            f"{experts}.down_proj_blocks": (2, 64, 2, 16),
            f"{experts}.down_proj_scales": (2, 64, 2),
        },
        dtype="U8",
    )
    after = gguf(
        tmp_path / "model.gguf",
        {f"blk.0.ffn_{part}_exps.weight": (39, (2, 64, 64), 4352) for part in ("gate", "up", "down")},
    )
    report = compare(before, after)
    assert report.same, (report.changed, report.only_before, report.only_after)
    assert [(str(it.level), it.group_size, it.before, it.after) for it in report.levels] == [
        ("MXFP4", 32, 13056, 13056)
    ]


def test_the_same_file_is_stored_alike(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "model.safetensors", {"model.norm.weight": (256,)})
    report = compare(path, path)
    assert report.same
    assert report.levels[0].gained == 0


def test_a_config_alone_has_nothing_to_compare(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "model.safetensors", {"model.norm.weight": (256,)})
    (tmp_path / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    with pytest.raises(CheckpointError, match="no weights to compare"):
        compare(path, tmp_path / "config.json")
