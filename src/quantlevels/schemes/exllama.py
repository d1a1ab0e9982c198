"""EXL2 and EXL3: the config names an average, the tensors of each module its own width.

Source: exllamav2 0.3.2, ``conversion/qparams.py``; exllamav3 1.6.5, ``modules/quant/exl3.py``.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import ClassVar

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    INDEX_TYPES,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    TensorRule,
    Weight,
    code_bits,
    integer,
    within,
    words,
)
from quantlevels.schemes.common import codebook_level


def _fold_exl2(module: Module, hint: Hint) -> Weight:
    """q_weight I32 [sum of rows*b/32, N], q_invperm [K]: row groups of 2 to 8 bits in one tensor."""
    codes = module["q_weight"]
    # rows of different widths share the tensor, so only the permutation shows how many there are
    parameters = module["q_invperm"].elements * codes.matrix[1]
    bits = code_bits(codes, parameters)
    return Weight(
        # rounded: each module has an average of its own, and a level for every one of them would say little
        level=codebook_level("EXL2", round(bits, 2)),
        parameters=parameters,
        code_bits=bits,
        shape=(codes.matrix[1], module["q_invperm"].elements),
    )


def _fold_exl3(module: Module, hint: Hint) -> Weight:
    """trellis I16 [K/16, N/16, 16*b]: b may be a half."""
    trellis = module["trellis"]
    if len(trellis.shape) < 3:
        raise LayoutError(f"trellis has shape {list(trellis.shape)}; expected [inputs / 16, outputs / 16, words]")
    inputs, outputs, words = trellis.shape[-3:]
    bits = Fraction(words * trellis.bits, 256)  # of the 16 x 16 weights of a tile
    shape = (*trellis.shape[:-3], 16 * outputs, 16 * inputs)
    return Weight(level=codebook_level("EXL3", bits), parameters=math.prod(shape), code_bits=bits, shape=shape)


_EXL2 = Packing(
    "q_weight",
    ("q_invperm", "q_scale"),
    _fold_exl2,
    sides=(
        TensorRule("q_invperm", INDEX_TYPES, role="index"),
        TensorRule("q_scale", ("Int32",), role="scale"),
        TensorRule("q_scale_max", FLOAT_TYPES, role="scale"),
        TensorRule("q_groups", INDEX_TYPES, role="index"),
        TensorRule("q_perm", INDEX_TYPES, "columns", role="index"),
        TensorRule("q_group_map", INDEX_TYPES, role="index"),
    ),
)
_EXL3 = Packing(
    "trellis",
    (),
    _fold_exl3,
    sides=(
        TensorRule("suh", FLOAT_TYPES, "columns", role="scale"),
        TensorRule("svh", FLOAT_TYPES, "rows", role="scale"),
        TensorRule("su", INDEX_TYPES, role="correction"),  # signs, packed
        TensorRule("sv", INDEX_TYPES, role="correction"),
        "mcg",
        "mul1",
    ),
)


@frozen(kw_only=True, eq=False, repr=False)
class EXL2Config(MethodConfig):
    """A ``quantization_config`` of method exl2."""

    ignored_keys: ClassVar[frozenset[str]] = words("calibration head_bits version")

    bits: float = field(validator=within(1, 8))

    def general(self) -> DeclaredLevel:
        """The average that was asked for, over integers of 2 to 8 bits."""
        # by its decimal digits: the exact value of the float 4.65 has a denominator of 2 to the 50
        bits = Fraction(repr(self.bits))
        return DeclaredLevel(level=integer(int(bits)), bits_per_weight=bits, average=True)


@frozen(kw_only=True, eq=False, repr=False)
class EXL3Config(MethodConfig):
    """A ``quantization_config`` of method exl3."""

    ignored_keys: ClassVar[frozenset[str]] = words("calibration codebook head_bits out_scales tensor_storage version")

    bits: float = field(validator=within(1, 8))

    def general(self) -> DeclaredLevel:
        """The average that was asked for."""
        bits = Fraction(repr(self.bits))
        return DeclaredLevel(level=codebook_level("EXL3", bits), bits_per_weight=bits, average=True)


SCHEMES = (
    Scheme(method="exl2", config=EXL2Config, packings=(_EXL2,)),
    Scheme(method="exl3", config=EXL3Config, packings=(_EXL3,)),
)
