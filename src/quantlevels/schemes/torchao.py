"""torchao: tensors of a weight subclass, flattened with a leading underscore.

Source: torchao 0.18.0, ``prototype/safetensors/safetensors_support.py``, ``quantization/quantize_/workflows``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar

from attrs import field, frozen
from attrs.validators import optional

from quantlevels.container import JSON
from quantlevels.scheme import (
    SCALE_TYPES,
    AmbiguousLayoutError,
    Config,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    TensorInfo,
    TensorRule,
    UnknownTypeError,
    Weight,
    exact,
    group_size,
    level_of_each,
    one_of,
    valid_group_size,
    with_scales,
    words,
)
from quantlevels.schemes.common import declared_as, level_named, valid_block
from quantlevels.schemes.scaled import microscaled
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels

#: class of a torchao config → level, the default of those that may name a dtype or a width
_CONFIGS = {
    "Int8WeightOnlyConfig": "Int8",
    "Int8DynamicActivationInt8WeightConfig": "Int8",
    "Int8StaticActivationInt8WeightConfig": "Int8",
    "Int4WeightOnlyConfig": "Int4",
    "Int8DynamicActivationInt4WeightConfig": "Int4",
    "Float8DynamicActivationInt4WeightConfig": "Int4",
    "Float8WeightOnlyConfig": "Float8E4M3FN",
    "Float8DynamicActivationFloat8WeightConfig": "Float8E4M3FN",
    "Float8StaticActivationFloat8WeightConfig": "Float8E4M3FN",
    "NVFP4InferenceConfig": "NVFP4",
    "NVFP4WeightOnlyConfig": "NVFP4",
    "NVFP4DynamicActivationNVFP4WeightConfig": "NVFP4",
    "MXDynamicActivationMXWeightConfig": "MXFP8_E4M3",
    "MXFPInferenceConfig": "MXFP8_E4M3",
    "IntxWeightOnlyConfig": "Int8",
    "Int8DynamicActivationIntxWeightConfig": "Int8",
    "UIntXWeightOnlyConfig": "UInt4",
    "UIntxWeightOnlyConfig": "UInt4",
    "Int8DynamicActivationUIntxWeightConfig": "UInt4",
    "GemliteUIntXWeightOnlyConfig": "UInt4",
}
#: element → level, of the configs whose scales are powers of two
_MX = {"Float4E2M1": "MXFP4", "Float8E4M3FN": "MXFP8_E4M3", "Float8E5M2": "MXFP8_E5M2"}
#: class of a config → its default group size
_GROUPS = {
    "Int4WeightOnlyConfig": 128,
    "Float8DynamicActivationInt4WeightConfig": 128,
    "Int8DynamicActivationInt4WeightConfig": 32,
    "Int8DynamicActivationIntxWeightConfig": 32,
    "UIntXWeightOnlyConfig": 64,
    "UIntxWeightOnlyConfig": 128,
    "Int8DynamicActivationUIntxWeightConfig": 128,
    "GemliteUIntXWeightOnlyConfig": 128,
}
#: classes whose codes have a byte each, with a zero point of one byte per group, unless they name another packing
_IN_BYTES = ("IntxWeightOnlyConfig", "Int8DynamicActivationIntxWeightConfig")
_UNPACKED = "UNPACKED_TO_INT8"
_FLOATS = {"e4m3": "float8_e4m3fn", "e5m2": "float8_e5m2"}
_BLOCK_SCALE_BITS = 32
#: what stood in place of a config object before 0.15, in full and as diffusers shortened it
_STRINGS = {
    "int4_weight_only": "Int4WeightOnlyConfig",
    "int4_dynamic_activation_int4_weight": "Int4WeightOnlyConfig",
    "int8_dynamic_activation_int4_weight": "Int8DynamicActivationInt4WeightConfig",
    "int8_weight_only": "Int8WeightOnlyConfig",
    "int8_dynamic_activation_int8_weight": "Int8DynamicActivationInt8WeightConfig",
    "uintx_weight_only": "UIntXWeightOnlyConfig",
    "float8_weight_only": "Float8WeightOnlyConfig",
    "float8_dynamic_activation_float8_weight": "Float8DynamicActivationFloat8WeightConfig",
    "float8_static_activation_float8_weight": "Float8StaticActivationFloat8WeightConfig",
}
_SHORT = {
    "int4wo": "int4_weight_only",
    "int4dq": "int8_dynamic_activation_int4_weight",
    "int8wo": "int8_weight_only",
    "int8dq": "int8_dynamic_activation_int8_weight",
    "float8wo": "float8_weight_only",
    "float8dq": "float8_dynamic_activation_float8_weight",
    "float8_a1x8w8": "float8_static_activation_float8_weight",
}
#: how the name of a parameter, or the pattern of one, ends if it is that of a module's weight
_WEIGHT = re.compile(r"\\?\.weight$")
#: names of the config for all layers
_DEFAULTS = ("default", "_default")
#: a short name with what it sets: ``float8dq_e4m3_row``, ``uint2wo``
_SHORT_NAME = re.compile(r"(?P<name>float8(?:wo|dq))_(?P<float>e4m3|e5m2)(?:_tensor|_row)?|(?P<uint>uint[1-7])wo")


def _fold(module: Module, hint: Hint) -> Weight:
    """_weight_qdata [N, K] or packed, _weight_scale [N, K/g]; the level of what is packed is for the config to say."""
    codes, scale = module["_weight_qdata"], module["_weight_scale"]
    weight = microscaled(codes, scale, hint)
    if weight:
        return weight
    level = codes.dtype
    if not isinstance(level, QuantizationLevel):
        raise AmbiguousLayoutError(f"codes are of unknown type: {level}")
    is_packed = True
    if _in_pairs(codes, scale, hint):
        level = levels["Int4"]
    elif codes.is_a("UInt8", "Int32"):
        if hint.level is None:
            raise AmbiguousLayoutError("bit width of the packed codes is unknown: no config")
        level = hint.level
    else:
        is_packed = False
        # IntxUnpackedToInt8Tensor keeps a narrow integer in a byte
        if codes.is_a("Int8") and hint.level and hint.level.kind in ("int", "uint"):
            level = hint.level
    code = level.bits_per_param if is_packed else codes.bits
    parameters = exact(codes.nbytes * BITS_PER_BYTE, code, "codes in bytes")
    rows = exact(codes.elements, codes.shape[-1] if codes.shape else 0, "rows of codes")  # one for a bias
    # fewer scales than rows: one for the tensor, or one for each block of rows
    groups = exact(scale.elements, rows, "scales of a row") if scale.elements % rows == 0 else 1
    return Weight(
        level=level,
        parameters=parameters,
        code_bits=Fraction(code),
        group_size=group_size(parameters // rows, groups, hint),
        symmetric=hint.symmetric if "_weight_zero_point" in module else True,
    )


def _in_pairs(codes: TensorInfo, scale: TensorInfo, hint: Hint) -> bool:
    """Whether bytes hold two 4-bit codes each, as ``Int4Tensor`` has them: I8 [N, K/2] with scales [K/g, N].

    Raises:
        AmbiguousLayoutError: if scales may as well be [N, K/g], of a code per byte, and no group size is declared.
    """
    if not codes.is_a("Int8") or len(scale.shape) < 2 or scale.matrix[1] != codes.matrix[0]:
        return False
    if scale.matrix[0] != codes.matrix[0]:
        return scale.matrix[1] > 1
    if not hint.group_size:
        raise AmbiguousLayoutError("group size unknown: scales may run along rows or columns, and no config says which")
    return 2 * codes.matrix[1] == scale.matrix[0] * hint.group_size


def _fold_tiles(module: Module, hint: Hint) -> Weight:
    """_weight_qdata I32 in tiles of 8 rows, eight 4-bit codes a word; _weight_scale_and_zero [K/g, N, 2]."""
    codes, scales = module["_weight_qdata"], module["_weight_scale_and_zero"]
    if len(codes.shape) < 4 or len(scales.shape) < 3 or scales.shape[-1] != 2:
        raise LayoutError(f"tiles {list(codes.shape)} do not fit scales {list(scales.shape)}")
    groups = scales.shape[-3]
    parameters = codes.nbytes * BITS_PER_BYTE // 4
    row = exact(parameters, scales.elements // (2 * groups), "codes of a row")
    return Weight(
        level=levels["Int4"],
        parameters=parameters,
        code_bits=Fraction(4),
        group_size=group_size(row, groups, hint),
        symmetric=False,
    )


_SIDES = (
    TensorRule("_weight_scale", SCALE_TYPES, role="scale"),
    TensorRule("_weight_scale_and_zero", SCALE_TYPES, role="scale"),
    TensorRule("_weight_zero_point", role="zero_point"),
    TensorRule("_weight_per_tensor_scale", SCALE_TYPES, role="scale"),
    TensorRule("_weight_act_quant_scale", SCALE_TYPES, role="activation"),
    TensorRule("_weight_act_quant_zero_point", role="activation"),
    TensorRule("_weight_act_per_tensor_scale", SCALE_TYPES, role="activation"),
    TensorRule("_weight_act_pre_scale", SCALE_TYPES, role="correction"),
)
PACKING = Packing("_weight_qdata", ("_weight_scale",), _fold, sides=_SIDES)
TILES = Packing("_weight_qdata", ("_weight_scale_and_zero",), _fold_tiles, sides=_SIDES)


@frozen(kw_only=True, eq=False, repr=False)
class TorchAOLayer:
    """A torchao config object: its class, and those of its fields that decide the level."""

    type: str
    weight_dtype: str | None = None
    bit_width: int | None = field(default=None, validator=optional(one_of(1, 2, 3, 4, 5, 6, 7, 8)))
    group_size: int | None = field(default=None, validator=valid_group_size)
    block_size: tuple[int, int] | None = field(default=None, validator=valid_block)
    symmetric: bool | None = None
    #: of the scales of groups
    scale_dtype: str | None = None
    packing: str | None = None

    def declared(self) -> DeclaredLevel:
        """Its level; scales of blocks are F32, those of groups as wide as the model's own dtype unless named.

        Raises:
            UnknownTypeError: for a class or a dtype that is not known.
        """
        name = _CONFIGS.get(self.type)
        if name is None:
            raise UnknownTypeError(f"the config {self.type!r:.80} is not known")
        dtype = self.weight_dtype
        if self.bit_width:  # gemlite's config has a number where others have a dtype
            dtype = f"uint{self.bit_width}"
        level = level_named(dtype or name, "dtype")
        if levels[name].block.weights > 1:
            return declared_as(_MX.get(level.name, name))
        whole = level.bits_per_param == BITS_PER_BYTE
        # the scales of packed groups are as wide as the model's own dtype, which this config does not have
        bits = level.bits_per_weight if whole and not self.group_size else None
        if self.type in _IN_BYTES and self.packing in (None, _UNPACKED) and self.scale_dtype:
            scale_bits = level_named(self.scale_dtype, "weight_scale_dtype").bits_per_param
            bits = with_scales(BITS_PER_BYTE, self.group_size, scale_bits + BITS_PER_BYTE)
        if self.block_size:
            bits = with_scales(level.bits_per_param, self.block_size[0] * self.block_size[1], _BLOCK_SCALE_BITS)
        return DeclaredLevel(
            level=level,
            group_size=self.group_size,
            block=self.block_size,
            symmetric=True if self.symmetric is None and whole else self.symmetric,
            bits_per_weight=bits,
        )


@frozen(kw_only=True, eq=False, repr=False)
class TorchAOConfig(MethodConfig):
    """A ``quantization_config`` of method torchao."""

    ignored_keys: ClassVar[frozenset[str]] = words(
        "include_input_output_embeddings quant_type quant_type_kwargs untie_embedding_weights"
    )

    layers: Mapping[str, TorchAOLayer | None] = field(factory=dict)

    def general(self) -> DeclaredLevel | None:
        """The config for all layers that have none of their own."""
        layer = next(filter(None, map(self.layers.get, _DEFAULTS)), None)
        if layer is None:
            return None
        return layer.declared()

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The layers with a config of their own, by name or ``re:`` pattern."""
        named = {_WEIGHT.sub("", name): layer for name, layer in self.layers.items() if name not in _DEFAULTS}
        return level_of_each(named, lambda layer: layer.declared() if layer else None)


