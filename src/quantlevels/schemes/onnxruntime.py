"""ONNX Runtime: what the configs of Optimum and transformers.js declare for a quantized ONNX model.

How its weights are quantized is read from the graph: see ``graph``. Source: optimum 2.0 ``ORTConfig``, onnxruntime
1.32.0 ``quantization/quant_utils.py`` (``QuantType``), transformers.js ``scripts/quantize_config.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Literal, TypeAlias

from attrs import frozen

from quantlevels.scheme import DeclaredLevel, MethodConfig, Scheme, words
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


@frozen(kw_only=True, eq=False, repr=False)
class ModelConfig:
    """The settings of one file of a model, from transformers.js."""

    ignored_keys: ClassVar[frozenset[str]] = words("op_types")

    weight_type: QuantType = "QInt8"


@frozen(kw_only=True, eq=False, repr=False)
class ORTConfig(MethodConfig):
    """The ``quantization`` of an ``ort_config.json``, or the ``quantize_config.json`` of transformers.js."""

    skip_keys: ClassVar[tuple[str, ...]] = ("nodes_to_exclude",)
    ignored_keys: ClassVar[frozenset[str]] = words(
        "accuracy_level activations_dtype activations_symmetric block_size format is_static is_symmetric mode modes "
        "nodes_to_quantize op_block_list operators_to_quantize per_channel qdq_add_pair_to_weight qdq_dedicated_pair "
        "qdq_op_type_per_channel_support_to_axis quant_type reduce_range use_external_data_format"
    )

    weights_dtype: QuantType | None = None
    weights_symmetric: bool | None = None
    per_model_config: Mapping[str, ModelConfig] = {}

    def general(self) -> DeclaredLevel | None:
        """Codes with a scale per tensor or channel; None if the files of a model differ."""
        types: set[QuantType] = {model.weight_type for model in self.per_model_config.values()}
        if self.weights_dtype:
            types.add(self.weights_dtype)
        if len(types) != 1:
            return None
        return self._declared(types.pop())

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The files of a model, by their names, if they differ."""
        models = self.per_model_config
        # one type for all files is the general level already
        if len({model.weight_type for model in models.values()}) < 2:
            return {}
        return {name: self._declared(model.weight_type) for name, model in models.items()}

    def _declared(self, type_: QuantType) -> DeclaredLevel:
        level = levels[_LEVELS[type_]]
        return DeclaredLevel(level=level, symmetric=self.weights_symmetric, bits_per_weight=level.bits_per_weight)


SCHEMES = (Scheme(method="onnxruntime", config=ORTConfig),)
