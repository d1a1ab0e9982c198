"""Public checkpoints in miniature: names, types and shapes as their headers have them, smaller numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .conftest import Look

    Described = tuple[str, Sequence[int]]
    Tensors = dict[str, Described]
    Quantized = set[tuple[str, int | None, int]]

H, F, E, V = 256, 512, 4, 1000  # hidden, feed-forward, experts, vocabulary
BASE: Final[Tensors] = {
    "model.embed_tokens.weight": ("BF16", [V, H]),
    "model.norm.weight": ("BF16", [H]),
    "lm_head.weight": ("BF16", [V, H]),
}
REST: Final = 2 * V * H + H
FP8: Final = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}


def module(name: str, **tensors: Described) -> Tensors:
    return {f"{name}.{suffix}": tensor for suffix, tensor in tensors.items()}


def blocks(name: str, rows: int, columns: int, scale: str = "F32", suffix: str = "weight_scale_inv") -> Tensors:
    shape = [-(-rows // 128), -(-columns // 128)]
    return module(name, **{"weight": ("F8_E4M3", [rows, columns]), suffix: (scale, shape)})


def packed(name: str, rows: int, columns: int, bits: int = 4, group: int = 32) -> Tensors:
    return module(
        name,
        weight_packed=("I32", [rows, columns * bits // 32]),
        weight_scale=("BF16", [rows, columns // group]),
        weight_shape=("I64", [2]),
    )


def gptq(name: str, rows: int, columns: int, bits: int = 4, group: int = 128) -> Tensors:
    groups = -(-columns // group)
    return module(
        name,
        qweight=("I32", [columns * bits // 32, rows]),
        qzeros=("I32", [groups, rows * bits // 32]),
        scales=("F16", [groups, rows]),
        g_idx=("I32", [columns]),
    )


def mlx(name: str, *shape: int, bits: int = 4, group: int = 64) -> Tensors:
    *stack, columns = shape
    groups: Described = ("BF16", [*stack, columns // group])
    return module(name, weight=("U32", [*stack, columns * bits // 32]), scales=groups, biases=groups)


def groups(**targets: Any) -> dict[str, Any]:
    return {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": targets}


def ints(bits: int, group: int | None, targets: list[str]) -> dict[str, Any]:
    strategy = {"strategy": "group", "group_size": group} if group else {"strategy": "channel"}
    return {"targets": targets, "weights": {"num_bits": bits, "type": "int", "symmetric": True, **strategy}}


DEEPSEEK_V4: Final = {
    "embed.weight": ("BF16", [V, H]),
    "layers.0.attn.attn_sink": ("F32", [8]),
    **blocks("layers.0.attn.wq_a", 192, H, "F8_E8M0", "scale"),
    "layers.0.attn.q_norm.weight": ("BF16", [192]),
    "layers.0.ffn.gate.weight": ("BF16", [E, H]),
    "layers.0.ffn.gate.tid2eid": ("I64", [V, 6]),
    "layers.0.ffn.experts.0.w1.weight": ("I8", [F, H // 2]),
    "layers.0.ffn.experts.0.w1.scale": ("F8_E8M0", [F, H // 32]),
    **blocks("layers.0.ffn.shared_experts.w1", F, H, "F8_E8M0", "scale"),
    "layers.0.hc_attn_fn": ("F32", [24, H]),
    "layers.0.hc_attn_base": ("F32", [24]),
    "layers.0.hc_attn_scale": ("F32", [3]),
    "hc_head_scale": ("F32", [1]),
}
DEEPSEEK_V4_PLAIN: Final = V * H + 8 + 192 + E * H + 24 * H + 24 + 3 + 1
GPT_OSS: Final = BASE | {
    "model.layers.0.mlp.experts.gate_up_proj_blocks": ("U8", [E, 2 * F, H // 32, 16]),
    "model.layers.0.mlp.experts.gate_up_proj_scales": ("U8", [E, 2 * F, H // 32]),
    "model.layers.0.mlp.experts.gate_up_proj_bias": ("BF16", [E, 2 * F]),
    "model.layers.0.mlp.experts.down_proj_blocks": ("U8", [E, H, F // 32, 16]),
    "model.layers.0.mlp.experts.down_proj_scales": ("U8", [E, H, F // 32]),
    "model.layers.0.mlp.experts.down_proj_bias": ("BF16", [E, H]),
    "model.layers.0.mlp.router.weight": ("BF16", [E, H]),
    "model.layers.0.mlp.router.bias": ("BF16", [E]),
    "model.layers.0.self_attn.sinks": ("BF16", [8]),
}
GPT_OSS_PLAIN: Final = REST + E * 2 * F + E * H + E * H + E + 8
LLAMA_4: Final = BASE | {
    "model.layers.0.feed_forward.experts.gate_up_proj": ("U8", [E, H // 2, 2 * F]),
    "model.layers.0.feed_forward.experts.gate_up_proj_weight_scale": ("F8_E4M3", [E, H // 16, 2 * F]),
    "model.layers.0.feed_forward.experts.gate_up_proj_weight_scale_2": ("F32", []),
    "model.layers.0.feed_forward.experts.gate_up_proj_input_scale": ("F32", []),
}
#: name → tensors, configs, quantized (level, group size, parameters), parameters that are not
CHECKPOINTS: Final[dict[str, tuple[Tensors, dict[str, Any], Quantized, int]]] = {
    "DeepSeek-V3": (
        BASE
        | blocks("model.layers.0.self_attn.q_a_proj", 192, H)
        | blocks("model.layers.0.mlp.experts.0.up_proj", F, H)
        | {"model.layers.0.mlp.gate.e_score_correction_bias": ("F32", [E])},
        {"quantization": FP8, "config": {"torch_dtype": "bfloat16"}},
        {("Float8E4M3FN", None, 192 * H + F * H)},
        REST + E,
    ),
    "DeepSeek-V3.1, scales of E8M0": (
        BASE | blocks("model.layers.0.mlp.experts.0.up_proj", F, H, "F8_E8M0"),
        {"quantization": FP8 | {"scale_fmt": "ue8m0"}},
        {("Float8E4M3FN", None, F * H)},
        REST,
    ),
    "DeepSeek-V4": (
        DEEPSEEK_V4,
        {"quantization": FP8 | {"scale_fmt": "ue8m0"}, "config": {"expert_dtype": "fp4"}},
        {("Float8E4M3FN", None, 192 * H + F * H), ("MXFP4", 32, F * H)},
        DEEPSEEK_V4_PLAIN,
    ),
    "DeepSeek-V4, scales of F32": (
        DEEPSEEK_V4 | {"layers.0.ffn.experts.0.w1.scale": ("F32", [F, H // 32])},
        {"quantization": FP8 | {"expert_dtype": "fp4"}},
        {("Float8E4M3FN", None, 192 * H + F * H), ("MXFP4", 32, F * H)},
        DEEPSEEK_V4_PLAIN,
    ),
    "MiMo, MXFP4 experts beside FP8 blocks cut per device": (
        BASE
        | module("model.layers.0.self_attn.qkv_proj", weight=("F8_E4M3", [200, H]), weight_scale_inv=("F32", [4, 2]))
        | module("model.layers.1.mlp.experts.0.up_proj", weight=("U8", [F, H // 2]), weight_scale=("U8", [F, H // 32])),
        {"quantization": FP8 | {"store_dtype": "mxfp4", "ignored_layers": ["model.layers.0.self_attn.o_proj"]}},
        {("Float8E4M3FN", None, 200 * H), ("MXFP4", 32, F * H)},
        REST,
    ),
    "gpt-oss": (
        GPT_OSS,
        {"quantization": {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.mlp.router", "lm_head"]}},
        {("MXFP4", 32, 3 * E * F * H)},
        GPT_OSS_PLAIN,
    ),
    "NVFP4 experts with a quantized cache": (
        BASE
        | module(
            "model.layers.0.mlp.experts.0.up_proj",
            weight=("U8", [F, H // 2]),
            weight_scale=("F8_E4M3", [F, H // 16]),
            weight_scale_2=("F32", []),
            input_scale=("F32", []),
        )
        | module("model.layers.0.self_attn.k_proj", weight=("BF16", [64, H]), k_scale=("F32", []))
        | module("model.layers.0.self_attn.v_proj", weight=("BF16", [64, H]), v_scale=("F32", [])),
        {
            "quantization": {
                "quant_method": "modelopt",
                "quant_algo": "NVFP4",
                "kv_cache_quant_algo": "FP8",
                "exclude_modules": ["lm_head", "model.layers.0.self_attn*"],
            }
        },
        {("NVFP4", 16, F * H)},
        REST + 2 * 64 * H,
    ),
    "Llama-4 NVFP4: fused experts, columns first": (
        LLAMA_4,
        {"quantization": {"quant_method": "modelopt", "quant_algo": "NVFP4"}},
        {("NVFP4", 16, 2 * E * F * H)},
        REST,
    ),
    "Llama-4 FP8: fused experts with a scale a column": (
        BASE | module("m.experts", gate_up_proj=("F8_E4M3", [E, H, 2 * F]), gate_up_proj_scale=("F32", [E, 1, 2 * F])),
        {"quantization": {"quant_method": "fbgemm_fp8"}},
        {("Float8E4M3FN", None, 2 * E * F * H)},
        REST,
    ),
    "fused experts in FP8 blocks": (
        module("m.experts", down_proj=("F8_E4M3", [E, H, F]), down_proj_scale_inv=("F32", [E, 2, 4])),
        {"quantization": FP8},
        {("Float8E4M3FN", None, E * F * H)},
        0,
    ),
    "fused experts in packed words": (
        module(
            "m.experts",
            up_proj_packed=("I32", [E, F, H // 8]),
            up_proj_scale=("BF16", [E, F, H // 32]),
            up_proj_shape=("I64", [3]),
        ),
        {"quantization": groups(group_0=ints(4, 32, ["Linear"]))},
        {("Int4", 32, E * F * H)},
        0,
    ),
    "Kimi-K2.5: its quantization is that of its text model": (
        BASE
        | packed("language_model.model.layers.1.mlp.experts.0.gate_proj", F, H)
        | {"vision_tower.patch_embed.proj.weight": ("BF16", [64, 3, 14, 14])},
        {
            "config": {
                "text_config": {
                    "dtype": "bfloat16",
                    "quantization_config": groups(group_0=ints(4, 32, ["Linear"]))
                    | {"ignore": ["lm_head", "re:.*self_attn.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"]},
                }
            }
        },
        {("Int4", 32, F * H)},
        REST + 64 * 3 * 14 * 14,
    ),
    "w4a16 with act-order": (
        packed("a", F, H, group=128) | {"a.weight_g_idx": ("I32", [H])},
        {"quantization": groups(group_0=ints(4, 128, ["Linear"]))},
        {("Int4", 128, F * H)},
        0,
    ),
    "groups of layers by name, by pattern and by preset": (
        packed("model.layers.0.mlp.up_proj", F, H, group=128)
        | packed("model.layers.0.self_attn.q_proj", F, H, bits=8, group=H)
        | module("model.layers.1.self_attn.q_proj", weight=("F8_E4M3", [F, H]), weight_scale=("BF16", [F, 1])),
        {
            "quantization": groups(
                a=ints(4, 128, ["re:.*mlp.*"]),
                b=ints(8, None, ["model.layers.0.self_attn.q_proj"]),
                FP8_DYNAMIC=["re:.*layers.1.self_attn.*"],
            )
        },
        {("Int4", 128, F * H), ("Int8", None, F * H), ("Float8E4M3FN", None, F * H)},
        0,
    ),
    "embeddings of a group of their own": (
        packed("model.embed_tokens", V, H, group=H),
        {"quantization": groups(a=ints(4, None, ["Embedding"]), b=ints(8, None, ["Linear"]))},
        {("Int4", None, V * H)},
        0,
    ),
    "Marlin's 2 of 4": (
        module(
            "a",
            weight_packed=("I32", [H // 32, 2 * F]),
            scale_packed=("F16", [H // 128, F]),
            meta=("I16", [F, H // 16]),
        ),
        {"quantization": groups(group_0=ints(4, 128, ["Linear"])) | {"format": "marlin-24"}},
        {("Int4", 128, F * H)},
        0,
    ),
    "sparse FP8": (
        module(
            "a",
            compressed=("F8_E4M3", [F, H // 2]),
            bitmask=("U8", [F, H // 8]),
            shape=("I64", [2]),
            weight_scale=("BF16", [F, 1]),
        ),
        {"quantization": groups(FP8_DYNAMIC=["Linear"]) | {"sparsity_config": {"format": "sparse-24-bitmask"}}},
        {("Float8E4M3FN", None, F * H)},
        0,
    ),
    "unsloth bnb-4bit, a weight of no whole blocks": (
        BASE
        | module(
            "model.layers.0.self_attn.q_proj",
            **{
                "weight": ("U8", [5000, 1]),
                "weight.absmax": ("U8", [157]),
                "weight.quant_map": ("F32", [16]),
                "weight.nested_absmax": ("F32", [1]),
                "weight.nested_quant_map": ("F32", [256]),
                "weight.quant_state.bitsandbytes__nf4": ("U8", [172]),
                "bias": ("BF16", [100]),
            },
        ),
        {
            "quantization": {
                "quant_method": "bitsandbytes",
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_use_double_quant": True,
                "llm_int8_skip_modules": ["lm_head", "multi_modal_projector"],
            }
        },
        {("NF4", 64, 10_000)},
        REST + 100,
    ),
    "MLX with stacked experts": (
        mlx("model.embed_tokens", V, H)
        | mlx("model.layers.0.mlp.switch_mlp.up_proj", E, F, H)
        | mlx("model.layers.0.mlp.gate", E, H, bits=8)
        | {"model.layers.0.self_attn.q_proj.bias": ("BF16", [H])},
        {"config": {"quantization": {"bits": 4, "group_size": 64, "model.layers.0.mlp.gate": {"bits": 8}}}},
        {("Int4", 64, V * H + E * F * H), ("Int8", 64, E * H)},
        H,
    ),
    "MLX MXFP4 with biases": (
        module("m", weight=("U32", [E, F, H // 8]), scales=("U8", [E, F, H // 32]), bias=("BF16", [E, F])),
        {"config": {"quantization": {"bits": 4, "group_size": 32, "mode": "mxfp4"}}},
        {("MXFP4", 32, E * F * H)},
        E * F,
    ),
    "AWQ experts": (
        BASE
        | module(
            "model.layers.0.block_sparse_moe.experts.0.w1",
            qweight=("I32", [H, F // 8]),
            qzeros=("I32", [H // 128, F // 8]),
            scales=("F16", [H // 128, F]),
        )
        | {"model.layers.0.block_sparse_moe.gate.weight": ("BF16", [E, H])},
        {"quantization": {"quant_method": "awq", "bits": 4, "group_size": 128, "modules_to_not_convert": ["gate"]}},
        {("Int4", 128, F * H)},
        REST + E * H,
    ),
    "GPTQModel, other bits for some modules and none for others": (
        gptq("model.layers.0.mlp.up_proj", F, H, bits=8)
        | gptq("model.layers.1.mlp.up_proj", F, H)
        | {"model.layers.2.mlp.up_proj.weight": ("F16", [F, H])},
        {
            "quantization": {
                "quant_method": "gptq",
                "bits": 4,
                "group_size": 128,
                "checkpoint_format": "gptq_v2",
                "dynamic": {r"+:.*layers\.0\..*": {"bits": 8}, r"-:.*layers\.2\..*": {}},
            }
        },
        {("Int8", 128, F * H), ("Int4", 128, F * H)},
        F * H,
    ),
    "GPTQ with a last group that is short, and biases of zeros": (
        gptq("a", H, 320) | {"a.bias": ("F16", [H])},
        {"quantization": {"quant_method": "gptq", "bits": 4, "group_size": 128}},
        {("Int4", 128, 320 * H)},
        H,
    ),
    "AutoRound mixed": (
        gptq("model.layers.0.mlp.up_proj", F, H)
        | gptq("model.layers.0.self_attn.q_proj", H, H, bits=8)
        | {"model.layers.0.mlp.gate.weight": ("BF16", [E, H])},
        {
            "quantization": {
                "quant_method": "auto-round",
                "bits": 4,
                "group_size": 128,
                "packing_format": "auto_round:auto_gptq",
                "extra_config": {
                    "model.layers.0.self_attn.q_proj": {"bits": 8},
                    "model.layers.0.mlp.gate": {"bits": 16, "data_type": "float"},
                    ".*shared_expert.*": {"bits": 8},
                },
            }
        },
        {("Int4", 128, F * H), ("Int8", 128, H * H)},
        E * H,
    ),
    "BitNet-b1.58-2B-4T": (
        BASE
        | module("model.layers.0.self_attn.q_proj", weight=("U8", [H // 4, H]), weight_scale=("BF16", [1]))
        | {"model.layers.0.self_attn.attn_sub_norm.weight": ("BF16", [H])},
        {"quantization": {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}},
        {("Ternary", None, H * H)},
        REST + H,
    ),
    "Gemma of two widths": (
        module(
            "m.mlp.up_proj",
            weight=("U8", [F, H // 2]),
            weight_scale=("F32", [F, 1]),
            input_activation_scale=("F32", []),
            output_activation_scale=("F32", []),
        )
        | module("m.per_layer_input_gate", weight=("I8", [64, H]), weight_scale=("F32", [64, 1])),
        {
            "quantization": {
                "quant_method": "gemma",
                "num_bits": 4,
                "module_quant_configs": {".*per_layer.*": {"num_bits": 8}},
            }
        },
        {("Int4", None, F * H), ("Int8", None, 64 * H)},
        0,
    ),
    "EXL3 with a head of its own": (
        module("q_proj", trellis=("I16", [16, 16, 48]), suh=("F16", [H]), svh=("F16", [H]), mcg=("I32", []))
        | module("lm_head", trellis=("I16", [16, 64, 96]), suh=("F16", [H]), svh=("F16", [1024]))
        | {"model.norm.weight": ("F16", [H])},
        {"quantization": {"quant_method": "exl3", "bits": 3.0, "head_bits": 6}},
        {("EXL3_3", None, H * H), ("EXL3_6", None, H * 1024)},
        H,
    ),
    "HQQ of transformers": (
        module("q", W_q=("U8", [H * H // 128, 64]), scale=("BF16", [H * H // 64, 1]), zero=("BF16", [H * H // 64, 1])),
        {"quantization": {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}}},
        {("Int4", 64, H * H)},
        0,
    ),
    "FP8 of 2024, with its scales of activations and cache": (
        module("m.q_proj", weight=("F8_E4M3", [64, H]), weight_scale=("F32", [1]), act_scale=("F32", [1]))
        | {"m.kv_scale": ("F32", [1]), "m.attn.k_scale": ("F32", [1]), "m.kv_cache_scaling_factor": ("F32", [1])},
        {"quantization": {"quant_method": "fp8", "activation_scheme": "static"}},
        {("Float8E4M3FN", None, 64 * H)},
        0,
    ),
    "GLM with scales of keys and values": (
        module("m.k_proj", weight=("F8_E4M3", [64, H]), weight_scale=("BF16", [64, 1]))
        | {"m.k_scale": ("F32", [1]), "m.v_scale": ("F32", [1]), "m.q_scale": ("F32", [1])},
        {"quantization": groups(FP8_DYNAMIC=["Linear"])},
        {("Float8E4M3FN", None, 64 * H)},
        0,
    ),
    "Qwen3-Next, what is no linear layer left alone": (
        blocks("m.linear_attn.in_proj_qkvz", F, H, "BF16")
        | {
            "m.linear_attn.conv1d.weight": ("BF16", [F, 1, 4]),
            "m.linear_attn.A_log": ("F32", [16]),
            "m.linear_attn.dt_bias": ("BF16", [16]),
        },
        {"quantization": FP8 | {"modules_to_not_convert": ["m.linear_attn.conv1d"]}},
        {("Float8E4M3FN", None, F * H)},
        F * 4 + 32,
    ),
    "torchao's pairs of codes": (
        module(
            "a",
            _weight_qdata=("I8", [F, H // 2]),
            _weight_scale=("BF16", [H // 32, F]),
            _weight_zero_point=("BF16", [H // 32, F]),
        ),
        {
            "quantization": {
                "quant_method": "torchao",
                "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 32}}},
            }
        },
        {("Int4", 32, F * H)},
        0,
    ),
    "torchao's tiles": (
        module("a", _weight_qdata=("I32", [F // 8, H // 128, 32, 4]), _weight_scale_and_zero=("BF16", [H // 32, F, 2])),
        {
            "quantization": {
                "quant_method": "torchao",
                "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 32}}},
            }
        },
        {("Int4", 32, F * H)},
        0,
    ),
    "torchao's fused experts": (
        module("experts", _up_proj_qdata=("F8_E4M3", [E, F, H]), _up_proj_scale=("F32", [E, F, 1]))
        | {"experts.down_proj": ("BF16", [E, H, F])},
        {
            "quantization": {
                "quant_method": "torchao",
                "quant_type": {"default": {"_type": "Float8WeightOnlyConfig", "_data": {}}},
            }
        },
        {("Float8E4M3FN", None, E * F * H)},
        E * F * H,
    ),
    "AutoRound's MXINT4, bytes that only the config tells from MXFP4": (
        module("a", weight_packed=("U8", [F, H // 2]), weight_scale=("U8", [F, H // 32])),
        {"quantization": {"quant_method": "auto-round", "bits": 4, "group_size": 32, "data_type": "mx_int"}},
        {("Int4", 32, F * H)},
        0,
    ),
    "MXFP8 is told by its scales": (
        module("a", weight=("F8_E4M3", [F, H]), weight_scale=("BF16", [F, H // 32])),
        {
            "quantization": {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "g": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "group_size": 32}}
                },
            }
        },
        {("Float8E4M3FN", 32, F * H)},
        0,
    ),
    "scales for each row are not a kernel's tiles": (
        module("a", weight=("U8", [64, 64]), weight_scale=("U8", [64, 8])),
        {
            "quantization": {
                "quant_method": "quark",
                "global_quant_config": {"weight": {"dtype": "fp4", "group_size": 16}},
            }
        },
        {("NVFP4", 16, 64 * 128)},
        0,
    ),
    "modelopt's shift of the cache": (
        module("k_proj", weight=("F8_E4M3", [F, H]), weight_scale=("F32", []), k_scale=("F32", []))
        | {"k_proj.k_bias": ("BF16", [1, 2, 1, 32])},
        {"quantization": {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": "NVFP4_AFFINE"}},
        {("Float8E4M3FN", None, F * H)},
        0,
    ),
    "SGLang's rows of INT8": (
        module("a", weight=("I8", [F, H]), weight_scale=("F32", [F, 1])),
        {"quantization": {"quant_method": "w8a8_int8"}},
        {("Int8", None, F * H)},
        0,
    ),
}
#: Single files without a config, as ComfyUI and diffusers have them
ALONE: Final[dict[str, tuple[Tensors, Quantized, int]]] = {
    "scaled_fp8": (
        module("b.q", weight=("F8_E4M3", [H, H]), scale_weight=("F32", []), scale_input=("F32", []), bias=("F16", [H]))
        | {"scaled_fp8": ("F8_E4M3", [2])},
        {("Float8E4M3FN", None, H * H)},
        H,
    ),
    "NVFP4 with scales in a kernel's tiles": (
        module(
            "b.q",
            weight=("U8", [96, H // 2]),
            weight_scale=("F8_E4M3", [128, H // 16]),
            weight_scale_2=("F32", []),
        ),
        {("NVFP4", 16, 96 * H)},
        0,
    ),
    "plain FP8": ({"b.q.weight": ("F8_E4M3", [H, H]), "b.q.bias": ("BF16", [H])}, {("Float8E4M3FN", None, H * H)}, H),
    "a convolution": (
        module("conv", weight=("F8_E4M3", [64, 32, 3, 3]), weight_scale=("F32", []), bias=("BF16", [64])),
        {("Float8E4M3FN", None, 64 * 32 * 9)},
        64,
    ),
    "gpt-oss": (GPT_OSS, {("MXFP4", 32, 3 * E * F * H)}, GPT_OSS_PLAIN),
    "Llama-4 NVFP4": (LLAMA_4, {("NVFP4", 16, 2 * E * F * H)}, REST),
    "DeepSeek-V4": (
        DEEPSEEK_V4,
        {("Float8E4M3FN", None, 192 * H + F * H), ("MXFP4", 32, F * H)},
        DEEPSEEK_V4_PLAIN,
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_public_checkpoints_are_counted_right_without_findings(name: str, look: Look) -> None:
    tensors, options, quantized, plain = CHECKPOINTS[name]
    found = look(tensors, **options)
    assert {(level, group, count) for level, group, _, count in found.quantized} == quantized
    assert found.stored.parameters == plain + sum(count for *_, count in quantized)
    assert found.codes == []


@pytest.mark.parametrize("name", ALONE)
def test_files_without_a_config_are_read_by_layout(name: str, look: Look) -> None:
    tensors, quantized, plain = ALONE[name]
    found = look(tensors)
    assert {(level, group, count) for level, group, _, count in found.quantized} == quantized
    assert found.stored.parameters == plain + sum(count for *_, count in quantized)
    assert found.codes == ["QL104"]


def test_codes_per_byte_are_not_guessed(look: Look) -> None:
    found = look({"w.weight": ("I8", [F, H // 2]), "w.scale": ("F32", [F, H // 32])})
    assert found.ambiguous


def test_rows_ending_inside_a_word_are_not_guessed(look: Look) -> None:
    tensors = module("a", weight_packed=("I32", [64, 13]), weight_scale=("BF16", [64, 1]), weight_shape=("I64", [2]))
    assert look(tensors, groups(group_0=ints(3, None, ["Linear"]))).ambiguous


def test_parameters_that_end_like_scales_are_parameters(look: Look) -> None:
    found = look({"block.mix": ("F32", [24, H]), "block.mix_scale": ("F32", [3]), "logit_scale": ("F32", [])})
    assert found.stored.parameters == 24 * H + 3 + 1
