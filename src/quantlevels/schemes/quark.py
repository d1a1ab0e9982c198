"""AMD Quark: any number format for weights, with layers and classes of layers that have their own.

Source: amd-quark 0.13, ``torch/quantization/config/config.py``, and what it exported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeAlias

from attrs import evolve, field, frozen

from quantlevels.scheme import (
    UNQUANTIZED_BITS,
    DeclaredLevel,
    MethodConfig,
    Scheme,
    UnknownTypeError,
    declared_integer,
    level_of_each,
    unwrapped,
    valid_group_size,
    words,
)
from quantlevels.schemes.common import declared_as, level_named, valid_block
from quantlevels.schemes.scaled import packings as scaled_packings
from quantlevels.vocabulary.level import QuantizationLevel

_FLOATS = {
    "fp8_e4m3": "Float8E4M3FN",
    "fp8_e5m2": "Float8E5M2",
    "fp4": "MXFP4",
    "mxfp4": "MXFP4",
    "fp6_e2m3": "MXFP6_E2M3",
    "fp6_e3m2": "MXFP6_E3M2",
}
#: dtype of an element → level, if groups of 32 share a scale that is a power of two
_MX = {"fp8_e4m3": "MXFP8_E4M3", "fp8_e5m2": "MXFP8_E5M2", "int8": "MXINT8"}
#: dtype → bits, and whether codes are unsigned
_INTEGERS = {
    **{f"int{bits}": (bits, False) for bits in (2, 3, 4, 8)},
    **{f"uint{bits}": (bits, True) for bits in (2, 3, 4, 8)},
}
_SCALE_BITS = 16


@frozen(kw_only=True, eq=False, repr=False)
class Spec:
    """How one tensor is rounded."""

    ignored_keys: ClassVar[frozenset[str]] = words(
        "ch_axis enable_buffer_reuse is_dynamic is_mse max_input_numel max_scale min_scale observer_cls qscheme "
        "range_estimator round_method scale_calculation_mode scale_type zero_point_type"
    )

    dtype: str
    mx_element_dtype: str | None = None
    group_size: int | None = field(default=None, validator=valid_group_size)
    block_size: tuple[int, int] | None = field(default=None, validator=valid_block)
    symmetric: bool | None = None
    scale_format: str | None = None
    is_scale_quant: bool | None = None

    def declared(self) -> DeclaredLevel | None:
        """Its level; None if it is not quantized.

        Raises:
            UnknownTypeError: for a dtype that is not known.
        """
        if self.dtype == "mx":
            element = self.mx_element_dtype or "fp4"
            return evolve(self, dtype=element, group_size=32, scale_format="e8m0").declared()
        # the same dtype is a plain 8-bit level or an MX format, by how its scales are written
        if self.dtype in _MX and (self.group_size, self.scale_format) == (32, "e8m0"):
            return declared_as(_MX[self.dtype])
        if self.dtype in _INTEGERS:
            bits, unsigned = _INTEGERS[self.dtype]
            return declared_integer(
                bits, self.group_size, self.symmetric, side_bits=_SCALE_BITS + bits, unsigned=unsigned
            )
        if self.dtype not in _FLOATS:
            # bfloat16 and the like: weights that are only rounded, or whose quantization was simulated
            if level_named(self.dtype, "dtype").bits_per_param < UNQUANTIZED_BITS:
                raise UnknownTypeError(f"the dtype {self.dtype!r:.80} is not known")
            return None
        name = _FLOATS[self.dtype]
        if self.dtype == "fp4" and self.group_size == 16:  # with E4M3 scales; in groups of 32 they are E8M0
            name = "NVFP4"
        declared = declared_as(name)
        if self.block_size:  # the config does not say how wide their scales are
            return evolve(declared, block=self.block_size, bits_per_weight=None)
        return declared


Specs: TypeAlias = Spec | tuple[Spec, ...] | None


def _declared(specs: Specs) -> DeclaredLevel | None:
    """The level of a tensor: that of the last of several roundings, but for those of scales."""
    roundings = specs if isinstance(specs, tuple) else (specs,)
    last = next((spec for spec in reversed(roundings) if spec and not spec.is_scale_quant), None)
    if last is None:
        return None
    return last.declared()


@frozen(kw_only=True, eq=False, repr=False)
class QuarkLayer:
    """How the tensors of a layer are rounded."""

    ignored_keys: ClassVar[frozenset[str]] = words("bias input_tensors target_device")

    weight: Specs = None
    output_tensors: Specs = None


@frozen(kw_only=True, eq=False, repr=False)
class Export:
    """What was settled when the model was written."""

    ignored_keys: ClassVar[frozenset[str]] = words(
        "kv_cache_post_rope min_kv_scale pack_method weight_format weight_merge_groups"
    )

    kv_cache_group: tuple[str, ...] | None = None


@frozen(kw_only=True, eq=False, repr=False)
class QuarkConfig(MethodConfig):
    """A ``quantization_config`` of method quark."""

    skip_keys: ClassVar[tuple[str, ...]] = ("exclude", "modules_to_not_convert")
    ignored_keys: ClassVar[frozenset[str]] = words(
        "algo_config kv_cache_post_rope layer_quant_config_regex pack_method pre_quant_opt_config quant_mode "
        "quark_version softmax_quant_spec version weight_format"
    )

    global_quant_config: QuarkLayer | None = None
    layer_type_quant_config: Mapping[str, QuarkLayer] | None = None
    layer_quant_config: Mapping[str, QuarkLayer] | None = None
    kv_cache_quant_config: Mapping[str, QuarkLayer] | None = None
    export: Export | None = None

    def general(self) -> DeclaredLevel | None:
        """The level of ``layer_type_quant_config`` for linear layers, else that of ``global_quant_config``."""
        layer = (self.layer_type_quant_config or {}).get("Linear", self.global_quant_config)
        if layer is None:
            return None
        return _declared(layer.weight)

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The layers, by name or glob, with a config of their own."""
        return level_of_each(self.layer_quant_config or {}, lambda layer: _declared(layer.weight))

    def kv_cache(self) -> QuantizationLevel | None:
        """The level of what the projections for keys and values put out."""
        layers = dict(self.kv_cache_quant_config or {})
        if self.export:  # which names the projections; their settings stand among those of all layers
            by_name = self.layer_quant_config or {}
            layers |= {name: by_name[name] for name in self.export.kv_cache_group or () if name in by_name}
        for layer in layers.values():
            declared = _declared(layer.output_tensors)
            if declared:
                return declared.level
        return None


SCHEMES = (
    Scheme(
        method="quark",
        config=QuarkConfig,
        packings=scaled_packings(zero_points_always=True),
        prepare=unwrapped("quant_config"),
    ),
)