def _prepare(config: Config) -> Config:
    """``quant_type`` is a config object, a string (before 0.15), or configs by the names of layers."""
    kind: JSON = config.get("quant_type")
    if isinstance(kind, str):
        kind = _named(kind, config.get("quant_type_kwargs"))
    objects: dict[str, JSON] = {"default": kind}
    if isinstance(kind, dict) and "_type" not in kind:
        objects = kind
    named = _by_layer(objects.get("default"))
    if isinstance(named, dict):
        objects = named
    return {**config, "layers": {name: _layer(value) for name, value in objects.items()}}


def _by_layer(default: JSON) -> JSON:
    """The configs by layer that a config for all layers may consist of (``FqnToConfig``); None if it does not."""
    data = default.get("_data") if isinstance(default, dict) else None
    if not isinstance(data, dict):
        return None
    # the second key is of its older name, ModuleFqnToConfig
    return next((data[key] for key in ("fqn_to_config", "module_fqn_to_config") if key in data), None)


def _named(name: str, settings: JSON) -> JSON:
    """The config object that a string stands for."""
    data: dict[str, JSON] = {**settings} if isinstance(settings, dict) else {}
    short = _SHORT_NAME.fullmatch(name)
    if short and short["uint"]:
        name = "uintx_weight_only"
        data["dtype"] = short["uint"]
    elif short:
        name = short["name"]
        data["weight_dtype"] = _FLOATS[short["float"]]
    name = _SHORT.get(name, name)
    return {"_type": _STRINGS.get(name, name), "_data": data}


