"""FP8 and microscaling floats of transformers and DeepSeek: codes in ``weight`` with scales per block, row or tensor.

Source: transformers 5.23.0, ``utils/quantization_config.py``, ``integrations/{finegrained_fp8,fbgemm_fp8,mxfp4}.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from attrs import evolve, field, frozen

from quantlevels.scheme import (
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
    Weight,
    level_of_each,
    microscaling,
    valid_group_size,
    words,
)
from quantlevels.schemes.common import declared_as, declared_in_blocks, valid_block
from quantlevels.schemes.compressed_tensors import QuantizationArgs
from quantlevels.schemes.gptq import DynamicConfig
from quantlevels.schemes.modelopt import Layer
from quantlevels.schemes.scaled import PACKINGS as SCALED
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import levels

#: ``fmt``, without ``float8_`` → level
_FORMATS = {
    "e4m3": "Float8E4M3FN",
    "e4m3fn": "Float8E4M3FN",
    "e5m2": "Float8E5M2",
    "e4m3fnuz": "Float8E4M3FNUZ",
}


#: pattern of the routed experts
_EXPERTS = "*.experts.*"
#: what loaders of 8-bit floats read besides: activations, kernels, and which pass of ModelOpt it was
_IGNORED_KEYS = DynamicConfig.ignored_keys | words(
    "act_block_size activation_per_tensor activation_scale_ub activation_scheme bits dequantize dequantize_on_load "
    "dynamic_activation ignored_layers_regex is_checkpoint_fp8_serialized kv_cache_quant_algo linear_class "
    "qscheme_act quant_algo weight_per_tensor weight_scale_dtype weight_scale_method weight_scale_semantics"
)


@frozen(kw_only=True, eq=False, repr=False)
class _ExpertsConfig(MethodConfig):
    """A config of 8-bit floats whose routed experts may have 4 bits.

    If ModelOpt has quantized experts again, its words stand beside what the model had before: those of ModelOpt count.
    """

    skip_keys: ClassVar[tuple[str, ...]] = ("ignored_layers", "modules_to_not_convert")
    ignored_keys: ClassVar[frozenset[str]] = _IGNORED_KEYS

    expert_dtype: str | None = None
    store_dtype: str | None = None
    routed_experts_quant_method: str | None = None
    moe_quant_algo: str | None = None
    quantized_layers: Mapping[str, Layer] | None = None
    #: of ModelOpt's experts
    group_size: int | None = field(default=None, validator=valid_group_size)

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The routed experts if they have a level of their own.

        Raises:
            UnusableEntriesError: for algorithms that are not known.
        """
        if self.quantized_layers:
            return level_of_each(self.quantized_layers, Layer.declared)
        if self.moe_quant_algo:
            experts = Layer(quant_algo=self.moe_quant_algo, group_size=self.group_size)
            return level_of_each({_EXPERTS: experts}, Layer.declared)
        words = {self.expert_dtype, self.store_dtype, self.routed_experts_quant_method}
        if not words & {"fp4", "mxfp4"}:
            return {}
        return {_EXPERTS: declared_as("MXFP4")}  # DeepSeek's fp4: E2M1 with a power of two per 32, two codes in an I8


@frozen(kw_only=True, eq=False, repr=False)
class FP8Config(_ExpertsConfig):
    """A ``quantization_config`` of method fp8, and the ``expert_dtype`` that may stand beside it."""

    fmt: Literal["e4m3", "e4m3fn", "float8_e4m3fn", "e5m2", "float8_e5m2", "e4m3fnuz", "float8_e4m3fnuz"] = "e4m3"
    format: str | None = None  # as gptqmodel calls it
    weight_block_size: tuple[int, int] | None = field(default=None, validator=valid_block)
    scale_fmt: str | None = None
    #: "static" if the cache has scales, as AutoFP8 and Quark write it
    kv_cache_scheme: QuantizationArgs | str | None = None

    def kv_cache(self) -> QuantizationLevel | None:
        """FP8, if the cache has a scheme that names no other level."""
        if isinstance(self.kv_cache_scheme, QuantizationArgs):
            return self.kv_cache_scheme.level()
        if not self.kv_cache_scheme:
            return None
        return levels["Float8E4M3FN"]

    def general(self) -> DeclaredLevel:
        """FP8 with an F32 scale per block; if scales are powers of two, their width is unknown."""
        word = (self.format or "").removeprefix("float8_")
        name = _FORMATS.get(word, _FORMATS[self.fmt.removeprefix("float8_")])
        declared = declared_in_blocks(name, self.weight_block_size)
        if declared.block is None or self.scale_fmt in (None, "float"):
            return declared
        return evolve(declared, bits_per_weight=None)  # ue8m0 is stored in a byte by some writers, in FP32 by others


def _from_mistral(config: Config) -> Config:
    """Mistral's ``params.json`` calls the format ``qformat_weight``: ``fp8_e4m3``."""
    word = config.get("qformat_weight")
    if not isinstance(word, str):
        return config
    return {
        **{key: value for key, value in config.items() if key != "qformat_weight"},
        "fmt": word.removeprefix("fp8_"),
    }


