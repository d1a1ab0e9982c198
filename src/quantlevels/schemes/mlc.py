"""MLC: codes in 32-bit words along one axis, a scale per group, and no zero points; also FP8, and words of AWQ.

FasterTransformer's layout has codes in bytes along the outputs, and a scale per row of the matrix.

Source: mlc-llm 0.20, ``python/mlc_llm/quantization/``: ``quantization.py``, ``group_quantization.py``,
``ft_quantization.py``, ``per_tensor_quantization.py``, ``awq_quantization.py``.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final, NamedTuple

from attrs import evolve, field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    AmbiguousLayoutError,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    TensorInfo,
    TensorRule,
    Weight,
    code_bits,
    declared_integer,
    exact,
    integer,
    with_scales,
)
from quantlevels.schemes.common import declared_in_blocks
from quantlevels.vocabulary.registry import levels

#: ``q4f16_1``: bits of a code, the type of what is not quantized, and the layout; ``q0f16`` is not quantized
_WORD: Final = re.compile(r"q([0348])(?:f(16|32)|bf16)(?:_([012]|autoawq|ft))?")
#: words for FP8 → the level, and the rows and columns that share a scale
_FLOAT8_WORDS: Final[dict[str, tuple[str, tuple[int, int] | None]]] = {
    "e5m2_e5m2_f16": ("Float8E5M2", None),
    "e4m3_e4m3_f16": ("Float8E4M3FN", None),
    "e4m3_e4m3_f16_max_calibrate": ("Float8E4M3FN", None),
    "fp8_e4m3fn_bf16_block_scale": ("Float8E4M3FN", (128, 128)),
    "fp8_e4m3fn_bf16_block_scale_static_activation": ("Float8E4M3FN", (128, 128)),
}
_FLOAT8: Final = ("Float8E4M3FN", "Float8E5M2")
_AWQ_GROUP: Final = 128
#: bits of a code in FasterTransformer's layout
_FT_WIDTHS: Final = (4, 8)
_SCALE_BITS: Final = 16
_WORD_BITS: Final = 32


class _Layout(NamedTuple):
    """How codes of one width are packed."""

    bits: int
    per_word: int
    group_size: int


#: 3-bit codes leave two bits of each word unused
_LAYOUTS: Final = (_Layout(3, 10, 40), _Layout(4, 8, 32), _Layout(8, 4, 32))


def _fold(module: Module, hint: Hint) -> Weight:
    """q_weight U32 [..., N, words], q_scale [..., N, groups]; or both with rows and columns exchanged.

    q_weight I8 [K, N*b/8], q_scale F16 [groups, N] of FasterTransformer; q_weight FP8 [..., N, K], q_scale F32 [1].
    """
    codes, scales = module["q_weight"], module["q_scale"]
    if float8 := _fold_float8(module, hint):
        return float8
    if codes.is_a("Int8"):
        return _of_faster_transformer(codes, scales)
    readings = (_unpacked(codes, scales, layout) for layout in _LAYOUTS)
    fits = [weight for weight in readings if weight]
    # a config that fits none of the readings is compared with the stored level later; it must not hide that level
    chosen = [weight for weight in fits if hint.bits is None or weight.level.bits_per_param == hint.bits] or fits
    if not chosen:
        raise LayoutError(
            f"words of shape {list(codes.shape)} and scales of shape {list(scales.shape)} fit no layout of MLC"
        )
    if len(chosen) > 1:
        candidates = " or ".join(f"{weight.level} in groups of {weight.group_size}" for weight in chosen)
        raise AmbiguousLayoutError(f"can be {candidates}, and no mlc-chat-config.json says which")
    return chosen[0]


def _fold_float8(module: Module, hint: Hint) -> Weight | None:
    """q_weight FP8 [..., N, K], with a scale for all of it or without any."""
    codes = module["q_weight"]
    if not codes.is_a(*_FLOAT8):
        return None
    return Weight(
        level=levels[codes.dtype.name],
        parameters=codes.elements,
        code_bits=Fraction(codes.bits),
        symmetric=True,
        shape=codes.shape,
    )


def _of_faster_transformer(codes: TensorInfo, scales: TensorInfo) -> Weight:
    """Codes of 4 or 8 bits, with one scale for each output, or for each group of inputs."""
    (inputs, columns), (groups, outputs) = codes.matrix, scales.matrix
    bits = exact(codes.bits * columns, outputs, "bits of a code")
    if bits not in _FT_WIDTHS:
        raise LayoutError(f"{columns} bytes of a row for {outputs} outputs: expected codes of 4 or 8 bits")
    size = exact(inputs, groups, "inputs of a group")
    return Weight(
        level=integer(bits),
        parameters=inputs * outputs,
        code_bits=Fraction(bits),
        group_size=None if groups == 1 else size,
        symmetric=True,
        shape=(outputs, inputs),
    )


def _unpacked(codes: TensorInfo, scales: TensorInfo, layout: _Layout) -> Weight | None:
    """The weight if its words are of a layout; None if words and scales do not fit each other in it."""
    words = layout.group_size // layout.per_word
    if len(codes.shape) < 2:
        return None
    *stack, rows, columns = codes.shape
    if codes.dtype.name != "UInt32" or scales.shape[:-2] != tuple(stack) or len(scales.shape) != len(codes.shape):
        return None
    if scales.shape[-2] == rows and columns == scales.shape[-1] * words:
        shape = (*stack, rows, scales.shape[-1] * layout.group_size)
    elif scales.shape[-1] == columns and rows == scales.shape[-2] * words:
        shape = (*stack, columns, scales.shape[-2] * layout.group_size)
    else:
        return None
    parameters = codes.elements * layout.per_word
    return Weight(
        level=integer(layout.bits),
        parameters=parameters,
        code_bits=code_bits(codes, parameters),
        group_size=layout.group_size,
        symmetric=True,
        shape=shape,
    )


_SCALES: Final = TensorRule("q_scale", FLOAT_TYPES, "rows groups | groups rows | 1", role="scale")
#: the scale of activations, which calibration finds
_CALIBRATION: Final = TensorRule("q_calibration_scale", FLOAT_TYPES, "1", role="scale")
_PACKINGS: Final = (
    Packing("q_weight", ("q_scale",), _fold, sides=(_SCALES, _CALIBRATION)),
    Packing("q_weight", (), _fold_float8),
)


def _known(config: object, attribute: object, value: str) -> None:
    if value not in _FLOAT8_WORDS and not _WORD.fullmatch(value):
        raise ValueError(f"quantization must be a word like q4f16_1, not {value!r}")


@frozen(kw_only=True, eq=False, repr=False)
class MLCConfig(MethodConfig):
    """The quantization that ``mlc-chat-config.json`` declares."""

    quantization: str = field(validator=_known)

    def general(self) -> DeclaredLevel | None:
        """Integers in groups or rows, each with a scale, or FP8; None for ``q0f16``, which is not quantized."""
        if self.quantization in _FLOAT8_WORDS:
            return declared_in_blocks(*_FLOAT8_WORDS[self.quantization])
        match = _WORD.fullmatch(self.quantization)
        bits = int(match[1]) if match else 0
        layout = next((layout for layout in _LAYOUTS if layout.bits == bits), None)
        if match is None or layout is None:
            return None
        scale_bits = 32 if match[2] == "32" else _SCALE_BITS
        if match[3] == "autoawq":
            return declared_integer(bits, _AWQ_GROUP, False, side_bits=scale_bits + bits)
        grouped = DeclaredLevel(
            level=integer(bits),
            group_size=layout.group_size,
            symmetric=True,
            bits_per_weight=with_scales(Fraction(_WORD_BITS, layout.per_word), layout.group_size, scale_bits),
        )
        if match[3] == "ft":  # embeddings, heads, and matrices that its kernels do not take, have groups
            rows = DeclaredLevel(level=integer(bits), symmetric=True, bits_per_weight=Fraction(bits))
            return evolve(rows, alternative=grouped)
        return grouped


SCHEMES = (Scheme(method="mlc", config=MLCConfig, packings=_PACKINGS),)
