"""ComfyUI: each quantized layer has a format of its own, declared in the file that holds its weights.

The format stands in a small tensor of JSON beside the weight (``comfy_quant``), or for all layers in the metadata of
the file (``_quantization_metadata``). FP8, NVFP4, MXFP8 and INT8 are stored as others store them; four formats of
4-bit codes are ComfyUI's own, two codes in each I8.

Source: ComfyUI at 0271a46, ``comfy/quant_ops.py`` (``QUANT_ALGOS``) and ``comfy/ops.py``; comfy-kitchen 0.2.40,
``tensor/*.py``; comfy-quants at 55f0a26, ``docs/formats``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import ClassVar, Final

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    DeclaredLevel,
    Hint,
    Matrix,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorInfo,
    TensorRule,
    TensorRuleError,
    UnknownTypeError,
    Weight,
    declared_integer,
    exact,
    integer,
    level_of_each,
    valid_group_size,
    with_scales,
    words,
)
from quantlevels.schemes.common import check_low_rank, codebook_level, declared_as
from quantlevels.schemes.nunchaku import declared_awq, declared_svdquant
from quantlevels.schemes.scaled import PACKINGS as SCALED
from quantlevels.vocabulary.level import BITS_PER_BYTE
from quantlevels.vocabulary.registry import levels

_BITS: Final = 4
_CODES_PER_BYTE: Final = 2
_AWQ_GROUP: Final = 64
_LUT_GROUP: Final = 16
#: Rows and groups of the tiles to which ComfyUI pads block scales.
_TILE_ROWS, _TILE_GROUPS = 128, 4
#: Tiles of SVDQuant's codes, in the order in which its kernel reads them: [N/128, K/64, 32, 128] bytes.
_TILED_AXES: Final = 4
_TILE: Final = (32, 128)
_TILED_ROWS, _TILED_COLUMNS = 128, 64


def _grouped(group_size: int | None, default: int) -> int:
    if group_size and group_size > 0:
        return group_size
    return default


def _declared_lut(group_size: int | None) -> DeclaredLevel:
    """Indices into 16 values, with a scale of 8 bits per group and one per row."""
    group = _grouped(group_size, _LUT_GROUP)
    return DeclaredLevel(
        level=codebook_level("LUT", _BITS),
        group_size=group,
        bits_per_weight=with_scales(_BITS, group, BITS_PER_BYTE),
    )


#: format → what it declares, given the size of groups that may stand beside it
_FORMATS: Final[Mapping[str, Callable[[int | None], DeclaredLevel | None]]] = {
    "float8_e4m3fn": lambda _: declared_as("Float8E4M3FN"),
    "float8_e5m2": lambda _: declared_as("Float8E5M2"),
    "nvfp4": lambda _: declared_as("NVFP4"),
    "mxfp8": lambda _: declared_as("MXFP8_E4M3"),
    "rowwise-float8_e4m3fn": lambda _: declared_as("Float8E4M3FN"),
    "bf16": lambda _: None,
    "int8_tensorwise": lambda _: declared_as("Int8"),
    "convrot_w4a4": lambda _: declared_integer(_BITS, None, True),
    "asym_w4a8_int8": _declared_lut,
    "awq_w4a16": lambda group_size: declared_awq(_grouped(group_size, _AWQ_GROUP)),
    "svdquant_w4a4": lambda group_size: declared_svdquant(_grouped(group_size, _AWQ_GROUP)),
}


def _fold_pairs(module: Module, hint: Hint) -> Weight | None:
    """convrot_w4a4: weight I8 [N, K/2], weight_scale F32 [N]. Only a config shows that it is not INT8 per row."""
    codes, scale = module["weight"], module["weight_scale"]
    declared = hint.level is not None and hint.level.name == "Int4"
    if not declared or not codes.is_a("Int8") or len(codes.shape) != 2 or scale.elements != codes.shape[0]:
        return None
    return _pairs(codes, group_size=None, symmetric=True)


def _pairs(codes: TensorInfo, *, group_size: int | None, symmetric: bool) -> Weight:
    """Two codes in each byte of a row."""
    rows, columns = codes.matrix[0], _CODES_PER_BYTE * codes.matrix[1]
    return Weight(
        level=integer(_BITS),
        parameters=rows * columns,
        code_bits=Fraction(_BITS),
        group_size=group_size,
        symmetric=symmetric,
        shape=(rows, columns),
    )


def _fold_lut(module: Module, hint: Hint) -> Weight | None:
    """asym_w4a8_int8: weight I8 [N, K/2], weight_s_rel [N, K/g], weight_s_channel [N]; without a codebook, integers."""
    codes, scales = module["weight"], module["weight_s_rel"]
    if not codes.is_a("Int8"):
        return None
    rows, columns = codes.matrix[0], _CODES_PER_BYTE * codes.matrix[1]
    table = "weight_codebook" in module
    level = codebook_level("LUT", _BITS) if table else integer(_BITS)
    return Weight(
        level=level,
        parameters=rows * columns,
        code_bits=Fraction(_BITS),
        group_size=exact(columns, scales.matrix[1], "scale groups do not tile a row"),
        symmetric=None if table else "weight_correction" not in module,
        shape=(rows, columns),
    )


def _fold_awq(module: Module, hint: Hint) -> Weight | None:
    """awq_w4a16: weight I8 [N, K/2], weight_scale and weight_zeros [K/g, N]."""
    codes, scales = module["weight"], module["weight_scale"]
    if not codes.is_a("Int8"):
        return None
    group = exact(_CODES_PER_BYTE * codes.matrix[1], scales.matrix[0], "scale groups do not tile a row")
    return _pairs(codes, group_size=group, symmetric=False)


def _fold_svdquant(module: Module, hint: Hint) -> Weight | None:
    """svdquant_w4a4: weight I8 [N, K/2], weight_scale [K/g, N]; or in tiles, weight [N/128, K/64, 32, 128]."""
    codes, scales = module["weight"], module["weight_scale"]
    if not codes.is_a("Int8"):
        return None
    if len(codes.shape) != _TILED_AXES:
        group = exact(_CODES_PER_BYTE * codes.matrix[1], scales.matrix[0], "scale groups do not tile a row")
        weight = _pairs(codes, group_size=group, symmetric=True)
        _check_corrections(module, *weight.shape)
        return weight
    # only the product of rows and columns is compared with the scales: in tiles, they have an order of their own
    if codes.shape[2:] != _TILE:
        return None
    rows, columns = _TILED_ROWS * codes.shape[0], _TILED_COLUMNS * codes.shape[1]
    _check_corrections(module, rows, columns)
    return Weight(
        level=integer(_BITS),
        parameters=rows * columns,
        code_bits=Fraction(_BITS),
        group_size=exact(rows * columns, scales.elements, "scale groups do not tile the weights"),
        symmetric=True,
    )


def _check_corrections(module: Module, rows: int, columns: int) -> None:
    """Refuse a low-rank part or a smoothing factor of another weight."""
    prefix = "weight_" if "weight_proj_down" in module else ""
    up, down, smooth = (module.get(f"{prefix}{name}") for name in ("proj_up", "proj_down", "smooth_factor"))
    if up and down:
        check_low_rank(up, down, rows, columns)
    if smooth and smooth.elements != columns:
        raise TensorRuleError(f"smooth_factor has shape {list(smooth.shape)}; expected [columns] = [{columns}]")


def _fold_nvfp4_in_bytes(module: Module, hint: Hint) -> Weight | None:
    """nvfp4 whose FP8 scales were saved as bytes: the scale of the tensor and groups of 16 rule out MXFP4."""
    codes, scales = module["weight"], module["weight_scale"]
    level = levels["NVFP4"]
    # groups of 16 and a second scale are what MXFP4 in bytes never has
    if not (codes.is_a("UInt8") and scales.is_a("UInt8")) or len(codes.shape) != 2:
        return None
    rows, columns = codes.shape[0], _CODES_PER_BYTE * codes.shape[1]
    groups, rest = divmod(columns, level.block.weights)
    if rest or scales.elements not in (rows * groups, _tiled(rows, groups)):
        return None
    return Weight(
        level=level,
        parameters=rows * columns,
        code_bits=Fraction(_BITS),
        group_size=level.block.weights,
        symmetric=True,
    )


def _tiled(rows: int, groups: int) -> int:
    """Scales of so many rows and groups, padded to whole tiles."""
    return -(-rows // _TILE_ROWS) * _TILE_ROWS * -(-groups // _TILE_GROUPS) * _TILE_GROUPS


_SCALE: Final = TensorRule("weight_scale", FLOAT_TYPES, "groups rows", role="scale")
_AWQ_ZEROS: Final = ("weight_zeros", "weight_zero")
_LOW_RANK: Final = tuple(
    TensorRule(name, FLOAT_TYPES, role="correction")
    for name in (
        *("proj_down", "proj_up", "smooth_factor"),
        *("weight_proj_down", "weight_proj_up", "weight_smooth_factor"),
    )
)
_LUT: Final = Packing(
    "weight",
    ("weight_s_rel", "weight_s_channel"),
    _fold_lut,
    (
        TensorRule("weight_s_rel", ("Float8E4M3FN", "UInt8", *FLOAT_TYPES), "rows groups", role="scale"),
        TensorRule("weight_s_channel", FLOAT_TYPES, "rows", role="scale"),
        TensorRule("weight_codebook", FLOAT_TYPES, "16", role="codebook"),
        TensorRule("weight_correction", FLOAT_TYPES, "groups rows", role="correction"),
    ),
)
_AWQ: Final = tuple(
    Packing(
        "weight",
        ("weight_scale", zeros),
        _fold_awq,
        (_SCALE, TensorRule(zeros, FLOAT_TYPES, "groups rows", role="zero_point")),
    )
    for zeros in _AWQ_ZEROS
)
_SVDQUANT: Final = tuple(
    Packing("weight", ("weight_scale", f"{prefix}proj_down"), _fold_svdquant, (_SCALE, *_LOW_RANK))
    for prefix in ("", "weight_")
)
_NVFP4: Final = Packing(
    "weight",
    ("weight_scale", "weight_scale_2"),
    _fold_nvfp4_in_bytes,
    (
        TensorRule("weight_scale", ("UInt8",), role="scale"),
        TensorRule("weight_scale_2", FLOAT_TYPES, "1", role="scale"),
    ),
    declared_only=True,
)
_CONVROT: Final = Packing(
    "weight",
    ("weight_scale",),
    _fold_pairs,
    (TensorRule("weight_scale", FLOAT_TYPES, "rows", role="scale"),),
    declared_only=True,
)


@frozen(kw_only=True, eq=False, repr=False)
class ComfyParams:
    """Settings of a format that some writers keep in an object of their own."""

    ignored_keys: ClassVar[frozenset[str]] = words(
        "convrot convrot_groupsize linear_dtype orig_dtype orig_shape quant_group_size"
    )

    group_size: int | None = field(default=None, validator=valid_group_size)


@frozen(kw_only=True, eq=False, repr=False)
class ComfyLayer:
    """The format of a layer: what its ``comfy_quant`` tensor holds, or its entry in the metadata."""

    ignored_keys: ClassVar[frozenset[str]] = words(
        "act_unsigned convrot convrot_groupsize full_precision_matrix_mult layout linear_dtype "
        "lowrank_branch_input_basis orig_dtype orig_shape proj_down_smooth_folded quant_group_size"
    )

    format: str
    group_size: int | None = field(default=None, validator=valid_group_size)
    params: ComfyParams | None = None

    def declared(self) -> DeclaredLevel | None:
        """The level the format makes; None for a layer that is left as it is.

        Raises:
            UnknownTypeError: for a format that ComfyUI does not have.
        """
        declare = _FORMATS.get(self.format)
        if declare is None:
            raise UnknownTypeError(f"format {self.format!r:.80} is not known; known are {', '.join(_FORMATS)}")
        if self.group_size is None and self.params:  # comfy-quants keeps it in an object of its own
            return declare(self.params.group_size)
        return declare(self.group_size)


@frozen(kw_only=True, eq=False, repr=False)
class ComfyConfig(MethodConfig):
    """``_quantization_metadata`` of a file, or the ``comfy_quant`` tensors of its layers taken together."""

    ignored_keys: ClassVar[frozenset[str]] = words("mixed_ops quant_configs")

    format_version: str | None = None
    layers: Mapping[str, ComfyLayer] = field(factory=dict)

    def general(self) -> None:
        """Nothing: layers that are not named are not quantized."""

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The format of each layer."""
        return level_of_each(self.layers, ComfyLayer.declared)


