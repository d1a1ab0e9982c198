"""Small checkpoints with real values, for the tests of values."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

#: dtype of safetensors, and the elements as integers or floats of numpy
Stored: TypeAlias = tuple[str, np.ndarray[Any, Any]]


def random(seed: int = 0) -> np.random.Generator:
    """The same numbers in every run."""
    return np.random.default_rng(seed)


def bf16(values: np.ndarray[Any, Any]) -> Stored:
    """Values rounded to BF16, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return "BF16", ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def f16(values: np.ndarray[Any, Any]) -> Stored:
    """Values rounded to F16."""
    return "F16", values.astype("<f2")


def f32(values: np.ndarray[Any, Any]) -> Stored:
    """Values as F32."""
    return "F32", values.astype("<f4")


def gauss(*shape: int, seed: int = 0, spread: float = 0.02) -> np.ndarray[Any, Any]:
    """Weights such as initializers draw."""
    return random(seed).normal(0, spread, shape).astype(np.float32)


def write(folder: Path, tensors: Mapping[str, Stored], name: str = "model.safetensors", **config: object) -> Path:
    """A folder with one safetensors file, and a config if any of its keys are given."""
    folder.mkdir(parents=True, exist_ok=True)
    header: dict[str, object] = {}
    data = b""
    for tensor, (dtype, elements) in tensors.items():
        raw = elements.tobytes()
        header[tensor] = {"dtype": dtype, "shape": elements.shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / name).write_bytes(struct.pack("<Q", len(text)) + text + data)
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def int4(values: np.ndarray[Any, Any], group: int) -> np.ndarray[Any, Any]:
    """Weights as they come back from symmetric INT4 in groups along rows, scales in FP16."""
    groups = values.reshape(-1, group)
    scales = (np.abs(groups).max(axis=1, keepdims=True) / 7).astype(np.float16).astype(np.float32)
    return (np.clip(np.rint(groups / scales), -8, 7) * scales).reshape(values.shape).astype(np.float32)


def layers(make: Any, count: int = 3, rows: int = 128, columns: int = 256) -> dict[str, Stored]:  # Any: a callable
    """The same matrix of several layers, each with its own values."""
    return {
        f"model.layers.{layer}.mlp.up_proj.weight": make(gauss(rows, columns, seed=layer + 1)) for layer in range(count)
    }


def codes(path: Path, **options: Any) -> set[str]:  # Any: options of inspect
    """The finding codes of QL601 and up that a checkpoint gets."""
    from quantlevels import inspect

    options.setdefault("values", "all")
    return {finding.code for finding in inspect(path, **options).findings if finding.code >= "QL6"}
