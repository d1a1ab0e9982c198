"""torchao: tensors of a weight subclass, flattened with a leading underscore.

Source: torchao 0.18.0, ``prototype/safetensors/safetensors_support.py``, ``quantization/quantize_/workflows``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from attrs import field, frozen

from quantlevels.checkpoint.tensor import JSON
from quantlevels.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.registry import levels
from quantlevels.schemes.base import (
    AmbiguousLayoutError,
    Config,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Stored,
    Weight,
    exact,
    group_size,
)
from quantlevels.schemes.scaled import microscaled

#: class of a torchao config → level; where it is None the config's ``weight_dtype`` says
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
    "IntxWeightOnlyConfig": "Int8",
    "Int8DynamicActivationIntxWeightConfig": "Int8",
    "UIntXWeightOnlyConfig": "UInt4",
    "GemliteUIntXWeightOnlyConfig": "UInt4",
}
#: what stood in place of a config object before 0.15
_STRINGS = {
    "int4_weight_only": "Int4WeightOnlyConfig",
    "int4_dynamic_activation_int4_weight": "Int4WeightOnlyConfig",
    "int8_dynamic_activation_int4_weight": "Int8DynamicActivationInt4WeightConfig",
    "int8_weight_only": "Int8WeightOnlyConfig",
    "int8_dynamic_activation_int8_weight": "Int8DynamicActivationInt8WeightConfig",
    "float8_weight_only": "Float8WeightOnlyConfig",
    "float8_dynamic_activation_float8_weight": "Float8DynamicActivationFloat8WeightConfig",
}


def _fold(module: Module, hint: Hint) -> Weight:
    """_weight_qdata [N, K] or packed, _weight_scale [N, K/g]; the level of what is packed is for the config to say."""
    codes, scale = module["_weight_qdata"], module["_weight_scale"]
    if weight := microscaled(codes, scale, hint):
        return weight
    level = codes.dtype
    if not isinstance(level, QuantizationLevel):
        raise AmbiguousLayoutError(f"codes are of an {level}")
    if pairs := _in_pairs(codes, scale, hint):
        level = levels["Int4"]
    elif codes.is_a("UInt8", "Int32"):
        if hint.level is None:
            raise AmbiguousLayoutError("packed codes, and no config tells their bits")
        pairs, level = True, hint.level
    elif codes.is_a("Int8") and hint.level and hint.level.kind in ("int", "uint"):
        level = hint.level
    code = level.bits_per_param if pairs else codes.bits
    parameters = exact(codes.nbytes * BITS_PER_BYTE, code, "codes in bytes")
    rows = exact(codes.elements, codes.shape[-1] if codes.shape else 0, "rows of codes")  # one for a bias
    groups = exact(scale.elements, rows, "scales of a row") if scale.elements % rows == 0 else 1
    return Weight(
        level=level,
        parameters=parameters,
        code_bits=Fraction(code),
        group_size=group_size(parameters // rows, groups, hint),
        symmetric=hint.symmetric if "_weight_zero_point" in module else True,
    )


def _in_pairs(codes: Stored, scale: Stored, hint: Hint) -> bool:
    """Whether bytes hold two 4-bit codes each, as ``Int4Tensor`` has them: I8 [N, K/2] with scales [K/g, N].

    Raises:
        AmbiguousLayoutError: if scales may as well be [N, K/g], those of a code a byte, and no group size tells.
    """
    if not codes.is_a("Int8") or len(scale.shape) < 2 or scale.matrix[1] != codes.matrix[0]:
        return False
    if scale.matrix[0] != codes.matrix[0]:
        return scale.matrix[1] > 1
    if not hint.group_size:
        raise AmbiguousLayoutError("as many scales as rows, down or across, and no config gives the size of a group")
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
    "_weight_zero_point",
    "_weight_per_tensor_scale",
    "_weight_act_quant_scale",
    "_weight_act_quant_zero_point",
    "_weight_act_per_tensor_scale",
    "_weight_act_pre_scale",
)
PACKING = Packing("_weight_qdata", ("_weight_scale",), _fold, sides=_SIDES)
TILES = Packing("_weight_qdata", ("_weight_scale_and_zero",), _fold_tiles, sides=_SIDES)


@frozen(kw_only=True)
class LayerConfig:
    """A torchao config object: its class, and what of its fields tells a level."""

    type: str
    weight_dtype: str | None = None
    group_size: int | None = None
    symmetric: bool | None = None

    def declared(self) -> DeclaredLevel | None:
        """Its level; scales are of the model's own width, which the config does not say."""
        name = _CONFIGS.get(self.type)
        if name is None:
            return None
        level = levels.get(self.weight_dtype, levels[name]) if self.weight_dtype else levels[name]
        symmetric = True if self.symmetric is None and level.bits_per_param == 8 else self.symmetric
        return DeclaredLevel(level=level, group_size=self.group_size, symmetric=symmetric)


@frozen(kw_only=True)
class TorchAOConfig(MethodConfig):
    """A ``quantization_config`` of method torchao."""

    layers: Mapping[str, LayerConfig | None] = field(factory=dict)

    def general(self) -> DeclaredLevel | None:
        """The config for all layers that have none of their own."""
        own = self.layers.get("default") or self.layers.get("_default")
        return own.declared() if own else None

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The layers with a config of their own, by name or ``re:`` pattern."""
        return {
            name: own.declared() if own else None
            for name, own in self.layers.items()
            if name not in ("default", "_default")
        }


def _prepare(config: Config) -> Config:
    """``quant_type`` is a config object, a string (before 0.15), or configs by the names of layers."""
    kind: JSON = config.get("quant_type")
    if isinstance(kind, str):
        kind = {"_type": _STRINGS.get(kind, kind), "_data": config.get("quant_type_kwargs") or {}}
    objects: dict[str, JSON] = kind if isinstance(kind, dict) and "_type" not in kind else {"default": kind}
    default = objects.get("default")
    if isinstance(default, dict) and isinstance(data := default.get("_data"), dict):
        named = next((data[key] for key in ("fqn_to_config", "module_fqn_to_config") if key in data), None)
        objects = named if isinstance(named, dict) else objects
    return {**config, "layers": {name: _layer(value) for name, value in objects.items()}}


def _layer(value: JSON) -> JSON:
    if not isinstance(value, dict) or not isinstance(data := value.get("_data", {}), dict):
        return value
    granularity = data.get("granularity")
    inner = granularity.get("_data") if isinstance(granularity, dict) else None
    return {
        "type": value.get("_type"),
        "weight_dtype": _enum(data.get("weight_dtype")),
        "group_size": (inner.get("group_size") if isinstance(inner, dict) else None) or data.get("group_size"),
        "symmetric": {"SYMMETRIC": True, "ASYMMETRIC": False}.get(str(_enum(data.get("mapping_type")))),
    }


def _enum(value: JSON) -> JSON:
    """The word in an enumeration or dtype object: ``{"_type": "torch.dtype", "_data": "int4"}``."""
    return value.get("_data") if isinstance(value, dict) else value


SCHEMES = (Scheme(method="torchao", config=TorchAOConfig, packings=(PACKING, TILES), prepare=_prepare),)
