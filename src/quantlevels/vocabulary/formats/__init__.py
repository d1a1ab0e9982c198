"""Every level that comes with quantlevels beside the five: a level is a row of a table."""

from __future__ import annotations

from typing import Final

from quantlevels.vocabulary.formats.codebook import CODEBOOKS
from quantlevels.vocabulary.formats.ggml import GGML
from quantlevels.vocabulary.formats.microscaling import MICROSCALING
from quantlevels.vocabulary.formats.plain import FLOATS, INTEGERS, OTHERS, TERNARY
from quantlevels.vocabulary.level import QuantizationLevel

SHIPPED: Final[tuple[QuantizationLevel, ...]] = (
    *FLOATS,
    *INTEGERS,
    *OTHERS,
    *TERNARY,
    *CODEBOOKS,
    *MICROSCALING,
    *GGML,
)

#: Words without a dialect that mean different levels to different people → the names of these levels. A short word of
#: a letter and a number counts bits (``i8``, ``u4``), though to numpy it counts bytes: the five decided that.
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

#: Levels that no model has its weights in: what is computed in, what scales and activations are rounded to, masks,
#: indices, the words that packed codes stand in.
NOT_OF_WEIGHTS: Final[frozenset[str]] = frozenset(
    (
        *("TF32", "Float8E8M0FNU", "Q8_1", "Q8_K", "Bool"),
        *("Int16", "Int32", "Int64", "UInt16", "UInt32", "UInt64"),
        *("Complex32", "Complex64", "Complex128"),
    )
)
