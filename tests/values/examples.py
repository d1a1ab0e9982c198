"""For each finding about values a small checkpoint that has it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tests.values.models import Stored, bf16, f16, f32, gauss, int4, layers, random, write

NAME = "model.safetensors"
UP = "model.layers.1.mlp.up_proj.weight"


def gptq(scales: float, word: int | None = None) -> dict[str, Stored]:
    """One GPTQ module with these scales, and random codes unless a word is given."""
    words = random().integers(-(2**31), 2**31, (32, 64), dtype="<i4")
    if word is not None:
        words[:] = np.uint32(word).astype("<i4")
    module = "model.layers.0.mlp.up_proj"
    return {
        f"{module}.qweight": ("I32", words),
        f"{module}.qzeros": ("I32", np.full((2, 8), 0x77777777, "<i4")),
        f"{module}.scales": f16(np.full((2, 64), scales)),
        f"{module}.g_idx": ("I32", (np.arange(256) // 128).astype("<i4")),
    }


def changed(stored: Stored, row: int, column: int, bits: int) -> Stored:
    """The tensor with one element set to other bits."""
    dtype, elements = stored
    words = elements.view(f"<u{elements.itemsize}").copy()
    words[row, column] = bits
    return dtype, words.view(elements.dtype)


def not_finite(folder: Path) -> None:
    tensors = layers(bf16)
    write(folder, {**tensors, UP: changed(tensors[UP], 17, 5, 0x7FC0)})


def blank_tail(folder: Path) -> None:
    path = write(folder, layers(bf16, rows=100, columns=500)) / NAME
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(122880)
        file.truncate(size)


def implausible(folder: Path) -> None:
    tensors = layers(f32)
    write(folder, {**tensors, UP: changed(tensors[UP], 100, 31, 0x7C90_0000)})


def swapped(folder: Path) -> None:
    write(folder, {name: (dtype, elements.byteswap()) for name, (dtype, elements) in layers(bf16).items()})


def edited(folder: Path) -> None:
    path = write(folder, layers(bf16)) / NAME
    (folder / f"{NAME}.sha256").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {NAME}\n")
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


def unused(folder: Path) -> None:
    codes = random().integers(-8, 8, (128, 128), dtype=np.int8)
    module = "model.layers.0.mlp.up_proj"
    write(folder, {f"{module}.weight": ("I8", codes), f"{module}.weight_scale": f32(np.full((128, 1), 0.01))})


def write_release(folder: Path) -> None:
    """A "BF16" model whose linear layers were 4-bit before, in the folder ``release``."""
    linear = layers(lambda values: bf16(int4(values, 128)), count=4, rows=512)
    write(folder / "release", {"model.embed_tokens.weight": bf16(gauss(256, 256)), **linear}, dtype="bfloat16")


#: code → what writes a checkpoint with that finding
CHECKPOINTS: dict[str, Callable[[Path], object]] = {
    "QL601": not_finite,
    "QL602": blank_tail,
    "QL603": lambda folder: write(folder, {**layers(bf16), UP: bf16(np.zeros((128, 256)))}),
    "QL604": lambda folder: write(folder, gptq(0.0)),
    "QL605": lambda folder: write(folder, gptq(0.01, 0x88888888)),
    "QL606": implausible,
    "QL607": swapped,
    "QL611": edited,
    "QL621": lambda folder: write(folder, layers(lambda values: f32(values.astype(np.float16)))),
    "QL622": lambda folder: write(folder, layers(lambda values: bf16(int4(values, 128)))),
    "QL623": unused,
}
#: what `verify` has to be told to find them
OPTIONS = ("--values", "all")
