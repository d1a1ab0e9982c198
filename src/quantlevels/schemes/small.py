"""Methods with little to say: BitNet, EETQ, Gemma, FP-Quant, FourOverSix, SqueezeLLM, QQQ, blocks of ggml.

Source: transformers 5.23.0, ``integrations/{bitnet,eetq,gemma_quant}.py``, ``utils/quantization_config.py``; fp_quant
0.3.2, ``module/linear.py``; gptqmodel 7.7.0, ``nn_modules/qlinear/{qqq,gguf}.py``, ``quantization/config.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar, Literal

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    PER_ROW,
    AmbiguousLayoutError,
    Config,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    TensorRule,
    Weight,
    declared_integer,
    exact,
    group_size,
    integer,
    level_of_each,
    microscaling,
    one_of,
    renamed,
    valid_group_size,
    words,
)
from quantlevels.schemes.common import declared_as, level_named
from quantlevels.schemes.gptq import DynamicConfig
from quantlevels.schemes.scaled import PACKINGS as SCALED
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel
from quantlevels.vocabulary.registry import levels

_FORMATS = {"mxfp4": "MXFP4", "nvfp4": "NVFP4"}
_GGML_TYPE = re.compile(r"(i?q)([1-9])(_\w+)", re.ASCII | re.IGNORECASE)


@frozen(kw_only=True)
class BitNetConfig(MethodConfig):
    """A ``quantization_config`` of method bitnet."""

    ignored_keys: ClassVar[frozenset[str]] = words("linear_class rms_norm_eps use_rms_norm")

    quantization_mode: Literal["online", "offline"] = "offline"

    def general(self) -> DeclaredLevel:
        """Ternary codes, four a byte with a scale a tensor; mode online stores floats and quantizes on loading."""
        return declared_as("Ternary")

    def quantized_on_disk(self) -> bool:
        """Whether the mode is offline."""
        return self.quantization_mode == "offline"


@frozen(kw_only=True)
class EETQConfig(MethodConfig):
    """A ``quantization_config`` of method eetq."""

    weights: Literal["int8"] = "int8"

    def general(self) -> DeclaredLevel:
        """8-bit codes with a scale an output channel."""
        return declared_as("Int8")


@frozen(kw_only=True)
class GemmaModule:
    """The width of the modules a pattern names."""

    num_bits: int = field(validator=one_of(2, 4, 8))


@frozen(kw_only=True)
class GemmaConfig(MethodConfig):
    """A ``quantization_config`` of method gemma."""

    ignored_keys: ClassVar[frozenset[str]] = words("activation_num_bits quantize_activations quantize_embeddings")

    num_bits: int = field(default=4, validator=one_of(2, 4, 8))
    module_quant_configs: Mapping[str, GemmaModule] | None = None

    def general(self) -> DeclaredLevel:
        """Codes in bytes with a scale a row."""
        return _rows(self.num_bits)

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The modules that patterns give another width."""
        patterns = {f"re:{name}": settings for name, settings in (self.module_quant_configs or {}).items()}
        return level_of_each(patterns, lambda settings: _rows(settings.num_bits))


def _rows(bits: int) -> DeclaredLevel:
    return DeclaredLevel(level=integer(bits), bits_per_weight=Fraction(bits))


@frozen(kw_only=True)
class FPQuantConfig(MethodConfig):
    """A ``quantization_config`` of method fp_quant."""

    ignored_keys: ClassVar[frozenset[str]] = words(
        "backward_dtype forward_method hadamard_group_size pseudoquantization store_master_weights transform_init"
    )

    forward_dtype: Literal["mxfp4", "nvfp4"] = "nvfp4"

    def general(self) -> DeclaredLevel:
        """MXFP4 or NVFP4."""
        return declared_as(_FORMATS[self.forward_dtype])


