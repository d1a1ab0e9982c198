"""ggml's tensor types: the block-quantized ones as levels, and what a GGUF reader needs to know of all of them."""

from __future__ import annotations

from typing import Final

from quantlevels.vocabulary.builtin import BUILTIN
from quantlevels.vocabulary.formats.microscaling import MICROSCALING
from quantlevels.vocabulary.formats.plain import FLOATS, INTEGERS
from quantlevels.vocabulary.level import BITS_PER_BYTE, Block, Kind, QuantizationLevel

#: id, name, bits_per_param, weights and bytes of a block, kind, summary. A grid's code is an index and sign bits, as
#: wide as its name says; IQ1 has no signs, and its 11-bit index of 8 ternary weights rounds up to 2 bits each.
_TYPES: Final[tuple[tuple[int, str, int, int, int, Kind, str], ...]] = (
    (2, "Q4_0", 4, 32, 18, "block", "32 4-bit codes and an FP16 scale"),
    (3, "Q4_1", 4, 32, 20, "block", "32 4-bit codes, an FP16 scale and minimum"),
    (6, "Q5_0", 5, 32, 22, "block", "32 5-bit codes and an FP16 scale"),
    (7, "Q5_1", 5, 32, 24, "block", "32 5-bit codes, an FP16 scale and minimum"),
    (8, "Q8_0", 8, 32, 34, "block", "32 8-bit codes and an FP16 scale"),
    (9, "Q8_1", 8, 32, 36, "block", "32 8-bit codes, an FP16 scale and sum; for activations, not stored weights"),
    (10, "Q2_K", 2, 256, 84, "block", "16 x 16 2-bit codes, 4-bit scales and minimums, an FP16 scale of each"),
    (11, "Q3_K", 3, 256, 110, "block", "16 x 16 3-bit codes, 6-bit scales, an FP16 scale of these"),
    (12, "Q4_K", 4, 256, 144, "block", "8 x 32 4-bit codes, 6-bit scales and minimums, an FP16 scale of each"),
    (13, "Q5_K", 5, 256, 176, "block", "8 x 32 5-bit codes, 6-bit scales and minimums, an FP16 scale of each"),
    (14, "Q6_K", 6, 256, 210, "block", "16 x 16 6-bit codes, 8-bit scales, an FP16 scale of these"),
    (15, "Q8_K", 8, 256, 292, "block", "256 8-bit codes, an FP32 scale, 16 sums; for activations, not stored weights"),
    (41, "Q1_0", 1, 128, 18, "block", "128 1-bit codes and an FP16 scale"),
    (42, "Q2_0", 2, 64, 18, "block", "64 2-bit codes and an FP16 scale"),
    (34, "TQ1_0", 2, 256, 54, "ternary", "256 ternary codes, five a byte, and an FP16 scale"),
    (35, "TQ2_0", 2, 256, 66, "ternary", "256 ternary codes in 2 bits each and an FP16 scale"),
    (19, "IQ1_S", 2, 256, 50, "codebook", "11-bit grid indices of 8 weights, 3-bit scales of 32, an FP16 scale"),
    (29, "IQ1_M", 2, 256, 56, "codebook", "11-bit grid indices of 8 weights, 3-bit scales of 16, an FP16 scale"),
    (16, "IQ2_XXS", 2, 256, 66, "codebook", "8-bit grid indices and 7 sign bits of 8 weights, 4-bit scales of 32"),
    (17, "IQ2_XS", 2, 256, 74, "codebook", "9-bit grid indices and 7 sign bits of 8 weights, 4-bit scales of 16"),
    (22, "IQ2_S", 2, 256, 82, "codebook", "10-bit grid indices and 8 sign bits of 8 weights, 4-bit scales of 16"),
    (18, "IQ3_XXS", 3, 256, 98, "codebook", "8-bit grid indices of 4 weights, 7 sign bits of 8, 4-bit scales of 32"),
    (21, "IQ3_S", 3, 256, 110, "codebook", "9-bit grid indices of 4 weights, 8 sign bits of 8, 4-bit scales of 32"),
    (20, "IQ4_NL", 4, 32, 18, "codebook", "32 4-bit indices into 16 values and an FP16 scale"),
    (23, "IQ4_XS", 4, 256, 136, "codebook", "8 x 32 4-bit indices into 16 values, 6-bit scales, an FP16 scale"),
)

GGML: Final[tuple[QuantizationLevel, ...]] = tuple(
    QuantizationLevel(
        name=name,
        bits_per_param=bits,
        block=Block(weights, nbytes * BITS_PER_BYTE),
        spellings={"ggml": (name, type_id)},
        kind=kind,
        summary=summary,
        source="ggml d99724f2 src/ggml-common.h",
    )
    for type_id, name, bits, weights, nbytes, kind, summary in _TYPES
)

#: Type id → storage block. ggml stores four blocks of NVFP4 as one, their scales first.
BLOCKS: Final[dict[int, Block]] = {
    word: level.block
    for level in (*BUILTIN, *FLOATS, *INTEGERS, *MICROSCALING, *GGML)
    for word in level.spellings.get("ggml", ())
    if isinstance(word, int)
} | {40: Block(64, 36 * BITS_PER_BYTE)}

#: Id of a type that ggml has removed → the name it had.
REMOVED: Final[dict[int, str]] = {
    4: "Q4_2",
    5: "Q4_3",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
}
