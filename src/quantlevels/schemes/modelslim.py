"""msModelSlim (Ascend): a description file names the type of every tensor.

Codes stand in ``weight``: INT8, or INT4 two rows in one (W4A8) or one code in a byte (W4A4), or microscaling floats.
The tensors of smoothing, rotations and activations stand beside them.

Source: msmodelslim 26.1.0, ``core/quant_service/modelslim_v1/save/ascendv1.py``; vllm-ascend at 182b75e,
``quantization/methods``; sglang 0.5.23, ``layers/quantization/modelslim``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from attrs import evolve, field, frozen

from quantlevels.container import JSON
from quantlevels.scheme import (
    FLOAT_TYPES,
    SCALE_TYPES,
    Config,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorRule,
    UnknownTypeError,
    Weight,
    declared_integer,
    exact,
    group_size,
    integer,
    level_of_each,
    within,
)
from quantlevels.schemes.common import declared_as
from quantlevels.schemes.scaled import PACKINGS as SCALED
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels

_FLOAT: Final = "FLOAT"
_SCALE_BITS: Final = 32
#: type, without what was done to weights before they were rounded → level
_TYPES: Final = {
    **dict.fromkeys(("W8A8", "W8A8_DYNAMIC", "W8A8_MIX", "W8A8_STATIC", "W8A8_TIMESTEP", "W8A16"), "Int8"),
    **dict.fromkeys(("W8A8S", "W8A8SC"), "Int8"),
    **dict.fromkeys(("W4A8_DYNAMIC", "W4A4_DYNAMIC", "W4A16"), "Int4"),
    **dict.fromkeys(("W4A4_MXFP4", "W4A8_MXFP", "W4A8_MXFP8", "W4A16_MXFP4"), "MXFP4"),
    "W8A8_MXFP8": "MXFP8_E4M3",
    **dict.fromkeys(("WFP8AFP8_DYNAMIC", "W8A8FP8_DYNAMIC"), "Float8E4M3FN"),
}
#: Types of tensors that are not quantized: plain floats, and floats of which a part is zero.
_UNQUANTIZED: Final = (_FLOAT, "W16A16S", "W16A16SC")
#: What ``model_quant_type`` is if all types are those that its writer does not rank: W4A8.
_UNRANKED: Final = "Unknown"
_TRANSFORMED: Final = re.compile("_(?:FLATQUANT|SVD|DUALSCALE)")
#: Words for a quantized key-value cache → level
_CACHES: Final = {"C8": "Int8"}
_WEIGHT: Final = ".weight"


def level_of(word: str) -> QuantizationLevel | None:
    """The level of a type of tensors; None for those that are not quantized.

    Raises:
        UnknownTypeError: for a type that msModelSlim does not have.
    """
    if word in _UNQUANTIZED:
        return None
    name = _TYPES.get(_TRANSFORMED.sub("", word))
    if name is None:
        raise UnknownTypeError(f"type {word!r:.80} is not known")
    return levels[name]


_OFFSETS: Final = tuple(
    TensorRule(name, FLOAT_TYPES, shapes, role="zero_point")
    for name, shapes in (
        ("weight_offset", "rows | rows groups"),
        ("weight_offset_second", "rows groups"),
        ("scale_bias", "rows | rows 16"),
    )
)
_TRANSFORMS: Final = tuple(
    TensorRule(name, FLOAT_TYPES, role="correction")
    for name in ("left_trans", "right_trans", "clip_ratio", "svd_lowrank_l1", "svd_lowrank_l2")
)
_ACTIVATIONS: Final = (
    TensorRule("input_offset", (*FLOAT_TYPES, "Int8", "Int32"), "1", role="activation"),
    TensorRule("quant_bias", ("Int32",), "rows", role="activation"),
    TensorRule("deq_scale", ("Int64", *FLOAT_TYPES), "rows", role="activation"),
)
_SIDES: Final = (
    TensorRule("weight_scale", SCALE_TYPES, "rows | rows groups", role="scale"),
    TensorRule("weight_scale_second", FLOAT_TYPES, "rows groups", role="scale"),
    TensorRule("weight_dual_scale", FLOAT_TYPES, role="scale"),
    *_OFFSETS,
    *_TRANSFORMS,
    *_ACTIVATIONS,
)


def _fold(module: Module, hint: Hint) -> Weight | None:
    """weight I8 [N, K], or [N/2, K] with two rows in one; weight_scale [N, 1] or [N, K/g]. Floats as others store them.

    W4A4 keeps a code of 4 bits in a byte; only a description shows that it is not INT8.
    """
    codes, scale = module["weight"], module["weight_scale"]
    if not codes.is_a("Int8") or len(codes.shape) < 2 or len(scale.shape) < 2:
        return SCALED[0].fold(module, hint)
    # the scales have a row for each row of the weight, which shows whether two of them share a row of bytes
    rows, columns = scale.matrix[0], codes.matrix[1]
    groups = module.get("weight_scale_second", scale).matrix[1]
    codes_per_byte = 2 if rows == 2 * codes.matrix[0] else 1
    declared_narrow = hint.level is not None and hint.level.name == "Int4"
    level = integer(4) if codes_per_byte > 1 or declared_narrow else integer(BITS_PER_BYTE)
    return Weight(
        level=level,
        parameters=codes_per_byte * codes.elements,
        code_bits=Fraction(BITS_PER_BYTE, codes_per_byte),
        group_size=group_size(columns, groups, hint),
        symmetric=True,
        shape=(*codes.shape[:-2], codes_per_byte * codes.matrix[0], columns),
    )


def _fold_static(module: Module, hint: Hint) -> Weight:
    """W8A8: weight I8 [N, K]; deq_scale [N] is its scale times that of the activations."""
    codes = module["weight"]
    if not codes.is_a("Int8"):
        raise LayoutError(f"weight is {codes.dtype} beside deq_scale; expected Int8")
    exact(module["deq_scale"].elements, codes.matrix[0], "a scale for each row")
    return Weight(
        level=codes.dtype if isinstance(codes.dtype, QuantizationLevel) else integer(8),
        parameters=codes.elements,
        code_bits=Fraction(codes.bits),
        symmetric=True,
        shape=codes.shape,
    )


_STATIC: Final = Packing("weight", ("deq_scale",), _fold_static, _SIDES)
#: Each with a tensor that no other method has beside its codes.
_MARKED: Final = tuple(
    Packing("weight", ("weight_scale", side), _fold, _SIDES)
    for side in ("weight_offset", "weight_dual_scale", "left_trans", "svd_lowrank_l1")
)
_SCALED: Final = Packing("weight", ("weight_scale",), _fold, _SIDES, declared_only=True)


@frozen(kw_only=True, eq=False, repr=False)
class ModelSlimConfig(MethodConfig):
    """``quant_model_description.json``."""

    model_quant_type: str | None = None
    group_size: int = field(default=0, validator=within(-1, 2**31))
    kv_cache_type: str | None = None
    #: tensor → its type
    tensors: Mapping[str, str] = field(factory=dict)

    def general(self) -> DeclaredLevel | None:
        """The level that most quantized weights are meant to have."""
        if self.model_quant_type in (None, _UNRANKED):
            return None
        return self._declared(self.model_quant_type)

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The type of each weight."""
        types = {name.removesuffix(_WEIGHT): word for name, word in self.tensors.items() if name.endswith(_WEIGHT)}
        return level_of_each(types, self._declared)

    def kv_cache(self) -> QuantizationLevel | None:
        """INT8, if the cache has scales."""
        name = _CACHES.get(self.kv_cache_type or "")
        if name is None:
            return None
        return levels[name]

    def _declared(self, word: str) -> DeclaredLevel | None:
        level = level_of(word)
        if level is None:
            return None
        if level.kind != "int":
            return declared_as(level.name)
        group = self.group_size if self.group_size > 0 else None
        declared = declared_integer(level.bits_per_param, group, True, side_bits=2 * _SCALE_BITS)
        if group is None:  # scales and offsets per row are extras per row
            return evolve(declared, bits_per_weight=Fraction(level.bits_per_param))
        return declared


