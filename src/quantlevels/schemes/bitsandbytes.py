"""bitsandbytes: 4-bit codes of a table in any container type, or 8-bit rows (LLM.int8).

Source: bitsandbytes 0.50.2, ``functional.py`` ``QuantState``, and what it wrote.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from attrs import frozen

from quantlevels.registry import levels
from quantlevels.schemes.base import (
    AmbiguousLayoutError,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Weight,
    declared_as,
    renamed,
    with_scales,
)

_LEVELS = {"nf4": "NF4", "fp4": "BNB_FP4"}
_BLOCK_SIZE = 64
_BLOCK_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # those that bitsandbytes has kernels for
_NESTED_BLOCK_SIZE = 256
_STATE = "weight.quant_state.bitsandbytes__"


def _fold_4bit(module: Module, hint: Hint) -> Weight:
    """weight: two codes a byte, in any type and shape; weight.absmax: one scale a block, U8 where quantized itself."""
    parameters = 2 * module["weight"].nbytes
    kinds = [level for kind, level in _LEVELS.items() if _STATE + kind in module]
    level = levels[kinds[0]] if kinds else hint.level
    if len(kinds) > 1 or level is None:
        raise AmbiguousLayoutError("4-bit codes of bitsandbytes, and nothing tells NF4 from FP4")
    return Weight(
        level=level,
        parameters=parameters,
        code_bits=Fraction(4),
        group_size=_block_size(parameters, module["weight.absmax"].elements, hint),
    )


def _block_size(parameters: int, blocks: int, hint: Hint) -> int | None:
    """Weights of a block, the last of which may be short; None where one block shows no size."""
    fits = [size for size in _BLOCK_SIZES if -(-parameters // size) == blocks]
    if not fits:
        raise LayoutError(f"{blocks:,} scales for {parameters:,} weights")
    return fits[0] if len(fits) == 1 else hint.group_size if hint.group_size in fits else None


def _fold_8bit(module: Module, hint: Hint) -> Weight:
    """weight I8 [N, K], SCB [N]: the largest value of each row."""
    codes = module["weight"]
    if not codes.is_a("Int8") or codes.shape[:1] != (module["SCB"].elements,):
        raise LayoutError(f"{module['SCB'].elements} row scales for codes of shape {list(codes.shape)}")
    return Weight(level=levels["Int8"], parameters=codes.elements, code_bits=Fraction(8), symmetric=True)


PACKINGS = (
    Packing(
        "weight",
        ("weight.absmax",),
        _fold_4bit,
        sides=(
            "weight.quant_map",
            "weight.nested_absmax",
            "weight.nested_quant_map",
            "weight.quant_state",
            *(_STATE + kind for kind in _LEVELS),
        ),
    ),
    Packing("weight", ("SCB",), _fold_8bit, sides=("weight_format",)),
)


@frozen(kw_only=True)
class BitsAndBytesConfig(MethodConfig):
    """A ``quantization_config`` of method bitsandbytes; defaults are transformers'."""

    load_in_4bit: bool = False
    load_in_8bit: bool = False
    bnb_4bit_quant_type: Literal["fp4", "nf4"] = "fp4"
    bnb_4bit_use_double_quant: bool = False

    def general(self) -> DeclaredLevel | None:
        """NF4 or FP4 in blocks of 64 with an F32 scale, or a quantized one; or 8-bit rows."""
        if self.load_in_8bit:
            return declared_as("Int8")
        if not self.load_in_4bit:
            return None
        bits = with_scales(4, _BLOCK_SIZE, 32)
        if self.bnb_4bit_use_double_quant:
            bits = with_scales(4, _BLOCK_SIZE, 8) + Fraction(32, _BLOCK_SIZE * _NESTED_BLOCK_SIZE)
        level = levels[_LEVELS[self.bnb_4bit_quant_type]]
        return DeclaredLevel(level=level, group_size=_BLOCK_SIZE, bits_per_weight=bits)


SCHEMES = (
    Scheme(
        method="bitsandbytes",
        config=BitsAndBytesConfig,
        packings=PACKINGS,
        prepare=renamed(_load_in_4bit="load_in_4bit", _load_in_8bit="load_in_8bit"),
    ),
)
