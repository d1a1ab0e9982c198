"""A level as plain data: the name or table that stands for it in a config file, and the schema of both.

cattrs, pydantic and msgspec all read and write levels through this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar, get_args

from attrs import NOTHING, fields

from quantlevels.errors import (
    ConfigError,
    DuplicateLevelError,
    QuantLevelsError,
    UnknownLevelError,
    closest,
    did_you_mean,
)
from quantlevels.vocabulary.builtin import BUILTIN
from quantlevels.vocabulary.level import Block, Kind, QuantizationLevel
from quantlevels.vocabulary.registry import Registry, levels

if TYPE_CHECKING:
    from attrs import Attribute

_T = TypeVar("_T")


# -- reading -----------------------------------------------------------------------------------------------------------


def read_level(value: object, registry: Registry = levels) -> QuantizationLevel:
    """The level that a spelling or a table stands for; a level itself is returned unchanged.

    Raises:
        UnknownLevelError, AmbiguousLevelError, PluginError: if a spelling has no single level.
        ReservedLevelError, DuplicateLevelError: if a table uses a name or spelling of a different level.
        ConfigError: for a table with missing, unknown or invalid fields, and for any other value.
    """
    if isinstance(value, QuantizationLevel):
        return value
    if isinstance(value, str):
        return registry[value]
    if isinstance(value, Mapping):
        return resolve_custom(level_from_table(value), registry)
    raise not_a_level(value)


def not_a_level(value: object) -> QuantLevelsError:
    """The error for a value that is neither a spelling nor a table."""
    if value is None:
        return ConfigError(("expected a level, got null; FP32 is written 'None'",))
    if type(value) is int:  # a number is refused, since 16 would be two levels; the message names what it can be
        return UnknownLevelError(value, tuple(level.name for level in BUILTIN if level.bits_per_param == value))
    return ConfigError((f"expected the name of a level or a table that defines one, got {value_text(value)}",))


def value_text(value: object) -> str:
    """A value of a config file in a few words, written as files write it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "a table"
    if type(value).__module__ == "datetime":  # not isinstance: the import takes time, and few files have dates
        return str(value)
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"{value!r:.80}"  # cut: a message is one line, however long the text in the file is


def resolve_custom(level: QuantizationLevel, registry: Registry = levels) -> QuantizationLevel:
    """The known level that equals a custom one, or else the custom level itself.

    Raises:
        ReservedLevelError, DuplicateLevelError, AmbiguousLevelError: if it uses a spelling of a different level.
    """
    known = registry.get(level.name)
    if known is None:  # its aliases and spellings may still be taken
        return registry._vet(level)
    if known != level:
        registry._vet(level)  # raises first if the name is reserved: that says more than "already registered"
        raise DuplicateLevelError(level.name, known.name)
    return known


class TableDefect(NamedTuple):
    """What is wrong with one key of a table that defines a level.

    Args:
        keys: where: ``("block", "bits")``.
        kind: whether the key is missing, unknown, or has an invalid value.
        text: what is wrong, in words.
    """

    keys: tuple[str, ...]
    kind: Literal["missing", "unknown", "invalid"]
    text: str


def table_defects(table: Mapping[Any, object]) -> Iterator[TableDefect]:  # Any: the keys a parser gave
    """Everything that is wrong with the keys of a table that defines a level, each value by the rules of the class."""
    yield from _defects(table, QuantizationLevel, ())


def _defects(table: Mapping[Any, object], record: type, place: tuple[str, ...]) -> Iterator[TableDefect]:
    attributes = {attribute.name: attribute for attribute in fields(record)}
    for name, attribute in attributes.items():
        keys = (*place, name)
        if name not in table:
            if attribute.default is NOTHING:
                yield TableDefect(keys, "missing", "required field missing")
            continue
        value = table[name]
        if name == "block" and isinstance(value, Mapping):
            yield from _defects(value, Block, keys)
            continue
        text = _refusal(attribute, value)
        if text:
            yield TableDefect(keys, "invalid", text)
    for key in table:
        if key not in attributes:
            yield TableDefect(
                (*place, str(key)), "unknown", f"unknown key {key!r}{did_you_mean(closest(key, attributes))}"
            )


def _refusal(attribute: Attribute[Any], value: object) -> str:  # Any: attributes of every type
    """Why a field refuses a value; empty if it takes it."""
    if attribute.name == "block":
        return f"expected a table of weights and bits, got {value_text(value)}"
    if attribute.validator is None:
        return ""
    # the validators of the class itself: what a config may have and what code may have never differ
    try:
        attribute.validator(None, attribute, _as_tuples(value))
    except (TypeError, ValueError, AttributeError) as error:
        return str(error).replace("a tuple of", "a list of")  # files have no tuples
    return ""