@frozen(kw_only=True)
class FourOverSixConfig(MethodConfig):
    """A ``quantization_config`` of method fouroversix."""

    ignored_keys: ClassVar[frozenset[str]] = words(
        "activation_dtype activation_scale_rule gradient_dtype gradient_scale_rule keep_master_weights matmul_backend "
        "module_config_overrides output_dtype pseudo_quantize quantize_backend scale_rule weight_scale_2d "
        "weight_scale_rule"
    )

    dtype: Literal["mxfp4", "nvfp4"] = "nvfp4"
    weight_dtype: Literal["mxfp4", "nvfp4"] | None = None

    def general(self) -> DeclaredLevel:
        """MXFP4 or NVFP4: that of weights, else that of all tensors."""
        return declared_as(_FORMATS[self.weight_dtype or self.dtype])


@frozen(kw_only=True)
class SqueezeLLMConfig(MethodConfig):
    """A ``quantization_config`` of method squeezellm."""

    wbits: int = field(default=4, validator=one_of(3, 4))

    def general(self) -> DeclaredLevel:
        """Indices into a table for each row."""
        return DeclaredLevel(level=integer(self.wbits), symmetric=False)


@frozen(kw_only=True)
class GGUFConfig(DynamicConfig):
    """A ``quantization_config`` of method gguf: weights in a GGUF file, or gptqmodel's blocks in safetensors."""

    bits: int | None = None
    #: what a type is called without its bits: ``q_0``, and ``q_k_m`` for Q4_K at 4 bits
    format: str | None = None

    def general(self) -> DeclaredLevel | None:
        """A ggml type; None where the config does not say it, since the GGUF file does.

        Raises:
            UnknownTypeError: for one that ggml does not have.
        """
        kind, _, variant = (self.format or "").partition("_")
        if self.bits is None or not variant:
            return None
        level = level_named(f"{kind}{self.bits}_{variant.partition('_')[0]}", "format")
        return DeclaredLevel(level=level, bits_per_weight=level.bits_per_weight)


def _spelled_out(config: Config) -> Config:
    """``bits`` may be all of a type: ``q4_k_m``."""
    bits = config.get("bits")
    if not isinstance(bits, str) or not (match := _GGML_TYPE.fullmatch(bits)):
        return config
    return {**config, "bits": int(match[2]), "format": match[1] + match[3]}


@frozen(kw_only=True)
class QQQConfig(DynamicConfig):
    """A ``quantization_config`` of method qqq."""

    bits: int = field(default=4, validator=one_of(4))
    group_size: int = field(default=PER_ROW, validator=valid_group_size)

    def general(self) -> DeclaredLevel:
        """4-bit codes with a 16-bit scale a group, and one for each output channel."""
        return declared_integer(self.bits, self.group_size, True, side_bits=16)


def _fold_fp_quant(module: Module, hint: Hint) -> Weight:
    """qweight U8 [N, K/2], scales U8 [N, K/32] for MXFP4, [N, K/16] for NVFP4."""
    codes, scales = module["qweight"], module["scales"]
    if not codes.is_a("UInt8") or codes.shape[:-1] != scales.shape[:-1]:
        raise LayoutError("not bytes of two codes with scales along each row")
    columns, groups = 2 * codes.matrix[1], scales.matrix[1]
    for name in _FORMATS.values():
        level = levels[name]
        if columns == level.block.weights * groups:
            return microscaling(level, (*codes.shape[:-1], columns))
    raise LayoutError(f"{groups} scales for {columns} codes of a row")


