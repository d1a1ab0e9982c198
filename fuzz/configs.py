"""Configs of every method, with values of any type at any place, beside tensors of every packing."""

from __future__ import annotations

import copy
import json
from itertools import product
from typing import Any

from fuzz.choices import ODD_NUMBERS, Choices
from fuzz.invariants import check
from quantlevels.checkpoint.catalogue import SAFETENSORS
from quantlevels.container import Checkpoint, Tensor
from quantlevels.inspection.report import inspected
from quantlevels.schemes import shipped_schemes
from quantlevels.vocabulary.registry import levels

_GROUP = {"weights": {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128}}
#: whole configs, and one more for each method by its name alone
CONFIGS: list[dict[str, Any]] = [  # Any: JSON
    {"bits": 4, "group_size": 128, "sym": True, "dynamic": {"+:.*up.*": {"bits": 8}, "-:lm_head": {}}},
    {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "modules_to_not_convert": ["lm_head"]},
    {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    {"config_groups": {"g": {"targets": ["Linear", "re:.*up"], **_GROUP}}, "ignore": ["lm_head", "re:.*norm"]},
    {"quant_method": "fp8", "weight_block_size": [128, 128], "expert_dtype": "fp4"},
    {"quant_algo": "MIXED_PRECISION", "quantized_layers": {"up": {"quant_algo": "NVFP4"}}, "exclude_modules": ["*"]},
    {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}},
    {"group_size": 64, "bits": 4, "mode": "affine", "model.up": {"group_size": 32, "bits": 8}, "model.down": False},
    {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {}}}},
    {"quant_method": "vptq", "config_for_layers": {"up": {"vector_lens": [-1, 8], "num_centroids": [-1, 4096]}}},
    {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "int4", "group_size": 128}}},
    *({"quant_method": method, "bits": 4} for method in sorted(shipped_schemes())),
]
_SUFFIXES = ("weight", "qweight", "qzeros", "scales", "weight_packed", "weight_scale", "W_q", "trellis", "codes")
#: one module with the tensors of several methods at once, and two plain ones: each config explains some and not others
_NAMES = (*(f"model.up.{suffix}" for suffix in _SUFFIXES), "model.down.weight", "model.lm_head.weight")
_TENSORS = tuple(
    Tensor(name, levels["Int32" if "q" in name.rpartition(".")[2] else "Float16"], (4, 16), 128) for name in _NAMES
)
_VALUES: tuple[object, ...] = (
    *(None, True, False, "", "4", "re:(a+)+$", "*" * 40, "[", "re:", "bfloat16", "fp8", "\0", -1, 0.5, 1e308, -0.0),
    *([], {}, [[]], [None], {"": None}, [1, 2], ["Linear"], {"weights": {}}, _GROUP),
    *ODD_NUMBERS,
)
_FILES = ("config.json", "quantize_config.json", "quant_config.json", "hf_quant_config.json", "quanto_qmap.json")

SEEDS = tuple(bytes([number, file, 0]) for number, file in product(range(len(CONFIGS)), range(len(_FILES))))


def run(data: bytes) -> None:
    """Inspect tensors beside a config with as many changes as the bytes say."""
    choices = Choices(data)
    config: dict[str, Any] = copy.deepcopy(choices.one_of(CONFIGS))  # Any: JSON
    file = choices.one_of(_FILES)
    if file == "config.json":
        config = {"torch_dtype": "bfloat16", choices.one_of(["quantization_config", "quantization", "_"]): config}
    for _ in range(choices.number(8)):
        _change(config, choices)
    config = json.loads(json.dumps(config))
    checkpoint = Checkpoint(path="model", container=SAFETENSORS, tensors=_TENSORS, configs={file: config})
    check(lambda: inspected(checkpoint))


def _change(owner: Any, choices: Choices) -> None:  # Any: JSON
    """Change one value somewhere within."""
    while True:
        keys: list[Any] = list(owner if isinstance(owner, dict) else range(len(owner)))  # Any: names and positions
        if not keys:
            return
        key = choices.one_of(keys[:256])
        if not isinstance(owner[key], dict | list) or not choices.number(3):
            break
        owner = owner[key]
    match choices.number(4):
        case 0:
            del owner[key]
        case 1 if isinstance(owner, dict):
            owner[choices.one_of(["bits", "group_size", "weights", "re:.*", "*", "", "up"])] = owner[key]
        case _:
            owner[key] = copy.deepcopy(choices.one_of(_VALUES))
