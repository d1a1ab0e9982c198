"""Marlin: 4-bit codes in tiles of 16 by 16, and with half of the weights left out (2:4 sparsity).

GPTQModel keeps such tiles under the names of GPTQ; the first writers named them ``B`` and ``s``.

Source: vllm, ``layers/quantization/marlin.py`` at 01a789a and ``gptq_marlin_24.py`` at 0090454.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Final

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    PER_ROW,
    DeclaredLevel,
    Hint,
    Matrix,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorRule,
    TensorRuleError,
    Weight,
    declared_integer,
    exact,
    group_size,
    integer,
    one_of,
    valid_group_size,
)
from quantlevels.vocabulary.level import BITS_PER_BYTE

_TILE: Final = 16
_SCALE_BITS: Final = 16
#: Of four weights in a row, 2:4 sparsity stores two.
_SPARSITY: Final = 2


def _tiled(module: Module, name: str, kept: int, hint: Hint) -> Weight:
    """Tiles of 16 inputs each, kept of the weights in it: I32 [K/16/s, N*b/2], scales [K/g, N]."""
    (tiles, columns), (groups, outputs) = module[name].matrix, module["s"].matrix
    bits = exact(module[name].bits * columns, _TILE * outputs, "bits of a code")
    inputs = _TILE * kept * tiles
    return Weight(
        level=integer(bits),
        parameters=inputs * outputs,
        code_bits=Fraction(bits),
        group_size=group_size(inputs, groups, hint),
        symmetric=True,
        shape=(outputs, inputs),
    )


def _fold_dense(module: Module, hint: Hint) -> Weight:
    """B I32 [K/16, N*b/2], s [K/g, N]."""
    return _tiled(module, "B", 1, hint)


def _fold_sparse(module: Module, hint: Hint) -> Weight:
    """B_24 I32 [K/32, N*b/2], B_meta I16 [K/32, 2*N], s [K/g, N]. All weights count, those left out too."""
    weight = _tiled(module, "B_24", _SPARSITY, hint)
    # two bits of place per weight that is kept, half of the weights: an element of 16 bits for 16 weights
    if module["B_meta"].elements * _TILE != weight.parameters:
        raise TensorRuleError(
            f"B_meta has shape {list(module['B_meta'].shape)}; expected an element per {_TILE} weights"
        )
    return weight


_SCALES: Final = TensorRule("s", FLOAT_TYPES, "groups rows", role="scale")
_WORKSPACE: Final = TensorRule("workspace", ("Int32",), role="state")
_DENSE: Final = Packing("B", ("s",), _fold_dense, (_SCALES, _WORKSPACE))
_SPARSE: Final = Packing(
    "B_24",
    ("B_meta", "s"),
    _fold_sparse,
    (_SCALES, TensorRule("B_meta", ("Int16",), role="index"), _WORKSPACE),
)
PACKINGS: Final = (_DENSE, _SPARSE)


@frozen(kw_only=True, eq=False, repr=False)
class MarlinConfig(MethodConfig):
    """A ``quantization_config`` of method marlin or gptq_marlin_24."""

    bits: int = field(default=4, validator=one_of(4, 8))
    group_size: int = field(default=PER_ROW, validator=valid_group_size)

    def general(self) -> DeclaredLevel:
        """Signed codes with a 16-bit scale per group."""
        return declared_integer(self.bits, self.group_size, True, side_bits=_SCALE_BITS)


#: Bytes of an element of ``B_meta``, of which each weight that is kept has an eighth.
_META_BYTES: Final = 2
_WORD_BYTES: Final = 4
#: A kernel's locks: 16 words for each 64 outputs.
_LOCKED_ROWS: Final = 64


def _codes(kept: int) -> Callable[[Matrix], int]:
    return lambda m: m.rows * m.columns * m.bits // BITS_PER_BYTE // kept


def _stored(format: str, levels: tuple[str, ...], source: str, *codes: TensorRule) -> Storage:
    locks = TensorRule("workspace", nbytes=lambda m: m.rows // _LOCKED_ROWS * _TILE * _WORD_BYTES, role="state")
    scales = TensorRule("s", ("Float16",), "groups rows", role="scale")
    return Storage(
        format=format, levels=levels, tensors=(*codes, scales, locks), group_size=128, ragged="refuses", source=source
    )


_DENSE_STORAGE: Final = _stored(
    "marlin", ("Int4",), "vllm at 01a789a, marlin.py", TensorRule("B", nbytes=_codes(1), role="codes")
)
_SPARSE_STORAGE: Final = _stored(
    "gptq_marlin_24",
    ("Int4", "Int8"),
    "vllm at 0090454, gptq_marlin_24.py",
    TensorRule("B_24", nbytes=_codes(_SPARSITY), role="codes"),
    TensorRule("B_meta", nbytes=lambda m: m.rows * m.columns // _TILE * _META_BYTES, role="index"),
)

SCHEMES = (
    Scheme(method="marlin", config=MarlinConfig, packings=(_DENSE,), storage=(_DENSE_STORAGE,)),
    Scheme(method="gptq_marlin_24", config=MarlinConfig, packings=(_SPARSE,), storage=(_SPARSE_STORAGE,)),
)