def _fold_squeezellm(module: Module, hint: Hint) -> Weight:
    """qweight I32 [K*b/32, N], lookup_table [N, 2^b]."""
    codes, table = module["qweight"], module["lookup_table"]
    bits = (table.matrix[1] - 1).bit_length()
    level = integer(bits)
    return Weight(level=level, parameters=codes.nbytes * 8 // bits, code_bits=Fraction(bits), symmetric=False)


def _fold_qqq(module: Module, hint: Hint) -> Weight:
    """B I32 [K/16, N*b/2] in Marlin's tiles, s_channel F32 [1, N], s_group F16 [groups, N] or empty."""
    (tiles, columns), outputs = module["B"].matrix, module["s_channel"].elements
    groups = module["s_group"].elements // outputs if "s_group" in module else 0
    bits = exact(2 * columns, outputs, "bits of a code")
    return Weight(
        level=integer(bits),
        parameters=16 * tiles * outputs,
        shape=(outputs, 16 * tiles),
        code_bits=Fraction(bits),
        group_size=group_size(16 * tiles, groups or 1, hint),
        symmetric=True,
    )


def _fold_ggml(module: Module, hint: Hint) -> Weight | None:
    """qweight U8 [N, bytes of the blocks of a row]."""
    codes = module["qweight"]
    if not codes.is_a("UInt8") or not module.keys() <= {"qweight", "bias"}:
        return None
    if hint.level is None or hint.level.block.weights == 1:
        raise AmbiguousLayoutError("bytes without scales, and no config says of which ggml type")
    block = hint.level.block
    blocks = exact(codes.matrix[1] * BITS_PER_BYTE, block.bits, "blocks of a row")
    shape = (*codes.shape[:-1], blocks * block.weights)
    return Weight(level=hint.level, parameters=math.prod(shape), code_bits=hint.level.bits_per_weight, shape=shape)


def _fold_ggml_scaled(module: Module, hint: Hint) -> Weight | None:
    """weight in blocks of ggml, as NVFP4 has them in a GGUF file, with a scale per tensor or expert beside it."""
    codes = module["weight"]
    level = codes.dtype
    if not isinstance(level, QuantizationLevel) or level.block.weights == 1:
        return None
    return Weight(level=level, parameters=codes.elements, code_bits=level.bits_per_weight, shape=codes.shape)


_FP_QUANT = Packing(
    "qweight",
    ("scales",),
    _fold_fp_quant,
    sides=(
        TensorRule("scales", ("UInt8", "Float8E4M3FN", "Float8E8M0FNU"), "rows groups", role="scale"),
        TensorRule("forward_hadamard_matrix", FLOAT_TYPES, role="correction"),
        TensorRule("backward_hadamard_matrix", FLOAT_TYPES, role="correction"),
    ),
)
_SQUEEZELLM = Packing(
    "qweight",
    ("lookup_table",),
    _fold_squeezellm,
    sides=(
        TensorRule("lookup_table", FLOAT_TYPES, role="codebook"),
        *(TensorRule(name, role="correction") for name in ("rows", "cols", "vals", "full_rows")),
        *(TensorRule(name, role="correction") for name in ("full_row_indices", "startrows")),
    ),
)
_QQQ = Packing(
    "B",
    ("s_channel",),
    _fold_qqq,
    sides=(
        TensorRule("s_channel", FLOAT_TYPES, "rows", role="scale"),
        TensorRule("s_group", FLOAT_TYPES, role="scale"),
        "workspace",
        "reduce_buffer",
    ),
)
_GGML = Packing("qweight", (), _fold_ggml)
_GGML_SCALED = Packing(
    "weight",
    ("weight.scale",),
    _fold_ggml_scaled,
    sides=(
        TensorRule("weight.scale", FLOAT_TYPES, role="scale"),
        TensorRule("weight.input_scale", FLOAT_TYPES, role="activation"),
    ),
)

SCHEMES = (
    Scheme(method="bitnet", config=BitNetConfig, packings=SCALED),
    Scheme(method="eetq", config=EETQConfig, packings=SCALED),
    Scheme(method="gemma", config=GemmaConfig, packings=SCALED),
    Scheme(method="fp_quant", config=FPQuantConfig, packings=(_FP_QUANT,)),
    Scheme(method="fouroversix", config=FourOverSixConfig, packings=(_FP_QUANT, *SCALED)),
    Scheme(method="squeezellm", config=SqueezeLLMConfig, packings=(_SQUEEZELLM,)),
    Scheme(method="qqq", config=QQQConfig, packings=(_QQQ,), prepare=renamed(wbits="bits")),
    Scheme(method="gguf", config=GGUFConfig, packings=(_GGML, _GGML_SCALED), prepare=_spelled_out),
)
