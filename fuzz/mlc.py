"""The lists of MLC models, without their shards."""

from __future__ import annotations

import json

from fuzz.invariants import check_file

_ARRAYS = (
    {"name": "a.q_weight", "shape": [8, 16], "dtype": "uint32", "format": "raw", "nbytes": 512, "byteOffset": 0},
    {"name": "a.q_scale", "shape": [8, 4], "dtype": "float16", "format": "raw", "nbytes": 64, "byteOffset": 512},
    {"name": "b", "shape": [8], "dtype": "float32", "format": "f32-to-bf16", "nbytes": 16, "byteOffset": 576},
)
_SHARD = {"dataPath": "params_shard_0.bin", "format": "raw-shard", "nbytes": 592, "records": _ARRAYS}

SEEDS = (json.dumps({"metadata": {"ParamSize": 3}, "records": [_SHARD]}).encode(), b'{"records": []}')


def run(data: bytes) -> None:
    """Inspect a list of these bytes."""
    check_file("tensor-cache.json", data)
