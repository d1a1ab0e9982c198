"""NVIDIA ModelOpt: one algorithm for all layers, or one for each; codes in ``weight``, scales beside it.

Source: nvidia-modelopt 0.47.0, ``torch/export/quant_utils.py`` and ``convert_hf_config.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from quantlevels.level import QuantizationLevel
from quantlevels.registry import levels
from quantlevels.schemes.base import (
    Config,
    DeclaredLevel,
    MethodConfig,
    Scheme,
    declared_as,
    declared_integer,
    sizes,
)
from quantlevels.schemes.compressed_tensors import Group, QuantizationArgs
from quantlevels.schemes.scaled import PACKINGS as SCALED

_SCALE_BITS = 32
#: algorithm → level; those of integers have groups the config gives
_ALGORITHMS = {
    "FP8": "Float8E4M3FN",
    "FP8_PER_CHANNEL_PER_TOKEN": "Float8E4M3FN",
    "FP8_PB_WO": "Float8E4M3FN",
    "FP8_PB_REAL": "Float8E4M3FN",
    "NVFP4": "NVFP4",
    "NVFP4_AWQ": "NVFP4",
    "NVFP4_SVD": "NVFP4",
    "W4A16_NVFP4": "NVFP4",
    "W4A8_NVFP4_FP8": "NVFP4",
    "W4A8_MXFP4_FP8": "MXFP4",
    "MXFP4": "MXFP4",
    "MXFP8": "MXFP8_E4M3",
    "INT8_SQ": "Int8",
    "W8A8_SQ_PER_CHANNEL": "Int8",
    "W8A16": "Int8",
    "INT8": "Int8",
    "INT4_AWQ": "Int4",
    "W4A16_AWQ": "Int4",
    "W4A8_AWQ": "Int4",
    "W4A16": "Int4",
    "INT4": "Int4",
}
_DEFAULT_GROUP = 128
_MIXED = "MIXED_PRECISION"


@frozen(kw_only=True)
class Layer:
    """The algorithm of one layer."""

    quant_algo: str
    group_size: int | None = field(default=None, validator=sizes)
    has_zero_point: bool = False

    def declared(self) -> DeclaredLevel | None:
        """The level the algorithm makes; None for algorithms that are not known."""
        if self.quant_algo not in _ALGORITHMS:
            return None
        level = levels[_ALGORITHMS[self.quant_algo]]
        if level.kind != "int":
            return declared_as(level.name)
        bits = level.bits_per_param
        return declared_integer(bits, self.group_size, not self.has_zero_point, side_bits=_SCALE_BITS)


@frozen(kw_only=True)
class ModelOptConfig(MethodConfig):
    """``hf_quant_config.json``, or a ``quantization_config`` of method modelopt."""

    quant_algo: str | None = None
    group_size: int | None = field(default=None, validator=sizes)
    has_zero_point: bool = False
    kv_cache_quant_algo: str | None = None
    kv_cache_scheme: QuantizationArgs | None = None
    quantized_layers: Mapping[str, Layer] | None = None
    config_groups: Mapping[str, Group] | None = None

    def general(self) -> DeclaredLevel | None:
        """The level of all layers, where there is one algorithm for all."""
        if self.quant_algo in (None, _MIXED):
            return None
        return Layer(
            quant_algo=self.quant_algo, group_size=self.group_size, has_zero_point=self.has_zero_point
        ).declared()

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The layers that have an algorithm of their own."""
        return {name: layer.declared() for name, layer in (self.quantized_layers or {}).items()}

    def kv_cache(self) -> QuantizationLevel | None:
        """The level of the key-value cache."""
        if self.kv_cache_scheme:
            return self.kv_cache_scheme.level()
        name = _ALGORITHMS.get(self.kv_cache_quant_algo or "")
        return levels[name] if name else None


def _prepare(config: Config) -> Config:
    """``hf_quant_config.json`` has its content under ``quantization``."""
    inner = config.get("quantization")
    return inner if isinstance(inner, dict) else config


SCHEMES = (
    Scheme(method="modelopt", config=ModelOptConfig, packings=SCALED, aliases=("modelopt_fp4",), prepare=_prepare),
)
