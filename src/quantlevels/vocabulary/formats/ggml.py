"""ggml's tensor types: the block-quantized ones as levels, and the storage blocks of all of them.

Every level is a constant that has the level's name. A type is one line.
"""

from __future__ import annotations

from typing import Final

from quantlevels.vocabulary.level import BITS_PER_BYTE, Block, Kind, QuantizationLevel


def _type(
    name: str, type_id: int, bits: int, weights: int, nbytes: int, summary: str, kind: Kind = "block"
) -> QuantizationLevel:
    return QuantizationLevel(
        name=name,
        bits_per_param=bits,
        block=Block(weights, nbytes * BITS_PER_BYTE),
        spellings={"ggml": (name, type_id)},
        kind=kind,
        summary=summary,
        source="ggml d99724f2 src/ggml-common.h",
    )


def _ternary(name: str, type_id: int, bits: int, weights: int, nbytes: int, summary: str) -> QuantizationLevel:
    return _type(name, type_id, bits, weights, nbytes, summary, "ternary")


def _grid(name: str, type_id: int, bits: int, weights: int, nbytes: int, summary: str) -> QuantizationLevel:
    return _type(name, type_id, bits, weights, nbytes, summary, "codebook")


# name, id, bits_per_param, weights and bytes of a block, summary. The code of a grid is an index and sign bits, as wide
# as the name says. IQ1 has no signs; its 11-bit index of 8 ternary weights is rounded up to 2 bits per weight.
# fmt: off
Q4_0: Final = _type("Q4_0", 2, 4, 32, 18, "32 4-bit codes and an FP16 scale")
Q4_1: Final = _type("Q4_1", 3, 4, 32, 20, "32 4-bit codes, an FP16 scale and minimum")
Q5_0: Final = _type("Q5_0", 6, 5, 32, 22, "32 5-bit codes and an FP16 scale")
Q5_1: Final = _type("Q5_1", 7, 5, 32, 24, "32 5-bit codes, an FP16 scale and minimum")
Q8_0: Final = _type("Q8_0", 8, 8, 32, 34, "32 8-bit codes and an FP16 scale")
# 36 bytes as in ggml's C struct; gguf-py 0.19.0 says 40 (corrected in llama.cpp #29036)
Q8_1: Final = _type("Q8_1", 9, 8, 32, 36, "32 8-bit codes, an FP16 scale and sum; for activations, not weights")
Q2_K: Final = _type("Q2_K", 10, 2, 256, 84, "16 x 16 2-bit codes, 4-bit scales and minimums, an FP16 scale of each")
Q3_K: Final = _type("Q3_K", 11, 3, 256, 110, "16 x 16 3-bit codes, 6-bit scales, an FP16 scale of these")
Q4_K: Final = _type("Q4_K", 12, 4, 256, 144, "8 x 32 4-bit codes, 6-bit scales and minimums, an FP16 scale of each")
Q5_K: Final = _type("Q5_K", 13, 5, 256, 176, "8 x 32 5-bit codes, 6-bit scales and minimums, an FP16 scale of each")
Q6_K: Final = _type("Q6_K", 14, 6, 256, 210, "16 x 16 6-bit codes, 8-bit scales, an FP16 scale of these")
Q8_K: Final = _type("Q8_K", 15, 8, 256, 292, "256 8-bit codes, an FP32 scale, 16 sums; for activations, not weights")
Q1_0: Final = _type("Q1_0", 41, 1, 128, 18, "128 1-bit codes and an FP16 scale")
# 64 weights as upstream; older files of PrismML use the same id for blocks of 128 (PrismML-Eng/llama.cpp#167)
Q2_0: Final = _type("Q2_0", 42, 2, 64, 18, "64 2-bit codes and an FP16 scale")
TQ1_0: Final = _ternary("TQ1_0", 34, 2, 256, 54, "256 ternary codes, five per byte, and an FP16 scale")
TQ2_0: Final = _ternary("TQ2_0", 35, 2, 256, 66, "256 ternary codes in 2 bits each and an FP16 scale")
IQ1_S: Final = _grid("IQ1_S", 19, 2, 256, 50, "11-bit grid indices of 8 weights, 3-bit scales of 32, an FP16 scale")
IQ1_M: Final = _grid("IQ1_M", 29, 2, 256, 56, "11-bit grid indices of 8 weights, 3-bit scales of 16, an FP16 scale")
IQ2_XXS: Final = _grid("IQ2_XXS", 16, 2, 256, 66, "8-bit grid indices and 7 sign bits of 8 weights, 4-bit scales of 32")
IQ2_XS: Final = _grid("IQ2_XS", 17, 2, 256, 74, "9-bit grid indices and 7 sign bits of 8 weights, 4-bit scales of 16")
# 2.5625 bits per weight by its struct, though llama.cpp's label says 2.5
IQ2_S: Final = _grid("IQ2_S", 22, 2, 256, 82, "10-bit grid indices and 8 sign bits of 8 weights, 4-bit scales of 16")
IQ3_XXS: Final = _grid("IQ3_XXS", 18, 3, 256, 98, "8-bit grid indices of 4 weights, 7 signs of 8, 4-bit scales of 32")
IQ3_S: Final = _grid("IQ3_S", 21, 3, 256, 110, "9-bit grid indices of 4 weights, 8 sign bits of 8, 4-bit scales of 32")
IQ4_NL: Final = _grid("IQ4_NL", 20, 4, 32, 18, "32 4-bit indices into 16 values and an FP16 scale")
IQ4_XS: Final = _grid("IQ4_XS", 23, 4, 256, 136, "8 x 32 4-bit indices into 16 values, 6-bit scales, an FP16 scale")
# fmt: on

# What files of 2023 hold, before GGUF: blocks with FP32 scales, and two types that ggml gave up.


def _old(word: str, weights: int, nbytes: int, summary: str) -> QuantizationLevel:
    return QuantizationLevel(
        name=f"{word}_V1",
        bits_per_param=int(word[1]),  # Q4_0, Q8_0
        block=Block(weights, nbytes * BITS_PER_BYTE),
        spellings={"ggjt": (f"{word}_V1",)},
        kind="block",
        summary=summary,
        source="ggml before May 2023 and GGML_QNT_VERSION 2",
    )


Q4_0_V1: Final = _old("Q4_0", 32, 20, "32 4-bit codes and an FP32 scale; in files before GGUF")
Q4_1_V1: Final = _old("Q4_1", 32, 24, "32 4-bit codes, an FP32 scale and minimum; in files before GGUF")
Q4_2_V1: Final = _old("Q4_2", 16, 10, "16 4-bit codes and an FP16 scale; in files before GGUF")
Q4_3_V1: Final = _old("Q4_3", 16, 12, "16 4-bit codes, an FP16 scale and minimum; in files before GGUF")
Q8_0_V1: Final = _old("Q8_0", 32, 36, "32 8-bit codes and an FP32 scale; in files before GGUF")
