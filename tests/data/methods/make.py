"""Write ``checkpoints.jsonl`` beside this file: checkpoints of methods that diffusion models, NPUs and engines use.

    python make.py

One checkpoint per row: its config files, the names, dtypes and shapes of its tensors, the text of its marker
tensors, and the answer. ``levels`` are level, group size, symmetry, parameters and bytes of all that is quantized.
Parameters are those of the model before it was quantized, bytes are those of all tensors of its modules.

Those of sdnq, comfy-kitchen, diffusers and msmodelslim were written by the packages on a CPU, on random weights. The
kernels of the others need a GPU or an NPU: their tensors are written out from the sources that each row names.

Made with torch 2.13.0, transformers 5.24.0, diffusers 0.42.1, sdnq 0.2.8, comfy-kitchen 0.2.40, msmodelslim 26.1.0.
"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor, nn

HERE = Path(__file__).parent
ROWS: list[dict[str, Any]] = []
NAMES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.bool: "BOOL",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e8m0fnu: "F8_E8M0",
}
BYTES = {**dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1), "I64": 8}
BYTES |= {**dict.fromkeys(("F16", "BF16", "I16", "U16"), 2), **dict.fromkeys(("F32", "I32"), 4)}

#: dtype and shape, as a header has them
Entry = tuple[str, list[int]]


class Told(NamedTuple):
    """What is true of quantized modules: their level, group size and symmetry."""

    level: str
    group: int | None = None
    symmetric: bool | None = True


def entries(tensors: Mapping[str, Tensor]) -> dict[str, Entry]:
    return {name: (NAMES[tensor.dtype], list(tensor.shape)) for name, tensor in tensors.items()}


def size(entry: Entry) -> int:
    return BYTES[entry[0]] * math.prod(entry[1])


def record(
    name: str,
    writer: str,
    before: Mapping[str, Iterable[int]],
    quantized: Mapping[str, Told],
    tensors: Mapping[str, Entry],
    *,
    method: str,
    files: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    findings: Iterable[str] = (),
) -> None:
    """Add a checkpoint.

    Args:
        before: the parameters of the model before it was quantized, by name.
        quantized: module → what is true of it.
        tensors: what was written.
    """
    totals: dict[Told, list[int]] = {}
    for module, told in quantized.items():
        total = totals.setdefault(told, [0, 0])
        total[0] += math.prod(before[f"{module}.weight"])
        total[1] += sum(size(entry) for tensor, entry in tensors.items() if tensor.rpartition(".")[0] == module)
    ROWS.append(
        {
            "name": name,
            "writer": writer,
            "method": method,
            "parameters": sum(map(math.prod, before.values())),
            "levels": [[*told, *total] for told, total in totals.items()],
            "shapes": {module: list(before[f"{module}.weight"]) for module in quantized},
            "findings": list(findings),
            "files": files or {},
            "metadata": metadata or {},
            "texts": texts or {},
            "tensors": tensors,
        }
    )


# ---------------------------------------------------------------- sdnq


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(128, 96)
        self.down = nn.Linear(192, 64, bias=False)
        self.norm = nn.LayerNorm(64)


def sdnq_net() -> Any:
    """A diffusers model with two linear layers, one of whose rows is no power of two, and a convolution."""
    from diffusers import ConfigMixin, ModelMixin
    from diffusers.configuration_utils import register_to_config

    class Net(ModelMixin, ConfigMixin):
        @register_to_config
        def __init__(self) -> None:
            super().__init__()
            self.block = Block()
            self.conv = nn.Conv2d(32, 48, 3)
            self.head = nn.Linear(64, 32)

    torch.manual_seed(0)
    return Net().to(torch.bfloat16)


#: what is set → what is true of block.proj, of block.down and of conv
SDNQ: dict[str, tuple[dict[str, Any], Told, Told, Told | None]] = {
    "int8": ({"weights_dtype": "int8"}, Told("Int8"), Told("Int8"), None),
    "int8_groups": ({"weights_dtype": "int8", "group_size": 32}, Told("Int8", 32), Told("Int8", 32), None),
    "int8_tensor": ({"weights_dtype": "int8", "group_size": -2}, Told("Int8"), Told("Int8"), None),
    "uint8": ({"weights_dtype": "uint8"}, Told("UInt8", None, False), Told("UInt8", None, False), None),
    "int7": ({"weights_dtype": "int7", "group_size": 64}, Told("Int7", 64), Told("Int7", 64), None),
    "uint6": (
        {"weights_dtype": "uint6", "group_size": 64},
        Told("UInt6", 64, False),
        Told("UInt6", 64, False),
        None,
    ),
    "int5": ({"weights_dtype": "int5", "group_size": -1}, Told("Int5"), Told("Int5"), None),
    "uint4": ({"weights_dtype": "uint4"}, Told("UInt4", 64, False), Told("UInt4", 64, False), None),
    "uint4_svd": (
        {"weights_dtype": "uint4", "group_size": 32, "use_svd": True, "svd_rank": 8},
        Told("UInt4", 32, False),
        Told("UInt4", 32, False),
        None,
    ),
    "uint4_codebook": (
        {"weights_dtype": "uint4", "group_size": 64, "use_codebook": True},
        Told("LUT_4", 64, None),
        Told("LUT_4", 64, None),
        None,
    ),
    "int4": ({"weights_dtype": "int4", "group_size": 16}, Told("Int4", 16), Told("Int4", 16), None),
    "uint3": ({"weights_dtype": "uint3", "group_size": 32}, Told("UInt3", 32, False), Told("UInt3", 32, False), None),
    "int2": ({"weights_dtype": "int2", "group_size": 16}, Told("Int2", 16), Told("Int2", 16), None),
    "uint1": ({"weights_dtype": "uint1", "group_size": 8}, Told("UInt1", 8, False), Told("UInt1", 8, False), None),
    "int12": ({"weights_dtype": "int12", "group_size": -1}, Told("Int12"), Told("Int12"), None),
    "fp8": ({"weights_dtype": "float8_e4m3fn"}, Told("Float8E4M3FN"), Told("Float8E4M3FN"), None),
    "fp6": ({"weights_dtype": "fp6", "group_size": 64}, Told("Float6E3M2", 64), Told("Float6E3M2", 64), None),
    "fp4": ({"weights_dtype": "fp4", "group_size": 32}, Told("Float4E2M1", 32), Told("Float4E2M1", 32), None),
    "ufp5": (
        {"weights_dtype": "float5_e2m3fnu", "group_size": 32},
        Told("Float5E2M3FNU", 32, False),
        Told("Float5E2M3FNU", 32, False),
        None,
    ),
    "conv": (
        {"weights_dtype": "uint4", "group_size": 16, "quant_conv": True},
        Told("UInt4", 16, False),
        Told("UInt4", 16, False),
        Told("UInt4", 16, False),
    ),
    "mixed": (
        {"weights_dtype": "uint4", "group_size": 32, "modules_dtype_dict": {"int8": ["block.down.weight"]}},
        Told("UInt4", 32, False),
        Told("Int8", 32),
        None,
    ),
    "scales_in_fp8": (
        {"weights_dtype": "int4", "group_size": 32, "scale_dtype": "float8_e4m3fn"},
        Told("Int4", 32),
        Told("Int4", 32),
        None,
    ),
    "scales_in_6_bits": (
        {"weights_dtype": "uint4", "group_size": 32, "scale_dtype": "uint6"},
        Told("UInt4", 32, False),
        Told("UInt4", 32, False),
        None,
    ),
}


def sdnq() -> None:
    from sdnq.loader import save_sdnq_model
    from sdnq.quantizer import SDNQConfig, sdnq_post_load_quant

    for name, (settings, proj, down, conv) in SDNQ.items():
        net = sdnq_net()
        before = {key: list(parameter.shape) for key, parameter in net.named_parameters()}
        kwargs = {**settings, "modules_to_not_convert": ["head"], "add_skip_keys": False, "minimum_allowed_numel": 16}
        net = sdnq_post_load_quant(net, torch_dtype=torch.bfloat16, quantization_config=SDNQConfig(**kwargs))
        with tempfile.TemporaryDirectory() as folder:
            save_sdnq_model(net, folder, sdnq_config=SDNQConfig(**kwargs))
            with safe_open(f"{folder}/diffusion_pytorch_model.safetensors", "pt") as file:
                tensors = entries({key: file.get_tensor(key) for key in sorted(file.keys())})
            config = json.loads(Path(folder, "quantization_config.json").read_text())
        quantized = {"block.proj": proj, "block.down": down} | ({"conv": conv} if conv else {})
        files = {"config.json": {"_class_name": "Net"}, "quantization_config.json": config}
        record(
            f"sdnq_{name}",
            "sdnq 0.2.8",
            before,
            quantized,
            tensors,
            method="sdnq",
            files=files,
            findings=("QL101",) if name == "uint1" else (),  # eight codes in 64 bits
        )


# ---------------------------------------------------------------- comfy

COMFY_MODULE = "double_blocks.0.img_mlp.0"
COMFY_PLAIN = {"img_in.weight": [256, 64], "final_layer.bias": [64]}


def comfy() -> None:
    from comfy_kitchen.tensor import QuantizedTensor

    made: dict[str, tuple[str, dict[str, Any], Told, dict[str, Any]]] = {
        "fp8": ("TensorCoreFP8Layout", {}, Told("Float8E4M3FN"), {"format": "float8_e4m3fn"}),
        "nvfp4": ("TensorCoreNVFP4Layout", {}, Told("NVFP4", 16), {"format": "nvfp4"}),
        "mxfp8": ("TensorCoreMXFP8Layout", {}, Told("MXFP8_E4M3", 32), {"format": "mxfp8"}),
        "int8": ("TensorWiseINT8Layout", {}, Told("Int8"), {"format": "int8_tensorwise"}),
        "int8_rows": ("TensorWiseINT8Layout", {"per_channel": True}, Told("Int8"), {"format": "int8_tensorwise"}),
        "int8_convrot": (
            "TensorWiseINT8Layout",
            {"per_channel": True, "convrot": True, "convrot_groupsize": 64},
            Told("Int8"),
            {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 64},
        ),
        "convrot_w4a4": (
            "TensorCoreConvRotW4A4Layout",
            {"convrot_groupsize": 256},
            Told("Int4"),
            {"format": "convrot_w4a4", "convrot_groupsize": 256},
        ),
        "asym_w4a8": (
            "AsymW4A8Int8Layout",
            {"convrot_groupsize": 64},
            Told("LUT_4", 16, None),
            {"format": "asym_w4a8_int8", "group_size": 16, "convrot_groupsize": 64},
        ),
        "asym_w4a8_by_32": (
            "AsymW4A8Int8Layout",
            {"convrot_groupsize": 64, "group_size": 32},
            Told("LUT_4", 32, None),
            {"format": "asym_w4a8_int8", "group_size": 32, "convrot_groupsize": 64},
        ),
        "asym_w4a8_correction": (
            "AsymW4A8Int8Layout",
            {"convrot_groupsize": 64, "codebook": False, "symmetric": False},
            Told("Int4", 16, False),
            {"format": "asym_w4a8_int8", "group_size": 16, "convrot_groupsize": 64},
        ),
    }
    torch.manual_seed(0)
    weight = torch.randn(160, 256, dtype=torch.bfloat16)
    for name, (layout, kwargs, told, marker) in made.items():
        state = QuantizedTensor.from_float(weight, layout, **kwargs).state_dict(f"{COMFY_MODULE}.weight")
        comfy_pair(name, "comfy-kitchen 0.2.40", entries(state), list(weight.shape), told, marker)
    comfy_offline()


def comfy_offline() -> None:
    """The layouts that comfy-kitchen only reads: their writers calibrate on a GPU."""
    rows, columns, rank = 256, 128, 32
    pairs = {"": ("I8", [rows, columns // 2]), "_scale": ("BF16", [columns // 64, rows])}
    low_rank = {"_proj_down": ("BF16", [columns, rank]), "_smooth_factor": ("BF16", [columns])}
    tiled = {"": ("I8", [rows // 128, columns // 64, 32, 128]), "_scale": ("BF16", [rows // 128, columns // 64, 128])}
    made = {
        "awq_w4a16": (
            {**pairs, "_zeros": ("BF16", [columns // 64, rows])},
            Told("Int4", 64, False),
            {"format": "awq_w4a16", "group_size": 64},
        ),
        "svdquant_w4a4": (
            {**pairs, **low_rank, "_proj_up": ("BF16", [rows, rank])},
            Told("Int4", 64),
            {"format": "svdquant_w4a4"},
        ),
        "svdquant_w4a4_tiles": (
            {**tiled, **low_rank, "_proj_up": ("BF16", [rows // 128, 128, rank])},
            Told("Int4", 64),
            {"format": "svdquant_w4a4", "layout": "kitchen_tile_packed_w4a4"},
        ),
    }
    for name, (suffixes, told, marker) in made.items():
        tensors: dict[str, Entry] = {f"{COMFY_MODULE}.weight{suffix}": entry for suffix, entry in suffixes.items()}
        comfy_pair(name, "comfy-kitchen 0.2.40 tensor/, by source", tensors, [rows, columns], told, marker)


def comfy_pair(
    name: str, writer: str, state: Mapping[str, Entry], shape: list[int], told: Told, marker: dict[str, Any]
) -> None:
    """A checkpoint that declares the layer by a marker beside it, and one that declares it in the metadata."""
    before = {f"{COMFY_MODULE}.weight": shape, f"{COMFY_MODULE}.bias": shape[:1], **COMFY_PLAIN}
    plain: dict[str, Entry] = {key: ("BF16", list(before[key])) for key in (f"{COMFY_MODULE}.bias", *COMFY_PLAIN)}
    text = json.dumps(marker)
    tensor = f"{COMFY_MODULE}.comfy_quant"
    with_marker: dict[str, Entry] = {**state, **plain, tensor: ("U8", [len(text.encode())])}
    quantized = {COMFY_MODULE: told}
    record(f"comfy_{name}", writer, before, quantized, with_marker, method="comfy", texts={tensor: text})
    metadata = {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": {COMFY_MODULE: marker}})}
    record(f"comfy_{name}_metadata", writer, before, quantized, {**state, **plain}, method="comfy", metadata=metadata)


# ---------------------------------------------------------------- bfl


def bfl() -> None:
    """Both formats by the functions of diffusers, declared by its config and by the metadata of the file."""
    from diffusers.quantizers.bfl.utils import quantize_fp8r, quantize_nvfp4

    module = "transformer_blocks.0.attn.to_q"
    weight = torch.randn(96, 160)
    before = {f"{module}.weight": [96, 160], f"{module}.bias": [96], "x_embedder.weight": [96, 64]}
    plain: dict[str, Entry] = {f"{module}.bias": ("BF16", [96]), "x_embedder.weight": ("BF16", [96, 64])}
    codes, scale = quantize_fp8r(weight)
    fp8 = {"weight": codes, "weight_scale": scale}
    packed, blocks, tensor = quantize_nvfp4(weight)
    nvfp4 = {"weight": packed, "weight_scale": blocks, "weight_scale_2": tensor, "input_scale": torch.rand(())}
    config = {"config.json": {"_class_name": "Flux2Transformer2DModel", **section("bfl", compute_dtype="bfloat16")}}
    for name, state, told, metadata in (
        ("fp8r", fp8, Told("Float8E4M3FN"), {"quantization": "fp8r", "scale": "per_row_fp32"}),
        ("nvfp4", nvfp4, Told("NVFP4", 16), {"quantization": "nvfp4"}),
    ):
        tensors = {**entries({f"{module}.{suffix}": tensor for suffix, tensor in state.items()}), **plain}
        record(f"bfl_{name}", "diffusers 0.42.1", before, {module: told}, tensors, method="bfl", files=config)
        record(
            f"bfl_{name}_metadata", "diffusers 0.42.1", before, {module: told}, tensors, method="bfl", metadata=metadata
        )


# ---------------------------------------------------------------- msmodelslim

SLIM_MODULE = "model.layers.0.mlp.up_proj"


def codes(low: int, high: int, *shape: int) -> Tensor:
    return torch.randint(low, high + 1, shape)


def modelslim() -> None:
    """Each type by msmodelslim's own functions for saving it, of a layer with 128 outputs and 256 inputs."""
    rows, columns, group = 128, 256, 64
    scale, offset, bias = torch.rand(rows), torch.zeros(rows), torch.rand(rows)
    static = {"input_scale": torch.rand(()), "input_offset": torch.zeros(()), "bias": bias}
    int8 = codes(-128, 127, rows, columns)
    int4 = codes(-8, 7, rows, columns)
    exponents = codes(-8, 8, rows, columns // 32, 1)
    grouped = {"weight_scale": torch.rand(rows, columns // group), "weight_offset": torch.zeros(rows, columns // group)}
    fp4 = torch.tensor([0.0, 0.5, 1.0, -6.0]).repeat(rows, columns // 4)
    made: dict[str, tuple[str, dict[str, Any], Told]] = {
        "w8a8": ("on_w8a8_static", {"weight": int8, "weight_scale": scale, **static}, Told("Int8")),
        "w8a8_mix": ("on_w8a8_pd_mix", {"weight": int8, "weight_scale": scale, **static}, Told("Int8")),
        "w8a8_dynamic": ("on_w8a8_dynamic_per_channel", {"weight": int8, "weight_scale": scale}, Told("Int8")),
        "w8a8_dynamic_groups": ("on_w8a8_dynamic_per_group", {"weight": int8, **grouped}, Told("Int8", group)),
        "w8a16": (
            "on_w8a16_static_per_channel",
            {"weight": int8, "weight_scale": scale, "weight_offset": offset},
            Told("Int8"),
        ),
        "w8a16_groups": ("on_w8a16_static_per_group", {"weight": int8, **grouped}, Told("Int8", group)),
        "w4a8_dynamic": ("on_w4a8_dynamic", {"weight": int4, "weight_scale": scale}, Told("Int4")),
        "w4a4_dynamic": (
            "on_w4a4_dynamic_per_channel",
            {"weight": int4, "weight_scale": scale, "weight_offset": offset},
            Told("Int4"),
        ),
        "w4a4_dynamic_groups": ("on_w4a4_dynamic_per_group", {"weight": int4, **grouped}, Told("Int4", group)),
        "wfp8afp8": (
            "on_wfp8afp8_dynamic_per_channel",
            {"weight": torch.rand(rows, columns), "weight_scale": scale},
            Told("Float8E4M3FN"),
        ),
        "w8a8_mxfp8": (
            "on_w8a8_mx_dynamic_per_block",
            {"weight": torch.rand(rows, columns), "weight_scale": exponents, "w_axes": -1},
            Told("MXFP8_E4M3", 32),
        ),
        "w4a4_mxfp4": (
            "on_w4a4_mx_dynamic_per_block",
            {"weight": fp4, "weight_scale": exponents, "w_axes": -1},
            Told("MXFP4", 32),
        ),
        "w4a8_mxfp": (
            "on_w4a8_mx_dynamic_per_block",
            {"weight": fp4, "weight_scale": exponents, "w_axes": -1},
            Told("MXFP4", 32),
        ),
        "w4a4_mxfp4_dualscale": (
            "on_w4a4_mx_dynamic_dual_scale",
            {
                "weight": fp4,
                "weight_scale": exponents,
                "weight_dual_scale": torch.rand(rows, columns // 128),
                "w_axes": -1,
            },
            Told("MXFP4", 32),
        ),
    }
    for name, (function, fields, told) in made.items():
        state, description = slim_saved(function, {"group_size": group, "bias": None, **fields})
        before = {f"{SLIM_MODULE}.weight": [rows, columns], "model.norm.weight": [columns], "lm_head.weight": [96, 256]}
        if fields.get("bias") is not None:
            before[f"{SLIM_MODULE}.bias"] = [rows]
        plain: dict[str, Entry] = {key: ("BF16", list(before[key])) for key in ("model.norm.weight", "lm_head.weight")}
        description |= dict.fromkeys(plain, "FLOAT")
        files = {"quant_model_description.json": description}
        record(
            f"modelslim_{name}",
            "msmodelslim 26.1.0",
            before,
            {SLIM_MODULE: told},
            {**entries(state), **plain},
            method="modelslim",
            files=files,
            findings=("QL101",) if name.startswith("w4a4_dynamic") else (),  # a code per byte
        )


def slim_saved(function: str, fields: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the description that a function of the saver writes for a layer."""
    from msmodelslim.core.quant_service.modelslim_v1.save.ascendv1 import AscendV1Saver

    saver = object.__new__(AscendV1Saver)
    tensors: dict[str, Tensor] = {}
    description: dict[str, Any] = {}
    saver.json_writer = SimpleNamespace(write=description.__setitem__)
    saver.safetensors_writer = SimpleNamespace(write=tensors.__setitem__)
    saver.model_quant_type, saver.group_size, saver.version = "Unknown", 0, "1.0.0"
    saver._desc_transform, saver._global_torch_dtype_is_bf16 = None, True
    getattr(saver, function)(SLIM_MODULE, SimpleNamespace(**fields))
    settings = {"version": saver.version, "model_quant_type": saver.model_quant_type, "group_size": saver.group_size}
    return tensors, {**description, **settings, "metadata": {}, "optional": {}}


# ---------------------------------------------------------------- from sources

NUNCHAKU = "nunchaku at 92e4695 models/linear.py, by source"


def svdquant_layer(module: str, rows: int, columns: int, *, nvfp4: bool, lite: bool = False) -> dict[str, Entry]:
    group, rank = 16 if nvfp4 else 64, 32
    suffixes: dict[str, Entry] = {
        "qweight": ("I8", [rows, columns // 2]),
        "bias": ("BF16", [rows]),
        "wscales": ("F8_E4M3" if nvfp4 else "BF16", [columns // group, rows]),
        "smooth_factor": ("BF16", [columns]),
        "proj_down": ("BF16", [columns, rank]),
        "proj_up": ("BF16", [rows, rank]),
    }
    if not lite:
        suffixes["smooth_factor_orig"] = ("BF16", [columns])
    if nvfp4:
        suffixes |= {"wcscales": ("BF16", [rows]), "wtscale": ("BF16", [1])}
    return {f"{module}.{suffix}": entry for suffix, entry in suffixes.items()}


def awq_layer(module: str, rows: int, columns: int) -> dict[str, Entry]:
    scales: Entry = ("BF16", [columns // 64, rows])
    suffixes = {"qweight": ("I32", [rows // 4, columns // 2]), "wscales": scales, "wzeros": scales}
    return {f"{module}.{suffix}": entry for suffix, entry in {**suffixes, "bias": ("BF16", [rows])}.items()}


def nunchaku() -> None:
    linear, modulation = "transformer_blocks.0.attn.to_qkv", "transformer_blocks.0.img_mod.1"
    before = {
        f"{linear}.weight": [384, 128],
        f"{linear}.bias": [384],
        f"{modulation}.weight": [768, 128],
        f"{modulation}.bias": [768],
        "img_in.weight": [128, 64],
    }
    plain: dict[str, Entry] = {"img_in.weight": ("BF16", [128, 64])}
    for name, nvfp4 in (("int4", False), ("fp4", True)):
        told = Told("NVFP4", 16) if nvfp4 else Told("Int4", 64)
        weight = {"dtype": "fp4_e2m1_all" if nvfp4 else "int4", "scale_dtype": None, "group_size": told.group}
        tensors = {**svdquant_layer(linear, 384, 128, nvfp4=nvfp4), **awq_layer(modulation, 768, 128), **plain}
        record(
            f"nunchaku_{name}",
            NUNCHAKU,
            before,
            {linear: told, modulation: Told("Int4", 64, False)},
            tensors,
            method="svdquant",
            metadata={
                "model_class": "NunchakuQwenImageTransformer2DModel",
                "quantization_config": json.dumps({"method": "svdquant", "weight": weight, "rank": 32}),
            },
        )
        config = {
            "quant_method": "nunchaku_lite",
            "compute_dtype": "bfloat16",
            "svdq_w4a4": {
                "precision": "nvfp4" if nvfp4 else "int4",
                "group_size": told.group,
                "rank": 32,
                "targets": [linear],
            },
            "awq_w4a16": {"precision": "int4", "group_size": 64, "targets": [modulation]},
        }
        lite = svdquant_layer(linear, 384, 128, nvfp4=nvfp4, lite=True)
        record(
            f"nunchaku_lite_{name}",
            "diffusers at 58eb52c quantizers/nunchaku/utils.py, by source",
            before,
            {linear: told, modulation: Told("Int4", 64, False)},
            {**lite, **awq_layer(modulation, 768, 128), **plain},
            method="nunchaku_lite",
            files={"config.json": {"_class_name": "QwenImageTransformer2DModel", "quantization_config": config}},
        )
    renamed = {"smooth_factor": "smooth", "smooth_factor_orig": "smooth_orig", "proj_down": "lora_down"}
    renamed["proj_up"] = "lora_up"
    first = {
        ".".join((*name.split(".")[:-1], renamed.get(name.split(".")[-1], name.split(".")[-1]))): entry
        for name, entry in svdquant_layer(linear, 384, 128, nvfp4=False).items()
    }
    weight = {"dtype": "int4", "scale_dtype": None, "group_size": 64}
    record(
        "nunchaku_first_names",
        "nunchaku at 92e4695 models/transformers/transformer_flux_v2.py, by source",
        {name: shape for name, shape in before.items() if not name.startswith(modulation)},
        {linear: Told("Int4", 64)},
        {**first, **plain},
        method="svdquant",
        metadata={"quantization_config": json.dumps({"method": "svdquant", "weight": weight})},
    )


def layer(
    name: str,
    writer: str,
    method: str,
    config: Mapping[str, Any],
    shape: tuple[int, int],
    suffixes: Mapping[str, Entry],
    told: Told,
    *,
    module: str = "model.layers.0.mlp.experts.0.up_proj",
) -> None:
    """A checkpoint of one quantized layer and an embedding, declared in config.json."""
    before = {f"{module}.weight": list(shape), "model.embed_tokens.weight": [96, 64]}
    tensors: dict[str, Entry] = {f"{module}.{suffix}": entry for suffix, entry in suffixes.items()}
    tensors["model.embed_tokens.weight"] = ("BF16", [96, 64])
    files = {"config.json": {"model_type": "llama", "dtype": "bfloat16", **config}}
    record(name, f"{writer}, by source", before, {module: told}, tensors, method=method, files=files)


def section(method: str, **settings: Any) -> dict[str, Any]:
    return {"quantization_config": {"quant_method": method, **settings}}


def engines() -> None:
    rows, columns = 256, 512
    shape = (rows, columns)
    layer(
        "w4afp8_experts",
        "sglang 0.5.23 layers/quantization/w4afp8.py",
        "w4afp8",
        section("w4afp8", activation_scheme="dynamic"),
        shape,
        {
            "weight": ("I8", [rows, columns // 2]),
            "weight_scale_inv": ("F32", [rows, columns // 128]),
            "input_scale": ("BF16", [1]),
        },
        Told("Int4", 128),
    )
    layer(
        "w4afp8_linear",
        "sglang 0.5.23 layers/quantization/w4afp8.py",
        "w4afp8",
        section("w4afp8"),
        shape,
        {"weight": ("F8_E4M3", [rows, columns]), "weight_scale_inv": ("F32", [2, 4])},
        Told("Float8E4M3FN"),
        module="model.layers.0.self_attn.o_proj",
    )
    minimax = "sglang 0.5.23 layers/quantization/minimax_m3_nvfp4.py"
    layer(
        "minimax_m3_experts",
        minimax,
        "minimax_m3_nvfp4",
        section("minimax_m3_nvfp4", weight_block_size=[1, 32], group_size=16),
        shape,
        {
            "weight_packed": ("U8", [rows, columns // 2]),
            "weight_scale": ("F8_E4M3", [rows, columns // 16]),
            "weight_global_scale": ("F32", [1]),
            "input_global_scale": ("F32", [1]),
        },
        Told("NVFP4", 16),
    )
    layer(
        "minimax_m3_linear",
        minimax,
        "minimax_m3_nvfp4",
        section("minimax_m3_nvfp4"),
        shape,
        {"weight": ("F8_E4M3", [rows, columns]), "weight_scale_inv": ("U8", [rows, columns // 32])},
        Told("MXFP8_E4M3", 32),
        module="model.layers.0.self_attn.o_proj",
    )
    humming(rows, columns)
    marlin(rows, columns)
    older(rows, columns)
    ktransformers(rows, columns)


def humming(rows: int, columns: int) -> None:
    def words(bits: int) -> Entry:
        return ("I32", [rows, columns * bits // 32])

    made: dict[str, tuple[dict[str, Any], dict[str, Entry], Told]] = {
        "uint3": (
            {"b_dtype": "uint3", "weight_scale_group_size": 128},
            {"weight": words(3), "weight_scale": ("BF16", [rows, columns // 128])},
            Told("UInt3", 128),
        ),
        "uint5_zero_points": (
            {"weight_dtype": "uint5", "group_size": 64, "has_zero_point": True},
            {
                "weight": words(5),
                "weight_scale": ("BF16", [rows, columns // 64]),
                "zero_point": ("I32", [rows * 5 // 32, columns // 64]),
            },
            Told("UInt5", 64, False),
        ),
        "float4_rows": (
            {"b_dtype": "float4e2m1"},
            {"weight": words(4), "weight_scale": ("BF16", [rows, 1])},
            Told("Float4E2M1"),
        ),
        "mxfp4": (
            {"b_dtype": "float4e2m1", "bs_dtype": "float8e8m0", "group_size": 32},
            {"weight": words(4), "weight_scale": ("F8_E8M0", [rows, columns // 32])},
            Told("MXFP4", 32),
        ),
        "nvfp4": (
            {"b_dtype": "float4e2m1", "bs_dtype": "float8e4m3", "group_size": 16, "weight_scale_2_type": "tensor"},
            {
                "weight": words(4),
                "weight_scale": ("F8_E4M3", [rows, columns // 16]),
                "weight_scale_2": ("F32", [1]),
            },
            Told("NVFP4", 16),
        ),
        "float6_tensor": (
            {"b_dtype": "float6e3m2", "weight_scale_type": "tensor"},
            {"weight": words(6), "weight_scale": ("F32", [1])},
            Told("Float6E3M2"),
        ),
    }
    for name, (settings, suffixes, told) in made.items():
        config = section("humming", **settings)
        layer(
            f"humming_{name}",
            "humming-kernels 0.1.20 schema/humming.py",
            "humming",
            config,
            (rows, columns),
            suffixes,
            told,
        )


def marlin(rows: int, columns: int) -> None:
    workspace: Entry = ("I32", [rows // 64 * 16])
    for group in (128, -1):
        groups = columns // group if group > 0 else 1
        told = Told("Int4", group if group > 0 else None)
        scales: Entry = ("F16", [groups, rows])
        layer(
            f"marlin_{'rows' if group < 0 else 'groups'}",
            "vllm at 01a789a marlin.py",
            "marlin",
            section("marlin", bits=4, group_size=group),
            (rows, columns),
            {"B": ("I32", [columns // 16, rows * 2]), "s": scales, "workspace": workspace},
            told,
        )
        layer(
            f"marlin_24_{'rows' if group < 0 else 'groups'}",
            "vllm at 0090454 gptq_marlin_24.py",
            "gptq_marlin_24",
            section("gptq_marlin_24", bits=4, group_size=group),
            (rows, columns),
            {
                "B_24": ("I32", [columns // 32, rows * 2]),
                "B_meta": ("I16", [columns // 32, rows * 2]),
                "s": scales,
                "workspace": workspace,
            },
            told,
        )


def older(rows: int, columns: int) -> None:
    for bits in (2, 4):
        layer(
            f"bitblas_{bits}bit",
            "vllm at 17128d5 bitblas.py",
            "bitblas",
            section("bitblas", bits=bits, group_size=128, sym=False),
            (rows, columns),
            {
                "qweight": ("I8", [rows, columns * bits // 8]),
                "scales": ("F16", [rows, columns // 128]),
                "zeros": ("I8", [columns // 128, rows * bits // 8]),
            },
            Told("Int4" if bits == 4 else "Int2", 128, False),
        )
    pairs: Entry = ("I8", [rows, columns // 2])
    source = "sglang at 0ad1007 qoq.py"
    layer(
        "qoq_rows",
        source,
        "qoq",
        section("qoq", wbits=4, group_size=-1),
        (rows, columns),
        {"qweight": pairs, "s1_scales": ("F16", [rows]), "s1_szeros": ("F16", [rows])},
        Told("Int4", None, False),
    )
    second: Entry = ("I8", [columns // 128, rows])
    layer(
        "qoq_groups",
        source,
        "qoq",
        section("qoq", wbits=4, group_size=128),
        (rows, columns),
        {"qweight": pairs, "s1_scales": ("F16", [rows]), "s2_scales": second, "s2_zeros": second},
        Told("Int4", 128, False),
    )
    for bits, level in ((6, "Float6E3M2"), (8, "Float8E4M3FN")):
        layer(
            f"deepspeedfp_{bits}bit",
            "vllm at 0111d02 deepspeedfp.py",
            "deepspeedfp",
            section("deepspeedfp", bits=bits, group_size=512),
            (rows, columns),
            {"weight": ("I8", [rows * columns // 512, 512 * bits // 8 + 4])},
            Told(level, 512),
        )


def ktransformers(rows: int, columns: int) -> None:
    source = "ktransformers at 95009ea kt-kernel/scripts/convert_cpu_weights.py"
    for method, bits in (("int4", 4), ("int8", 8)):
        layer(
            f"ktransformers_{method}",
            source,
            "ktransformers",
            {"amx_quantization": {"converted": True, "method": method, "numa_count": 2}},
            (rows, columns),
            {"weight": ("I8", [rows * columns * bits // 8]), "scale": ("F32", [rows])},
            Told(f"Int{bits}"),
            module="blk.0.ffn_up_exps.3.numa.1",
        )
    layer(
        "ktransformers_awq",
        source,
        "ktransformers",
        {"amx_quantization": {"converted": True, "method": "awq", "numa_count": 2}},
        (rows, columns),
        {
            "weight": ("I32", [rows, columns // 8]),
            "scale": ("F16", [rows * columns // 64]),
            "qzeros": ("I32", [columns // 64, rows // 8]),
        },
        Told("Int4", 64, False),
        module="blk.0.ffn_up_exps.3",
    )


if __name__ == "__main__":
    makers: list[Callable[[], None]] = [sdnq, comfy, bfl, modelslim, nunchaku, engines]
    with contextlib.redirect_stdout(None):
        for maker in makers:
            maker()
    lines = (json.dumps(row, separators=(",", ":")) for row in ROWS)
    (HERE / "checkpoints.jsonl").write_text("\n".join(lines) + "\n")
