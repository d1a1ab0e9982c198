"""MiniMax M3.1 (SGLang): projections in MXFP8, routed experts in NVFP4 as compressed-tensors packs it.

Source: sglang 0.5.23, ``layers/quantization/minimax_m3_nvfp4.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from attrs import frozen

from quantlevels.scheme import DeclaredLevel, MethodConfig, Scheme, Storage, TensorRule, words
from quantlevels.schemes.common import declared_as
from quantlevels.schemes.compressed_tensors import SCHEMES as COMPRESSED_TENSORS
from quantlevels.schemes.scaled import PACKINGS as SCALED
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import levels

_EXPERTS: Final = "*.experts.*"


@frozen(kw_only=True, eq=False, repr=False)
class MiniMaxM3Config(MethodConfig):
    """A ``quantization_config`` of method minimax_m3_nvfp4, whose settings have one value each."""

    skip_keys: ClassVar[tuple[str, ...]] = ("ignored_layers", "modules_to_not_convert")
    ignored_keys: ClassVar[frozenset[str]] = words("activation_scheme group_size scale_fmt weight_block_size")

    def general(self) -> DeclaredLevel:
        """MXFP8."""
        return declared_as("MXFP8_E4M3")

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The routed experts."""
        return {_EXPERTS: declared_as("NVFP4")}

    def kv_cache(self) -> QuantizationLevel:
        """FP8."""
        return levels["Float8E4M3FN"]


_PACKINGS: Final = COMPRESSED_TENSORS[0].packings

_SOURCE: Final = "sglang 0.5.23, layers/quantization/minimax_m3_nvfp4.py"
_STORAGE: Final = (
    Storage(
        format="minimax_m3_nvfp4",
        levels=("NVFP4",),
        tensors=(
            TensorRule("weight_packed", ("UInt8",), "rows packed_columns", role="codes"),
            TensorRule("weight_scale", ("Float8E4M3FN",), "rows groups", role="scale"),
            TensorRule("weight_global_scale", ("None",), "1", role="scale"),
            TensorRule("input_global_scale", ("None",), "1", role="activation"),
        ),
        grouped=False,
        ragged="refuses",
        source=_SOURCE,
    ),
    Storage(
        format="minimax_m3_nvfp4",
        levels=("MXFP8_E4M3",),
        tensors=(
            TensorRule("weight", ("Float8E4M3FN",), "rows columns", role="codes"),
            TensorRule("weight_scale_inv", ("UInt8",), "rows groups", role="scale"),
        ),
        grouped=False,
        ragged="refuses",
        source=_SOURCE,
    ),
)

SCHEMES = (
    Scheme(
        method="minimax_m3_nvfp4",
        config=MiniMaxM3Config,
        packings=tuple(dict.fromkeys((*SCALED, *_PACKINGS))),
        storage=_STORAGE,
    ),
)
