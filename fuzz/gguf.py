"""GGUF files."""

from __future__ import annotations

from tests.writers import gguf

from fuzz.invariants import check_file

SEEDS = (
    gguf({}),
    gguf({"token_embd.weight": (14, [4, 256]), "blk.0.attn_q.weight": (12, [2, 256])}, {"general.file_type": 15}),
    gguf({"output_norm.weight": (0, [8]), "blk.0.ffn_up_exps.weight": (39, [2, 4, 32])}, {"general.alignment": 32}),
)


def run(data: bytes) -> None:
    """Inspect a file of these bytes."""
    check_file("model.gguf", data)
