"""Microscaling: blocks of small codes that share one 8-bit scale."""

from __future__ import annotations

from typing import Final

from quantlevels.vocabulary.level import Block, QuantizationLevel, Spelling

_SCALE_BITS: Final = 8  # E8M0 in MX, E4M3 in NVFP4, whose FP32 scale per tensor is not part of a block


def _microscaled(
    name: str, bits: int, weights: int, summary: str, source: str, **spellings: tuple[Spelling, ...]
) -> QuantizationLevel:
    return QuantizationLevel(
        name=name,
        bits_per_param=bits,
        block=Block(weights, weights * bits + _SCALE_BITS),
        spellings=spellings,
        kind="microscaling",
        summary=summary,
        source=source,
    )


_OCP: Final = "OCP Microscaling Formats (MX) Specification 1.0"

# fmt: off
MXFP8_E4M3: Final = _microscaled("MXFP8_E4M3", 8, 32, "32 FP8_E4M3FN codes and an E8M0 scale", _OCP, mlx=("mxfp8",))
MXFP8_E5M2: Final = _microscaled("MXFP8_E5M2", 8, 32, "32 FP8_E5M2 codes and an E8M0 scale", _OCP)
MXFP6_E2M3: Final = _microscaled("MXFP6_E2M3", 6, 32, "32 FP6_E2M3 codes and an E8M0 scale", _OCP)
MXFP6_E3M2: Final = _microscaled("MXFP6_E3M2", 6, 32, "32 FP6_E3M2 codes and an E8M0 scale", _OCP)
MXFP4: Final = _microscaled(
    "MXFP4", 4, 32, "32 FP4_E2M1 codes and an E8M0 scale", _OCP,
    ggml=("MXFP4", 39), mlx=("mxfp4",),
)
MXINT8: Final = _microscaled("MXINT8", 8, 32, "32 8-bit fixed-point codes and an E8M0 scale", _OCP)
NVFP4: Final = _microscaled(
    "NVFP4", 4, 16, "16 FP4_E2M1 codes and an E4M3 scale; beside them, one FP32 scale per tensor",
    "NVIDIA cuDNN documentation, block scaling; ggml d99724f2 src/ggml-common.h",
    ggml=("NVFP4", 40), mlx=("nvfp4",),
)
# fmt: on
