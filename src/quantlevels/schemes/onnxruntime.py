"""ONNX Runtime: what the configs of Optimum and transformers.js say of a quantized ONNX model.

How its weights are quantized the graph itself says: see ``graph``. Source: optimum 2.0 ``ORTConfig``, onnxruntime
1.32.0 ``quantization/quant_utils.py`` (``QuantType``), transformers.js ``scripts/quantize_config.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from attrs import frozen

from quantlevels.scheme import DeclaredLevel, MethodConfig, Scheme
from quantlevels.vocabulary.registry import levels

QuantType: TypeAlias = Literal[
    "QInt2", "QUInt2", "QInt4", "QUInt4", "QInt8", "QUInt8", "QInt16", "QUInt16", "QFLOAT8E4M3FN"
]
_LEVELS: Final[Mapping[QuantType, str]] = {
    "QInt2": "Int2",
    "QUInt2": "UInt2",
    "QInt4": "Int4",
    "QUInt4": "UInt4",
    "QInt8": "Int8",
    "QUInt8": "UInt8",
    "QInt16": "Int16",
    "QUInt16": "UInt16",
    "QFLOAT8E4M3FN": "Float8E4M3FN",
}


@frozen(kw_only=True)
class ModelConfig:
    """What transformers.js says of one file of a model."""

    weight_type: QuantType = "QInt8"


@frozen(kw_only=True)
class ORTConfig(MethodConfig):
    """The ``quantization`` of an ``ort_config.json``, or the ``quantize_config.json`` of transformers.js."""

    weights_dtype: QuantType | None = None
    weights_symmetric: bool | None = None
    per_model_config: Mapping[str, ModelConfig] = {}

    def general(self) -> DeclaredLevel | None:
        """Codes with a scale a tensor or a channel; None where the files of a model differ."""
        types: set[QuantType] = {model.weight_type for model in self.per_model_config.values()}
        if self.weights_dtype:
            types.add(self.weights_dtype)
        if len(types) != 1:
            return None
        level = levels[_LEVELS[types.pop()]]
        return DeclaredLevel(level=level, symmetric=self.weights_symmetric, bits_per_weight=level.bits_per_weight)


SCHEMES = (Scheme(method="onnxruntime", config=ORTConfig),)
