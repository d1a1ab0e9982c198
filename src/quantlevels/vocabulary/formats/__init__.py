"""Every level that comes with quantlevels beside the five: each is a constant of a module of this package."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from quantlevels.vocabulary.builtin import BUILTIN
from quantlevels.vocabulary.formats import codebook, ggml, microscaling, numbers
from quantlevels.vocabulary.level import BITS_PER_BYTE, Block, QuantizationLevel


def _levels_in(module: ModuleType) -> tuple[QuantizationLevel, ...]:
    return tuple(value for value in vars(module).values() if type(value) is QuantizationLevel)


#: in the order in which they are listed
SHIPPED: Final[tuple[QuantizationLevel, ...]] = (
    *_levels_in(numbers),
    *_levels_in(codebook),
    *_levels_in(microscaling),
    *_levels_in(ggml),
)


def _ggml_blocks() -> dict[int, Block]:
    blocks: dict[int, Block] = {}
    for level in (*BUILTIN, *SHIPPED):  # the five too: F32, F16, BF16 and I8 are types of ggml
        ids = (word for word in level.spellings.get("ggml", ()) if isinstance(word, int))
        blocks.update(dict.fromkeys(ids, level.block))
    return blocks


#: ggml's type id → its storage block. ggml stores four blocks of NVFP4 as one, their scales first.
GGML_BLOCKS: Final[dict[int, Block]] = {**_ggml_blocks(), 40: Block(64, 36 * BITS_PER_BYTE)}

#: Id of a type that ggml has removed → the name it had.
GGML_REMOVED: Final[dict[int, str]] = {
    4: "Q4_2",
    5: "Q4_3",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
}

#: Words that different libraries use for different levels → the names of these levels. A short word of a letter and a
#: number counts bits (``i8``, ``u4``), although numpy counts bytes: the five decided that.
AMBIGUOUS: Final[dict[str, tuple[str, ...]]] = {
    "float": ("None", "Float64"),  # torch and C; numpy and Python
    "f8": ("Float8E4M3FN", "Float8E5M2", "Float64"),  # the last to numpy
    "float8": ("Float8E4M3FN", "Float8E5M2"),
    "float8_e4m3": ("Float8E4M3", "Float8E4M3FN"),  # ml_dtypes and jax; names of safetensors
    "f8e4m3": ("Float8E4M3", "Float8E4M3FN"),  # MLIR; OpenVINO
    "e4m3": ("Float8E4M3FN", "Float8E4M3"),
    "fp6": ("Float6E2M3", "Float6E3M2"),
    "float6": ("Float6E2M3", "Float6E3M2"),
    "fp4": ("Float4E2M1", "BNB_FP4"),
    "float4": ("Float4E2M1", "BNB_FP4"),
    "mxfp8": ("MXFP8_E4M3", "MXFP8_E5M2"),
    "mxfp6": ("MXFP6_E2M3", "MXFP6_E3M2"),
    "int": ("Int32", "Int64"),  # torch and C; numpy
    "long": ("Int64", "Int32"),  # torch; C on Windows
    "uint": ("UInt32", "UInt64"),
    "byte": ("UInt8", "Int8"),  # torch; numpy
    "complex": ("Complex64", "Complex128"),
}

#: Levels that no model stores its weights in: formats for computing, for scales and activations, for masks, for
#: indices, and for the words into which codes are packed.
NOT_OF_WEIGHTS: Final[frozenset[str]] = frozenset(
    (
        *("TF32", "Float8E8M0FNU", "Q8_1", "Q8_K", "Bool"),
        *("Int16", "Int32", "Int64", "UInt16", "UInt32", "UInt64"),
        *("Complex32", "BComplex32", "Complex64", "Complex128"),
    )
)
