"""The tensor types that ik_llama.cpp adds to ggml, those whose rows are blocks and nothing else."""

from __future__ import annotations

from typing import Final

from quantlevels import Block, QuantizationLevel

__all__ = ["IQ2_K", "IQ3_K", "IQ4_K", "IQ5_K", "IQ6_K", "Q6_0"]


def _ggml(name: str, type_id: int, bits: int, block: Block, summary: str) -> QuantizationLevel:
    return QuantizationLevel(
        name=name,
        bits_per_param=bits,
        block=block,
        spellings={"ggml": (name, type_id)},
        kind="block" if name.startswith("Q") else "codebook",
        summary=summary,
        source="ik_llama.cpp 00ded085 gguf-py/gguf/constants.py",
    )


Q6_0: Final = _ggml("Q6_0", 133, 6, Block(32, 8 * 26), "32 6-bit codes and an FP16 scale")
IQ2_K: Final = _ggml("IQ2_K", 137, 2, Block(256, 8 * 76), "16 x 16 2-bit indices into 4 values, 4-bit scales")
IQ3_K: Final = _ggml("IQ3_K", 138, 3, Block(256, 8 * 110), "16 x 16 3-bit indices into 8 values, 5-bit scales")
IQ4_K: Final = _ggml("IQ4_K", 139, 4, Block(256, 8 * 144), "16 x 16 4-bit indices into 16 values, 6-bit scales")
IQ5_K: Final = _ggml("IQ5_K", 140, 5, Block(256, 8 * 176), "16 x 16 5-bit indices into 32 values, 6-bit scales")
IQ6_K: Final = _ggml("IQ6_K", 141, 6, Block(256, 8 * 212), "16 x 16 6-bit indices into 64 values, 8-bit scales")
