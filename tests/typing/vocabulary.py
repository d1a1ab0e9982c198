"""Someone who names levels in code."""

from fractions import Fraction
from typing import assert_never, assert_type

import quantlevels
from quantlevels import BF16, FP16, FP32, INT4, INT8, BuiltinName, QuantizationLevel, is_builtin_name, levels

assert_type(FP32, QuantizationLevel)
assert_type(quantlevels.INT8, QuantizationLevel)
assert_type(INT4.name, str)
assert_type(INT4.bits_per_param, int)
assert_type(INT4.memory_reduction_factor, float)
assert_type(INT4.bits_per_weight, Fraction)
assert_type(INT4.block.weights, int)
assert_type(INT4.nbytes((4096, 4096)), int)
assert_type(INT4.grouped(128, zero_point=INT4).bits_per_weight, Fraction)
assert_type(BF16.spelling("torch"), str)
assert_type({FP16: BF16}[FP16], QuantizationLevel)

assert_type(levels["q4_k"], QuantizationLevel)
assert_type(levels.from_bits(8), QuantizationLevel)
assert_type(levels.with_bits(4), tuple[QuantizationLevel, ...])
assert_type(levels.from_dialect("ggml", 12), QuantizationLevel)
assert_type(list(levels), list[QuantizationLevel])
assert_type(len(levels), int)
assert_type("int4" in levels, bool)


def found(spelling: str, default: int) -> None:
    assert_type(levels.get("Int4"), QuantizationLevel)
    assert_type(levels.get(spelling), QuantizationLevel | None)
    assert_type(levels.get(spelling, INT8), QuantizationLevel)
    assert_type(levels.get(spelling, default), QuantizationLevel | int)


def narrowed(text: str) -> BuiltinName:
    if is_builtin_name(text):
        assert_type(text, BuiltinName)
        return text
    return "Int8"


def bits(name: BuiltinName) -> int:
    match name:
        case "None":
            return 32
        case "Float16" | "BFloat16":
            return 16
        case "Int8":
            return 8
        case "Int4":
            return 4
        case _:
            assert_never(name)


def described(level: QuantizationLevel) -> str:
    match level:
        case QuantizationLevel("Int4", width):
            assert_type(width, int)
            return f"four, that is {width}"
        case QuantizationLevel(name=name):
            assert_type(name, str)
            return name