def _marker(text: str) -> TensorRule:
    # JSON as bytes, one per letter: its length is part of the size of every layer
    return TensorRule("comfy_quant", ("UInt8",), nbytes=lambda _: len(text), role="state")


def _tiled_scales(block: int) -> TensorRule:
    """A scale of one byte per block of a row, in tiles."""
    return TensorRule("weight_scale", nbytes=lambda m: _tiled(m.rows, -(-m.columns // block)), role="scale")


def _padded(rows: int, columns: int) -> Callable[[Matrix], int]:
    """Bytes of codes whose rows and columns are padded to whole blocks."""
    return lambda m: -(-m.rows // rows) * rows * -(-m.columns // columns) * columns * m.bits // BITS_PER_BYTE


_TENSOR_SCALE: Final = TensorRule("weight_scale", ("None",), "1", role="scale")
_SOURCE: Final = "comfy-kitchen 0.2.40 tensor/, with the markers of ComfyUI's comfy/ops.py"


def _storage(level: str, *tensors: TensorRule) -> Storage:
    return Storage(format="comfy", levels=(level,), tensors=tensors, grouped=False, source=_SOURCE)


_STORAGE: Final = (
    _storage(
        "Float8E4M3FN",
        TensorRule("weight", ("Float8E4M3FN",), "rows columns", role="codes"),
        _TENSOR_SCALE,
        _marker('{"format": "float8_e4m3fn"}'),
    ),
    _storage(
        "Float8E5M2",
        TensorRule("weight", ("Float8E5M2",), "rows columns", role="codes"),
        _TENSOR_SCALE,
        _marker('{"format": "float8_e5m2"}'),
    ),
    _storage(
        "NVFP4",
        TensorRule("weight", ("UInt8",), nbytes=_padded(16, 16), role="codes"),
        _tiled_scales(16),
        TensorRule("weight_scale_2", ("None",), "1", role="scale"),
        _marker('{"format": "nvfp4"}'),
    ),
    _storage(
        "MXFP8_E4M3",
        TensorRule("weight", ("Float8E4M3FN",), nbytes=_padded(32, 32), role="codes"),
        _tiled_scales(32),
        _marker('{"format": "mxfp8"}'),
    ),
    _storage(
        "Int8",
        TensorRule("weight", ("Int8",), "rows columns", role="codes"),
        _TENSOR_SCALE,
        _marker('{"format": "int8_tensorwise"}'),
    ),
    _storage(
        "Int4",
        TensorRule("weight", ("Int8",), "rows packed_columns", role="codes"),
        TensorRule("weight_scale", ("None",), "rows", role="scale"),
        _marker('{"format": "convrot_w4a4", "convrot_groupsize": 256}'),
    ),
)

SCHEMES = (
    Scheme(
        method="comfy",
        config=ComfyConfig,
        storage=_STORAGE,
        packings=(_LUT, *_AWQ, *_SVDQUANT, _NVFP4, _CONVROT, *SCALED),
    ),
)
