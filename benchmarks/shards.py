"""60 shards with an index, experts packed by compressed-tensors: the full inspection against parsing the JSON."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.checkpoints import decode_typed, load_json, packed_experts, write
from benchmarks.measurement import Measurement, added_memory, medians
from benchmarks.safetensors_headers import inspect_path
from quantlevels import inspect

TENSORS: Final = 100_800  # the same in each shard
SHARDS: Final = 60
ROUNDS: Final = 11
BUDGET: Final = 1.5

_WEIGHTS: Final = {"type": "int", "symmetric": True, "strategy": "group", "num_bits": 4, "group_size": 32}
_SKIPPED: Final = ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"]


def _config(**targets: str) -> dict[str, object]:
    quantization = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": {name: {"targets": [target], "weights": _WEIGHTS} for name, target in targets.items()},
        "ignore": _SKIPPED,
    }
    return {"dtype": "bfloat16", "quantization_config": quantization}


CONFIGS: Final[Mapping[str, dict[str, object]]] = {
    "one group": _config(all="Linear"),
    "groups by pattern": _config(down="re:.*down_proj$", rest=r"re:.*layers\.\d+\.mlp\..*"),
}


def measure() -> Iterator[Measurement]:
    """A config with one group, and one whose groups name layers by patterns."""
    for name, config in CONFIGS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = write(Path(folder, "many"), packed_experts(), TENSORS, shards=SHARDS, config=config)
            small = write(Path(folder, "few"), packed_experts(), 360, shards=SHARDS, config=config)
            what = f"inspect, {SHARDS} shards of packed experts, {name}"
            ours, parsing, decoding = medians(
                [partial(job, path) for job in (inspect, load_json, decode_typed)], ROUNDS
            )
            memory = added_memory(inspect_path, path, small)
            yield Measurement(
                what=what,
                value=ours,
                memory=memory,
                yardstick="json.loads of headers and index",
                yardstick_value=parsing,
                yardstick_memory=added_memory(load_json, path, small),
                budget=BUDGET,
            )
            yield Measurement(
                what=what,
                value=ours,
                memory=memory,
                yardstick="msgspec, typed decoding of headers",
                yardstick_value=decoding,
                yardstick_memory=added_memory(decode_typed, path, small),
            )
