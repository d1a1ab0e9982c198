"""MLC: codes in 32-bit words along one axis, a scale per group, and no zero points.

Source: mlc-llm 0.20, ``python/mlc_llm/quantization/{quantization,group_quantization}.py``.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final, NamedTuple

from attrs import field, frozen

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
    integer,
    with_scales,
)

#: ``q4f16_1``: bits of a code, the type of what is not quantized, and the layout; ``q0f16`` is not quantized
_WORD: Final = re.compile(r"q(\d)(?:f(16|32)|bf16)(?:_(?:\d|autoawq|ft))?")
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
    """q_weight U32 [..., N, words], q_scale [..., N, groups]; or both with rows and columns exchanged."""
    codes, scales = module["q_weight"], module["q_scale"]
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


_SCALES: Final = TensorRule("q_scale", FLOAT_TYPES, "rows groups | groups rows", role="scale")
_PACKING: Final = Packing("q_weight", ("q_scale",), _fold, sides=(_SCALES,))


def _known(config: object, attribute: object, value: str) -> None:
    if not _WORD.fullmatch(value):
        raise ValueError(f"quantization must be a word like q4f16_1, not {value!r}")


@frozen(kw_only=True, eq=False, repr=False)
class MLCConfig(MethodConfig):
    """The quantization that ``mlc-chat-config.json`` declares."""

    quantization: str = field(validator=_known)

    def general(self) -> DeclaredLevel | None:
        """Integers in the groups of their width, each with a scale; None for ``q0f16``, which is not quantized."""
        match = _WORD.fullmatch(self.quantization)
        bits = int(match[1]) if match else 0
        layout = next((layout for layout in _LAYOUTS if layout.bits == bits), None)
        if layout is None:
            return None
        scale_bits = 32 if match and match[2] == "32" else _SCALE_BITS
        return DeclaredLevel(
            level=integer(bits),
            group_size=layout.group_size,
            symmetric=True,
            bits_per_weight=with_scales(Fraction(_WORD_BITS, layout.per_word), layout.group_size, scale_bits),
        )


SCHEMES = (Scheme(method="mlc", config=MLCConfig, packings=(_PACKING,)),)
