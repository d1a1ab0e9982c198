"""Codes in ``weight`` with scales beside them: the layout that FP8, NVFP4, MX and 8-bit integer quantizers share.

The types of codes and scales, and how many codes a scale serves, tell the formats apart; a config only chooses between
formats that they leave equal. Written by compressed-tensors 0.20.0, modelopt 0.47.0, quark 0.13, transformers 5.23.0
(fp8, fbgemm_fp8, mxfp8), ComfyUI and others.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import Final, NamedTuple

from quantlevels.scheme import (
    FLOAT_TYPES,
    SCALE_TYPES,
    WORD_TYPES,
    AmbiguousLayoutError,
    Hint,
    Module,
    Packing,
    TensorInfo,
    TensorRule,
    TensorRuleError,
    Weight,
    code_bits,
    exact,
    group_size,
    integer,
)
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels


class _Format(NamedTuple):
    """A microscaling format, by what its tensors show."""

    level: str
    #: bits of a code, and codes that share a scale along a row
    bits: int
    group_size: int
    #: names of the levels of the tensors that hold codes, and of scales
    codes: tuple[str, ...]
    scales: tuple[str, ...]


_E8M0: Final = ("UInt8", "Float8E8M0FNU")
_FORMATS: Final = (
    _Format("NVFP4", 4, 16, ("UInt8", "Int8", "Float4E2M1"), ("Float8E4M3FN",)),
    _Format("MXFP4", 4, 32, ("UInt8", "Int8", "Float4E2M1"), _E8M0),
    _Format("MXFP6_E2M3", 6, 32, ("UInt8", "Float6E2M3"), _E8M0),
    _Format("MXFP6_E3M2", 6, 32, ("UInt8", "Float6E3M2"), _E8M0),
    _Format("MXFP8_E4M3", 8, 32, ("Float8E4M3FN",), _E8M0),
    _Format("MXFP8_E5M2", 8, 32, ("Float8E5M2",), _E8M0),
    _Format("MXINT8", 8, 32, ("Int8",), _E8M0),
)
#: `weight_scale_inv` is a multiplier as the others are, whatever its name says (DeepSeek).
_SCALES: Final = ("weight_scale", "weight_scale_inv", "scale", "weight_scales", "scale_weight")
_SIDES: Final = (
    *(TensorRule(name, SCALE_TYPES, role="scale") for name in _SCALES),
    TensorRule("weight_zero_point", (*WORD_TYPES, *SCALE_TYPES), role="zero_point"),
    # what modelopt subtracts from keys and values before they go to a quantized cache
    *(TensorRule(name, FLOAT_TYPES, role="correction") for name in ("k_bias", "v_bias")),
)
#: rows and groups of the tiles to which torchao and ComfyUI pad scales, as NVIDIA's kernels read them
_TILE_ROWS, _TILE_GROUPS = 128, 4
#: sides of blocks that kernels have, the most frequent first
_BLOCK_SIDES: Final = (128, 64, 32, 16, 256, 512)
#: devices for which fused projections are cut before their blocks are counted
_MOST_PARTS: Final = 64


def microscaled(codes: TensorInfo, scale: TensorInfo, hint: Hint) -> Weight | None:
    """A microscaling weight, by the types of codes and scales and how many codes share one; None if it is not one.

    codes [N, K*b/8] in bytes, or [N, K] elements of that width; scales [N, K/16] or [N, K/32], or padded to the tiles
    of a kernel. Fused experts may have both with rows and columns exchanged.
    """
    if len(codes.shape) < 2:
        return None
    fits = [found for found in _FORMATS if _has_types(found, codes, scale, hint)]
    served = [found for found in fits if _serves(codes, scale, found)]
    if not served:
        return None
    chosen = next((found for found in served if hint.level and found.level == hint.level.name), served[0])
    return Weight(
        level=_chosen_level(chosen, codes, scale, hint),
        parameters=codes.elements * codes.bits // chosen.bits,
        code_bits=Fraction(chosen.bits),
        group_size=chosen.group_size,
        symmetric=True,
        shape=_shape(codes, scale, chosen),
    )


def _has_types(found: _Format, codes: TensorInfo, scale: TensorInfo, hint: Hint) -> bool:
    """Whether codes and scales have the types of a format, or those in which some writers keep what is declared."""
    if not codes.is_a(*found.codes):
        return False
    declared = hint.level is not None and hint.level.name == found.level
    # scales that are powers of two may be kept as floats (DeepSeek), FP8 scales as bytes (ComfyUI)
    return scale.is_a(*found.scales) or (declared and scale.is_a("UInt8", *FLOAT_TYPES))


def _chosen_level(found: _Format, codes: TensorInfo, scale: TensorInfo, hint: Hint) -> QuantizationLevel:
    """The format found, or the declared level if both are plain bytes, which could be either."""
    level = hint.level
    untyped = codes.is_a("UInt8") and scale.is_a("UInt8")
    if level is None or not untyped or hint.bits != found.bits:
        return levels[found.level]
    own_group = level.block.weights if level.block.weights > 1 else hint.group_size
    if own_group in (None, found.group_size):
        return level
    return levels[found.level]  # the stored groups are those of another format: the tensors decide


def _serves(codes: TensorInfo, scale: TensorInfo, found: _Format) -> bool:
    """Whether there is a scale for each group of codes, along rows or down columns."""
    rows, columns = codes.matrix
    across, rest = divmod(codes.bits * columns, found.bits * found.group_size)
    if not rest and scale.shape == (*codes.shape[:-1], across):
        return True
    if _is_exchanged(codes, scale, found):
        return True
    # torchao swizzles scales into tiles, so that only their number can be compared, not their axes
    padded = -(-rows // _TILE_ROWS) * _TILE_ROWS * -(-across // _TILE_GROUPS) * _TILE_GROUPS
    if len(scale.shape) < 2 or (scale.matrix[0] == rows and rows % _TILE_ROWS):
        return False
    return not rest and scale.elements == codes.stack * padded


def _is_exchanged(codes: TensorInfo, scale: TensorInfo, found: _Format) -> bool:
    """Whether groups are down columns, as in fused experts whose rows are inputs."""
    rows, columns = codes.matrix
    down, rest = divmod(codes.bits * rows, found.bits * found.group_size)
    return not rest and scale.shape == (*codes.shape[:-2], down, columns)


def _shape(codes: TensorInfo, scale: TensorInfo, found: _Format) -> tuple[int, ...]:
    *stack, rows, columns = codes.shape
    across = codes.bits * columns // found.bits
    if scale.shape[:-1] != codes.shape[:-1] and _is_exchanged(codes, scale, found):
        return (*stack, columns, codes.bits * rows // found.bits)
    return (*stack, rows, across)


def _fold(
    module: Module, hint: Hint, *, codes_in_bytes: bool = False, zero_points_always: bool = False
) -> Weight | None:
    """weight and its scales: per tensor [] or [1], per row [N] or [N, 1], in groups [N, K/g], in blocks [N/r, K/c].

    Args:
        module: the tensors.
        hint: what is declared.
        codes_in_bytes: whether the method keeps a narrow code in an I8 of its own, never two in one.
        zero_points_always: whether the method stores zero points of symmetric weights as well.
    """
    codes = module["weight"]
    scale = next(module[name] for name in _SCALES if name in module)
    weight = microscaled(codes, scale, hint)
    if weight:
        return weight
    if codes.is_a("Int32", "UInt32"):
        return _transposed(codes, scale, hint) if len(scale.shape) > 1 else _rows(module, codes, hint)
    if codes.is_a("UInt8"):
        return _bytes(codes, scale, hint)
    level = codes.dtype
    if not isinstance(level, QuantizationLevel) or level.bits_per_param > BITS_PER_BYTE:
        return None  # scales of activations, or of a quantization that was only simulated
    if level.name == "Int8":
        level, codes = _integers(level, codes, scale, hint, codes_in_bytes=codes_in_bytes)
    _check_zero_point(module, scale)
    layout = _scale_layout(codes, scale, hint)
    symmetric = "weight_zero_point" not in module
    return Weight(
        level=level,
        parameters=codes.elements,
        code_bits=code_bits(module["weight"], codes.elements),
        group_size=layout.group_size,
        block=layout.block,
        symmetric=hint.symmetric if zero_points_always and not symmetric else symmetric,
        shape=layout.shape,
    )


def _integers(
    level: QuantizationLevel, codes: TensorInfo, scale: TensorInfo, hint: Hint, *, codes_in_bytes: bool
) -> tuple[QuantizationLevel, TensorInfo]:
    """The level and the axes of the integers in bytes: INT8, or the narrower ones that only a config shows.

    Raises:
        AmbiguousLayoutError: if several readings are left.
    """
    declared = hint.level
    if declared is None and _serves(codes, scale, _FORMATS[1]):
        raise AmbiguousLayoutError(
            "can be INT8 in groups of 16 or pairs of MXFP4 in groups of 32, and no config says which"
        )
    if declared is None or declared.kind not in ("int", "uint") or declared.bits_per_param >= BITS_PER_BYTE:
        return level, codes
    if codes_in_bytes:
        return declared, codes
    return declared, _unpacked(codes, scale, hint)


def _unpacked(codes: TensorInfo, scale: TensorInfo, hint: Hint) -> TensorInfo:
    """Bytes that hold narrow integers, with the axes of the integers: one or several per byte, as groups show.

    Raises:
        AmbiguousLayoutError: if groups leave both open.
    """
    per_byte = BITS_PER_BYTE // (hint.bits or BITS_PER_BYTE)
    if per_byte == 1:  # widths that do not share bytes
        return codes
    packed = codes
    if codes.shape:
        packed = codes._replace(shape=(*codes.shape[:-1], codes.shape[-1] * per_byte))
    size = hint.group_size or 0
    if size > 0 and len(scale.shape) > 1 and len(codes.shape) > 1 and scale.matrix[0] == codes.matrix[0]:
        fits = [reading for reading in (codes, packed) if -(-reading.matrix[1] // size) == scale.matrix[1]]
        if len(fits) == 1:
            return fits[0]
    raise AmbiguousLayoutError(
        f"can be {codes.elements:,} weights of {hint.level} in a byte each, or {packed.elements:,} that share bytes"
    )


def _check_zero_point(module: Module, scale: TensorInfo) -> None:
    zero_point = module.get("weight_zero_point")
    if zero_point and zero_point.elements not in (1, scale.elements):
        raise TensorRuleError(
            f"weight_zero_point has shape {list(zero_point.shape)}; expected that of the scales, {list(scale.shape)}"
        )


class _ScaleLayout(NamedTuple):
    """How scales cover a weight: groups along a row, two-dimensional blocks, or neither."""

    shape: tuple[int, ...]
    group_size: int | None = None
    block: tuple[int, int] | None = None


def _scale_layout(codes: TensorInfo, scale: TensorInfo, hint: Hint) -> _ScaleLayout:
    """How the scales of unpacked codes cover them.

    Raises:
        TensorRuleError: if so many scales cannot cover them.
        LayoutError: if groups do not tile a row.
    """
    if not scale.elements:
        raise _impossible(codes, scale, hint)
    # the axes of a convolution are not those of a stack of matrices
    shape = codes.shape if len(codes.shape) in (2, 3) else ()
    if scale.elements == 1 or len(codes.shape) < 2 or _is_reduced(codes, scale):
        return _ScaleLayout(shape, _whole_row(codes, scale, hint))
    rows, columns = codes.matrix
    if scale.shape in ((columns,), (1, columns)) or (scale.matrix if len(scale.shape) > 1 else ()) == (1, columns):
        return _ScaleLayout((*codes.shape[:-2], columns, rows) if shape else ())  # rows are inputs
    if len(scale.shape) < 2 or scale.stack not in (1, codes.stack):
        raise _impossible(codes, scale, hint)
    for block in _blocks(codes, scale, hint):
        return _ScaleLayout(shape, block=block)
    if scale.matrix[0] == rows:
        return _ScaleLayout(shape, group_size(columns, scale.matrix[1], hint))
    if scale.matrix[1] == columns and rows % scale.matrix[0] == 0:  # groups down columns
        return _ScaleLayout(shape)
    raise _impossible(codes, scale, hint)


def _is_reduced(codes: TensorInfo, scale: TensorInfo) -> bool:
    """Whether there is one scale per row, per matrix of a stack, or per output of a convolution."""
    if len(scale.shape) == len(codes.shape):
        kept = [size for size, length in zip(scale.shape, codes.shape, strict=True) if size == length]
        ones = scale.shape.count(1)
        return scale.shape[-1] == 1 and len(kept) + ones >= len(codes.shape)
    return scale.shape == codes.shape[: len(scale.shape)] or scale.shape == (codes.matrix[0],)


def _whole_row(codes: TensorInfo, scale: TensorInfo, hint: Hint) -> int | None:
    """The declared size of groups, if one of them holds a whole row."""
    size = hint.group_size
    one_group = len(scale.shape) > 1 and len(codes.shape) > 1 and scale.matrix == (codes.matrix[0], 1)
    if one_group and size and 0 < size >= codes.matrix[1]:
        return size
    return None


def _blocks(codes: TensorInfo, scale: TensorInfo, hint: Hint) -> Iterator[tuple[int, int]]:
    """Blocks of rows and columns that so many scales can serve, the declared one first."""
    rows, columns = codes.matrix
    if hint.block and scale.matrix[1] == -(-columns // hint.block[1]):
        # fused projections (q, k, v in one matrix) are cut for each device before their blocks are counted, so that
        # every part may end with a block that is not full
        parts = (count for count in range(1, min(rows, _MOST_PARTS) + 1) if rows % count == 0)
        if any(count * -(-(rows // count) // hint.block[0]) == scale.matrix[0] for count in parts):
            yield hint.block
    if scale.matrix[0] == rows:  # groups along a row
        return
    for side in _BLOCK_SIDES:
        if scale.matrix == (-(-rows // side), -(-columns // side)):
            yield side, side


def _impossible(codes: TensorInfo, scale: TensorInfo, hint: Hint) -> TensorRuleError:
    found = f"scales have shape {list(scale.shape)} beside codes of shape {list(codes.shape)}"
    if hint.block and len(codes.shape) > 1:
        counts = [-(-size // side) for size, side in zip(codes.matrix, hint.block, strict=True)]
        return TensorRuleError(f"{found}; expected {[*codes.shape[:-2], *counts]} for blocks of {list(hint.block)}")
    return TensorRuleError(f"{found}; expected one per tensor, row, group or block")


def _transposed(words: TensorInfo, scale: TensorInfo, hint: Hint) -> Weight:
    """Quark's integers in groups: weight I32 [K, N*b/32], scales [groups, N]."""
    (inputs, columns), (groups, outputs) = words.matrix, scale.matrix
    bits = exact(words.bits * columns, outputs, "bits of a code")
    return Weight(
        level=_integer(bits, hint),
        parameters=inputs * outputs,
        code_bits=Fraction(bits),
        group_size=group_size(inputs, groups, hint),
        symmetric=hint.symmetric,
        shape=(outputs, inputs),
    )


