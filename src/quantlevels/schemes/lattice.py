"""QuIP#, SpQR, HIGGS: lattices, sparse outliers and grids, each with a layout of its own.

Source: quip-sharp at 1d6e3c2d, ``lib/linear/quantized_linear.py``; spqr_quant 0.2.0, ``inference.py``; transformers
5.23.0, ``integrations/higgs.py``.
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
    UnknownTypeError,
    Weight,
    code_bits,
    exact,
    group_size,
    integer,
    one_of,
    unwrapped,
    valid_group_size,
    with_scales,
    within,
    words,
)
from quantlevels.schemes.common import codebook_level

#: QuIP# codebook → bits a weight
_CODEBOOKS = {"E8P12": 2, "D4": 2, "HI4B1C": 4, "E8P12RVQ3B": 3, "E8P12RVQ4B": 4}


def _fold_quip(module: Module, hint: Hint) -> Weight:
    """Qidxs [N, K/(codesz*packsz)], SU [K], SV [N]."""
    parameters = module["SU"].elements * module["SV"].elements
    bits = code_bits(module["Qidxs"], parameters)
    shape = (module["SV"].elements, module["SU"].elements)
    return Weight(level=codebook_level("QUIP", bits), parameters=parameters, code_bits=bits, shape=shape)


def _fold_spqr(module: Module, hint: Hint) -> Weight:
    """dense_weights I64, 16 a tile of 16 by 16 weights: 3-bit codes with their quantized scales and zeros."""
    return Weight(
        level=integer(3), parameters=16 * module["dense_weights"].elements, code_bits=Fraction(3), group_size=16
    )


def _fold_higgs(module: Module, hint: Hint) -> Weight:
    """weight I16 [N*b/16, K], scales [N, K/g], tables [2^b]."""
    codes, tables = module["weight"], module["tables"].elements
    bits = max(tables - 1, 1).bit_length()
    if tables != 2**bits:
        raise LayoutError(f"a table of {tables} entries")
    rows, columns = codes.matrix
    outputs = exact(codes.bits * rows, bits, "codes of a column")
    if module["scales"].matrix[0] != outputs:
        raise LayoutError(f"scales have {module['scales'].matrix[0]} rows, codes {outputs}")
    return Weight(
        level=codebook_level("HIGGS", bits),
        parameters=outputs * columns,
        shape=(outputs, columns),
        code_bits=Fraction(bits),
        group_size=group_size(columns, module["scales"].matrix[1], hint),
    )


_QUIP = Packing(
    "Qidxs",
    ("SU", "SV"),
    _fold_quip,
    sides=(
        *(TensorRule(name, (*FLOAT_TYPES, "Int8", "Int32"), role="correction") for name in ("SU", "SV")),
        TensorRule("Wscale", FLOAT_TYPES, role="scale"),
        *(TensorRule(name, role="correction") for name in ("had_left", "had_right", "A", "B")),
        *("codebook_id", "fuse_scales", "rcp", "planes"),
    ),
)
_SPQR = Packing(
    "dense_weights",
    (),
    _fold_spqr,
    sides=tuple(TensorRule(name, role="correction") for name in ("row_offsets", "col_vals", "in_perm")),
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


@frozen(kw_only=True)
class QuipConfig(MethodConfig):
    """``quip_params`` of a config.json."""

    ignored_keys: ClassVar[frozenset[str]] = words(
        "codesz fused idx_dtype lora_rank model_version ocs_down_size outlier_channel_split packsz quip_params "
        "rescale_WH resid_scale_override use_rand"
    )

    codebook: str = ""

    def general(self) -> DeclaredLevel | None:
        """The bits of its codebook.

        Raises:
            UnknownTypeError: for a codebook that is not known.
        """
        if self.codebook not in _CODEBOOKS:
            raise UnknownTypeError(f"the codebook {self.codebook!r:.80} is not known")
        bits = _CODEBOOKS[self.codebook]
        return DeclaredLevel(level=codebook_level("QUIP", bits), bits_per_weight=Fraction(bits))


@frozen(kw_only=True)
class SpQRConfig(MethodConfig):
    """A ``quantization_config`` of method spqr."""

    ignored_keys: ClassVar[frozenset[str]] = words("beta2 shapes")

    bits: int = field(default=3, validator=one_of(2, 3, 4))
    beta1: int = field(default=16, validator=within(1, 4096))

    def general(self) -> DeclaredLevel:
        """3-bit codes in tiles; how many outliers there are is in the tensors alone."""
        return DeclaredLevel(level=integer(self.bits), group_size=self.beta1, symmetric=False)


@frozen(kw_only=True)
class HiggsConfig(MethodConfig):
    """A ``quantization_config`` of method higgs."""

    ignored_keys: ClassVar[frozenset[str]] = words("hadamard_size p tune_metadata")

    bits: int = field(default=4, validator=one_of(2, 3, 4))
    group_size: int = field(default=256, validator=valid_group_size)

    def general(self) -> DeclaredLevel:
        """Grid codes with a 16-bit scale a group; tables come on top."""
        bits = with_scales(self.bits, self.group_size, 16)
        return DeclaredLevel(level=codebook_level("HIGGS", self.bits), group_size=self.group_size, bits_per_weight=bits)


SCHEMES = (
    Scheme(
        method="quip#",
        config=QuipConfig,
        packings=(_QUIP,),
        aliases=("quip_sharp", "quip"),
        prepare=unwrapped("quip_params"),
    ),
    Scheme(method="spqr", config=SpQRConfig, packings=(_SPQR,)),
    Scheme(method="higgs", config=HiggsConfig, packings=(_HIGGS,)),
)
