"""Two checkpoints side by side, and names that differ with the container alone."""

from __future__ import annotations

import pytest

from quantlevels.comparison import gguf_name


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