def level_from_table(table: Mapping[Any, object]) -> QuantizationLevel:  # Any: the keys a parser gave
    """The level that a table of its fields defines: ``{name, bits_per_param, block = {weights, bits, row_bits?}}``.

    Raises:
        ConfigError: with one message for each missing, unknown or invalid key.
    """
    defects = tuple(table_defects(table))
    if defects:
        raise ConfigError(tuple(f"{'.'.join(defect.keys)}: {defect.text}" for defect in defects))
    values: dict[str, Any] = {key: _as_tuples(value) for key, value in table.items()}  # Any: checked just now
    block = table.get("block")
    if isinstance(block, Mapping):
        values["block"] = Block(**block)
    try:
        return QuantizationLevel(**values)
    except (TypeError, ValueError) as error:  # fields that do not fit together
        raise ConfigError((str(error),)) from error


def _as_tuples(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _as_tuples(words) for key, words in value.items()}
    if isinstance(value, list):
        return tuple(value)
    return value


# -- writing -----------------------------------------------------------------------------------------------------------


def write_level(level: QuantizationLevel, registry: Registry = levels) -> str | dict[str, object]:
    """What stands for a level in a config file: its name if the registry knows it, else a table of its fields.

    Raises:
        ReservedLevelError, DuplicateLevelError, AmbiguousLevelError: if that would be read as a different level.
        TypeError: for anything but a level, such as the name of one in a field of a class that checks no types.
    """
    if not isinstance(level, QuantizationLevel):
        raise TypeError(f"{level!r} is not a QuantizationLevel; take it from the registry: levels[{level!r}]")
    # never a name that the reader would resolve to another level: `resolve_custom` raises for it
    if resolve_custom(level, registry) in registry:
        return level.name
    return level_to_table(level)


def level_to_table(level: QuantizationLevel) -> dict[str, object]:
    """The fields of a level as a table of strings, numbers, lists and tables, without those that have their default."""
    # defaults depend on the level: the label's is its name, the block's is one weight of its width
    plain = QuantizationLevel(name=level.name, bits_per_param=level.bits_per_param)
    table: dict[str, object] = {"name": level.name, "bits_per_param": level.bits_per_param}
    for attribute in fields(QuantizationLevel):
        value = getattr(level, attribute.name)
        if value != getattr(plain, attribute.name):
            table[attribute.name] = _as_plain(value)
    return table


def _as_plain(value: object) -> object:
    if isinstance(value, Block):
        table = {"weights": value.weights, "bits": value.bits}
        if value.row_bits:  # rare, and left out if it has its default as every other field is
            table["row_bits"] = value.row_bits
        return table
    if isinstance(value, Mapping):
        return {key: list(words) for key, words in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return value


# -- schemas -----------------------------------------------------------------------------------------------------------

_TEXT: Final[dict[str, object]] = {"type": "string"}
_POSITIVE: Final[dict[str, object]] = {"type": "integer", "minimum": 1}

#: JSON Schema of each field of a table. Written out, since validators cannot be read: the class decides, and the schema
#: only lets an editor complain earlier.
_FIELDS: Final[dict[str, object]] = {
    "name": {**_TEXT, "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
    "bits_per_param": {**_POSITIVE, "maximum": 1024},
    "label": _TEXT,
    "block": {
        "type": "object",
        "properties": {"weights": _POSITIVE, "bits": _POSITIVE, "row_bits": {"type": "integer", "minimum": 0}},
        "required": ["weights", "bits"],
        "additionalProperties": False,
    },
    "aliases": {"type": "array", "items": _TEXT},
    "spellings": {
        "type": "object",
        "additionalProperties": {"type": "array", "items": {"type": ["string", "integer"]}},
    },
    "kind": {"enum": list(get_args(Kind))},
    "summary": _TEXT,
    "source": _TEXT,
}


def json_schema() -> dict[str, object]:
    """The JSON Schema of a level in a config file: a spelling, or a table that defines a custom level.

    The string is open, because plugins bring levels of their own; its examples are the names of the known levels.
    """
    spelling = {
        **_TEXT,
        "description": "Any accepted spelling, in any case: Int4, bf16, torch.float16, Q4_K.",
        "examples": [level.name for level in levels],
    }
    table = {
        "type": "object",
        "properties": _FIELDS,
        "required": ["name", "bits_per_param"],
        "additionalProperties": False,
    }
    return {"title": "Quantization level", "anyOf": [spelling, table]}


def pydantic_core_schema() -> object:
    """The core schema of pydantic v2 for a level: any spelling or table is read, the name is written."""
    core: Any = import_module("pydantic_core").core_schema  # Any: a library that may be missing
    schema: object = core.no_info_plain_validator_function(
        pydantic_validator(read_level), serialization=core.plain_serializer_function_ser_schema(write_level)
    )
    return schema


def pydantic_validator(function: Callable[[_T], object]) -> Callable[[_T], object]:
    """A function as a validator of pydantic.

    Raises:
        PydanticCustomError: (the validator) with the text of the error of quantlevels that the function raises.
    """
    error_class = import_module("pydantic_core").PydanticCustomError

    def validate(value: _T) -> object:
        try:
            return function(value)
        except QuantLevelsError as error:
            raise error_class("quantization_level", "{reason}", {"reason": str(error)}) from error

    return validate
