"""Reading and inspecting safetensors of 100,000 tensors, against parsing their headers as JSON."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from benchmarks.checkpoints import Row, headers, write
from benchmarks.measurement import Measurement, best
from quantlevels import inspect
from quantlevels.checkpoint import read_checkpoint

TENSORS = 100_000
SHARDS = 60
ROUNDS = 7
BUDGET = 1.5
BUDGET_LINEAR = 11

CONFIG = {"dtype": "float16", "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}
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


def tensors() -> Iterator[Row]:
    """Those of a mixture of experts quantized by GPTQ."""
    for matrix in count():
        layer, expert = divmod(matrix, 384)
        for suffix, dtype, shape, nbytes in MATRIX:
            yield f"model.layers.{layer}.mlp.experts.{expert}.down_proj.{suffix}", dtype, shape, nbytes


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
        single = write(Path(one), tensors(), TENSORS, config=CONFIG)
        shards = write(Path(many), tensors(), TENSORS, SHARDS, CONFIG)
        write(Path(few), tensors(), TENSORS // 10, config=CONFIG)
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
