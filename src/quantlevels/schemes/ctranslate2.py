"""CTranslate2: integers with a scale per row, 16-bit integers with one scale, and the words of AWQ.

Source: ctranslate2 4.8.5, ``python/ctranslate2/specs/{model_spec,common_spec}.py``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from quantlevels.scheme import Hint, Module, Packing, TensorRule, Weight
from quantlevels.vocabulary.formats.numbers import Int16

_INT16_BITS: Final = 16


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


_SCALE: Final = TensorRule("weight_scale", ("None",), "1", role="scale")
#: 8-bit weights with a scale per row are those of many methods: see ``scaled``
PACKINGS: Final = (Packing("weight", ("weight_scale",), _fold_int16, sides=(_SCALE,)),)
