"""Reading and inspecting safetensors of 100,000 tensors, against parsing their headers as JSON."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measurement import Measurement, best
from quantlevels import inspect
from quantlevels.checkpoint import read_checkpoint

TENSORS = 100_000
SHARDS = 60
ROUNDS = 7
BUDGET = 1.5
BUDGET_LINEAR = 11

#: the tensors of one quantized matrix: suffix, dtype, shape, bytes
MATRIX = (
    ("qweight", "I32", [512, 2048], 4 * 512 * 2048),
    ("qzeros", "I32", [32, 256], 4 * 32 * 256),
    ("scales", "F16", [32, 2048], 2 * 32 * 2048),
    ("g_idx", "I32", [4096], 4 * 4096),
    ("bias", "F16", [2048], 2 * 2048),
)


class Record(NamedTuple):
    """What a tensor is at least."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


def write(folder: Path, tensors: int, shards: int) -> list[Path]:
    """A mixture of experts quantized by GPTQ: sparse files, the shards named by an index."""
    (folder / "config.json").write_text(
        json.dumps({"dtype": "float16", "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}})
    )
    matrices = count()
    places: dict[str, str] = {}
    paths = []
    for shard in range(1, shards + 1):
        name = f"model-{shard:05}-of-{shards:05}.safetensors" if shards > 1 else "model.safetensors"
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        end = 0
        for _ in range(tensors // shards // len(MATRIX)):
            layer, expert = divmod(next(matrices), 384)
            for suffix, dtype, shape, nbytes in MATRIX:
                tensor = f"model.layers.{layer}.mlp.experts.{expert}.down_proj.{suffix}"
                header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + nbytes]}
                places[tensor] = name
                end += nbytes
        raw = json.dumps(header, separators=(",", ":")).encode()
        path = folder / name
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(raw)) + raw)
            file.truncate(8 + len(raw) + end)
        paths.append(path)
    if shards > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return paths


def headers(paths: Sequence[Path]) -> list[dict[str, dict[str, Any]]]:  # Any: unchecked JSON
    """The headers as JSON, unchecked: the least that a reader does."""
    parsed: list[dict[str, dict[str, Any]]] = []
    for path in paths:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            parsed.append(json.loads(file.read(length)))
    return parsed


def records(paths: Sequence[Path]) -> list[Record]:
    """The headers as records, unchecked."""
    return [
        Record(name, entry["dtype"], tuple(entry["shape"]), entry["data_offsets"][1] - entry["data_offsets"][0])
        for header in headers(paths)
        for name, entry in header.items()
        if name != "__metadata__"
    ]


def measure() -> Iterator[Measurement]:
    """One file, many shards, and ten times as many tensors."""
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as many,
        tempfile.TemporaryDirectory() as few,
    ):
        single = write(Path(one), TENSORS, 1)
        shards = write(Path(many), TENSORS, SHARDS)
        write(Path(few), TENSORS // 10, 1)
        assert len(read_checkpoint(one).tensors) == TENSORS
        theirs, read, whole, tenth = best(
            lambda: records(single),
            lambda: read_checkpoint(one),
            lambda: inspect(one),
            lambda: inspect(few),
            rounds=ROUNDS,
        )
        parsed, joined, inspected = best(
            lambda: headers(shards), lambda: read_checkpoint(many), lambda: inspect(many), rounds=ROUNDS
        )
    yield Measurement(f"safetensors, {TENSORS:,} tensors: reading / JSON and records", read / theirs)
    yield Measurement(f"safetensors, {TENSORS:,} tensors: inspect / JSON and records", whole / theirs, BUDGET)
    yield Measurement(f"safetensors, {SHARDS} shards: reading / JSON of the headers", joined / parsed)
    yield Measurement(f"safetensors, {SHARDS} shards: inspect / JSON of the headers", inspected / parsed, BUDGET)
    yield Measurement("safetensors, ten times the tensors: inspect", whole / tenth, BUDGET_LINEAR)