def _rows(module: Module, words: TensorInfo, hint: Hint) -> Weight:
    """Quark's integers with a scale per row: weight I32 [N, K*b/32], weight_zero_point [N*b/32]."""
    zero_point = module.get("weight_zero_point") or module.get("weight_zero_point_2")
    if hint.bits:
        bits = hint.bits
    elif zero_point:
        bits = exact(zero_point.bits * zero_point.elements, words.matrix[0], "bits of a zero point")
    else:
        raise AmbiguousLayoutError("bit width of the packed words is unknown: no config, no zero points")
    parameters = exact(words.bits * words.elements, bits, "codes in words")
    return Weight(level=_integer(bits, hint), parameters=parameters, code_bits=Fraction(bits), symmetric=hint.symmetric)


def _integer(bits: int, hint: Hint) -> QuantizationLevel:
    return integer(bits, unsigned=bool(hint.level and hint.level.kind == "uint"))


def _bytes(codes: TensorInfo, scale: TensorInfo, hint: Hint) -> Weight:
    """Codes in plain bytes: two rows of 4 bits in one (modelopt, [N/2, K]), or rows of a width the config gives."""
    rows, columns = codes.matrix
    if len(scale.shape) > 1 and scale.matrix[0] == 2 * rows:
        return Weight(
            level=integer(4),
            parameters=2 * codes.elements,
            code_bits=Fraction(4),
            group_size=group_size(columns, scale.matrix[1], hint),
            symmetric=hint.symmetric,
            shape=(*codes.shape[:-2], 2 * rows, columns),
        )
    if hint.level is None:
        raise AmbiguousLayoutError("bit width of the packed bytes is unknown: no config")
    if scale.elements > codes.stack and scale.shape[: len(codes.shape) - 1] != codes.shape[:-1]:
        raise _impossible(codes, scale, hint)
    bits = hint.level.bits_per_param
    parameters = exact(BITS_PER_BYTE * codes.elements, bits, "codes in bytes")
    groups = scale.matrix[1] if len(scale.shape) > 1 else 1
    # one number may be a scale per tensor or that of a single row: neither shows groups
    return Weight(
        level=hint.level,
        parameters=parameters,
        code_bits=code_bits(codes, parameters),
        group_size=group_size(BITS_PER_BYTE * columns // bits, groups, hint) if scale.elements > 1 else None,
        symmetric=hint.symmetric,
    )


def packings(*, codes_in_bytes: bool = False, zero_points_always: bool = False) -> tuple[Packing, ...]:
    """The layout under every name that its scales have, with what a method always does, as `_fold` takes it."""
    fold = partial(_fold, codes_in_bytes=codes_in_bytes, zero_points_always=zero_points_always)
    return tuple(Packing("weight", (scale,), fold, sides=_SIDES) for scale in _SCALES)


PACKINGS = packings()
