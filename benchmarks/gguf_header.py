"""The header of a GGUF file with a vocabulary of 262,144 words, against other readers."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final

import gguf
import numpy as np

from benchmarks.measurement import Job, Measurement, added_memory, medians
from quantlevels.checkpoint import read_checkpoint

WORDS: Final = 262_144
TENSORS: Final = 291
ROUNDS: Final = 11
ROUNDS_OF_GGUF_PY: Final = 1  # many seconds
BUDGET_SECONDS: Final = 0.020
BUDGET_MIB: Final = 8
BUDGET_RATIO: Final = 1 / 12


def write(path: Path, words: int) -> Path:
    """A file as converters write it: words of some seven bytes, a few of hundreds, with scores and types."""
    draw = random.Random(1)
    tokens = ["w" * min(200, 1 + int(draw.lognormvariate(1.8, 0.6))) for _ in range(words)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * words)
    writer.add_token_types([1] * words)
    for number in range(TENSORS):
        codes = np.zeros((8, 4 * 144), np.uint8)
        writer.add_tensor(f"blk.{number}.ffn_up.weight", codes, raw_dtype=gguf.GGMLQuantizationType.Q4_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def read_by_quantlevels(path: Path) -> object:
    """All tensors and the metadata."""
    return read_checkpoint(path)


def read_by_modelinfo(path: Path) -> object:
    """The fastest reader in Python that was found."""
    return import_module("modelinfo.parsers.gguf").parse_gguf_header(str(path))


def read_by_gguf_py(path: Path) -> object:
    """The reader of llama.cpp's own package."""
    return gguf.GGUFReader(path)


def check_by_modelvet(path: Path) -> object:
    """A validator in C: it reads the same bytes and builds nothing from them."""
    return import_module("modelvet").verify_path(str(path))


def measure() -> Iterator[Measurement]:
    """Time and memory against budgets, then against the other readers."""
    with tempfile.TemporaryDirectory() as folder:
        path, small = write(Path(folder, "model.gguf"), WORDS), write(Path(folder, "small.gguf"), 100)
        assert len(read_checkpoint(path).tensors) == TENSORS
        what = f"GGUF header, {WORDS:,} words"
        memory = added_memory(read_by_quantlevels, path, small)
        jobs: list[Job] = [read_by_quantlevels, read_by_modelinfo, check_by_modelvet]
        ours, in_python, in_c = medians([partial(job, path) for job in jobs], ROUNDS)
        (by_gguf_py,) = medians([partial(read_by_gguf_py, path)], ROUNDS_OF_GGUF_PY)
        yield Measurement(what=what, value=ours, budget=BUDGET_SECONDS)
        if memory is not None:
            yield Measurement(what=f"{what}, memory added", value=memory, unit="MiB", budget=BUDGET_MIB)
        peers: list[tuple[str, Job, float, float | None]] = [
            ("modelinfo-cli, parse_gguf_header", read_by_modelinfo, in_python, BUDGET_RATIO),
            ("gguf-py, GGUFReader", read_by_gguf_py, by_gguf_py, None),
            ("modelvet, a validator in C", check_by_modelvet, in_c, None),
        ]
        for name, job, seconds, budget in peers:
            yield Measurement(
                what=what,
                value=ours,
                memory=memory,
                yardstick=name,
                yardstick_value=seconds,
                yardstick_memory=added_memory(job, path, small),
                budget=budget,
            )
