"""Codes in ``weight`` with scales beside them: the layout that FP8, NVFP4, MX and 8-bit integer quantizers share.

The types of codes and scales, and how many codes a scale serves, tell the formats apart. Written by compressed-tensors
0.20.0, modelopt 0.47.0, quark 0.13, transformers 5.23.0 (fp8, fbgemm_fp8, mxfp8), ComfyUI and others.
"""

from __future__ import annotations

from fractions import Fraction

from quantlevels.scheme import (
    AmbiguousLayoutError,
    Hint,
    Module,
    Packing,
    TensorInfo,
    Weight,
    code_bits,
    exact,
    group_size,
    integer,
)
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import levels

#: level → bits of a code, levels of the tensor that holds the codes, levels of a scale, codes it serves along a row
_MICROSCALED = {
    "NVFP4": (4, ("UInt8", "Int8", "Float4E2M1"), ("Float8E4M3FN",), 16),
    "MXFP4": (4, ("UInt8", "Int8", "Float4E2M1"), ("UInt8", "Float8E8M0FNU"), 32),
    "MXFP6_E2M3": (6, ("UInt8", "Float6E2M3"), ("UInt8", "Float8E8M0FNU"), 32),
    "MXFP6_E3M2": (6, ("Float6E3M2",), ("UInt8", "Float8E8M0FNU"), 32),
    "MXFP8_E4M3": (8, ("Float8E4M3FN",), ("UInt8", "Float8E8M0FNU"), 32),
    "MXFP8_E5M2": (8, ("Float8E5M2",), ("UInt8", "Float8E8M0FNU"), 32),
    "MXINT8": (8, ("Int8",), ("UInt8", "Float8E8M0FNU"), 32),
}
_KIND = "microscaling"
_FLOATS = ("None", "BFloat16", "Float16")
_SCALES = ("weight_scale", "weight_scale_inv", "scale", "weight_scales", "scale_weight")
#: those of the module, and what modelopt subtracts from keys and values before they go to a quantized cache
_SIDES = (*_SCALES, "k_bias", "v_bias")
#: bits of a code and codes of a group, in I8 with floats for scales
_DEEPSEEK_FP4 = (4, 32)
#: rows and groups of the tiles to which torchao and ComfyUI pad scales, as NVIDIA's kernels read them
_TILE_ROWS, _TILE_GROUPS = 128, 4


def microscaled(codes: TensorInfo, scale: TensorInfo, hint: Hint) -> Weight | None:
    """A microscaling weight, told by the types of codes and scales and how many share one; None if it is not one.

    codes [N, K*b/8] in bytes, or [N, K] elements of that width; scales [N, K/16] or [N, K/32], or padded to the tiles
    of a kernel. Fused experts may have both with rows and columns exchanged.
    """
    if len(codes.shape) < 2:
        return None
    for name, (bits, holders, scales, group) in _MICROSCALED.items():
        untyped = codes.is_a("UInt8") and scale.is_a("UInt8") and bits == 4
        said = hint.level if hint.level and hint.bits == bits and (untyped or hint.level.kind == _KIND) else None
        typed = scale.is_a(*scales) or (said == levels[name] and scale.is_a(*_FLOATS))
        if codes.is_a(*holders) and typed and _serves(codes, scale, bits, group):
            return Weight(
                level=said or levels[name],
                parameters=codes.elements * codes.bits // bits,
                code_bits=Fraction(bits),
                group_size=group,
                symmetric=True,
            )
    return None


def _serves(codes: TensorInfo, scale: TensorInfo, bits: int, group: int) -> bool:
    """Whether there is a scale for each group of codes of so many bits, down rows or columns."""
    rows, columns = codes.matrix
    across, rest = divmod(codes.bits * columns, bits * group)
    if not rest and scale.shape == (*codes.shape[:-1], across):
        return True
    down, more = divmod(codes.bits * rows, bits * group)
    if not more and scale.shape == (*codes.shape[:-2], down, columns):
        return True
    padded = -(-rows // _TILE_ROWS) * _TILE_ROWS * -(-across // _TILE_GROUPS) * _TILE_GROUPS
    if len(scale.shape) < 2 or (scale.matrix[0] == rows and rows % _TILE_ROWS):
        return False
    return not rest and scale.elements == codes.stack * padded


def _fold(module: Module, hint: Hint) -> Weight | None:
    """weight and its scales: per tensor [] or [1], per row [N] or [N, 1], in groups [N, K/g], in blocks [N/r, K/c]."""
    codes = module["weight"]
    scale = next(module[name] for name in _SCALES if name in module)
    if weight := microscaled(codes, scale, hint):
        return weight
    if codes.is_a("Int32", "UInt32"):
        return _transposed(codes, scale, hint) if len(scale.shape) > 1 else _rows(module, codes, hint)
    if codes.is_a("UInt8"):
        return _bytes(codes, scale, hint)
    level = codes.dtype
    if not isinstance(level, QuantizationLevel) or level.bits_per_param > 8:
        return None  # scales of activations, or of a quantization that was only simulated
    if codes.is_a("Int8") and hint.level is None and _serves(codes, scale, *_DEEPSEEK_FP4):
        raise AmbiguousLayoutError("can be INT8 in groups of 16 or pairs of MXFP4 in groups of 32, and no config tells")
    if level.name == "Int8" and hint.level and hint.level.kind in ("int", "uint"):
        level = hint.level if hint.level.bits_per_param < 8 else level
    return Weight(
        level=level,
        parameters=codes.elements,
        code_bits=Fraction(codes.bits),
        group_size=_along_row(codes, scale, hint),
        symmetric="weight_zero_point" not in module,
    )


def _along_row(codes: TensorInfo, scale: TensorInfo, hint: Hint) -> int | None:
    """Weights of a row that share a scale; None for scales per tensor, per row, and per block of rows and columns."""
    if scale.elements == 1 or len(scale.shape) < 2 or scale.matrix[0] != codes.matrix[0] or scale.matrix[1] == 1:
        known = hint.group_size
        one_group = len(scale.shape) > 1 and scale.matrix == (codes.matrix[0], 1)
        return known if one_group and known and 0 < known >= codes.matrix[1] else None
    if hint.block and scale.matrix == tuple(
        -(-size // side) for size, side in zip(codes.matrix, hint.block, strict=True)
    ):
        return None
    return group_size(codes.matrix[1], scale.matrix[1], hint)


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
    )


def _rows(module: Module, words: TensorInfo, hint: Hint) -> Weight:
    """Quark's integers with a scale a row: weight I32 [N, K*b/32], weight_zero_point [N*b/32]."""
    zero_point = module.get("weight_zero_point") or module.get("weight_zero_point_2")
    if hint.bits:
        bits = hint.bits
    elif zero_point:
        bits = exact(zero_point.bits * zero_point.elements, words.matrix[0], "bits of a zero point")
    else:
        raise AmbiguousLayoutError("words of codes, and neither a config nor zero points tell the bits of a code")
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
        )
    if hint.level is None:
        raise AmbiguousLayoutError("bytes of codes with a scale, and no config tells how many codes a byte holds")
    bits = hint.level.bits_per_param
    parameters = exact(8 * codes.elements, bits, "codes in bytes")
    groups = scale.matrix[1] if len(scale.shape) > 1 else 1
    return Weight(
        level=hint.level,
        parameters=parameters,
        code_bits=code_bits(codes, parameters),
        group_size=group_size(8 * columns // bits, groups, hint) if scale.elements > 1 else None,
        symmetric=hint.symmetric,
    )


PACKINGS = tuple(Packing("weight", (scale,), _fold, sides=_SIDES) for scale in _SCALES)
