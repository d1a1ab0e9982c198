"""CTranslate2: integers with a scale per row, 16-bit integers with one scale, and the words of AWQ.

Source: ctranslate2 4.8.5, ``python/ctranslate2/specs/{model_spec,common_spec,transformer_spec}.py``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    WORD_TYPES,
    DeclaredLevel,
    Hint,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    TensorRule,
    Weight,
    declared_integer,
    one_of,
    valid_group_size,
)
from quantlevels.schemes.awq import GEMM, GEMV
from quantlevels.vocabulary.formats.numbers import Int16

_INT16_BITS: Final = 16
_SCALE_BITS: Final = 16
#: of ``quantization_type``, an ``enum``; 0, its own quantization, is never written
_AWQ_GEMM, _AWQ_GEMV = 1, 2


def _fold_int16(module: Module, hint: Hint) -> Weight | None:
    """weight I16 [N, K] of 10 bits' range, weight_scale F32 []."""
    codes, scale = module["weight"], module["weight_scale"]
    if not codes.is_a("Int16") or scale.shape:  # one scale for the tensor, stored as a scalar
        return None
    return Weight(
        level=Int16,
        parameters=codes.elements,
        code_bits=Fraction(_INT16_BITS),
        symmetric=True,
        shape=codes.shape,
    )


def _fold_awq(module: Module, hint: Hint) -> Weight | None:
    """weight, weight_scale and weight_zero are qweight, scales and qzeros of AWQ: of its gemm layout, or of gemv."""
    codes, zero_points = module["weight"], module["weight_zero"]
    if not (codes.is_a("Int32") and zero_points.is_a("Int32")):
        return None
    # for gemm, codes and zero points are both in words along the outputs
    packing = GEMM if codes.shape[1:] == zero_points.shape[1:] else GEMV
    return packing.fold({"qweight": codes, "scales": module["weight_scale"], "qzeros": zero_points}, hint)


_SCALE: Final = TensorRule("weight_scale", ("None",), "1", role="scale")
_AWQ_SIDES: Final = (
    TensorRule("weight_scale", FLOAT_TYPES, role="scale"),
    TensorRule("weight_zero", WORD_TYPES, role="zero_point"),
)


@frozen(kw_only=True)
class CTranslate2Config(MethodConfig):
    """What ``config.json`` declares of a model that was converted from AWQ; of its other formats it says nothing."""

    quantization_type: int = field(validator=one_of(_AWQ_GEMM, _AWQ_GEMV))
    quantization_bits: int = field(validator=one_of(4))
    quantization_group_size: int = field(validator=valid_group_size)

    def general(self) -> DeclaredLevel:
        """4-bit codes with a 16-bit scale and a zero point per group."""
        side_bits = _SCALE_BITS + self.quantization_bits
        return declared_integer(self.quantization_bits, self.quantization_group_size, False, side_bits=side_bits)


#: 8-bit weights with a scale per row are those of many methods: see ``scaled``
_PACKINGS: Final = (
    Packing("weight", ("weight_scale", "weight_zero"), _fold_awq, sides=_AWQ_SIDES),
    Packing("weight", ("weight_scale",), _fold_int16, sides=(_SCALE,)),
)
SCHEMES = (Scheme(method="ctranslate2", config=CTranslate2Config, packings=_PACKINGS),)
