"""Whole public models by the shapes of their architectures: parameters and bytes as their repositories have them.

Parameters: what ``parse-safetensors-metadata.spec.ts`` of @huggingface/hub 2.17.5 asserts of the repositories at pinned
revisions. Bytes: the two file sizes in issue 1215 of vllm-project/llm-compressor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Described, Look

    Tensors = dict[str, Described]
    Pack = Callable[[str, int, int], Tensors]


@frozen
class Llama:
    """Shapes of a Llama 3 model with an untied head."""

    hidden: int
    inner: int
    layers: int
    keys: int = 1024
    vocabulary: int = 128_256

    def tensors(self, pack: Pack, dtype: str = "BF16") -> Tensors:
        """All tensors, the linear layers as they are packed."""
        found: Tensors = {
            "model.embed_tokens.weight": (dtype, [self.vocabulary, self.hidden]),
            "model.norm.weight": (dtype, [self.hidden]),
            "lm_head.weight": (dtype, [self.vocabulary, self.hidden]),
        }
        for index in range(self.layers):
            layer = f"model.layers.{index}"
            found[f"{layer}.input_layernorm.weight"] = (dtype, [self.hidden])
            found[f"{layer}.post_attention_layernorm.weight"] = (dtype, [self.hidden])
            for name, rows, columns in (
                ("self_attn.q_proj", self.hidden, self.hidden),
                ("self_attn.k_proj", self.keys, self.hidden),
                ("self_attn.v_proj", self.keys, self.hidden),
                ("self_attn.o_proj", self.hidden, self.hidden),
                ("mlp.gate_proj", self.inner, self.hidden),
                ("mlp.up_proj", self.inner, self.hidden),
                ("mlp.down_proj", self.hidden, self.inner),
            ):
                found |= pack(f"{layer}.{name}", rows, columns)
        return found


LLAMA_8B: Final = Llama(4096, 14_336, 32)
LLAMA_70B: Final = Llama(8192, 28_672, 80)
ARGS: Final = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128}
COMPRESSED: Final = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "ignore": ["lm_head"],
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": ARGS}},
}


def words(name: str, rows: int, columns: int) -> Tensors:
    return {
        f"{name}.weight_packed": ("I32", [rows, columns // 8]),
        f"{name}.weight_scale": ("BF16", [rows, columns // 128]),
        f"{name}.weight_shape": ("I64", [2]),
    }


def ordered_words(name: str, rows: int, columns: int) -> Tensors:
    return words(name, rows, columns) | {f"{name}.weight_g_idx": ("I32", [columns])}


def whole_bytes(name: str, rows: int, columns: int) -> Tensors:
    return {f"{name}.weight": ("I8", [rows, columns]), f"{name}.weight_scale": ("BF16", [rows, columns // 128])}


def gptq_with_biases(name: str, rows: int, columns: int) -> Tensors:
    return {
        f"{name}.qweight": ("I32", [columns // 8, rows]),
        f"{name}.qzeros": ("I32", [columns // 128, rows // 8]),
        f"{name}.scales": ("F16", [columns // 128, rows]),
        f"{name}.g_idx": ("I32", [columns]),
        f"{name}.bias": ("F16", [rows]),
    }


def nf4(name: str, rows: int, columns: int) -> Tensors:
    blocks = rows * columns // 64
    return {
        f"{name}.weight": ("U8", [rows * columns // 2, 1]),
        f"{name}.weight.absmax": ("U8", [blocks]),
        f"{name}.weight.quant_map": ("F32", [16]),
        f"{name}.weight.nested_absmax": ("F32", [blocks // 256]),
        f"{name}.weight.nested_quant_map": ("F32", [256]),
        f"{name}.weight.quant_state.bitsandbytes__nf4": ("U8", [172]),
    }


def gpt_oss(layers: int, experts: int) -> Tensors:
    """gpt-oss with hidden and inner layers of 2880."""
    size = 2880
    found: Tensors = {
        "model.embed_tokens.weight": ("BF16", [201_088, size]),
        "model.norm.weight": ("BF16", [size]),
        "lm_head.weight": ("BF16", [201_088, size]),
    }
    for index in range(layers):
        shapes = {
            **{f"self_attn.{name}_proj.weight": [rows, size] for name, rows in (("q", 4096), ("k", 512), ("v", 512))},
            **{
                f"self_attn.{name}_proj.bias": [rows]
                for name, rows in (("q", 4096), ("k", 512), ("v", 512), ("o", size))
            },
            "self_attn.o_proj.weight": [size, 4096],
            "self_attn.sinks": [64],
            "input_layernorm.weight": [size],
            "post_attention_layernorm.weight": [size],
            "mlp.router.weight": [experts, size],
            "mlp.router.bias": [experts],
            "mlp.experts.gate_up_proj_bias": [experts, 2 * size],
            "mlp.experts.down_proj_bias": [experts, size],
        }
        found |= {f"model.layers.{index}.{name}": ("BF16", shape) for name, shape in shapes.items()}
        for name, rows in (("gate_up_proj", 2 * size), ("down_proj", size)):
            module = f"model.layers.{index}.mlp.experts.{name}"
            found[f"{module}_blocks"] = ("U8", [experts, rows, size // 32, 16])
            found[f"{module}_scales"] = ("U8", [experts, rows, size // 32])
    return found


#: repository → tensors, quantization, parameters that are quantized and all
MODELS: Final[dict[str, tuple[Callable[[], Tensors], dict[str, Any], int, int]]] = {
    "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16": (
        lambda: LLAMA_8B.tensors(gptq_with_biases, "F16"),
        {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": True},
        6_979_321_856,
        8_031_637_504,
    ),
    "RedHatAI/Llama-3.3-70B-Instruct-quantized.w4a16": (
        lambda: LLAMA_70B.tensors(ordered_words),
        COMPRESSED,
        68_451_041_280,
        70_553_706_496,
    ),
    "unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit": (
        lambda: LLAMA_8B.tensors(nf4),
        {
            "quant_method": "bitsandbytes",
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
        },
        6_979_321_856,
        8_030_261_248,
    ),
    "openai/gpt-oss-20b": (lambda: gpt_oss(24, 32), {"quant_method": "mxfp4"}, 19_110_297_600, 20_914_757_184),
    "openai/gpt-oss-120b": (lambda: gpt_oss(36, 128), {"quant_method": "mxfp4"}, 114_661_785_600, 116_829_156_672),
}


@pytest.mark.parametrize("name", MODELS)
def test_public_models_have_their_known_number_of_parameters(name: str, look: Look) -> None:
    tensors, quantization, quantized, parameters = MODELS[name]
    found = look(tensors(), quantization)
    assert (found.stored.quantized_parameters, found.stored.parameters) == (quantized, parameters)
    assert found.codes == []


@pytest.mark.parametrize(
    ("pack", "size", "codes"), [(words, 5_700_595_200, []), (whole_bytes, 9_190_252_544, ["QL101"])]
)
def test_int4_kept_in_bytes_is_told_from_int4(pack: Pack, size: int, codes: list[str], look: Look) -> None:
    found = look(LLAMA_8B.tensors(pack), COMPRESSED)
    assert (found.stored.tensor_bytes, found.stored.parameters) == (size, 8_030_261_248)
    assert found.codes == codes
