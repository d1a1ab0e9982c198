"""SqueezeLLM: indices into a table for each row, and sparse outliers.

Source: SqueezeLLM, ``squeezellm/quant.py`` ``QuantLinearLUT``.
"""

from __future__ import annotations

from fractions import Fraction

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
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
)


@frozen(kw_only=True, eq=False, repr=False)
class SqueezeLLMConfig(MethodConfig):
    """A ``quantization_config`` of method squeezellm."""

    wbits: int = field(default=4, validator=one_of(3, 4))

    def general(self) -> DeclaredLevel:
        """Indices into a table for each row."""
        return DeclaredLevel(level=integer(self.wbits), symmetric=False)


def _fold_squeezellm(module: Module, hint: Hint) -> Weight:
    """qweight I32 [K*b/32, N], lookup_table [N, 2^b]."""
    codes, table = module["qweight"], module["lookup_table"]
    bits = (table.matrix[1] - 1).bit_length()  # 3-bit codes are packed without a gap, so their bytes give the rest
    level = integer(bits)
    return Weight(level=level, parameters=codes.nbytes * 8 // bits, code_bits=Fraction(bits), symmetric=False)


_SQUEEZELLM = Packing(
    "qweight",
    ("lookup_table",),
    _fold_squeezellm,
    sides=(
        TensorRule("lookup_table", FLOAT_TYPES, role="codebook"),
        *(TensorRule(name, role="correction") for name in ("rows", "cols", "vals", "full_rows")),
        *(TensorRule(name, role="correction") for name in ("full_row_indices", "startrows")),
    ),
)


SCHEMES = (Scheme(method="squeezellm", config=SqueezeLLMConfig, packings=(_SQUEEZELLM,)),)
