"""W4AFP8 (SGLang): FP8 in blocks, and the routed experts as pairs of INT4 in an I8.

Source: sglang 0.5.23, ``layers/quantization/w4afp8.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar, Final

from attrs import frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
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
    integer,
    words,
)
from quantlevels.schemes.common import declared_in_blocks
from quantlevels.schemes.scaled import PACKINGS as SCALED

_BITS: Final = 4
_GROUP_SIZE: Final = 128
_SCALE_BITS: Final = 32
#: SGLang uses this block whatever the config says.
_BLOCK: Final = (128, 128)
#: the routed ones; shared experts stand below ``shared_experts``
_EXPERTS: Final = "*.experts.*"


def _fold_pairs(module: Module, hint: Hint) -> Weight | None:
    """weight I8 [N, K/2], weight_scale_inv [N, K/128]."""
    codes, scale = module["weight"], module["weight_scale_inv"]
    if not codes.is_a("Int8"):
        return None
    rows, columns = codes.matrix[0], 2 * codes.matrix[1]
    return Weight(
        level=integer(_BITS),
        parameters=2 * codes.elements,
        code_bits=Fraction(_BITS),
        group_size=exact(columns, scale.matrix[1], "scale groups do not tile a row"),
        symmetric=True,
        shape=(*codes.shape[:-2], rows, columns),
    )


_PAIRS: Final = Packing(
    "weight",
    ("weight_scale_inv",),
    _fold_pairs,
    (TensorRule("weight_scale_inv", FLOAT_TYPES, "rows groups", role="scale"),),
    declared_only=True,
)


@frozen(kw_only=True, eq=False, repr=False)
class W4AFP8Config(MethodConfig):
    """A ``quantization_config`` of method w4afp8; SGLang reads nothing of it but its name."""

    skip_keys: ClassVar[tuple[str, ...]] = ("ignored_layers", "modules_to_not_convert")
    ignored_keys: ClassVar[frozenset[str]] = words(
        "activation_scheme linear_activation_scheme moe_activation_scheme weight_block_size"
    )

    def general(self) -> DeclaredLevel:
        """FP8 with a 32-bit scale per block."""
        return declared_in_blocks("Float8E4M3FN", _BLOCK)

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The routed experts: INT4 in groups of 128."""
        return {_EXPERTS: declared_integer(_BITS, _GROUP_SIZE, True, side_bits=_SCALE_BITS)}


_SOURCE: Final = "sglang 0.5.23, layers/quantization/w4afp8.py"
_STORAGE: Final = (
    Storage(
        format="w4afp8",
        levels=("Int4",),
        tensors=(
            TensorRule("weight", ("Int8",), "rows packed_columns", role="codes"),
            TensorRule("weight_scale_inv", ("None",), "rows groups", role="scale"),
            TensorRule("input_scale", ("BFloat16",), "1", role="activation"),
        ),
        group_size=_GROUP_SIZE,
        grouped=False,
        ragged="refuses",
        source=_SOURCE,
    ),
    Storage(
        format="w4afp8",
        levels=("Float8E4M3FN",),
        tensors=(
            TensorRule("weight", ("Float8E4M3FN",), "rows columns", role="codes"),
            TensorRule("weight_scale_inv", ("None",), "row_blocks column_blocks", role="scale"),
        ),
        block=_BLOCK,
        grouped=False,
        source=_SOURCE,
    ),
)

SCHEMES = (Scheme(method="w4afp8", config=W4AFP8Config, packings=(_PAIRS, *SCALED), storage=_STORAGE),)
