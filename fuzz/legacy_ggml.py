"""ggml files before GGUF: those of whisper.cpp, and of llama.cpp with aligned data."""

from __future__ import annotations

import struct

from fuzz.invariants import check_file


def _tensor(name: bytes, type: int, shape: tuple[int, int], nbytes: int, offset: int, alignment: int) -> bytes:
    head = struct.pack("<5i", 2, len(name), type, *reversed(shape)) + name
    return head + bytes(-(offset + len(head)) % alignment) + bytes(nbytes)


_WHISPER = b"lmgg" + struct.pack("<11i", 2, 8, 32, 1, 1, 8, 32, 1, 1, 1, 2) + struct.pack("<2if", 1, 1, 0.0)
_WORDS = struct.pack("<i", 2) + 2 * (struct.pack("<I", 1) + b"a")
_LLAMA = b"tjgg" + struct.pack("<8i", 3, 2, 32, 1, 1, 1, 32, 2) + 2 * (struct.pack("<I", 1) + b"a" + bytes(4))

SEEDS = (
    _WHISPER + _WORDS + _tensor(b"decoder.token_embedding.weight", 1, (2, 32), 128, 0, 1),
    _LLAMA + _tensor(b"tok_embeddings.weight", 2, (2, 32), 36, len(_LLAMA), 32),
)


def run(data: bytes) -> None:
    """Inspect a file of these bytes."""
    check_file("model.bin", data)