def _layer(value: JSON) -> JSON:
    data = value.get("_data", {}) if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(data, dict):
        return value
    base = data.get("base_config")
    if isinstance(base, dict):  # of what is done to weights before they are rounded
        return _layer(base)
    granularity = data.get("weight_granularity") or data.get("granularity")
    if isinstance(granularity, list):  # of activations, and of weights
        granularity = granularity[-1] if granularity else None
    shared = granularity.get("_data") if isinstance(granularity, dict) else None
    if not isinstance(shared, dict):
        shared = {}
    name = value.get("_type")
    # a granularity such as PerRow has no groups, so that the default of the class does not apply
    default = None if isinstance(granularity, dict) else _GROUPS.get(str(name))
    mapping = _enum(data.get("weight_mapping_type") or data.get("mapping_type"))
    return {
        "type": name,
        "weight_dtype": _enum(data.get("weight_dtype") or data.get("dtype")),
        "bit_width": data.get("bit_width"),
        "group_size": shared.get("group_size", data.get("group_size", default)),
        "block_size": shared.get("block_size"),
        "symmetric": {"SYMMETRIC": True, "ASYMMETRIC": False}.get(str(mapping)),
        "scale_dtype": _enum(data.get("weight_scale_dtype")),
        "packing": _enum(data.get("intx_packing_format") or data.get("packing_format")),
    }


def _enum(value: JSON) -> JSON:
    """The word in an enumeration or dtype object: ``{"_type": "torch.dtype", "_data": "int4"}``."""
    return value.get("_data") if isinstance(value, dict) else value


SCHEMES = (Scheme(method="torchao", config=TorchAOConfig, packings=(PACKING, TILES), prepare=_prepare),)
