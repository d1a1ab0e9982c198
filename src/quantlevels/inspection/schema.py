"""JSON Schemas of what quantlevels reads and writes, as plain values."""

from __future__ import annotations

from typing import Final, get_args

from quantlevels.findings import CODES
from quantlevels.vocabulary.level import Kind
from quantlevels.vocabulary.registry import levels

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
_POSITIVE: Final[dict[str, object]] = {"type": "integer", "minimum": 1}
_RATIO: Final[dict[str, object]] = {"type": "number", "minimum": 0}

_LEVEL: Final[dict[str, object]] = {
    "level": {
        **_nullable(_TEXT),
        "description": "Name of the level; null where no level answers to what the label says.",
    },
    "label": _TEXT,
    "bits_per_param": _nullable(_COUNT),
}


def level_schema() -> dict[str, object]:
    """The schema of a level in a config file: a spelling, or a table that defines a custom level.

    The string is open, for plugins bring levels of their own; its examples are the names of the known ones.
    """
    return {
        "title": "Quantization level",
        "anyOf": [
            {
                **_TEXT,
                "description": "Any accepted spelling, in any case: Int4, bf16, torch.float16, Q4_K.",
                "examples": [level.name for level in levels],
            },
            {
                "type": "object",
                "properties": {
                    "name": {**_TEXT, "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
                    "bits_per_param": _POSITIVE,
                    "label": _TEXT,
                    "block": {
                        "type": "object",
                        "properties": {"weights": _POSITIVE, "bits": _POSITIVE},
                        "required": ["weights", "bits"],
                        "additionalProperties": False,
                    },
                    "aliases": _array(_TEXT),
                    "spellings": {"type": "object", "additionalProperties": _array({"type": ["string", "integer"]})},
                    "kind": {"enum": list(get_args(Kind))},
                    "summary": _TEXT,
                    "source": _TEXT,
                },
                "required": ["name", "bits_per_param"],
                "additionalProperties": False,
            },
        ],
    }


def config_schema() -> dict[str, object]:
    """`level_schema` as a document of its own, which ``quantlevels schema config`` prints."""
    return {"$schema": _DIALECT, **level_schema()}


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
