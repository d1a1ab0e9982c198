"""SpQR: 3-bit codes in tiles with quantized scales, and sparse outliers.

Source: spqr_quant 0.2.0, ``inference.py``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from attrs import field, frozen

from quantlevels.scheme import (
    DeclaredLevel,
    Hint,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    TensorRule,
    Weight,
    integer,
    one_of,
    within,
    words,
)


def _fold_spqr(module: Module, hint: Hint) -> Weight:
    """dense_weights I64, 16 a tile of 16 by 16 weights: 3-bit codes with their quantized scales and zeros."""
    # 3 bits of code, but 4 of storage: the scales of a tile share its words. Outliers are corrections beside them
    return Weight(
        level=integer(3), parameters=16 * module["dense_weights"].elements, code_bits=Fraction(3), group_size=16
    )


_SPQR = Packing(
    "dense_weights",
    (),
    _fold_spqr,
    sides=tuple(TensorRule(name, role="correction") for name in ("row_offsets", "col_vals", "in_perm")),
)


@frozen(kw_only=True, eq=False, repr=False)
class SpQRConfig(MethodConfig):
    """A ``quantization_config`` of method spqr."""

    ignored_keys: ClassVar[frozenset[str]] = words("beta2 shapes")

    bits: int = field(default=3, validator=one_of(2, 3, 4))
    beta1: int = field(default=16, validator=within(1, 4096))

    def general(self) -> DeclaredLevel:
        """3-bit codes in tiles; how many outliers there are is in the tensors alone."""
        return DeclaredLevel(level=integer(self.bits), group_size=self.beta1, symmetric=False)


SCHEMES = (Scheme(method="spqr", config=SpQRConfig, packings=(_SPQR,)),)