_SETTINGS: Final = ("model_quant_type", "group_size", "kv_cache_type")


def _prepare(config: Config) -> Config:
    """A description has settings beside its tensors; tensors have a dot in their names and a word for their type."""
    # a description names biases and scales as well, each with the type of its weight: only weights declare a level
    tensors: dict[str, JSON] = {name: word for name, word in config.items() if name.endswith(_WEIGHT)}
    return {**{key: config[key] for key in _SETTINGS if key in config}, "tensors": tensors}


_ROW_SCALES: Final = (
    TensorRule("weight_scale", ("None",), "rows", role="scale"),
    TensorRule("weight_offset", ("None",), "rows", role="zero_point"),
)
_BLOCK_SCALES: Final = (TensorRule("weight_scale", ("UInt8",), "rows groups", role="scale"),)


def _storage(level: str, codes: str, *tensors: TensorRule) -> Storage:
    shape = "rows packed_columns" if level == "MXFP4" else "rows columns"
    return Storage(
        format="modelslim",
        levels=(level,),
        tensors=(TensorRule("weight", (codes,), shape, role="codes"), *tensors),
        grouped=False,
        ragged="refuses",
        source="msmodelslim 26.1.0, core/quant_service/modelslim_v1/save/ascendv1.py",
    )


#: Not W4A8, the size of whose ``scale_bias`` depends on the name of the layer.
_STORAGE: Final = (
    _storage("Int8", "Int8", *_ROW_SCALES),
    _storage("Float8E4M3FN", "Float8E4M3FN", *_ROW_SCALES),
    _storage("MXFP8_E4M3", "Float8E4M3FN", *_BLOCK_SCALES),
    _storage("MXFP4", "UInt8", *_BLOCK_SCALES),
)

SCHEMES = (
    Scheme(
        method="modelslim",
        config=ModelSlimConfig,
        storage=_STORAGE,
        packings=(_STATIC, *_MARKED, _SCALED),
        aliases=("ascend",),
        prepare=_prepare,
    ),
)
