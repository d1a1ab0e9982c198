"""What the schemes share: validators of their configs, and levels by a config's words and widths."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from attrs import evolve

from quantlevels.errors import PluginError
from quantlevels.scheme import (
    DeclaredLevel,
    LayoutError,
    TensorInfo,
    TensorRuleError,
    UnknownTypeError,
    with_scales,
    words,
)
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from attrs import Attribute

_LARGEST_GROUP: Final = 2**31
#: DeepSeek's FP8, and all that follow it, keep the scale of a block in FP32
_BLOCK_SCALE_BITS: Final = 32
#: of a code of a codebook method: more would be wider than the weight itself in FP32
_MOST_BITS: Final = 32
#: what AutoRound keeps of activations, calibration and kernels, in the configs of other methods too
AUTO_ROUND_KEYS: Final = words(
    "act_bits act_data_type act_dynamic act_group_size act_max act_sym activation_scheme amp autoround_version "
    "backend batch_size block_name_to_quantize checkpoint_format damp_percent dataset desc_act enable_minmax_tuning "
    "enable_norm_bias_tuning enable_quanted_input export_compatible fmt format fp_layers gradient_accumulate_steps "
    "in_blocks iters layer_config low_gpu_mem_usage lr minmax_lr modules_in_block_to_quantize nblocks nsamples "
    "provider quant_block_list quant_format quant_lm_head quant_nontext_module rotation_config scale_calculation_mode "
    "scale_dtype seqlen static_attention_dtype static_kv_dtype super_bits super_group_size supported_types "
    "to_quant_block_names transform_config true_sequential"
)


def valid_block(config: object, attribute: Attribute[tuple[int, int] | None], value: tuple[int, int] | None) -> None:
    """A validator for blocks in two dimensions.

    Raises:
        ValueError: for a side that is not a number of weights.
    """
    if value is not None and not all(1 <= side <= _LARGEST_GROUP for side in value):
        raise ValueError(f"{attribute.name} must be two numbers of weights, not {list(value)}")


def level_named(word: str, what: str) -> QuantizationLevel:
    """The level that a config names by a word of no method's own.

    Raises:
        UnknownTypeError: if the word means no level, several levels, or a plugin that cannot be used.
    """
    try:
        return levels[word]
    except (LookupError, PluginError) as error:
        raise UnknownTypeError(f"{what}: {error}") from error


def codebook_level(name: str, bits_per_weight: Fraction | int) -> QuantizationLevel:
    """A level of a codebook method, which has as many as its settings allow: ``EXL3_3``, 3 bits per weight.

    Raises:
        LayoutError: for more bits than a weight can need.
    """
    exact = Fraction(bits_per_weight)
    if exact > _MOST_BITS:
        raise LayoutError(f"codes of {float(exact):g} bits per weight")
    text = format(float(exact), "g")
    return QuantizationLevel(
        name=f"{name}_{''.join(char if char.isalnum() else '_' for char in text)}",
        label=f"{name} {text} bpw",
        bits_per_param=math.ceil(exact) or 1,  # an average below half a bit still needs a code
        kind="codebook",
    )


#: bits of the exponent and of the mantissa → the shipped float. That of 8 bits keeps a code for NaN, which quantizers
#: with floats of any split use for a number.
_SHIPPED_FLOATS: Final = {(2, 1): "Float4E2M1", (2, 3): "Float6E2M3", (3, 2): "Float6E3M2", (4, 3): "Float8E4M3FN"}


def float_level(exponent_bits: int, mantissa_bits: int, *, signed: bool = True) -> QuantizationLevel:
    """A float of any split, without infinities: a shipped level, or one made for it: ``Float5E2M2FN``, unsigned FNU."""
    shipped = _SHIPPED_FLOATS.get((exponent_bits, mantissa_bits))
    if shipped and signed:
        return levels[shipped]
    bits = exponent_bits + mantissa_bits + signed
    name = f"Float{bits}E{exponent_bits}M{mantissa_bits}FN"
    if not signed:  # as in ml_dtypes' float8_e8m0fnu
        name += "U"
    return QuantizationLevel(name=name, bits_per_param=bits, kind="float")


def check_low_rank(up: TensorInfo, down: TensorInfo, rows: int, columns: int) -> None:
    """Refuse low-rank matrices whose product has another shape than a weight of so many rows and columns.

    Raises:
        TensorRuleError: if their ranks differ, or are not a whole number.
    """
    rank, rest = divmod(up.elements, rows)
    if rest or down.elements != rank * columns:
        raise TensorRuleError(
            f"low-rank part: {list(up.shape)} and {list(down.shape)} do not multiply to {rows} rows of {columns}"
        )


def declared_as(name: str) -> DeclaredLevel:
    """A level that says all of its storage itself: microscaling formats, and floats scaled per row or tensor."""
    level = levels[name]
    weights = level.block.weights
    return DeclaredLevel(
        level=level,
        group_size=weights if weights > 1 else None,
        symmetric=True,
        bits_per_weight=level.bits_per_weight,
    )


def declared_in_blocks(name: str, block: tuple[int, int] | None) -> DeclaredLevel:
    """Whole-byte codes with a 32-bit scale for each block of rows and columns, or as `declared_as` without blocks."""
    declared = declared_as(name)
    if block is None:
        return declared
    bits = with_scales(declared.level.bits_per_param, block[0] * block[1], _BLOCK_SCALE_BITS)
    return evolve(declared, block=block, bits_per_weight=bits)
