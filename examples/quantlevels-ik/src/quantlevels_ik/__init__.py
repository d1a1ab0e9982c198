"""All tensor types that ik_llama.cpp adds to ggml, as levels of quantlevels."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from quantlevels import Block, QuantizationLevel

_Kind: TypeAlias = Literal["float", "block", "codebook", "ternary", "microscaling"]


def _type(
    name: str, type_id: int, bits: int, weights: int, nbytes: int, row_bytes: int, kind: _Kind, summary: str
) -> QuantizationLevel:
    return QuantizationLevel(
        name=name,
        bits_per_param=bits,
        block=Block(weights, nbytes * 8, row_bits=row_bytes * 8),
        spellings={"ggml": (name, type_id)},
        kind=kind,
        summary=summary,
        source="ik_llama.cpp 8337e4cd ggml/src/ggml.c and ggml-common.h",
    )


# name, id, bits of a code, weights and bytes of a block, bytes of each row beside its blocks, kind, summary
# fmt: off
Q8_0_X4: Final = _type("Q8_0_X4", 97, 8, 32, 34, 0, "block", "Q8_0, 4 blocks interleaved; activations")
Q8_1_X4: Final = _type("Q8_1_X4", 98, 8, 32, 36, 0, "block", "Q8_1, 4 blocks interleaved; activations")
Q8_2_X4: Final = _type("Q8_2_X4", 99, 8, 32, 36, 0, "block", "Q8_1 with a BF16 scale, 4 blocks interleaved")
Q6_0: Final = _type("Q6_0", 133, 6, 32, 26, 0, "block", "32 6-bit codes and an FP16 scale")
IQ1_BN: Final = _type("IQ1_BN", 134, 2, 64, 13, 2, "ternary", "ternary codes, five per byte; FP16 row scale")
IQ2_BN: Final = _type("IQ2_BN", 135, 2, 64, 16, 4, "ternary", "ternary codes in 2 bits each; FP32 row scale")
Q8_K64: Final = _type("Q8_K64", 136, 8, 64, 68, 0, "block", "8-bit codes for activations")
IQ2_K: Final = _type("IQ2_K", 137, 2, 256, 76, 0, "codebook", "16 x 16 2-bit indices into 4 values, 4-bit scales")
IQ3_K: Final = _type("IQ3_K", 138, 3, 256, 110, 0, "codebook", "16 x 16 3-bit indices into 8 values, 5-bit scales")
IQ4_K: Final = _type("IQ4_K", 139, 4, 256, 144, 0, "codebook", "16 x 16 4-bit indices into 16 values, 6-bit scales")
IQ5_K: Final = _type("IQ5_K", 140, 5, 256, 176, 0, "codebook", "16 x 16 5-bit indices into 32 values, 6-bit scales")
IQ6_K: Final = _type("IQ6_K", 141, 6, 256, 212, 0, "codebook", "16 x 16 6-bit indices into 64 values, 8-bit scales")
IQ4_KS: Final = _type("IQ4_KS", 144, 4, 256, 136, 4, "codebook", "8 x 32 4-bit indices into 16 values; FP32 row scale")
IQ2_KS: Final = _type("IQ2_KS", 145, 2, 256, 70, 2, "codebook", "8 x 32 2-bit indices into 4 values; 2-byte row scale")
IQ4_KSS: Final = _type("IQ4_KSS", 146, 4, 256, 128, 4, "codebook", "IQ4_KS, scales within the codes; FP32 row scale")
Q8_K16: Final = _type("Q8_K16", 147, 8, 64, 64, 20, "block", "8-bit codes for activations")
Q8_K32: Final = _type("Q8_K32", 148, 8, 256, 296, 0, "block", "8-bit codes for activations")
Q8_KR8: Final = _type("Q8_KR8", 149, 8, 256, 296, 0, "block", "8-bit codes for activations")
Q8_K128: Final = _type("Q8_K128", 150, 8, 128, 140, 0, "block", "8-bit codes for activations")
Q8_KV: Final = _type("Q8_KV", 151, 8, 32, 32, 8, "block", "8-bit codes; a scale and a sum per row")
IQ5_KS: Final = _type("IQ5_KS", 152, 5, 256, 168, 4, "codebook", "8 x 32 5-bit indices into 32 values; FP32 row scale")
IQ2_KT: Final = _type("IQ2_KT", 153, 2, 256, 68, 4, "codebook", "trellis, 16 bits for 8 weights; FP32 row scale")
IQ3_KT: Final = _type("IQ3_KT", 154, 3, 256, 100, 4, "codebook", "trellis, 24 bits for 8 weights; FP32 row scale")
IQ4_KT: Final = _type("IQ4_KT", 155, 4, 256, 128, 4, "codebook", "trellis, 4 bits per weight; FP32 row scale")
IQ3_KS: Final = _type("IQ3_KS", 156, 3, 256, 102, 2, "codebook", "8 x 32 3-bit indices into 8 values; 2-byte row scale")
IQ2_KL: Final = _type("IQ2_KL", 157, 3, 256, 86, 2, "codebook", "8 x 32 weights, 5-bit indices of 2; 2-byte row scale")
IQ1_KT: Final = _type("IQ1_KT", 158, 2, 256, 56, 4, "codebook", "trellis, 13 bits for 8 weights; FP32 row scale")
Q4_0_R8: Final = _type("Q4_0_R8", 202, 4, 32, 18, 0, "block", "Q4_0, 8 rows interleaved")
Q5_0_R4: Final = _type("Q5_0_R4", 206, 5, 32, 22, 0, "block", "Q5_0, 4 rows interleaved")
Q8_0_R8: Final = _type("Q8_0_R8", 208, 8, 32, 34, 0, "block", "Q8_0, 8 rows interleaved")
Q2_K_R4: Final = _type("Q2_K_R4", 210, 2, 256, 84, 0, "block", "Q2_K, 4 rows interleaved")
Q3_K_R4: Final = _type("Q3_K_R4", 211, 3, 256, 110, 0, "block", "Q3_K, 4 rows interleaved")
Q4_K_R4: Final = _type("Q4_K_R4", 212, 4, 256, 144, 0, "block", "Q4_K, 4 rows interleaved")
Q5_K_R4: Final = _type("Q5_K_R4", 213, 5, 256, 176, 0, "block", "Q5_K, 4 rows interleaved")
Q6_K_R4: Final = _type("Q6_K_R4", 214, 6, 256, 210, 0, "block", "Q6_K, 4 rows interleaved")
IQ2_XXS_R4: Final = _type("IQ2_XXS_R4", 216, 2, 256, 66, 0, "codebook", "IQ2_XXS, 4 rows interleaved")
IQ2_XS_R4: Final = _type("IQ2_XS_R4", 217, 2, 256, 74, 0, "codebook", "IQ2_XS, 4 rows interleaved")
IQ3_XXS_R4: Final = _type("IQ3_XXS_R4", 218, 3, 256, 98, 0, "codebook", "IQ3_XXS, 4 rows interleaved")
IQ1_S_R4: Final = _type("IQ1_S_R4", 219, 2, 32, 6, 2, "codebook", "IQ1_S, 4 rows interleaved; 2-byte row scale")
IQ4_NL_R4: Final = _type("IQ4_NL_R4", 220, 4, 32, 18, 0, "codebook", "IQ4_NL, 4 rows interleaved")
IQ3_S_R4: Final = _type("IQ3_S_R4", 221, 3, 256, 110, 0, "codebook", "IQ3_S, 4 rows interleaved")
IQ2_S_R4: Final = _type("IQ2_S_R4", 222, 2, 256, 82, 0, "codebook", "IQ2_S, 4 rows interleaved")
IQ4_XS_R8: Final = _type("IQ4_XS_R8", 223, 4, 256, 136, 0, "codebook", "IQ4_XS, 8 rows interleaved")
IQ1_M_R4: Final = _type("IQ1_M_R4", 229, 2, 32, 7, 2, "codebook", "IQ1_M, 4 rows interleaved; 2-byte row scale")
BF16_R16: Final = _type("BF16_R16", 230, 16, 1, 2, 0, "float", "BF16, 16 rows interleaved")
Q6_0_R4: Final = _type("Q6_0_R4", 233, 6, 32, 26, 0, "block", "Q6_0, 4 rows interleaved")
IQ2_BN_R4: Final = _type("IQ2_BN_R4", 335, 2, 64, 16, 4, "ternary", "IQ2_BN, 4 rows interleaved; row scale")
IQ2_K_R4: Final = _type("IQ2_K_R4", 337, 2, 256, 76, 0, "codebook", "IQ2_K, 4 rows interleaved")
IQ3_K_R4: Final = _type("IQ3_K_R4", 338, 3, 256, 110, 0, "codebook", "IQ3_K, 4 rows interleaved")
IQ4_K_R4: Final = _type("IQ4_K_R4", 339, 4, 256, 144, 0, "codebook", "IQ4_K, 4 rows interleaved")
IQ5_K_R4: Final = _type("IQ5_K_R4", 340, 5, 256, 176, 0, "codebook", "IQ5_K, 4 rows interleaved")
IQ4_KS_R4: Final = _type("IQ4_KS_R4", 344, 4, 256, 136, 4, "codebook", "IQ4_KS, 4 rows interleaved; row scale")
IQ5_KS_R4: Final = _type("IQ5_KS_R4", 352, 5, 256, 168, 4, "codebook", "IQ5_KS, 4 rows interleaved; row scale")
MXFP4_R8: Final = _type("MXFP4_R8", 353, 4, 32, 17, 0, "microscaling", "MXFP4, 8 rows interleaved")
Q8_K_R16: Final = _type("Q8_K_R16", 397, 8, 256, 258, 0, "block", "Q8_K, 16 rows interleaved")
Q8_KV_R8: Final = _type("Q8_KV_R8", 398, 8, 32, 32, 4, "block", "Q8_KV, 8 rows interleaved; FP32 row scale")
Q8_K_R8: Final = _type("Q8_K_R8", 399, 8, 256, 258, 0, "block", "Q8_K, 8 rows interleaved")
# fmt: on
