"""What a checker must not let pass."""

from typing import assert_never

import quantlevels
from quantlevels import INT4, INT8, Block, BuiltinName, QuantizationLevel, is_builtin_name, levels
from quantlevels import INT5  # error

quantlevels.INT5  # error
quantlevels.INT8 = INT4  # error in mypy
INT8.bits_per_param = 7  # error
Block(32, 144).bits = 128  # error

QuantizationLevel("Int3", 3)  # error
QuantizationLevel(name="Int3")  # error
QuantizationLevel(name="Int3", bits_per_param="3")  # error
QuantizationLevel(name="Int3", bits_per_param=3, kind="integer")  # error
INT4.grouped("128")  # error
INT4 + 1  # error
INT4 < INT8  # error

levels["int4"] = INT4  # error
levels[4]  # error
levels.from_bits("8")  # error

name: BuiltinName = "Int5"  # error


def unchecked(text: str) -> BuiltinName:
    if is_builtin_name(text):
        return text
    return text  # error


def width(spelling: str) -> int:
    return levels.get(spelling).bits_per_param  # error


def one_forgotten(name: BuiltinName) -> int:
    match name:
        case "None":
            return 32
        case "Float16" | "BFloat16":
            return 16
        case "Int8":
            return 8
        case _:
            assert_never(name)  # error


class Mine(QuantizationLevel):  # error
    pass
