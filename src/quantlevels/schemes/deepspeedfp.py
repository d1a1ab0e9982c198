"""DeepSpeedFP: floats of 6 or 8 bits in groups, each with its scale in the four bytes after its codes.

Source: vllm, ``layers/quantization/deepspeedfp.py`` at 0111d02.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from attrs import field, frozen

from quantlevels.scheme import (
    DeclaredLevel,
    Hint,
    LayoutError,
    Matrix,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorRule,
    Weight,
    one_of,
    valid_group_size,
    with_scales,
)
from quantlevels.schemes.common import float_level
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel

_SCALE_BYTES: Final = 4
_GROUP_SIZE: Final = 512
#: bits → those of the exponent and of the mantissa. DeepSpeed rounds 8 bits to at most 480: no code is NaN.
_SPLITS: Final = {6: (3, 2), 8: (4, 3)}


def _level(bits: int) -> QuantizationLevel:
    return float_level(*_SPLITS[bits])


def _fold(module: Module, hint: Hint) -> Weight | None:
    """weight I8 [N*K/g, g*b/8 + 4]."""
    codes = module["weight"]
    group_size = hint.group_size or 0
    if not codes.is_a("Int8") or hint.level is None or group_size <= 0:
        return None
    groups, row = codes.matrix  # one group per row: the rows of the weight are not kept apart
    bits = hint.level.bits_per_param
    if (row - _SCALE_BYTES) * BITS_PER_BYTE != group_size * bits:
        raise LayoutError(f"rows have {row} bytes; expected those of {group_size} codes of {bits} bits and a scale")
    return Weight(
        level=hint.level,
        parameters=groups * group_size,
        code_bits=Fraction(bits),
        group_size=group_size,
        symmetric=True,
    )


_PACKING: Final = Packing("weight", (), _fold, declared_only=True)


@frozen(kw_only=True, eq=False, repr=False)
class DeepSpeedFPConfig(MethodConfig):
    """A ``quantization_config`` of method deepspeedfp."""

    bits: int = field(default=8, validator=one_of(*_SPLITS))
    group_size: int = field(default=_GROUP_SIZE, validator=valid_group_size)

    def general(self) -> DeclaredLevel:
        """Floats with a 32-bit scale per group."""
        level = _level(self.bits)
        bits = with_scales(level.bits_per_param, self.group_size, _SCALE_BYTES * BITS_PER_BYTE)
        return DeclaredLevel(level=level, group_size=self.group_size, symmetric=True, bits_per_weight=bits)


def _group_bytes(matrix: Matrix) -> int:
    """Bytes of codes and scales of all groups, which run over rows."""
    groups = -(-matrix.rows * matrix.columns // _GROUP_SIZE)
    return groups * (_GROUP_SIZE * matrix.bits // BITS_PER_BYTE + _SCALE_BYTES)


_STORAGE: Final = Storage(
    format="deepspeedfp",
    levels=tuple(_level(bits).name for bits in _SPLITS),
    tensors=(TensorRule("weight", nbytes=_group_bytes, role="codes"),),
    group_size=_GROUP_SIZE,
    grouped=False,
    source="vllm at 0111d02, deepspeedfp.py",
)

SCHEMES = (Scheme(method="deepspeedfp", config=DeepSpeedFPConfig, packings=(_PACKING,), storage=(_STORAGE,)),)