@frozen(kw_only=True, eq=False, repr=False)
class RowFP8Config(MethodConfig):
    """A ``quantization_config`` of method fbgemm_fp8, or SGLang's w8a8_fp8: FP8 with a scale per row."""

    skip_keys: ClassVar[tuple[str, ...]] = ("ignored_layers", "modules_to_not_convert")
    ignored_keys: ClassVar[frozenset[str]] = _IGNORED_KEYS

    def general(self) -> DeclaredLevel:
        """FP8; row scales are per-row extras."""
        return declared_as("Float8E4M3FN")


@frozen(kw_only=True, eq=False, repr=False)
class RowInt8Config(MethodConfig):
    """A ``quantization_config`` of SGLang's methods w8a8_int8 and blockwise_int8: a scale per row, or per block."""

    skip_keys: ClassVar[tuple[str, ...]] = ("ignored_layers", "modules_to_not_convert")
    ignored_keys: ClassVar[frozenset[str]] = _IGNORED_KEYS

    weight_block_size: tuple[int, int] | None = field(default=None, validator=valid_block)

    def general(self) -> DeclaredLevel:
        """Integers of 8 bits."""
        return declared_in_blocks("Int8", self.weight_block_size)


@frozen(kw_only=True, eq=False, repr=False)
class MXFP8Config(_ExpertsConfig):
    """A ``quantization_config`` of method mxfp8."""

    ignored_keys: ClassVar[frozenset[str]] = _IGNORED_KEYS | {"weight_block_size", "scale_fmt", "fmt"}

    def general(self) -> DeclaredLevel:
        """MXFP8."""
        return declared_as("MXFP8_E4M3")


@frozen(kw_only=True, eq=False, repr=False)
class MXFP4Config(MethodConfig):
    """A ``quantization_config`` of method mxfp4, as gpt-oss has."""

    skip_keys: ClassVar[tuple[str, ...]] = ("ignored_layers", "modules_to_not_convert")
    ignored_keys: ClassVar[frozenset[str]] = _IGNORED_KEYS

    def general(self) -> DeclaredLevel:
        """MXFP4."""
        return declared_as("MXFP4")


@frozen(kw_only=True, eq=False, repr=False)
class NVFP4Config(MethodConfig):
    """A ``quantization_config`` of method nvfp4: quantized while it is loaded, stored in 16 bits."""

    skip_keys: ClassVar[tuple[str, ...]] = ("ignored_layers", "modules_to_not_convert")
    ignored_keys: ClassVar[frozenset[str]] = _IGNORED_KEYS

    def general(self) -> DeclaredLevel:
        """NVFP4."""
        return declared_as("NVFP4")

    def quantized_on_disk(self) -> bool:
        """No: what is on disk has 16 bits."""
        return False


def _fold_blocks(module: Module, hint: Hint) -> Weight:
    """blocks U8 [..., K/32, 16], two codes per byte; scales U8 [..., K/32]."""
    codes, scales = module["blocks"], module["scales"]
    if not scales.shape or codes.shape != (*scales.shape, 16):
        raise LayoutError(
            f"blocks has shape {list(codes.shape)}; expected 16 bytes for each scale: {[*scales.shape, 16]}"
        )
    return microscaling(levels["MXFP4"], (*scales.shape[:-1], 32 * scales.shape[-1]))


BLOCKS = Packing(
    "blocks", ("scales",), _fold_blocks, sides=(TensorRule("scales", ("UInt8", "Float8E8M0FNU"), role="scale"),)
)
_CODES = TensorRule("weight", ("Float8E4M3FN",), "rows columns", role="codes")
_BLOCK_STORAGE = Storage(
    format="fp8",
    levels=("Float8E4M3FN",),
    tensors=(_CODES, TensorRule("weight_scale_inv", ("None",), "row_blocks column_blocks", role="scale")),
    grouped=False,
    source="transformers 5.23.0 integrations/finegrained_fp8.py",
)
_ROW_STORAGE = Storage(
    format="fbgemm_fp8",
    levels=("Float8E4M3FN",),
    tensors=(_CODES, TensorRule("weight_scale", ("None",), "rows", role="scale")),
    grouped=False,
    source="transformers 5.23.0 integrations/fbgemm_fp8.py",
)

SCHEMES = (
    Scheme(
        method="fp8",
        config=FP8Config,
        prepare=_from_mistral,
        packings=SCALED,
        storage=(_BLOCK_STORAGE,),
        aliases=("deepgemm_fp8", "ptpc_fp8"),
    ),
    Scheme(method="fbgemm_fp8", config=RowFP8Config, packings=SCALED, storage=(_ROW_STORAGE,)),
    Scheme(method="w8a8_fp8", config=RowFP8Config, packings=SCALED),
    Scheme(method="w8a8_int8", config=RowInt8Config, packings=SCALED),
    Scheme(method="blockwise_int8", config=RowInt8Config, packings=SCALED),
    Scheme(method="mxfp8", config=MXFP8Config, packings=SCALED),
    Scheme(method="mxfp4", config=MXFP4Config, packings=(BLOCKS, *SCALED)),
    Scheme(method="nvfp4", config=NVFP4Config, packings=SCALED),
)
