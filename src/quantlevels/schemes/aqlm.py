"""AQLM: each group of weights a sum of codebook vectors.

Source: aqlm 1.1.7, ``inference.py`` and ``utils.py``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    WORD_TYPES,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    TensorRule,
    Weight,
    within,
)
from quantlevels.schemes.common import codebook_level


def _fold(module: Module, hint: Hint) -> Weight:
    """codes [N/og, K/ig, C], codebooks [C, 2^b, og, ig], scales [N/og, 1, 1, 1]."""
    codes, codebooks = module["codes"].shape, module["codebooks"].shape
    if len(codes) != 3 or len(codebooks) != 4 or codes[2] != codebooks[0]:
        raise LayoutError(f"codes {list(codes)} do not fit codebooks {list(codebooks)}")
    count, size, out_group, in_group = codebooks
    if not module["codes"].is_a(*WORD_TYPES) or module["scales"].elements != codes[0]:
        raise LayoutError(
            f"codes are {module['codes'].dtype} with {codes[0]} rows, scales have shape {list(module['scales'].shape)};"
            " expected integers and one scale per row"
        )
    # by the size of a codebook: indices are stored in I8 or I16, which may be wider than they need
    bits = Fraction(count * (size - 1).bit_length(), out_group * in_group)
    rows, columns = codes[0] * out_group, codes[1] * in_group
    return Weight(
        level=codebook_level("AQLM", bits),
        parameters=rows * columns,
        shape=(rows, columns),
        code_bits=bits,
        group_size=in_group,
    )


_SIDES = (TensorRule("codebooks", FLOAT_TYPES, role="codebook"), TensorRule("scales", FLOAT_TYPES, role="scale"))
PACKING = Packing("codes", ("codebooks", "scales"), _fold, sides=_SIDES)


@frozen(kw_only=True, eq=False, repr=False)
class AQLMConfig(MethodConfig):
    """A ``quantization_config`` of method aqlm; defaults are transformers'."""

    skip_keys: ClassVar[tuple[str, ...]] = ("linear_weights_not_to_quantize", "modules_to_not_convert")

    in_group_size: int = field(default=8, validator=within(1, 4096))
    out_group_size: int = field(default=1, validator=within(1, 4096))
    num_codebooks: int = field(default=1, validator=within(1, 64))
    nbits_per_codebook: int = field(default=16, validator=within(1, 16))

    def general(self) -> DeclaredLevel:
        """The bits of all codes of a group over its weights; codebooks and scales come on top."""
        bits = Fraction(self.num_codebooks * self.nbits_per_codebook, self.in_group_size * self.out_group_size)
        return DeclaredLevel(level=codebook_level("AQLM", bits), group_size=self.in_group_size, bits_per_weight=bits)


SCHEMES = (Scheme(method="aqlm", config=AQLMConfig, packings=(PACKING,)),)
