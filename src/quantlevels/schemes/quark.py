"""AMD Quark: any number format for weights, with layers and classes of layers that have their own.

Source: amd-quark 0.13, ``torch/quantization/config/config.py``, and what it exported.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from quantlevels.schemes.base import (
    DeclaredLevel,
    MethodConfig,
    Scheme,
    declared_as,
    declared_integer,
    sizes,
)
from quantlevels.schemes.scaled import PACKINGS as SCALED

_FLOATS = {
    "fp8_e4m3": "Float8E4M3FN",
    "fp8_e5m2": "Float8E5M2",
    "fp4": "MXFP4",
    "mxfp4": "MXFP4",
    "mx": "MXFP4",
    "fp6_e2m3": "MXFP6_E2M3",
    "fp6_e3m2": "MXFP6_E3M2",
}
_INTEGERS = {f"{sign}int{bits}": (bits, sign == "u") for bits in (2, 3, 4, 8) for sign in ("", "u")}
_SCALE_BITS = 16


@frozen(kw_only=True)
class Spec:
    """How one tensor is rounded."""

    dtype: str
    group_size: int | None = field(default=None, validator=sizes)
    symmetric: bool | None = None
    scale_format: str | None = None

    def declared(self) -> DeclaredLevel | None:
        """Its level; None where it is not quantized."""
        if self.dtype in _INTEGERS:
            bits, unsigned = _INTEGERS[self.dtype]
            return declared_integer(
                bits, self.group_size, self.symmetric, side_bits=_SCALE_BITS + bits, unsigned=unsigned
            )
        if self.dtype not in _FLOATS:
            return None
        return declared_as("NVFP4" if self.dtype == "fp4" and self.group_size == 16 else _FLOATS[self.dtype])


@frozen(kw_only=True)
class LayerConfig:
    """How the tensors of a layer are rounded."""

    weight: Spec | tuple[Spec, ...] | None = None

    def declared(self) -> DeclaredLevel | None:
        """The level of its weights: that of the last of several roundings one after the other."""
        specs = self.weight if isinstance(self.weight, tuple) else (self.weight,)
        return specs[0].declared() if specs and specs[0] else None


@frozen(kw_only=True)
class QuarkConfig(MethodConfig):
    """A ``quantization_config`` of method quark."""

    global_quant_config: LayerConfig = LayerConfig()
    layer_quant_config: Mapping[str, LayerConfig] | None = None
    kv_cache_quant_config: Mapping[str, LayerConfig] | None = None

    def general(self) -> DeclaredLevel | None:
        """``global_quant_config``."""
        return self.global_quant_config.declared()

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The layers, by name or glob, with a config of their own."""
        return {name: layer.declared() for name, layer in (self.layer_quant_config or {}).items()}


SCHEMES = (Scheme(method="quark", config=QuarkConfig, packings=SCALED),)
