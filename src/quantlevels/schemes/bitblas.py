"""BitBLAS: codes in bytes along the input, in plain rows or in the order of a kernel.

Source: vllm, ``layers/quantization/bitblas.py`` at 17128d5.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    PER_ROW,
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
    exact,
    group_size,
    integer,
    one_of,
    valid_group_size,
)
from quantlevels.vocabulary.level import BITS_PER_BYTE

_SCALE_BITS: Final = 16


def _fold(module: Module, hint: Hint) -> Weight | None:
    """qweight I8 of N*K*b/8 bytes, scales [N, K/g], zeros I8 [K/g, N*b/8] or floats [N, K/g]."""
    codes, scales = module["qweight"], module["scales"]
    if not codes.is_a("Int8"):
        return None
    rows, groups = scales.matrix  # not those of the codes, which a kernel may have put into an order of its own
    zeros = module.get("zeros")
    if zeros and zeros.is_a("Int8"):
        bits = exact(BITS_PER_BYTE * zeros.elements, rows * groups, "bits of a zero point")
    elif hint.bits:
        bits = hint.bits
    else:
        raise AmbiguousLayoutError("bit width of the packed bytes is unknown: no config, no packed zero points")
    columns = exact(BITS_PER_BYTE * codes.elements, bits * rows, "codes of a row")
    return Weight(
        level=integer(bits),
        parameters=rows * columns,
        code_bits=Fraction(bits),
        group_size=group_size(columns, groups, hint),
        symmetric=hint.symmetric,
        shape=(rows, columns),
    )


_SIDES: Final = (
    TensorRule("scales", FLOAT_TYPES, "rows groups", role="scale"),
    TensorRule("zeros", ("Int8", *FLOAT_TYPES), "groups packed_rows | rows groups", role="zero_point"),
)
_WITH_ZEROS: Final = Packing("qweight", ("scales", "zeros"), _fold, _SIDES)
_SYMMETRIC: Final = Packing("qweight", ("scales",), _fold, _SIDES, declared_only=True)


@frozen(kw_only=True, eq=False, repr=False)
class BitBLASConfig(MethodConfig):
    """A ``quantization_config`` of method bitblas."""

    bits: int = field(validator=one_of(1, 2, 4, 8))
    group_size: int = field(default=PER_ROW, validator=valid_group_size)
    sym: bool = False

    def general(self) -> DeclaredLevel:
        """Codes with a 16-bit scale and a packed zero point per group, also if symmetric."""
        return declared_integer(self.bits, self.group_size, self.sym, side_bits=_SCALE_BITS + self.bits)


_STORAGE: Final = Storage(
    format="bitblas",
    levels=("Int1", "Int2", "Int4", "Int8"),
    tensors=(
        TensorRule("qweight", ("Int8",), "rows packed_columns", role="codes"),
        TensorRule("scales", ("Float16",), "rows groups", role="scale"),
        TensorRule("zeros", ("Int8",), "groups packed_rows", role="zero_point"),
    ),
    zero_point="always",
    ragged="refuses",
    source="vllm at 17128d5, bitblas.py create_weights_gptq",
)

SCHEMES = (Scheme(method="bitblas", config=BitBLASConfig, packings=(_WITH_ZEROS, _SYMMETRIC), storage=(_STORAGE,)),)
