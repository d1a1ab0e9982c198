"""What configs declare: every method's keys and places, and the values that are refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from attrs import frozen

from quantlevels import inspect

if TYPE_CHECKING:
    from .conftest import Look, Write

INT4: Final = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128}
AO: Final = {"_type": "Int4WeightOnlyConfig", "_version": 2, "_data": {"group_size": 32}}
VECTORS: Final = {"vector_lens": [-1, 8], "num_centroids": [-1, 256]}


@frozen
class Level:
    """What a config declares of its first level."""

    name: str
    group_size: int | None = None
    block: tuple[int, int] | None = None
    symmetric: bool | None = None
    #: bits per weight; None if the test leaves them open
    bits: str | None = None


def method(name: str, **keys: Any) -> dict[str, Any]:
    return {"config": {"quantization_config": {"quant_method": name, **keys}}}


def ao(name: str, **keys: Any) -> dict[str, Any]:
    return method("torchao", quant_type={"default": {"_type": name, "_version": 1, "_data": keys}})


#: what it is → configs, the method, and its first level
DECLARED: Final[dict[str, tuple[dict[str, Any], str, Level]]] = {
    "gptq": (
        method("gptq", bits=4, group_size=128, sym=True),
        "gptq",
        Level("Int4", group_size=128, symmetric=True, bits="133/32"),
    ),
    "gptq, w_bit": (
        method("gptq", w_bit=3, q_group_size=64),
        "gptq",
        Level("Int3", group_size=64, symmetric=True, bits="211/64"),
    ),
    "gptq, wbits": (
        method("gptq", wbits=8, group_size=-1, sym=False),
        "gptq",
        Level("Int8", group_size=-1, symmetric=False, bits="8"),
    ),
    "gptq in quantize_config.json": (
        {"files": {"quantize_config.json": {"bits": 4, "group_size": 32, "desc_act": True, "damp_percent": 0.1}}},
        "gptq",
        Level("Int4", group_size=32, symmetric=True, bits="37/8"),
    ),
    "gptq by two keys in a file of its own": (
        {"files": {"quantize_config.json": {"bits": 4, "group_size": 64}}},
        "gptq",
        Level("Int4", group_size=64, symmetric=True, bits="69/16"),
    ),
    "gptq in Marlin's tiles": (
        method("gptq", bits=4, group_size=128, is_marlin_format=True),
        "gptq",
        Level("Int4", group_size=128, symmetric=True, bits="33/8"),
    ),
    "gptqmodel, the method under its new key": (
        {"files": {"quantize_config.json": {"bits": 4, "group_size": 128, "method": "awq", "format": "gemm"}}},
        "awq",
        Level("Int4", group_size=128, symmetric=False, bits="133/32"),
    ),
    "awq, gemv_fast": (  # zero points as wide as scales
        method("awq", bits=4, group_size=64, zero_point=True, version="GEMV_Fast"),
        "awq",
        Level("Int4", group_size=64, symmetric=False, bits="9/2"),
    ),
    "awq": (
        method("awq", bits=4, group_size=128, zero_point=True),
        "awq",
        Level("Int4", group_size=128, symmetric=False, bits="133/32"),
    ),
    "awq in quant_config.json": (
        {"files": {"quant_config.json": {"zero_point": True, "q_group_size": 64, "w_bit": 4, "version": "GEMM"}}},
        "awq",
        Level("Int4", group_size=64, symmetric=False, bits="69/16"),
    ),
    "paroquant": (
        method("paroquant", bits=4, group_size=128),
        "paroquant",
        Level("Int4", group_size=128, symmetric=False, bits="133/32"),
    ),
    "qqq": (method("qqq", wbits=4, group_size=128), "qqq", Level("Int4", group_size=128, symmetric=True, bits="33/8")),
    "gguf by gptqmodel, its type in one word": (
        method("gguf", bits="q5_k_m"),
        "gguf",
        Level("Q5_K", bits="11/2"),
    ),
    "gguf by gptqmodel": (method("gguf", bits=4, format="q_k_m"), "gguf", Level("Q4_K", bits="9/2")),
    "fp8 by gptqmodel": (method("fp8", format="float8_e5m2"), "fp8", Level("Float8E5M2", symmetric=True, bits="8")),
    "bitsandbytes by gptqmodel": (
        method("bitsandbytes", bits=4, format="nf4", block_size=128, compress_statistics=False),
        "bitsandbytes",
        Level("NF4", group_size=128, bits="17/4"),
    ),
    "vptq by gptqmodel": (method("vptq", bits=1, **VECTORS), "vptq", Level("VPTQ_1", group_size=8, bits="1")),
    "auto-round": (
        method("auto-round", bits=4, group_size=64),
        "auto-round",
        Level("Int4", group_size=64, symmetric=True, bits="69/16"),
    ),
    "auto-round, its old name": (
        method("intel/auto-round", bits=2),
        "auto-round",
        Level("Int2", group_size=128, symmetric=True, bits="137/64"),
    ),
    "auto-round, MXFP4": (
        method("auto-round", bits=4, group_size=32, data_type="mx_fp"),
        "auto-round",
        Level("MXFP4", group_size=32, symmetric=True, bits="17/4"),
    ),
    "auto-round, a data type with its bits": (
        method("auto-round", bits=4, group_size=16, data_type="nv_fp4_with_static_gs"),
        "auto-round",
        Level("NVFP4", group_size=16, symmetric=True, bits="9/2"),
    ),
    "auto-round, MXINT4": (
        method("auto-round", bits=4, group_size=32, data_type="mx_int"),
        "auto-round",
        Level("Int4", group_size=32, symmetric=True, bits="17/4"),
    ),
    "auto-round, FP8": (
        method("auto-round", bits=8, group_size=-1, data_type="fp8_e5m2", fmt="e5m2"),
        "auto-round",
        Level("Float8E5M2", symmetric=True, bits="8"),
    ),
    "auto-round, FP8 in blocks": (
        method("auto-round", bits=8, group_size=[128, 128], data_type="fp"),
        "auto-round",
        Level("Float8E4M3FN", block=(128, 128), symmetric=True),
    ),
    "auto-round, FP8 with a scale a tensor": (
        method("auto-round", bits=8, group_size=0, data_type="fp"),
        "auto-round",
        Level("Float8E4M3FN", symmetric=True, bits="8"),
    ),
    "auto-round for MLX": (
        method("auto-round", bits=4, group_size=64, packing_format="mlx"),
        "auto-round",
        Level("Int4", group_size=64, symmetric=True, bits="9/2"),
    ),
    "bitsandbytes, NF4": (
        method("bitsandbytes", load_in_4bit=True, bnb_4bit_quant_type="nf4"),
        "bitsandbytes",
        Level("NF4", group_size=64, bits="9/2"),
    ),
    "bitsandbytes, scales quantized": (
        method("bitsandbytes", load_in_4bit=True, bnb_4bit_use_double_quant=True),
        "bitsandbytes",
        Level("BNB_FP4", group_size=64, bits="2113/512"),
    ),
    "bitsandbytes as it keeps its settings": (
        method("bitsandbytes", _load_in_4bit=True, bnb_4bit_quant_type="nf4"),
        "bitsandbytes",
        Level("NF4", group_size=64, bits="9/2"),
    ),
    "bitsandbytes by its keys": (
        {"config": {"quantization_config": {"load_in_8bit": True}}},
        "bitsandbytes",
        Level("Int8", symmetric=True, bits="8"),
    ),
    "compressed-tensors": (
        method("compressed-tensors", config_groups={"g": {"targets": ["Linear"], "weights": INT4}}),
        "compressed-tensors",
        Level("Int4", group_size=128, symmetric=True, bits="33/8"),
    ),
    "compressed-tensors in compression_config": (
        {"config": {"compression_config": {"config_groups": {"g": {"targets": ["Linear"], "weights": INT4}}}}},
        "compressed-tensors",
        Level("Int4", group_size=128, symmetric=True, bits="33/8"),
    ),
    "compressed-tensors in text_config": (
        {
            "config": {
                "text_config": {
                    "quantization_config": {
                        "quant_method": "compressed-tensors",
                        "config_groups": {"g": {"targets": ["Linear"], "weights": {**INT4, "symmetric": False}}},
                    }
                }
            }
        },
        "compressed-tensors",
        Level("Int4", group_size=128, symmetric=False, bits="133/32"),
    ),
    "compressed-tensors by a preset": (
        method("compressed-tensors", config_groups={"NVFP4A16": ["Linear"]}),
        "compressed-tensors",
        Level("NVFP4", group_size=16, symmetric=True, bits="9/2"),
    ),
    "compressed-tensors, FP8 in blocks": (
        method("compressed-tensors", config_groups={"FP8_BLOCK": ["Linear"]}),
        "compressed-tensors",
        Level("Float8E4M3FN", block=(128, 128), symmetric=True, bits="8193/1024"),
    ),
    "compressed-tensors within its own block": (
        {
            "config": {
                "quantization_config": {
                    "quantization_config": method("compressed-tensors", config_groups={"W4A16": ["Linear"]})["config"][
                        "quantization_config"
                    ]
                }
            }
        },
        "compressed-tensors",
        Level("Int4", group_size=128, symmetric=True, bits="33/8"),
    ),
    "compressed-tensors, its first name": (
        method("sparseml", config_groups={"g": {"targets": ["Linear"], "weights": INT4}}),
        "compressed-tensors",
        Level("Int4", group_size=128, symmetric=True, bits="33/8"),
    ),
    "compressed-tensors, a block as text": (
        method(
            "compressed-tensors",
            config_groups={"g": {"weights": {"type": "float", "strategy": "block", "block_structure": "64x128"}}},
        ),
        "compressed-tensors",
        Level("Float8E4M3FN", block=(64, 128), symmetric=True, bits="4097/512"),
    ),
    "compressed-tensors, codes in whole bytes": (
        method(
            "compressed-tensors",
            format="int-quantized",
            config_groups={"g": {"targets": ["Linear"], "weights": INT4 | {"symmetric": False}}},
        ),
        "compressed-tensors",
        Level("Int4", group_size=128, symmetric=False, bits="131/16"),
    ),
    "compressed-tensors, a format for each group": (
        method(
            "compressed-tensors",
            format="int-quantized",
            config_groups={"g": {"targets": ["Linear"], "weights": INT4, "format": "pack-quantized"}},
        ),
        "compressed-tensors",
        Level("Int4", group_size=128, symmetric=True, bits="33/8"),
    ),
    "compressed-tensors, 4-bit floats in no group": (
        method("compressed-tensors", config_groups={"g": {"weights": {"type": "float", "num_bits": 4}}}),
        "compressed-tensors",
        Level("Float4E2M1", symmetric=True, bits="4"),
    ),
    "fp8": (
        method("fp8", weight_block_size=[128, 128]),
        "fp8",
        Level("Float8E4M3FN", block=(128, 128), symmetric=True, bits="4097/512"),
    ),
    "fp8, E5M2": (method("fp8", fmt="e5m2"), "fp8", Level("Float8E5M2", symmetric=True, bits="8")),
    "fbgemm_fp8": (method("fbgemm_fp8"), "fbgemm_fp8", Level("Float8E4M3FN", symmetric=True, bits="8")),
    "w8a8_int8": (method("w8a8_int8"), "w8a8_int8", Level("Int8", symmetric=True, bits="8")),
    "mxfp4": (method("mxfp4"), "mxfp4", Level("MXFP4", group_size=32, symmetric=True, bits="17/4")),
    "mxfp8": (method("mxfp8"), "mxfp8", Level("MXFP8_E4M3", group_size=32, symmetric=True, bits="33/4")),
    "modelopt": (
        method("modelopt", quant_algo="NVFP4"),
        "modelopt",
        Level("NVFP4", group_size=16, symmetric=True, bits="9/2"),
    ),
    "modelopt in hf_quant_config.json": (
        {"files": {"hf_quant_config.json": {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}}},
        "modelopt",
        Level("Float8E4M3FN", symmetric=True, bits="8"),
    ),
    "modelopt, FP8 in blocks": (
        method("modelopt", quant_algo="fp8_pb_wo"),
        "modelopt",
        Level("Float8E4M3FN", block=(128, 128), symmetric=True, bits="4097/512"),
    ),
    "modelopt, FP8 in blocks of a size": (
        method("modelopt", quant_algo="FP8_PB_WO", group_size=32),
        "modelopt",
        Level("Float8E4M3FN", block=(32, 32), symmetric=True, bits="257/32"),
    ),
    "modelopt, a scale a row": (
        method("modelopt", quant_algo="W8A16"),
        "modelopt",
        Level("Int8", symmetric=True, bits="8"),
    ),
    "modelopt, groups alone": (
        method("modelopt", config_groups={"g": {"weights": {"num_bits": 4, "type": "float", "group_size": 16}}}),
        "modelopt",
        Level("NVFP4", group_size=16, symmetric=True, bits="9/2"),
    ),
    "TensorRT-LLM, a scale a row": (
        {"config": {"quantization": {"quant_algo": "W4A16", "group_size": 128, "has_zero_point": False}}},
        "modelopt",
        Level("Int4", symmetric=True, bits="4"),
    ),
    "TensorRT-LLM, GPTQ": (
        {"config": {"quantization": {"quant_algo": "W4A16_GPTQ", "group_size": 128, "has_zero_point": True}}},
        "modelopt",
        Level("Int4", group_size=128, symmetric=False),
    ),
    "TensorRT-LLM, SmoothQuant": (
        {"config": {"quantization": {"quant_algo": "W8A8_SQ_PER_TENSOR_PLUGIN", "group_size": 128}}},
        "modelopt",
        Level("Int8", symmetric=True, bits="8"),
    ),
    "TensorRT-LLM, an engine": (
        {"config": {"pretrained_config": {"dtype": "float16", "quantization": {"quant_algo": "FP8"}}}},
        "modelopt",
        Level("Float8E4M3FN", symmetric=True, bits="8"),
    ),
    "quark by its keys": (
        {"config": {"quantization_config": {"global_quant_config": {"weight": {"dtype": "fp4", "group_size": 32}}}}},
        "quark",
        Level("MXFP4", group_size=32, symmetric=True, bits="17/4"),
    ),
    "quark within its own block": (
        method("quark", quant_config={"global_quant_config": {"weight": {"dtype": "fp8_e4m3"}}}),
        "quark",
        Level("Float8E4M3FN", symmetric=True, bits="8"),
    ),
    "quark, the element of MX": (
        method("quark", global_quant_config={"weight": {"dtype": "mx", "mx_element_dtype": "fp8_e4m3"}}),
        "quark",
        Level("MXFP8_E4M3", group_size=32, symmetric=True, bits="33/4"),
    ),
    "quark, scales that are powers of two": (
        method(
            "quark",
            global_quant_config={"weight": {"dtype": "fp8_e4m3", "group_size": 32, "scale_format": "e8m0"}},
        ),
        "quark",
        Level("MXFP8_E4M3", group_size=32, symmetric=True, bits="33/4"),
    ),
    "quark, blocks": (
        method("quark", global_quant_config={"weight": {"dtype": "fp8_e4m3", "block_size": [128, 128]}}),
        "quark",
        Level("Float8E4M3FN", block=(128, 128), symmetric=True),
    ),
    "quark, one rounding after another": (
        method(
            "quark",
            global_quant_config={"weight": [{"dtype": "fp8_e4m3"}, {"dtype": "int4", "symmetric": True}]},
        ),
        "quark",
        Level("Int4", symmetric=True, bits="4"),
    ),
    "modelopt, NVFP4 in groups of 32": (
        method("modelopt", quant_algo="W4A16_NVFP4", group_size=32),
        "modelopt",
        Level("NVFP4", group_size=32, symmetric=True, bits="17/4"),
    ),
    "compressed-tensors, FP8 in groups": (
        method(
            "compressed-tensors",
            format="naive-quantized",
            config_groups={
                "g": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "group_size": 32}},
            },
        ),
        "compressed-tensors",
        Level("Float8E4M3FN", group_size=32, symmetric=True, bits="17/2"),
    ),
    "quark, scales rounded": (
        method(
            "quark",
            global_quant_config={
                "weight": [{"dtype": "fp4", "group_size": 16}, {"dtype": "fp8_e4m3", "is_scale_quant": True}]
            },
        ),
        "quark",
        Level("NVFP4", group_size=16, symmetric=True, bits="9/2"),
    ),
    "quark, by classes": (
        method(
            "quark",
            global_quant_config={"weight": None},
            layer_type_quant_config={"Linear": {"weight": {"dtype": "fp8_e4m3"}}},
        ),
        "quark",
        Level("Float8E4M3FN", symmetric=True, bits="8"),
    ),
    "quark": (
        method("quark", global_quant_config={"weight": {"dtype": "uint4", "group_size": 32, "symmetric": False}}),
        "quark",
        Level("UInt4", group_size=32, symmetric=False),
    ),
    "torchao": (method("torchao", quant_type={"default": AO}), "torchao", Level("Int4", group_size=32)),
    "torchao, as before 0.15": (
        method("torchao", quant_type="int4_weight_only", quant_type_kwargs={"group_size": 64}),
        "torchao",
        Level("Int4", group_size=64),
    ),
    "torchao, granularity of weights": (
        ao(
            "Int8DynamicActivationIntxWeightConfig",
            weight_dtype={"_type": "torch.dtype", "_data": "int4"},
            weight_granularity={"_type": "PerGroup", "_data": {"group_size": 32}},
            weight_mapping_type={"_type": "MappingType", "_data": "ASYMMETRIC"},
        ),
        "torchao",
        Level("Int4", group_size=32, symmetric=False),
    ),
    "torchao, a width": (ao("UIntxWeightOnlyConfig", bit_width=2), "torchao", Level("UInt2", group_size=128)),
    "torchao, a dtype": (
        ao("UIntXWeightOnlyConfig", dtype={"_type": "torch.dtype", "_data": "uint6"}, group_size=32),
        "torchao",
        Level("UInt6", group_size=32),
    ),
    "torchao, MX": (
        ao("MXDynamicActivationMXWeightConfig", weight_dtype={"_type": "torch.dtype", "_data": "float4_e2m1fn_x2"}),
        "torchao",
        Level("MXFP4", group_size=32, symmetric=True, bits="17/4"),
    ),
    "torchao, NVFP4": (
        ao("NVFP4InferenceConfig"),
        "torchao",
        Level("NVFP4", group_size=16, symmetric=True, bits="9/2"),
    ),
    "torchao, one config in another": (
        ao("AWQConfig", base_config={"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 64}}),
        "torchao",
        Level("Int4", group_size=64),
    ),
    "torchao, FP8 in blocks": (
        ao(
            "Float8DynamicActivationFloat8WeightConfig",
            granularity=[{"_type": "PerBlock", "_data": {"block_size": [side, 128]}} for side in (1, 128)],
        ),
        "torchao",
        Level("Float8E4M3FN", block=(128, 128), symmetric=True, bits="4097/512"),
    ),
    "torchao, FP8": (ao("Float8WeightOnlyConfig"), "torchao", Level("Float8E4M3FN", symmetric=True, bits="8")),
    "torchao, as diffusers had it": (
        method("torchao", quant_type="float8wo_e5m2"),
        "torchao",
        Level("Float8E5M2", symmetric=True, bits="8"),
    ),
    "torchao, bits of its own": (
        method("torchao", quant_type="uint4wo", quant_type_kwargs={"group_size": 32}),
        "torchao",
        Level("UInt4", group_size=32),
    ),
    "quanto in diffusers": (
        method("quanto", weights_dtype="float8"),
        "quanto",
        Level("Float8E4M3FN", symmetric=True, bits="8"),
    ),
    "quanto": (method("quanto", weights="int4"), "quanto", Level("Int4", symmetric=False)),
    "quanto in quanto_qmap.json": (
        {"files": {"quanto_qmap.json": {"m": {"weights": "qint2", "activations": "none"}}}},
        "quanto",
        Level("Int2", symmetric=False),
    ),
    "hqq": (
        method("hqq", quant_config={"weight_quant_params": {"nbits": 3, "group_size": 64}}),
        "hqq",
        Level("Int3", group_size=64, symmetric=False, bits="37/10"),
    ),
    "hqq, scales quantized": (
        method(
            "hqq",
            quant_config={
                "weight_quant_params": {"nbits": 4, "group_size": 64},
                "scale_quant_params": {"nbits": 8, "group_size": 128},
            },
        ),
        "hqq",
        Level("Int4", group_size=64, symmetric=False),
    ),
    "hqq by its keys": (
        {"config": {"quantization_config": {"weight_quant_params": {"nbits": 8, "group_size": 64}}}},
        "hqq",
        Level("Int8", group_size=64, symmetric=False, bits="17/2"),
    ),
    "aqlm": (
        method("aqlm", in_group_size=8, num_codebooks=2, nbits_per_codebook=8),
        "aqlm",
        Level("AQLM_2", group_size=8, bits="2"),
    ),
    "spqr": (method("spqr", bits=3), "spqr", Level("Int3", group_size=16, symmetric=False)),
    "quip#": ({"config": {"quip_params": {"codebook": "E8P12"}}}, "quip#", Level("QUIP_2", bits="2")),
    "higgs": (method("higgs", bits=4, group_size=256), "higgs", Level("HIGGS_4", group_size=256, bits="65/16")),
    "eetq": (method("eetq", weights="int8"), "eetq", Level("Int8", symmetric=True, bits="8")),
    "bitnet": (method("bitnet"), "bitnet", Level("Ternary", symmetric=True, bits="2")),
    "exl2": (method("exl2", bits=4.25), "exl2", Level("Int4", bits="17/4")),
    "exl3": (method("exl3", bits=3.5), "exl3", Level("EXL3_3_5", bits="7/2")),
    "mlx": (
        {"config": {"quantization": {"bits": 4, "group_size": 64}}},
        "mlx",
        Level("Int4", group_size=64, symmetric=False, bits="9/2"),
    ),
    "mlx, MXFP4": (
        {"config": {"quantization": {"bits": 4, "group_size": 32, "mode": "mxfp4"}}},
        "mlx",
        Level("MXFP4", group_size=32, symmetric=True, bits="17/4"),
    ),
    "mlx beside what it was made from": (
        {
            "config": {
                "quantization": {"bits": 8, "group_size": 64},
                "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
            }
        },
        "mlx",
        Level("Int8", group_size=64, symmetric=False, bits="17/2"),
    ),
    "metal": (method("metal", bits=8, group_size=32), "metal", Level("Int8", group_size=32, symmetric=False)),
    "gemma": (method("gemma", num_bits=2), "gemma", Level("Int2", bits="2")),
    "fp_quant": (
        method("fp_quant", forward_dtype="mxfp4"),
        "fp_quant",
        Level("MXFP4", group_size=32, symmetric=True, bits="17/4"),
    ),
    "fouroversix": (method("fouroversix"), "fouroversix", Level("NVFP4", group_size=16, symmetric=True, bits="9/2")),
    "fouroversix, weights of their own": (
        method("fouroversix", dtype="nvfp4", weight_dtype="mxfp4", activation_dtype=None),
        "fouroversix",
        Level("MXFP4", group_size=32, symmetric=True, bits="17/4"),
    ),
    "sinq": (method("sinq", nbits=4, group_size=64), "sinq", Level("Int4", group_size=64, symmetric=False)),
    "squeezellm": (method("squeezellm", wbits=3), "squeezellm", Level("Int3", symmetric=False)),
    "squeezellm in quant_config.json": (
        {"files": {"quant_config.json": {"wbits": 4}}},
        "squeezellm",
        Level("Int4", symmetric=False),
    ),
}


@pytest.mark.parametrize("name", DECLARED)
def test_a_config_declares_its_level(name: str, look: Look) -> None:
    configs, method, level = DECLARED[name]
    found = look({"norm.weight": ("BF16", [8])}, **configs).declared
    assert (found.method, found.known) == (method, True)
    first = found.levels[0]
    bits = None if level.bits is None else str(first.bits_per_weight)
    assert Level(first.level.name, first.group_size, first.block, first.symmetric, bits) == level


#: those with an object that names their method
BLOCKS: Final = [
    name
    for name, (configs, _, _) in DECLARED.items()
    if "quant_method" in configs.get("config", {}).get("quantization_config", {})
    and "quantization" not in configs["config"]
]


@pytest.mark.parametrize("name", BLOCKS)
def test_unknown_keys_are_reported_and_change_nothing(name: str, look: Look) -> None:
    configs, method, level = DECLARED[name]
    block = configs["config"]["quantization_config"]
    found = look({"norm.weight": ("BF16", [8])}, {**block, "meta": {"by": ["me"]}, "unheard_of": 7})
    assert (found.declared.method, found.declared.levels[0].level.name) == (method, level.name)
    (finding,) = (finding for finding in found.inspection.findings if finding.code == "QL306")
    assert finding.message == f"$.quantization_config: {method} does not read unheard_of"


NUMBERS: Final = (True, "4", 0, -4, 17, 4.5, 1e308, [4], None)
REFUSED: Final = [
    *({"quant_method": "gptq", "bits": bits, "group_size": 128} for bits in NUMBERS),
    *({"quant_method": "awq", "bits": bits} for bits in NUMBERS),
    *({"quant_method": "auto-round", "bits": bits} for bits in NUMBERS),
    *({"quant_method": "metal", "bits": bits} for bits in NUMBERS),
    *({"quant_method": "gemma", "num_bits": bits} for bits in NUMBERS),
    *({"quant_method": "higgs", "bits": bits} for bits in NUMBERS),
    *({"quant_method": "exl3", "bits": bits} for bits in (True, "4", 0, -4, 17, 1e308, [4], None)),
    *(
        {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": bits}}}
        for bits in (True, "4", 0, 7, 17, 1.5, [4])
    ),
    *(
        {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {**INT4, "num_bits": bits}}}}
        for bits in NUMBERS
    ),
    *({"quant_method": "gptq", "bits": 4, "group_size": size} for size in (0, -2, True, "128", 1.5, 1e308, 2**40)),
    *({"quant_method": "awq", "group_size": size} for size in (0, -2, True, "128")),
    *(
        {"quant_method": "torchao", "quant_type": {"default": AO | {"_data": {"group_size": size}}}}
        for size in (0, -2, True, "128")
    ),
    *({"quant_method": "aqlm", "in_group_size": size} for size in (0, -1, True, "8")),
    *(
        {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {**INT4, "group_size": size}}}}
        for size in (0, -2, True, "128")
    ),
    *(
        {"quant_method": "fp8", "weight_block_size": block}
        for block in (
            [0, 128],
            [128, -1],
            [128],
            [128, 128, 128],
            [True, 128],
            ["128", "128"],
            128,
            "128x128",
            [1.5, 2],
        )
    ),
    *(
        {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"block_structure": block}}}}
        for block in ([0, 128], [128], "128", "0x128", "axb", True)
    ),
    *({"quant_method": "fp8", "ignored_layers": names} for names in ("lm_head", {"lm_head": True}, [1], [None])),
    {"quant_method": "bitsandbytes", "load_in_4bit": "yes"},
    {"quant_method": "gptq", "bits": 4, "sym": "true"},
    *({"quant_method": "gptq", "bits": 4, "dynamic": {"a": {"bits": bits}}} for bits in (17, 0, True)),
    *({"quant_method": "auto-round", "bits": 4, "extra_config": {"a": {"bits": bits}}} for bits in (17, 0, True)),
    *(
        {"quant_method": "torchao", "quant_type": {"default": {"_type": "UIntxWeightOnlyConfig", "_data": data}}}
        for data in ({"bit_width": 0}, {"bit_width": 17}, {"bit_width": True}, {"bit_width": "4"})
    ),
    *({"quant_method": "spqr", "beta1": size} for size in (0, -1, True)),
    *(
        {"quant_method": "vptq", "config_for_layers": {"a": VECTORS | changes}}
        for changes in (
            {"vector_lens": [-1, 0]},
            {"vector_lens": [-1, 2**40]},
            {"num_centroids": [-1, -1]},
            {"num_centroids": [-1, True]},
            {"num_res_centroids": [-1, -5]},
            {"in_features": -1},
            {"out_features": 0},
        )
    ),
    {"quant_method": "auto-round", "bits": 4, "extra_config": {"a": {"group_size": 0}}},
    {"quant_method": "compressed-tensors", "kv_cache_scheme": "FP8"},
    {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": "num_bits"}}},
    {"quant_method": "quark", "global_quant_config": "int4"},
    ["gptq"],
    "gptq",
    4,
]


@pytest.mark.parametrize("block", REFUSED, ids=str)
def test_an_impossible_value_is_found_with_its_place(block: Any, look: Look) -> None:
    found = look({"w.weight": ("BF16", [8, 8])}, block, config={"model_type": "llama"})
    assert found.stored.parameters == 64
    findings = [finding for finding in found.inspection.findings if finding.code == "QL305"]
    assert findings
    for finding in findings:
        assert finding.where == "config.json"
        assert finding.message.startswith("$.quantization_config")


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"quant_method": "gptq", "bits": 17}, r"\$\.quantization_config: bits must be .* not 17"),
        (
            {"quant_method": "fp8", "ignored_layers": "head"},
            r"config\.ignored_layers: expected a list of module names, got",
        ),
        ({"quant_method": "gptq", "bits": 4, "group_size": 0}, "group_size must be a number of weights"),
        ({"quant_method": "aqlm", "in_group_size": 0}, "in_group_size must be between"),
        ({"quant_method": "fp8", "weight_block_size": [0, 1]}, "weight_block_size must be two numbers"),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 7}}}, "nbits must be one of"),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": 1, "bnb_4bit_quant_type": "nf3"},
            "quant_type: expected 'fp4' or 'nf4', got 'nf3'(?s:.)*load_in_4bit: expected true or false, got 1",
        ),
        (
            {"quant_method": "gptq", "bits": 4, "dynamic": {"+:a": 8}},
            r"dynamic\['\+:a'\]: expected a table or null, got 8",
        ),
        ({"quant_method": "modelopt", "quantized_layers": {"a": "FP8"}}, "expected a table, got 'FP8'"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(block: dict[str, Any], text: str, look: Look) -> None:
    found = look({"w.weight": ("BF16", [8, 8])}, block)
    assert "QL305" in found.codes
    assert re.search(text, "\n".join(finding.message for finding in found.inspection.findings))


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"quant_method": "fp8", "fmt": "e9m9"}, "fmt: expected 'e4m3' or .* got 'e9m9'"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf3"}, "quant_type: .* 'nf3'"),
        ({"quant_method": "quanto", "weights": "int5"}, "weights: .* got 'int5'"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"type": "nf"}}}},
            r"config_groups\.g\.weights\.type: expected 'int' or 'float', got 'nf'",
        ),
        ({"quant_method": "mlx", "bits": 4, "group_size": 64, "mode": "x"}, "mode: .* got 'x'"),
        ({"quant_method": "fp_quant", "forward_dtype": "mxfp3"}, "forward_dtype: .* got 'mxfp3'"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP2"}, "quant_algo 'NVFP2' is not known"),
        (
            {
                "quant_method": "modelopt",
                "quant_algo": "MIXED_PRECISION",
                "quantized_layers": {"a": {"quant_algo": "X"}},
            },
            "quant_algo 'X' is not known",
        ),
        (
            {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "mx6"}}},
            "dtype: unknown level 'mx6'",
        ),
        ({"quant_method": "torchao", "quant_type": "int40_weight_only"}, "config 'int40_weight_only' is not known"),
        (
            ao("IntxWeightOnlyConfig", weight_dtype="int9")["config"]["quantization_config"],
            "dtype: unknown level 'int9'",
        ),
        (ao("IntxWeightOnlyConfig", weight_dtype="fp4")["config"]["quantization_config"], "dtype: 'fp4' can mean"),
        ({"quant_method": "gguf", "bits": 9, "format": "q_k"}, "format: unknown level 'q9_k'"),
        ({"quant_method": "auto-round", "bits": 4, "data_type": "posit"}, "data_type 'posit' of 4 bits is not known"),
    ],
    ids=str,
)
def test_unknown_words_do_not_hide_stored_weights(block: dict[str, Any], text: str, look: Look) -> None:
    found = look({"model.norm.weight": ("BF16", [64])}, block)
    assert found.stored.parameters == 64
    assert found.declared is not None
    assert (found.declared.method, found.declared.known, found.declared.levels) == (block["quant_method"], True, ())
    (finding,) = found.inspection.findings
    assert (finding.code, finding.where) == ("QL301", "config.json")
    assert re.search(text, finding.message)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_dtypes_that_quark_leaves_are_not_unknown_words(dtype: str, look: Look) -> None:
    spec = {"weight": {"dtype": dtype}}
    found = look(None, {"quant_method": "quark", "global_quant_config": spec, "layer_quant_config": {"a": spec}})
    assert found.codes == ["QL207"]


def test_what_is_not_a_number_is_not_json(look: Look) -> None:
    found = look({"norm.weight": ("BF16", [8])}, {"quant_method": "gptq", "bits": float("nan")})
    assert found.codes == ["QL305"]
    assert "NaN" in found.inspection.findings[0].message


@pytest.mark.parametrize("setting", [{"bits": 17}, {"bits": "4"}, {"bits": 4, "group_size": 0}, {"bits": 4, "mode": 1}])
def test_mlx_settings_are_checked_in_general_and_each(setting: dict[str, Any], look: Look) -> None:
    for block in ({"group_size": 64, **setting}, {"bits": 4, "group_size": 64, "m": setting}):
        found = look({"w.weight": ("BF16", [8, 8])}, config={"quantization": block})
        assert "QL305" in found.codes


#: what it is → configs, module → its level and group size, None for left as it is
OVERRIDES: Final[dict[str, tuple[dict[str, Any], dict[str, tuple[str, int | None] | None]]]] = {
    "gptq": (
        method(
            "gptq",
            bits=4,
            group_size=128,
            dynamic={r"+:.*\.0\.up": {"bits": 8, "group_size": 64}, r"-:.*\.1\.up": {}, "-:.*down": None},
        ),
        {"m.0.up": ("Int8", 64), "m.1.up": None, "m.2.up": ("Int4", 128), "m.0.down": None},
    ),
    "mlx": (
        {
            "config": {
                "quantization": {
                    "bits": 6,
                    "group_size": 32,
                    "m.0": {"bits": 8},
                    "m.1": False,
                    "m.2": True,
                    "m.3": {"group_size": 128},
                    "m.4": {"mode": "mxfp8"},
                }
            }
        },
        {
            "m.0": ("Int8", 64),
            "m.1": None,
            "m.2": ("Int6", 32),
            "m.3": ("Int4", 128),
            "m.4": ("MXFP8_E4M3", 32),
            "m.5": ("Int6", 32),
        },
    ),
    "quark": (
        method(
            "quark",
            global_quant_config={"weight": {"dtype": "int4", "group_size": 128}},
            layer_quant_config={"*.down": {"weight": {"dtype": "fp8_e4m3"}}, "m.head": {"weight": None}},
        ),
        {"m.0.down": ("Float8E4M3FN", None), "m.head": None, "m.0.up": ("Int4", 128)},
    ),
    "modelopt": (
        method(
            "modelopt",
            quant_algo="MIXED_PRECISION",
            quantized_layers={"m.a": {"quant_algo": "FP8"}, "m.b": {"quant_algo": "W4A16_AWQ", "group_size": 128}},
        ),
        {"m.a": ("Float8E4M3FN", None), "m.b": ("Int4", 128), "m.c": None},
    ),
    "modelopt, groups alone": (
        method(
            "modelopt",
            quant_algo="MIXED_PRECISION",
            config_groups={
                "a": {"targets": ["m.a"], "weights": {"num_bits": 8, "type": "float"}},
                "b": {"targets": ["m.b"], "weights": {"num_bits": 4, "type": "float", "group_size": 16}},
            },
        ),
        {"m.a": ("Float8E4M3FN", None), "m.b": ("NVFP4", 16), "m.c": None},
    ),
    "compressed-tensors": (
        method(
            "compressed-tensors",
            config_groups={
                "a": {"targets": ["re:.*up.*"], "weights": INT4},
                "b": {"targets": ["m.q"], "weights": {**INT4, "num_bits": 8}},
                "FP8_DYNAMIC": ["Linear"],
            },
        ),
        {"m.up": ("Int4", 128), "m.q": ("Int8", 128), "m.down": ("Float8E4M3FN", None)},
    ),
    "hqq": (
        method(
            "hqq",
            quant_config={"self_attn.q": {"weight_quant_params": {"nbits": 4, "group_size": 64}}, "mlp.up": None},
        ),
        {"m.self_attn.q": ("Int4", 64), "m.mlp.up": None, "m.mlp.down": None},
    ),
    "auto-round": (
        method(
            "auto-round",
            bits=4,
            group_size=128,
            extra_config={"m.q": {"bits": 8}, r".*\.gate.*": {"bits": 16}, ".*down": {"group_size": 32}},
        ),
        {"m.q": ("Int8", 128), "m.gate": None, "m.down": ("Int4", 32), "m.up": ("Int4", 128)},
    ),
    "gemma": (
        method("gemma", num_bits=4, module_quant_configs={r".*per_layer.*": {"num_bits": 8}}),
        {"m.per_layer_gate": ("Int8", None), "m.up": ("Int4", None)},
    ),
    "torchao": (
        method(
            "torchao",
            quant_type={
                "default": {
                    "_type": "FqnToConfig",
                    "_data": {
                        "fqn_to_config": {
                            "m.q": AO,
                            r"re:m\.\d+\.k": None,
                            "m.v.weight": AO,
                            r"re:m\.\d+\.o\.weight": AO,
                            "_default": AO | {"_data": {"group_size": 64}},
                        }
                    },
                }
            },
        ),
        {
            "m.q": ("Int4", 32),
            "m.0.k": None,
            "m.v": ("Int4", 32),
            "m.0.o": ("Int4", 32),
            "m.up": ("Int4", 64),
        },
    ),
    "vptq": (
        method(
            "vptq",
            config_for_layers={"m.q": {"vector_lens": [-1, 8], "num_centroids": [-1, 65536]}},
        ),
        {"m.q": ("VPTQ_2", 8), "m.up": None},
    ),
    **{
        f"fp8 with experts of 4 bits, {key}": (
            method("fp8", weight_block_size=[128, 128], **{key: word}),
            {"m.experts.0.up": ("MXFP4", 32), "m.shared_experts.up": ("Float8E4M3FN", None)},
        )
        for key, word in {
            "expert_dtype": "fp4",
            "store_dtype": "mxfp4",
            "routed_experts_quant_method": "mxfp4",
        }.items()
    },
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_modules_have_the_level_in_their_config(name: str, look: Look) -> None:
    configs, modules = OVERRIDES[name]
    declared = look({"norm.weight": ("BF16", [8])}, **configs).declared
    levels = {module: declared.level_of(module) for module in modules}
    assert {module: level and (level.level.name, level.group_size) for module, level in levels.items()} == modules


def test_skipped_modules_stand_under_the_method_s_keys(look: Look) -> None:
    block = {"quant_method": "fp8", "modules_to_not_convert": ["a"], "ignored_layers": ["b", "a"], "ignore": ["c"]}
    found = look(None, config={"quantization_config": block})
    assert found.declared.skipped == ("b", "a")
    assert found.codes == ["QL207", "QL306"]


def test_unknown_dtypes_declare_no_level(look: Look) -> None:
    found = look({"norm.weight": ("BF16", [8])}, **ao("IntxWeightOnlyConfig", weight_dtype="int99"))
    assert found.declared.levels == ()


OPENVINO_CONFIG = {"dtype": "int4", "quantization_config": {"bits": 4, "group_size": 128, "quant_method": "awq"}}


def test_openvino_configs_are_not_about_other_weights(write: Write) -> None:
    found = inspect(write({"norm.weight": ("BF16", [8])}, files={"openvino_config.json": OPENVINO_CONFIG}))
    assert found.declared is not None
    assert (found.declared.method, found.declared.known, found.declared.dtype) == ("openvino", False, None)
    assert [finding.code for finding in found.findings] == ["QL302"]


def test_a_config_of_openvino_alone_declares_its_levels(write: Write) -> None:
    found = inspect(write(None, files={"openvino_config.json": OPENVINO_CONFIG}) / "openvino_config.json")
    assert found.declared is not None
    assert (found.declared.method, found.declared.known, found.declared.dtype) == ("openvino", True, None)
    assert [(level.level.name, level.group_size) for level in found.declared.levels] == [("UInt4", 128), ("UInt8", -1)]


def test_unquantized_models_of_other_runtimes_declare_nothing(write: Write) -> None:
    path = write(None, files={"openvino_config.json": {"dtype": "fp16", "quantization_config": None}})
    assert inspect(path / "openvino_config.json").declared is None


@pytest.mark.parametrize(
    "block",
    [
        {"quant_method": "gptq", "bits": 4, "dynamic": None, "checkpoint_format": None, "is_marlin_format": None},
        {"quant_method": "auto-round", "bits": 4, "sym": None, "extra_config": None, "packing_format": None},
        {
            "quant_method": "auto-round",
            "bits": 4,
            "extra_config": {"a": {"bits": None, "group_size": None, "sym": None}},
        },
        {"quant_method": "quark", "global_quant_config": None, "layer_quant_config": None, "export": None},
        {"quant_method": "modelopt", "quantized_layers": None, "config_groups": None, "kv_cache_scheme": None},
        {"quant_method": "compressed-tensors", "config_groups": None, "format": None, "kv_cache_scheme": None},
        {"quant_method": "fp8", "weight_block_size": None, "scale_fmt": None, "kv_cache_scheme": None},
        {"quant_method": "torchao", "quant_type": {"default": None}, "modules_to_not_convert": None},
        {"quant_method": "hqq", "quant_config": None, "skip_modules": None},
    ],
    ids=str,
)
def test_null_claims_nothing(block: dict[str, Any], look: Look) -> None:
    assert look(None, config={"quantization_config": block}).declared.method == block["quant_method"]


def test_wbits_among_other_keys_is_not_squeezellm(write: Write) -> None:
    assert inspect(write(None, config={"model_type": "llama", "wbits": 2})).declared is None


def test_an_unknown_method_keeps_its_name(look: Look) -> None:
    found = look({"w.weight": ("BF16", [8, 8])}, {"quant_method": "acme-4.2", "bits": 4})
    assert (found.declared.method, found.declared.known, found.declared.levels) == ("acme-4.2", False, ())
    assert found.codes == ["QL302"]


def test_a_config_for_many_files_declares_only_methods(look: Look) -> None:
    modes = {"modes": ["q8", "q4"], "per_channel": False, "block_size": None, "is_symmetric": True}
    found = look({"w.weight": ("BF16", [8, 8])}, files={"quantize_config.json": modes})
    assert (found.declared.method, found.declared.levels, found.codes) == ("onnxruntime", (), [])


def test_a_quantized_cache_alone_declares_no_level(look: Look) -> None:
    cache = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "tensor"}
    found = look({"w.weight": ("BF16", [8, 8])}, {"quant_method": "compressed-tensors", "kv_cache_scheme": cache})
    assert (found.declared.levels, found.declared.kv_cache and found.declared.kv_cache.name) == ((), "Float8E4M3FN")
    assert found.codes == []


#: what it is → its config, the level of the cache
CACHES: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "modelopt": (method("modelopt", quant_algo="FP8", kv_cache_quant_algo="INT8"), "Int8"),
    "modelopt, in small letters": (method("modelopt", quant_algo="fp8", kv_cache_quant_algo="fp8"), "Float8E4M3FN"),
    "modelopt, with offsets": (method("modelopt", quant_algo="FP8", kv_cache_quant_algo="NVFP4_AFFINE"), "NVFP4"),
    "modelopt, a scheme": (
        method("modelopt", quant_algo="FP8", kv_cache_scheme={"num_bits": 8, "type": "float"}),
        "Float8E4M3FN",
    ),
    "modelopt, the name of a scheme": (method("modelopt", quant_algo="FP8", kv_cache_scheme="NVFP4"), "NVFP4"),
    "compressed-tensors": (
        method("compressed-tensors", kv_cache_scheme={"num_bits": 8, "type": "float"}),
        "Float8E4M3FN",
    ),
    "fp8, a scheme": (method("fp8", kv_cache_scheme={"num_bits": 8, "type": "float"}), "Float8E4M3FN"),
    "fp8, as AutoFP8 and Quark write it": (method("fp8", kv_cache_scheme="static"), "Float8E4M3FN"),
    "quark": (
        method("quark", kv_cache_quant_config={"*v_proj": {"output_tensors": {"dtype": "fp8_e4m3"}}}),
        "Float8E4M3FN",
    ),
    "quark, by names of layers": (
        method(
            "quark",
            layer_quant_config={"*k_proj": {"output_tensors": {"dtype": "int8"}}},
            export={"kv_cache_group": ["*k_proj", "*v_proj"]},
        ),
        "Int8",
    ),
}


@pytest.mark.parametrize("name", CACHES)
def test_a_config_declares_the_level_of_the_cache(name: str, look: Look) -> None:
    configs, level = CACHES[name]
    found = look({"norm.weight": ("BF16", [8])}, **configs).declared.kv_cache
    assert found is not None
    assert found.name == level


def test_weights_quantized_on_loading_are_not_expected(look: Look) -> None:
    for block in ({"quant_method": "nvfp4"}, {"quant_method": "bitnet", "quantization_mode": "online"}):
        assert look({"w.weight": ("BF16", [8, 8])}, block).codes == []
