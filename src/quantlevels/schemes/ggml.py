"""Blocks of ggml outside of GGUF's own types: in safetensors by gptqmodel, and with a scale beside them.

Source: gptqmodel 7.7.0, ``nn_modules/qlinear/gguf.py``; llama.cpp, ``convert_hf_to_gguf.py`` for NVFP4.
"""

from __future__ import annotations

import math
import re

from attrs import frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    AmbiguousLayoutError,
    Config,
    DeclaredLevel,
    Hint,
    Module,
    Packing,
    Scheme,
    TensorRule,
    Weight,
    exact,
)
from quantlevels.schemes.common import level_named
from quantlevels.schemes.gptq import DynamicConfig
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel

_GGML_TYPE = re.compile(r"(i?q)([1-9])(_\w+)", re.ASCII | re.IGNORECASE)


@frozen(kw_only=True)
class GGUFConfig(DynamicConfig):
    """A ``quantization_config`` of method gguf: weights in a GGUF file, or gptqmodel's blocks in safetensors."""

    bits: int | None = None
    #: what a type is called without its bits: ``q_0``, and ``q_k_m`` for Q4_K at 4 bits
    format: str | None = None

    def general(self) -> DeclaredLevel | None:
        """A ggml type; None if the config does not name it, since the GGUF file does.

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
    match = _GGML_TYPE.fullmatch(bits) if isinstance(bits, str) else None
    if match is None:
        return config
    return {**config, "bits": int(match[2]), "format": match[1] + match[3]}


def _fold_ggml(module: Module, hint: Hint) -> Weight | None:
    """qweight U8 [N, bytes of the blocks of a row]."""
    codes = module["qweight"]
    if not codes.is_a("UInt8") or not module.keys() <= {"qweight", "bias"}:
        return None
    if hint.level is None or hint.level.block.weights == 1:
        raise AmbiguousLayoutError("ggml type of the blocks is unknown: no config")
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


SCHEMES = (Scheme(method="gguf", config=GGUFConfig, packings=(_GGML, _GGML_SCALED), prepare=_spelled_out),)
