"""Reading the header of a GGUF file with a vocabulary of 262,144 words, against gguf-py's ``GGUFReader``."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

from benchmarks.measurement import Measurement, best, peak
from quantlevels.checkpoint import read_checkpoint

WORDS = 262_144
TENSORS = 291
ROUNDS = 20
ROUNDS_OF_GGUF_PY = 1  # seconds each
BUDGET_MS = 20
BUDGET_PERCENT = 1
BUDGET_MIB = 8


def write(path: Path) -> None:
    """A file such as converters write: words of some seven bytes, a few of hundreds, with scores and types."""
    draw = random.Random(1)
    words = ["w" * min(200, 1 + int(draw.lognormvariate(1.8, 0.6))) for _ in range(WORDS)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list(words)
    writer.add_token_scores([0.0] * WORDS)
    writer.add_token_types([1] * WORDS)
    for number in range(TENSORS):
        codes = np.zeros((8, 4 * 144), np.uint8)
        writer.add_tensor(f"blk.{number}.ffn_up.weight", codes, raw_dtype=gguf.GGMLQuantizationType.Q4_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def measure() -> Iterator[Measurement]:
    """In milliseconds, as a share of what gguf-py takes, and in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        write(path)
        assert len(read_checkpoint(path).tensors) == TENSORS
        (ours,) = best(lambda: read_checkpoint(path), rounds=ROUNDS)
        (theirs,) = best(lambda: gguf.GGUFReader(path), rounds=ROUNDS_OF_GGUF_PY)
        added = peak(lambda: read_checkpoint(path))
    yield Measurement(f"GGUF header, {WORDS:,} words", ours * 1000, BUDGET_MS, "ms")
    yield Measurement("GGUF header / gguf-py's GGUFReader", 100 * ours / theirs, BUDGET_PERCENT, "%")
    yield Measurement("GGUF header, memory added", added, BUDGET_MIB, "MiB")
