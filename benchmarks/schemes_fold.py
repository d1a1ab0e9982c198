"""Folding 100,000 tensors of quantized experts whose config names layers by patterns, against parsing their headers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.checkpoints import Row, headers, write
from benchmarks.measurement import Measurement, best
from benchmarks.safetensors_headers import BUDGET, BUDGET_LINEAR, ROUNDS, SHARDS, TENSORS
from quantlevels import inspect

EXPERTS = 384
_WEIGHTS = {"type": "int", "symmetric": True, "strategy": "group"}
_SKIPPED = ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"]


def groups(**targets: object) -> dict[str, object]:
    """A config of compressed-tensors."""
    quantization = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": targets,
        "ignore": _SKIPPED,
    }
    return {"dtype": "bfloat16", "quantization_config": quantization}


CONFIGS: Mapping[str, dict[str, object]] = {
    "one group": groups(all={"targets": ["Linear"], "weights": {**_WEIGHTS, "num_bits": 4, "group_size": 32}}),
    "groups by pattern": groups(
        down={"targets": ["re:.*down_proj$"], "weights": {**_WEIGHTS, "num_bits": 4, "group_size": 32}},
        rest={"targets": [r"re:.*layers\.\d+\.mlp\..*"], "weights": {**_WEIGHTS, "num_bits": 4, "group_size": 32}},
    ),
}


def tensors() -> Iterator[Row]:
    """Those of packed experts, as Kimi-K2 has them."""
    for expert in count():
        for projection, rows, columns in (("gate", 2048, 7168), ("up", 2048, 7168), ("down", 7168, 2048)):
            module = f"model.layers.{expert // EXPERTS}.mlp.experts.{expert % EXPERTS}.{projection}_proj"
            yield f"{module}.weight_packed", "I32", [rows, columns // 8], rows * columns // 2
            yield f"{module}.weight_scale", "BF16", [rows, columns // 32], rows * columns // 16
            yield f"{module}.weight_shape", "I32", [2], 8


def measure() -> Iterator[Measurement]:
    """Each config, and a tenth of the tensors."""
    for name, config in CONFIGS.items():
        with tempfile.TemporaryDirectory() as many, tempfile.TemporaryDirectory() as few:
            shards = write(Path(many), tensors(), TENSORS, SHARDS, config)
            write(Path(few), tensors(), TENSORS // 10, SHARDS // 10, config)
            calls = partial(headers, shards), partial(inspect, many), partial(inspect, few)
            parsed, whole, tenth = best(*calls, rounds=ROUNDS)
        yield Measurement(f"packed experts, {name}: inspect / JSON of the headers", whole / parsed, BUDGET)
        yield Measurement(f"packed experts, {name}: ten times the tensors", whole / tenth, BUDGET_LINEAR)
