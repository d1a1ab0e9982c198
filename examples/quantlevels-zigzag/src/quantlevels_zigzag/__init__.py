"""How the Zigzag quantizer writes its configs and tensors. The quantizer is made up."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Final

from attrs import field, frozen

from quantlevels.scheme import (
    AmbiguousLayoutError,
    DeclaredLevel,
    Hint,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorRule,
    Weight,
    declared_integer,
    group_size,
    integer,
    one_of,
    valid_group_size,
)

_BITS_OF_BYTE: Final = 8
_SCALE_BITS: Final = 16
_GROUP: Final = 64

CODES: Final = TensorRule("zz_codes", ("UInt8",), "rows packed_columns", role="codes")
SCALES: Final = TensorRule("zz_scales", ("Float16",), "rows groups", role="scale")


@frozen(kw_only=True)
class ZigzagConfig(MethodConfig):
    """Its ``quantization_config``: every field has the default of the quantizer."""

    skip_keys: ClassVar[tuple[str, ...]] = ("skip",)
    ignored_keys: ClassVar[frozenset[str]] = frozenset({"calibration_samples"})

    bits: int = field(default=4, validator=one_of(2, 4))
    group_size: int = field(default=_GROUP, validator=valid_group_size)
    skip: tuple[str, ...] = ()

    def general(self) -> DeclaredLevel:
        """The level of all linear layers that are not skipped."""
        return declared_integer(self.bits, self.group_size, symmetric=True, side_bits=_SCALE_BITS)

    def skipped(self) -> tuple[str, ...]:
        """The modules that are left unquantized."""
        return self.skip


def fold(module: Module, hint: Hint) -> Weight:
    """One weight from the tensors of its module.

    Raises:
        AmbiguousLayoutError: if no config says how wide the codes are: shapes do not show it.
        LayoutError: if the tensors do not fit each other.
    """
    if hint.bits is None:
        raise AmbiguousLayoutError("the codes of zigzag have 2 or 4 bits, and no config says which")
    rows, packed = module["zz_codes"].matrix
    columns = packed * _BITS_OF_BYTE // hint.bits
    return Weight(
        level=integer(hint.bits),
        parameters=rows * columns,
        shape=(rows, columns),
        code_bits=Fraction(hint.bits),
        group_size=group_size(columns, module["zz_scales"].matrix[1], hint),
        symmetric=True,
    )


ZIGZAG: Final = Scheme(
    method="zigzag",
    config=ZigzagConfig,
    packings=(Packing("zz_codes", ("zz_scales",), fold, sides=(SCALES,)),),
    storage=(
        Storage(
            format="zigzag",
            levels=("Int4", "Int2"),
            tensors=(CODES, SCALES),
            group_size=_GROUP,
            ragged="refuses",
            source="the README of this example",
        ),
    ),
)
