"""All that llama.cpp does by convention: file types, row fallbacks, mixtures, and what it calls modules."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

#: Flag in ``general.file_type``: the type was guessed from the tensors.
GUESSED: Final = 1024

#: ``general.file_type`` without ``GUESSED`` → its name in llama.cpp, and the level that most of its quantized weights
#: are meant to have, None where no one level can be expected. Every ``MOSTLY_`` is a mixture. Source: llama.cpp
#: llama.h ``llama_ftype`` and llama-quant.cpp, which makes IQ2_S mostly of the type IQ2_XS, and IQ2_M of IQ2_S.
FILE_TYPES: Final[dict[int, tuple[str, str | None]]] = {
    0: ("ALL_F32", "None"),
    1: ("MOSTLY_F16", "Float16"),
    2: ("MOSTLY_Q4_0", "Q4_0"),
    3: ("MOSTLY_Q4_1", "Q4_1"),
    4: ("MOSTLY_Q4_1_SOME_F16", "Q4_1"),
    5: ("MOSTLY_Q4_2", None),  # of a removed type, as are 6 and 33 to 35
    6: ("MOSTLY_Q4_3", None),
    7: ("MOSTLY_Q8_0", "Q8_0"),
    8: ("MOSTLY_Q5_0", "Q5_0"),
    9: ("MOSTLY_Q5_1", "Q5_1"),
    10: ("MOSTLY_Q2_K", "Q2_K"),
    11: ("MOSTLY_Q3_K_S", "Q3_K"),
    12: ("MOSTLY_Q3_K_M", "Q3_K"),
    13: ("MOSTLY_Q3_K_L", "Q3_K"),
    14: ("MOSTLY_Q4_K_S", "Q4_K"),
    15: ("MOSTLY_Q4_K_M", "Q4_K"),
    16: ("MOSTLY_Q5_K_S", "Q5_K"),
    17: ("MOSTLY_Q5_K_M", "Q5_K"),
    18: ("MOSTLY_Q6_K", "Q6_K"),
    19: ("MOSTLY_IQ2_XXS", "IQ2_XXS"),
    20: ("MOSTLY_IQ2_XS", "IQ2_XS"),
    21: ("MOSTLY_Q2_K_S", "Q2_K"),
    22: ("MOSTLY_IQ3_XS", None),  # IQ3_S and IQ3_XXS, about half each
    23: ("MOSTLY_IQ3_XXS", "IQ3_XXS"),
    24: ("MOSTLY_IQ1_S", "IQ1_S"),
    25: ("MOSTLY_IQ4_NL", "IQ4_NL"),
    26: ("MOSTLY_IQ3_S", "IQ3_S"),
    27: ("MOSTLY_IQ3_M", "IQ3_S"),
    28: ("MOSTLY_IQ2_S", "IQ2_XS"),
    29: ("MOSTLY_IQ2_M", "IQ2_S"),
    30: ("MOSTLY_IQ4_XS", "IQ4_XS"),
    31: ("MOSTLY_IQ1_M", "IQ1_M"),
    32: ("MOSTLY_BF16", "BFloat16"),
    33: ("MOSTLY_Q4_0_4_4", None),
    34: ("MOSTLY_Q4_0_4_8", None),
    35: ("MOSTLY_Q4_0_8_8", None),
    36: ("MOSTLY_TQ1_0", "TQ1_0"),
    37: ("MOSTLY_TQ2_0", "TQ2_0"),
    38: ("MOSTLY_MXFP4_MOE", "MXFP4"),  # the experts; all else is Q8_0
    39: ("MOSTLY_NVFP4", "NVFP4"),
    40: ("MOSTLY_Q1_0", "Q1_0"),
    41: ("MOSTLY_Q2_0", "Q2_0"),
}

#: Weights that a label does not speak of: llama-quantize gives them a type of their own.
UNLABELLED: Final = ("token_embd", "output", "per_layer_token_embd")
#: Weights that mixtures give wider types than the label's. Source: llama.cpp llama-quant.cpp.
WIDENED_BY_MIXTURES: Final = ("attn_v.", "attn_qkv.", "attn_output.", "ffn_down")

#: ggml type → what llama.cpp takes where a row is no multiple of its block: tensor_type_fallback in llama-quant.cpp
FALLBACKS: Final[dict[str, str]] = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
#: What it never quantizes and its converter writes as FP32: norms, routers, small convolutions, positions; and what it
#: leaves as it is: tensor_allows_quantization in llama-quant.cpp, prepare_tensors in convert_hf_to_gguf.py
WIDENED_ON_CONVERSION: Final = (
    *(
        "*norm*",
        "*ffn_gate_inp*",
        "*.gate",
        "*.router",
        "*.shared_expert_gate",
        "*conv1d*",
        "*conv.conv",
        "*pos*_emb*",
        "*token_type*",
    ),
    *("*ssm_a", "*A_log"),
)
LEFT_AS_THEY_ARE: Final = (
    *("*altup*", "*laurel*", "*per_layer_model_proj*", "*time_mix_*", "*attn_rel_b", "*indexer.[kq]_proj"),
    *("*.patch_embd*", "*.patch_merger*", "*.rel_pos*", "sam.net_*", "sam.neck.*"),
)

#: What llama.cpp calls a module of a layer → what models of ``transformers`` do; ``{}`` is one of _PARTS.
#: Source: gguf-py 0.19.0 tensor_mapping.py, and the splits and fusions of convert_hf_to_gguf.py
_LAYER: Final[dict[str, str]] = {
    "attn_norm": "input_layernorm ln_1 ln_mlp norm operator_norm attention_norm",
    "attn_norm_2": "ln_attn",
    "attn_qkv": "self_attn.qkv_proj self_attention.query_key_value attention.query_key_value attn.c_attn "
    "attention.wqkv linear_attn.in_proj_qkv",
    "attn_q": "self_attn.q_proj attention.wq attn.attention.q_proj attention.self.query",
    "attn_k": "self_attn.k_proj attention.wk attn.attention.k_proj attention.self.key",
    "attn_v": "self_attn.v_proj attention.wv attn.attention.v_proj attention.self.value",
    "attn_output": "self_attn.o_proj self_attn.out_proj self_attn.dense self_attention.dense attention.dense "
    "attention.wo attn.c_proj attn.attention.out_proj attention.output.dense",
    "attn_q_norm": "self_attn.q_norm self_attn.q_layernorm self_attn.query_layernorm attention.query_layernorm",
    "attn_k_norm": "self_attn.k_norm self_attn.k_layernorm self_attn.key_layernorm attention.key_layernorm",
    "attn_output_norm": "attention.output.LayerNorm",
    "layer_output_norm": "output.LayerNorm",
    "attn_gate": "linear_attn.in_proj_z",
    "attn_sinks": "self_attn.sinks",
    "attn_q_a": "self_attn.q_a_proj",
    "attn_q_b": "self_attn.q_b_proj",
    "attn_q_a_norm": "self_attn.q_a_layernorm",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
    "attn_kv_a_norm": "self_attn.kv_a_layernorm",
    "attn_kv_b": "self_attn.kv_b_proj",
    "attn_k_b": "self_attn.k_b_proj",
    "attn_v_b": "self_attn.v_b_proj",
    "post_attention_norm": "post_attention_layernorm post_self_attn_layernorm",
    "ffn_norm": "post_attention_layernorm pre_feedforward_layernorm ffn_norm ln_2",
    "post_ffw_norm": "post_feedforward_layernorm post_mlp_layernorm",
    "ffn_{}": "mlp.{}_proj feed_forward.{}_proj",
    "ffn_gate": "feed_forward.w1 mlp.c_fc_0",
    "ffn_up": "mlp.gate_up_proj feed_forward.w3 mlp.fc1 mlp.c_fc mlp.c_fc_1 mlp.dense_h_to_4h intermediate.dense",
    "ffn_down": "feed_forward.w2 mlp.fc2 mlp.c_proj mlp.dense_4h_to_h output.dense",
    "ffn_gate_inp": "mlp.gate mlp.gate.wg mlp.router block_sparse_moe.gate block_sparse_moe.router.layer "
    "feed_forward.gate feed_forward.router",
    "exp_probs_b.bias": "mlp.gate.e_score_correction_bias mlp.gate.expert_bias "
    "mlp.moe_statics.e_score_correction_bias block_sparse_moe.e_score_correction_bias",
    "ffn_{}_exps": "mlp.experts.{}_proj feed_forward.experts.{}_proj block_sparse_moe.experts.{}_proj",
    "ffn_{}_exps.bias": "mlp.experts.{}_proj_bias",
    "ffn_gate_exps": "block_sparse_moe.experts.w1",
    "ffn_up_exps": "block_sparse_moe.experts.w3",
    "ffn_down_exps": "block_sparse_moe.experts.w2 block_sparse_moe.output_linear",
    "ffn_gate_up_exps": "mlp.experts.gate_up_proj feed_forward.experts.gate_up_proj block_sparse_moe.input_linear",
    "ffn_gate_up_exps.bias": "mlp.experts.gate_up_proj_bias",
    "ffn_{}_shexp": "mlp.shared_expert.{}_proj mlp.shared_experts.{}_proj mlp.shared_mlp.{}_proj "
    "feed_forward.shared_expert.{}_proj",
    "ffn_down_shexp": "shared_mlp.output_linear",
    "ffn_gate_up_shexp": "shared_mlp.input_linear",
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
    "ssm_in": "mixer.in_proj mamba.in_proj linear_attn.in_proj_qkvz",
    "ssm_conv1d": "mixer.conv1d mamba.conv1d linear_attn.conv1d",
    "ssm_x": "mixer.x_proj mamba.x_proj",
    "ssm_dt": "mixer.dt_proj mamba.dt_proj",
    "ssm_dt.bias": "mixer.dt_bias mamba.dt_bias linear_attn.dt_bias",
    "ssm_a": "mixer.A_log mamba.A_log linear_attn.A_log",
    "ssm_d": "mixer.D mamba.D",
    "ssm_norm": "mixer.norm mamba.norm linear_attn.norm",
    "ssm_out": "mixer.out_proj mamba.out_proj linear_attn.out_proj",
    "ssm_ba": "linear_attn.in_proj_ba",
    "ssm_alpha": "linear_attn.in_proj_a",
    "ssm_beta": "linear_attn.in_proj_b",
    "shortconv.conv": "conv.conv",
    "shortconv.in_proj": "conv.in_proj",
    "shortconv.out_proj": "conv.out_proj",
    "inp_gate": "per_layer_input_gate",
    "proj": "per_layer_projection",
    "post_norm": "post_per_layer_input_norm",
    "altup_correct_coef": "altup.correction_coefs",
    "altup_correct_scale": "altup.correct_output_scale",
    "altup_predict_coef": "altup.prediction_coefs",
    "altup_router": "altup.modality_router",
    "altup_router_norm": "altup.router_norm",
    "laurel_l": "laurel.linear_left",
    "laurel_r": "laurel.linear_right",
    "laurel_post_norm": "laurel.post_laurel_norm",
    "nextn.eh_proj": "eh_proj",
    "nextn.enorm": "enorm",
    "nextn.hnorm": "hnorm",
    "nextn.embed_tokens": "embed_tokens",
    "nextn.shared_head_norm": "shared_head.norm",
    "nextn.shared_head_head": "shared_head.head",
}
_OUTSIDE: Final[dict[str, str]] = {
    "token_embd": "embed_tokens word_embeddings tok_embeddings embeddings wte embed_in embeddings.word_embeddings",
    "token_embd_norm": "embedding_norm embeddings.LayerNorm",
    "position_embd": "wpe embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "per_layer_token_embd": "embed_tokens_per_layer",
    "per_layer_model_proj": "per_layer_model_projection",
    "per_layer_proj_norm": "per_layer_projection_norm",
    "output_norm": "norm final_layernorm ln_f norm_f final_layer_norm",
    "output": "lm_head output embed_out",
}
_PARTS: Final = ("gate", "up", "down")
#: What one of the two keeps in one tensor → what the other has for it.
_FUSED: Final[dict[str, tuple[str, ...]]] = {
    "attn_qkv": ("attn_q", "attn_k", "attn_v"),
    "attn_kv_b": ("attn_k_b", "attn_v_b"),
    "ffn_gate_up_exps": ("ffn_gate_exps", "ffn_up_exps"),
    "ffn_gate_up_shexp": ("ffn_gate_shexp", "ffn_up_shexp"),
}


def _inverted(table: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for given, names in table.items():
        for part in _PARTS if "{}" in given else ("",):
            for name in names.split():
                key = name.replace("{}", part)
                found[key] = (*found.get(key, ()), given.replace("{}", part))
    return found


_LAYER_NAMES: Final = _inverted(_LAYER)
_OUTSIDE_NAMES: Final = _inverted(_OUTSIDE)
_WRAPPER: Final = r"(?:(?:model|language_model|text_model|transformer|backbone|gpt_neox|bert)\.)*"
_NAME: Final = re.compile(rf"{_WRAPPER}(?:(?:layers|h|encoder\.layer)\.(\d+)\.)?(.+?)(\.bias)?")
_EXPERT: Final = re.compile(r"\bexperts\.\d+\.")


def gguf_names(name: str) -> tuple[str, ...]:
    """What llama.cpp may call a module of ``transformers``, named without ``.weight``; nothing where it is not known.

    There are several where that depends on the model.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return ()
    number, inner, bias = match[1], _EXPERT.sub("experts.", match[2]), match[3] or ""
    if number is None:
        return tuple(given + bias for given in _OUTSIDE_NAMES.get(inner, ()))
    return tuple(f"blk.{number}.{given}{bias}" for given in _LAYER_NAMES.get(inner, ()))


def matched(names: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Each name of ``transformers`` → what a GGUF file with the names ``known`` calls it, itself where nothing is.

    Of several names it may have there, it has the one that is there and is no other's for certain.
    """
    given = {name: gguf_names(name) for name in names}
    taken = {ones[0] for ones in given.values() if len(ones) == 1}
    return {
        name: ones[0]
        if len(ones) == 1
        else next((one for one in ones if one in known and one not in taken), ones[0] if ones else name)
        for name, ones in given.items()
    }


def pieces(name: str) -> tuple[str, ...]:
    """The tensors that the other side may have for one tensor of llama.cpp's name; none for most."""
    block, dot, inner = name.rpartition(".")
    if inner == "bias":
        return tuple(f"{piece}.bias" for piece in pieces(block))
    return tuple(f"{block}{dot}{piece}" for piece in _FUSED.get(inner, ()))
