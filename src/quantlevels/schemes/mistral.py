"""Mistral's own checkpoints: FP8 with one scale per tensor for the weights, and one for the activations.

Their ``params.json`` declares the method as fp8. Source: vllm 0.33.0, ``transformers_utils/configs/mistral.py``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from quantlevels.scheme import FLOAT_TYPES, Hint, Module, Packing, TensorRule, Weight
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel


def _fold(module: Module, hint: Hint) -> Weight | None:
    """weight FP8 [N, K], qscale_weight [], qscale_act []."""
    codes = module["weight"]
    level = codes.dtype
    if not isinstance(level, QuantizationLevel) or level.kind != "float" or level.bits_per_param != BITS_PER_BYTE:
        return None
    return Weight(
        level=level,
        parameters=codes.elements,
        code_bits=Fraction(BITS_PER_BYTE),
        symmetric=True,
        shape=codes.shape,
    )


PACKINGS: Final = (
    Packing(
        "weight",
        ("qscale_weight",),
        _fold,
        (
            TensorRule("qscale_weight", FLOAT_TYPES, "1", role="scale"),
            TensorRule("qscale_act", FLOAT_TYPES, "1", role="activation"),
        ),
    ),
)
