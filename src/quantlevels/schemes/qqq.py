"""QQQ: 4-bit codes in Marlin's tiles, with a scale per group and one per output.

Source: gptqmodel 7.7.0, ``nn_modules/qlinear/qqq.py``, ``quantization/config.py``.
"""

from __future__ import annotations

from fractions import Fraction

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    PER_ROW,
    DeclaredLevel,
    Hint,
    Module,
    Packing,
    Scheme,
    TensorRule,
    Weight,
    declared_integer,
    exact,
    group_size,
    integer,
    one_of,
    renamed,
    valid_group_size,
)
from quantlevels.schemes.gptq import DynamicConfig


@frozen(kw_only=True)
class QQQConfig(DynamicConfig):
    """A ``quantization_config`` of method qqq."""

    bits: int = field(default=4, validator=one_of(4))
    group_size: int = field(default=PER_ROW, validator=valid_group_size)

    def general(self) -> DeclaredLevel:
        """4-bit codes with a 16-bit scale per group, and one for each output channel."""
        return declared_integer(self.bits, self.group_size, True, side_bits=16)


def _fold_qqq(module: Module, hint: Hint) -> Weight:
    """B I32 [K/16, N*b/2] in Marlin's tiles, s_channel F32 [1, N], s_group F16 [groups, N] or empty."""
    (tiles, columns), outputs = module["B"].matrix, module["s_channel"].elements
    groups = 0
    if "s_group" in module:  # empty for one scale per row
        groups = module["s_group"].elements // outputs
    bits = exact(2 * columns, outputs, "bits of a code")
    return Weight(
        level=integer(bits),
        parameters=16 * tiles * outputs,
        shape=(outputs, 16 * tiles),
        code_bits=Fraction(bits),
        group_size=group_size(16 * tiles, groups or 1, hint),
        symmetric=True,
    )


_QQQ = Packing(
    "B",
    ("s_channel",),
    _fold_qqq,
    sides=(
        TensorRule("s_channel", FLOAT_TYPES, "rows", role="scale"),
        TensorRule("s_group", FLOAT_TYPES, role="scale"),
        "workspace",
        "reduce_buffer",
    ),
)


SCHEMES = (Scheme(method="qqq", config=QQQConfig, packings=(_QQQ,), prepare=renamed(wbits="bits")),)
