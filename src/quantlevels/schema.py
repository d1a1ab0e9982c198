"""JSON Schemas of what quantlevels reads and writes, as plain values."""

from __future__ import annotations

from typing import Final

from quantlevels.finding import CODES

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def _object(properties: dict[str, object]) -> dict[str, object]:
    """An object that has all of these properties; readers ignore what a later version adds."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _nullable(schema: dict[str, object]) -> dict[str, object]:
    return {"anyOf": [schema, {"type": "null"}]}


def _array(items: dict[str, object]) -> dict[str, object]:
    return {"type": "array", "items": items}


_TEXT: Final[dict[str, object]] = {"type": "string"}
_FLAG: Final[dict[str, object]] = {"type": "boolean"}
_COUNT: Final[dict[str, object]] = {"type": "integer", "minimum": 0}
_RATIO: Final[dict[str, object]] = {"type": "number", "minimum": 0}

_LEVEL: Final[dict[str, object]] = {
    "level": {**_TEXT, "description": "Name of the level; of an unknown type, what the file says."},
    "label": _TEXT,
    "bits_per_param": _nullable(_COUNT),
}

#: A level where a config file names one: a spelling, or a table that defines a custom level.
CONFIG: Final[dict[str, object]] = {
    "$schema": _DIALECT,
    "title": "Quantization level",
    "anyOf": [
        {**_TEXT, "description": "Any accepted spelling, in any case: Int4, bf16, torch.float16, Q4_K."},
        {
            "type": "object",
            "properties": {
                "name": {**_TEXT, "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
                "bits_per_param": {"type": "integer", "minimum": 1},
                "block": {
                    "type": "object",
                    "properties": {
                        "weights": {"type": "integer", "minimum": 1},
                        "bits": {"type": "integer", "minimum": 1},
                    },
                    "required": ["weights", "bits"],
                    "additionalProperties": False,
                },
            },
            "required": ["name", "bits_per_param"],
            "additionalProperties": False,
        },
    ],
}

#: The record that ``Inspection.to_record`` gives and ``quantlevels inspect --json`` prints.
INSPECTION: Final[dict[str, object]] = {
    "$schema": _DIALECT,
    "title": "Inspection",
    **_object(
        {
            "schema_version": {"const": 1},
            "path": _TEXT,
            "format": {"enum": ["safetensors", "gguf", "onnx", "pytorch", "config"]},
            "declared": _nullable(
                _object(
                    {
                        "source": _TEXT,
                        "method": _nullable(_TEXT),
                        "known": _FLAG,
                        "dtype": _nullable(_TEXT),
                        "kv_cache": _nullable(_TEXT),
                        "levels": _array(
                            _object(
                                {
                                    **_LEVEL,
                                    "group_size": _nullable({"type": "integer"}),
                                    "block": _nullable(_array(_COUNT)),
                                    "symmetric": _nullable(_FLAG),
                                    "bits_per_weight": _nullable(_RATIO),
                                    "targets": _nullable(_array(_TEXT)),
                                }
                            )
                        ),
                    }
                )
            ),
            "stored": _nullable(
                _object(
                    {
                        "parameters": _COUNT,
                        "quantized_parameters": _COUNT,
                        "tensors": _COUNT,
                        "tensor_bytes": _COUNT,
                        "bits_per_weight": _nullable(_RATIO),
                        "levels": _array(
                            _object(
                                {
                                    **_LEVEL,
                                    "group_size": _nullable(_COUNT),
                                    "symmetric": _nullable(_FLAG),
                                    "quantized": _FLAG,
                                    "parameters": _COUNT,
                                    "weights": _COUNT,
                                    "bytes": _COUNT,
                                    "bits_per_weight": _nullable(_RATIO),
                                }
                            )
                        ),
                    }
                )
            ),
            "findings": _array(
                _object(
                    {
                        "code": {"enum": list(CODES)},
                        "severity": {"enum": ["error", "warning", "info"]},
                        "message": _TEXT,
                        "where": _nullable(_TEXT),
                    }
                )
            ),
            "files": _array(_object({"path": _TEXT, "bytes": _COUNT})),
        }
    ),
}
