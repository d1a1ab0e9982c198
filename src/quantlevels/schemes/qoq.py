"""QoQ (QServe): 4-bit codes, two in an I8, with scales of 8 bits per group and of 16 bits per row.

Source: sglang at 0ad1007, ``layers/quantization/qoq.py``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    PER_ROW,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorRule,
    Weight,
    declared_integer,
    exact,
    integer,
    one_of,
    renamed,
    valid_group_size,
)
from quantlevels.vocabulary.level import BITS_PER_BYTE

_BITS: Final = 4


def _fold(module: Module, hint: Hint) -> Weight:
    """qweight I8 [N, K/2], s1_scales [N]; s1_szeros [N] per row, or s2_scales and s2_zeros I8 [K/g, N] in groups."""
    codes = module["qweight"]
    # `s1_scales` is QServe's alone, so that another type is a defect and not another method
    if not codes.is_a("Int8"):
        raise LayoutError(f"qweight is {codes.dtype}; expected Int8")
    rows, columns = codes.matrix[0], 2 * codes.matrix[1]
    scales = module.get("s2_scales")
    group = None
    if scales:
        group = exact(columns, scales.matrix[0], "scale groups do not tile a row")
    return Weight(
        level=integer(_BITS),
        parameters=rows * columns,
        code_bits=Fraction(_BITS),
        group_size=group,
        symmetric=False,
        shape=(rows, columns),
    )


_PACKING: Final = Packing(
    "qweight",
    ("s1_scales",),
    _fold,
    (
        TensorRule("s1_scales", FLOAT_TYPES, "rows", role="scale"),
        TensorRule("s1_szeros", FLOAT_TYPES, "rows", role="zero_point"),
        TensorRule("s2_scales", ("Int8",), "groups rows", role="scale"),
        TensorRule("s2_zeros", ("Int8",), "groups rows", role="zero_point"),
    ),
)


@frozen(kw_only=True, eq=False, repr=False)
class QoQConfig(MethodConfig):
    """A ``quantization_config`` of method qoq."""

    bits: int = field(default=_BITS, validator=one_of(_BITS))
    group_size: int = field(default=PER_ROW, validator=valid_group_size)

    def general(self) -> DeclaredLevel:
        """Unsigned codes with a scale and a zero point of 8 bits per group; those per row come on top."""
        return declared_integer(self.bits, self.group_size, False, side_bits=2 * BITS_PER_BYTE)


_STORAGE: Final = Storage(
    format="qoq",
    levels=("Int4",),
    tensors=(
        TensorRule("qweight", ("Int8",), "rows packed_columns", role="codes"),
        TensorRule("s1_scales", ("Float16",), "rows", role="scale"),
        TensorRule("s2_scales", ("Int8",), "groups rows", role="scale"),
        TensorRule("s2_zeros", ("Int8",), "groups rows", role="zero_point"),
    ),
    group_size=128,
    zero_point="always",
    grouped=False,
    ragged="refuses",
    source="sglang at 0ad1007, qoq.py, in groups of 128",
)

SCHEMES = (
    Scheme(method="qoq", config=QoQConfig, packings=(_PACKING,), prepare=renamed(wbits="bits"), storage=(_STORAGE,)),
)
