"""Folding 100,000 tensors of quantized experts whose config names layers by patterns, against parsing their headers."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks.measurement import Measurement, best
from benchmarks.safetensors_headers import BUDGET, BUDGET_LINEAR, ROUNDS, SHARDS, TENSORS, headers
from quantlevels import inspect

EXPERTS = 384
_WEIGHTS = {"type": "int", "symmetric": True, "strategy": "group"}
_SKIPPED = ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"]


def groups(**targets: object) -> dict[str, object]:
    """A config of compressed-tensors."""
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": targets,
        "ignore": _SKIPPED,
    }


CONFIGS: Mapping[str, dict[str, object]] = {
    "one group": groups(all={"targets": ["Linear"], "weights": {**_WEIGHTS, "num_bits": 4, "group_size": 32}}),
    "groups by pattern": groups(
        down={"targets": ["re:.*down_proj$"], "weights": {**_WEIGHTS, "num_bits": 4, "group_size": 32}},
        rest={"targets": [r"re:.*layers\.\d+\.mlp\..*"], "weights": {**_WEIGHTS, "num_bits": 4, "group_size": 32}},
    ),
}


def tensors(count: int) -> Iterator[tuple[str, str, list[int], int]]:
    """Name, dtype, shape and bytes of so many tensors of packed experts, as Kimi-K2 has them."""
    for expert in range(count):
        for projection, rows, columns in (("gate", 2048, 7168), ("up", 2048, 7168), ("down", 7168, 2048)):
            module = f"model.layers.{expert // EXPERTS}.mlp.experts.{expert % EXPERTS}.{projection}_proj"
            yield f"{module}.weight_packed", "I32", [rows, columns // 8], rows * columns // 2
            yield f"{module}.weight_scale", "BF16", [rows, columns // 32], rows * columns // 16
            yield f"{module}.weight_shape", "I32", [2], 8


def write(folder: Path, count: int, shards: int, config: Mapping[str, object]) -> list[Path]:
    """So many tensors in so many files with holes for their data, and an index of them."""
    (folder / "config.json").write_text(json.dumps({"dtype": "bfloat16", "quantization_config": config}))
    places: dict[str, str] = {}
    paths: list[Path] = []
    source = tensors(count)
    for shard in range(1, shards + 1):
        name = f"model-{shard:05}-of-{shards:05}.safetensors"
        header: dict[str, object] = {}
        end = 0
        for tensor, dtype, shape, nbytes in islice(source, count // shards):
            header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + nbytes]}
            places[tensor] = name
            end += nbytes
        raw = json.dumps(header, separators=(",", ":")).encode()
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(raw)) + raw)
            file.truncate(8 + len(raw) + end)
        paths.append(folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return paths


def measure() -> Iterator[Measurement]:
    """Each config, and a tenth of the tensors."""
    for name, config in CONFIGS.items():
        with tempfile.TemporaryDirectory() as many, tempfile.TemporaryDirectory() as few:
            shards = write(Path(many), TENSORS, SHARDS, config)
            write(Path(few), TENSORS // 10, SHARDS // 10, config)
            calls = partial(headers, shards), partial(inspect, many), partial(inspect, few)
            parsed, whole, tenth = best(*calls, rounds=ROUNDS)
        yield Measurement(f"packed experts, {name}: inspect / JSON of the headers", whole / parsed, BUDGET)
        yield Measurement(f"packed experts, {name}: ten times the tensors", whole / tenth, BUDGET_LINEAR)
