"""An engine that names formats in code, with completion."""

from typing import assert_type

from quantlevels import QuantizationLevel
from quantlevels.formats import INT8, NF4, NVFP4, Q4_K, Float8E4M3FN, UInt4
from quantlevels.formats import Q4_L  # error

assert_type(NVFP4, QuantizationLevel)
assert_type(Q4_K.spelling("ggml"), str)
assert_type(
    (Float8E4M3FN, UInt4, INT8, NF4), tuple[QuantizationLevel, QuantizationLevel, QuantizationLevel, QuantizationLevel]
)

Q4_K.bits_per_param = 5  # error
