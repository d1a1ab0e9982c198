"""MiniMax M3.1 (SGLang): projections in MXFP8, routed experts in NVFP4 as compressed-tensors packs it.

Source: sglang 0.5.23, ``layers/quantization/minimax_m3_nvfp4.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from quantlevels.scheme import DeclaredLevel, MethodConfig, Scheme
from quantlevels.schemes.common import declared_as
from quantlevels.schemes.compressed_tensors import SCHEMES as COMPRESSED_TENSORS
from quantlevels.schemes.scaled import PACKINGS as SCALED
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import levels

_EXPERTS: Final = "*.experts.*"


@frozen(kw_only=True)
class MiniMaxM3Config(MethodConfig):
    """A ``quantization_config`` of method minimax_m3_nvfp4, whose settings have one value each."""

    def general(self) -> DeclaredLevel:
        """MXFP8."""
        return declared_as("MXFP8_E4M3")

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The routed experts."""
        return {_EXPERTS: declared_as("NVFP4")}

    def kv_cache(self) -> QuantizationLevel:
        """FP8."""
        return levels["Float8E4M3FN"]


_PACKINGS: Final = tuple(packing for scheme in COMPRESSED_TENSORS for packing in scheme.packings)

SCHEMES = (
    Scheme(method="minimax_m3_nvfp4", config=MiniMaxM3Config, packings=tuple(dict.fromkeys((*SCALED, *_PACKINGS)))),
)
