"""HIGGS: indices into a grid that all groups share, with a scale per group.

Source: transformers 5.23.0, ``integrations/higgs.py``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    TensorRule,
    Weight,
    exact,
    group_size,
    one_of,
    valid_group_size,
    with_scales,
    words,
)
from quantlevels.schemes.common import codebook_level


def _fold_higgs(module: Module, hint: Hint) -> Weight:
    """weight I16 [N*b/16, K], scales [N, K/g], tables [2^b]."""
    codes, tables = module["weight"], module["tables"].elements
    bits = max(tables - 1, 1).bit_length()
    if tables != 2**bits:  # a grid has an entry for every code
        raise LayoutError(f"tables has {tables} entries; expected a power of two")
    rows, columns = codes.matrix
    outputs = exact(codes.bits * rows, bits, "codes of a column")
    if module["scales"].matrix[0] != outputs:
        raise LayoutError(f"scales has {module['scales'].matrix[0]} rows; expected {outputs} as the codes have")
    return Weight(
        level=codebook_level("HIGGS", bits),
        parameters=outputs * columns,
        shape=(outputs, columns),
        code_bits=Fraction(bits),
        group_size=group_size(columns, module["scales"].matrix[1], hint),
    )


_HIGGS = Packing(
    "weight",
    ("scales", "tables"),
    _fold_higgs,
    sides=(
        TensorRule("scales", FLOAT_TYPES, "rows groups", role="scale"),
        TensorRule("tables", FLOAT_TYPES, role="codebook"),
        TensorRule("tables2", FLOAT_TYPES, role="codebook"),
    ),
)


@frozen(kw_only=True, eq=False, repr=False)
class HiggsConfig(MethodConfig):
    """A ``quantization_config`` of method higgs."""

    ignored_keys: ClassVar[frozenset[str]] = words("hadamard_size p tune_metadata")

    bits: int = field(default=4, validator=one_of(2, 3, 4))
    group_size: int = field(default=256, validator=valid_group_size)

    def general(self) -> DeclaredLevel:
        """Grid codes with a 16-bit scale per group; tables come on top."""
        bits = with_scales(self.bits, self.group_size, 16)
        return DeclaredLevel(level=codebook_level("HIGGS", self.bits), group_size=self.group_size, bits_per_weight=bits)


SCHEMES = (Scheme(method="higgs", config=HiggsConfig, packings=(_HIGGS,)),)
