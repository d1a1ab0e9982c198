"""JSON Schemas of what quantlevels reads and writes, as plain values.

Those of the records are derived from the types in `quantlevels.inspection.records`.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Annotated, Final, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from quantlevels.inspection import SCHEMA_VERSION, records
from quantlevels.vocabulary.plain import json_schema

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def _array(items: dict[str, object]) -> dict[str, object]:
    return {"type": "array", "items": items}


def config_schema() -> dict[str, object]:
    """The schema of a level in a config file, which ``quantlevels schema config`` prints."""
    return {**_identity("config"), **json_schema()}


#: what `quantlevels schema` prints → the type of the record
RECORDS: Final[Mapping[str, type]] = {
    "inspection": records.InspectionRecord,
    "verification": records.VerificationRecord,
    "unreadable": records.UnreadableRecord,
    "comparison": records.ComparisonRecord,
    "sizing": records.SizingRecord,
    "fit": records.FitRecord,
    "level": records.LevelRecord,
    "levels": records.LevelsRecord,
    "translation": records.TranslationRecord,
    "explanation": records.ExplanationRecord,
    "plugins": records.PluginsRecord,
    "survey": records.SurveyRow,
}
_PLAIN: Final[Mapping[object, str]] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    NoneType: "null",
}


def record_schema(name: str) -> dict[str, object]:
    """The JSON Schema of a record, by its name in `RECORDS`.

    Raises:
        KeyError: if no record has that name.
    """
    return {**_identity(name), "title": name.capitalize(), **_schema(RECORDS[name])}


def _identity(name: str) -> dict[str, object]:
    return {"$schema": _DIALECT, "$id": f"urn:quantlevels:schema:{name}:{SCHEMA_VERSION}"}


def _schema(annotation: object) -> dict[str, object]:
    """The schema of a type: a record, a list, a mapping, a choice, or one of `_PLAIN`."""
    # Just the types that records use; any other is a KeyError in the tests, not a schema that allows everything.
    if isinstance(annotation, type) and is_typeddict(annotation):
        return _record(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        plain, *constraints = arguments
        return {**_schema(plain), **dict(constraints)}
    if origin is NotRequired:
        return _schema(arguments[0])
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(argument) for argument in arguments]}
    if origin is list:
        return _array(_schema(arguments[0]))
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    return {"type": _PLAIN[annotation]}


def _record(record: type) -> dict[str, object]:
    hints = get_type_hints(record, include_extras=True)  # __required_keys__ is wrong where annotations are text
    return {
        "type": "object",
        "description": cleandoc(record.__doc__ or ""),
        "properties": {key: _schema(hint) for key, hint in hints.items()},
        "required": [key for key, hint in hints.items() if get_origin(hint) is not NotRequired],
    }
