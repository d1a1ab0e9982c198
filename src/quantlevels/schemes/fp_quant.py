"""FP-Quant and FourOverSix: MXFP4 or NVFP4 under the names of GPTQ, after a rotation.

Source: fp_quant 0.3.2, ``module/linear.py``; transformers 5.23.0, ``utils/quantization_config.py``.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    TensorRule,
    Weight,
    microscaling,
    words,
)
from quantlevels.schemes.common import declared_as
from quantlevels.schemes.scaled import PACKINGS as SCALED
from quantlevels.vocabulary.registry import levels

_FORMATS = {"mxfp4": "MXFP4", "nvfp4": "NVFP4"}


@frozen(kw_only=True, eq=False, repr=False)
class FPQuantConfig(MethodConfig):
    """A ``quantization_config`` of method fp_quant."""

    ignored_keys: ClassVar[frozenset[str]] = words(
        "backward_dtype forward_method hadamard_group_size pseudoquantization store_master_weights transform_init"
    )

    forward_dtype: Literal["mxfp4", "nvfp4"] = "nvfp4"

    def general(self) -> DeclaredLevel:
        """MXFP4 or NVFP4."""
        return declared_as(_FORMATS[self.forward_dtype])


@frozen(kw_only=True, eq=False, repr=False)
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


def _fold_fp_quant(module: Module, hint: Hint) -> Weight:
    """qweight U8 [N, K/2], scales U8 [N, K/32] for MXFP4, [N, K/16] for NVFP4."""
    codes, scales = module["qweight"], module["scales"]
    if not codes.is_a("UInt8") or codes.shape[:-1] != scales.shape[:-1]:
        raise LayoutError(
            f"qweight is {codes.dtype} {list(codes.shape)} beside scales {list(scales.shape)};"
            " expected UInt8 of equal rows"
        )
    columns, groups = 2 * codes.matrix[1], scales.matrix[1]
    for name in _FORMATS.values():  # by their groups: the scales of both are stored as bytes
        level = levels[name]
        if columns == level.block.weights * groups:
            return microscaling(level, (*codes.shape[:-1], columns))
    raise LayoutError(f"{groups} scales for a row of {columns} codes: neither groups of 32 nor of 16")


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


SCHEMES = (
    Scheme(method="fp_quant", config=FPQuantConfig, packings=(_FP_QUANT,)),
    Scheme(method="fouroversix", config=FourOverSixConfig, packings=(_FP_QUANT, *SCALED)),
)
