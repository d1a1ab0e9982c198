"""AWQ: codes in words along the output dimension (gemm), or along the input dimension row by row (gemv).

ParoQuant keeps the rotations of activations beside such codes.

Source: autoawq 0.2.9, ``modules/linear/{gemm,gemv,gemv_fast,marlin}.py`` and ``models/_config.py``; gptqmodel 7.7.0,
``nn_modules/qlinear/paroquant.py``.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    WORD_TYPES,
    AmbiguousLayoutError,
    DeclaredLevel,
    Hint,
    LayoutError,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorRule,
    Weight,
    declared_integer,
    exact,
    one_of,
    renamed,
    valid_group_size,
)
from quantlevels.schemes.gptq import MARLIN, QZEROS, SCALES, DynamicConfig, unpacked

_SCALE_BITS = 16
_PER_WORD = 8
#: group size → words of zero points that a gemv kernel reads at once: autoawq's calculate_zeros_width
_WORDS_AT_ONCE = {128: 1, 64: 2, 32: 4}


def _fold_gemm(module: Module, hint: Hint) -> Weight:
    """qweight [K, N*b/32], qzeros [groups, N*b/32], scales [groups, N]."""
    (inputs, columns), (groups, outputs) = module["qweight"].matrix, module["scales"].matrix
    if module["qzeros"].matrix != (groups, columns):
        raise LayoutError(
            f"qzeros has shape {list(module['qzeros'].shape)}; expected [groups, words] = [{groups}, {columns}]"
        )
    bits = exact(module["qweight"].bits * columns, outputs, "bits of a code")
    return unpacked(module, bits, inputs, outputs, groups, hint)


def _fold_gemv(module: Module, hint: Hint) -> Weight:
    """qweight [N, K*b/32], qzeros [N, words], scales [N, 8*words]: padded so that kernels read whole words."""
    outputs, columns = module["qweight"].matrix
    words = module["qzeros"].matrix[1]
    if module["scales"].matrix != (outputs, _PER_WORD * words) or module["qzeros"].matrix[0] != outputs:
        raise LayoutError("scales and qzeros do not have the rows of qweight, or not the same padding")
    bits = hint.bits or 4  # gemv kernels know no other width
    inputs = exact(module["qweight"].bits * columns, bits, "codes of a row")
    return unpacked(module, bits, inputs, outputs, _padded(inputs, words, hint), hint)


def _fold_gemv_fast(module: Module, hint: Hint) -> Weight:
    """qweight I16 [N/4, K], four 4-bit codes each; scales and 16-bit zero points [8*words, N]."""
    rows, inputs = module["qweight"].matrix
    groups, outputs = module["scales"].matrix
    # zero points are floats here, so that only the type of the words shows the width of codes
    if not module["qweight"].is_a("Int16") or 4 * rows != outputs:
        raise LayoutError(f"qweight is {module['qweight'].dtype} of {rows} rows; expected Int16 of {outputs} / 4 rows")
    words = exact(groups, _PER_WORD, "scales of a column")
    return unpacked(module, 4, inputs, outputs, _padded(inputs, words, hint), hint)


def _padded(inputs: int, words: int, hint: Hint) -> int:
    """Groups of a row whose zero points are padded to so many words.

    Raises:
        LayoutError, AmbiguousLayoutError: if groups of no known size, or of several, are padded so.
    """
    known = list(_WORDS_AT_ONCE)
    if hint.group_size and hint.group_size > 0:
        known = [hint.group_size]
    fits = [size for size in known if words == _words(inputs, size)]
    if len(fits) > 1:
        raise AmbiguousLayoutError(f"padded zero points fit groups of {' or '.join(map(str, fits))}")
    if not fits:
        raise LayoutError(f"{words} words of zero points for a row of {inputs} codes: no known group size gives that")
    return -(-inputs // fits[0])


def _words(inputs: int, size: int) -> int:
    at_once = _WORDS_AT_ONCE.get(size, 1)
    words = -(-inputs // (size * _PER_WORD))
    return -(-words // at_once) * at_once


_TENSORS = ("scales", "qzeros")
_ROTATIONS = tuple(TensorRule(name, role="correction") for name in ("theta", "pairs", "channel_scales"))
GEMM = Packing("qweight", _TENSORS, _fold_gemm, sides=(SCALES, QZEROS, *_ROTATIONS))
GEMV = Packing(
    "qweight",
    _TENSORS,
    _fold_gemv,
    sides=(TensorRule("scales", FLOAT_TYPES, role="scale"), TensorRule("qzeros", WORD_TYPES, role="zero_point")),
)
GEMV_FAST = Packing(
    "qweight",
    _TENSORS,
    _fold_gemv_fast,
    sides=(
        TensorRule("scales", FLOAT_TYPES, role="scale"),
        TensorRule("qzeros", (*FLOAT_TYPES, "Int16"), role="zero_point"),
    ),
)


@frozen(kw_only=True)
class AWQConfig(DynamicConfig):
    """``quant_config.json``, or a ``quantization_config`` of method awq; ParoQuant has ``krot`` rotations besides."""

    ignored_keys: ClassVar[frozenset[str]] = DynamicConfig.ignored_keys | {"krot"}

    bits: int = field(default=4, validator=one_of(2, 3, 4, 8))  # defaults: autoawq's and transformers'
    group_size: int = field(default=128, validator=valid_group_size)
    zero_point: bool = True
    version: str | None = None

    def general(self) -> DeclaredLevel:
        """Integers with a 16-bit scale and perhaps a zero point per group: packed, but for gemv_fast."""
        side_bits = _SCALE_BITS
        if self.zero_point and (self.version or "").lower() == "gemv_fast":  # whose kernel reads them as FP16
            side_bits += _SCALE_BITS
        elif self.zero_point:
            side_bits += self.bits
        return declared_integer(self.bits, self.group_size, not self.zero_point, side_bits=side_bits)


SCHEMES = (
    Scheme(
        method="awq",
        config=AWQConfig,
        packings=(GEMM, GEMV, GEMV_FAST, MARLIN),
        aliases=("awq_marlin",),
        prepare=renamed(w_bit="bits", q_group_size="group_size"),
        storage=(
            Storage(
                format="gemm",
                levels=("Int4",),
                tensors=(TensorRule("qweight", WORD_TYPES, "columns packed_rows", role="codes"), QZEROS, SCALES),
                zero_point="always",
                ragged="refuses",
                source="autoawq 0.2.9 awq/modules/linear/gemm.py",
            ),
        ),
    ),
    Scheme(method="paroquant", config=AWQConfig, packings=(GEMM,)),
)
