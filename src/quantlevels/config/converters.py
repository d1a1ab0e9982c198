"""Levels in cattrs: hooks that make any converter read and write them, and the texts of its errors."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Set
from difflib import get_close_matches
from functools import partial
from types import NoneType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from cattrs import (
    AttributeValidationNote,
    BaseConverter,
    ClassValidationError,
    ForbiddenExtraKeysError,
    StructureHandlerNotFoundError,
)
from cattrs import transform_error as transform_error
from cattrs.cols import defaultdict_structure_factory, is_mapping, mapping_structure_factory
from cattrs.v import format_exception as _cattrs_text

from quantlevels.config.fields import OneOf
from quantlevels.config.strict import Hook
from quantlevels.config.words import as_key, choices, is_level, is_union, keys_of
from quantlevels.config.workarounds import work_around_cattrs_bugs
from quantlevels.errors import (
    ConfigError,
    QuantLevelsError,
    UnknownLevelError,
    UntranslatableLevelError,
    closest,
    did_you_mean,
)
from quantlevels.vocabulary.builtin import BUILTIN
from quantlevels.vocabulary.level import Block, QuantizationLevel
from quantlevels.vocabulary.plain import (
    TableDefect,
    level_from_table,
    not_a_level,
    read_level,
    resolve_custom,
    table_defects,
    value_text,
    write_level,
)
from quantlevels.vocabulary.registry import Registry, levels

SpellingPolicy: TypeAlias = Literal["any", "canonical"]


def configure_converter(
    converter: BaseConverter, *, registry: Registry = levels, names: SpellingPolicy = "any"
) -> None:
    """Teach a cattrs converter levels: as fields, in collections, as mapping keys, in unions.

    - A level unstructures to its name. A level that the registry does not know unstructures to a table of its fields;
      as a mapping key it is refused.
    - ``names="any"`` structures any spelling that the registry accepts, a level itself, and a table that defines a
      level: ``{name, bits_per_param, block = {weights, bits}, ...}``, the fields of ``QuantizationLevel``.
    - ``names="canonical"`` reads and writes only what the original enum of five does: the exact name, or
      ``{name: null}``. A JSON object that gives the name twice is refused, if the converter's own ``loads`` reads it.
    - Two spellings of one level as keys of one mapping are refused.
    - ``Annotated[QuantizationLevel, OneOf(INT8, INT4)]`` takes only those levels.
    - In a union, text that a ``Literal`` or ``Enum`` contains is that member, other text a level; a table with
      ``bits_per_param`` is a level; any other value belongs to the other members. A union with ``str`` is refused,
      since a file could not tell the two apart.

    The errors of the hooks derive from ``QuantLevelsError``; ``format_exception`` gives their text to
    ``cattrs.transform_error``.
    """
    structure: Hook
    unstructure: Callable[[QuantizationLevel], object]
    if names == "canonical":
        structure, unstructure = _canonical(), _canonical_name
        _keep_repeated_names(converter)
    else:
        structure, unstructure = _any(converter, registry), partial(write_level, registry=registry)
    # cattrs asks the factories registered last first: the corrections of its bugs see a type before all rules here
    converter.register_structure_hook(QuantizationLevel, structure)
    converter.register_unstructure_hook(QuantizationLevel, unstructure)
    converter.register_structure_hook_factory(_is_chosen, _structure_chosen)
    converter.register_structure_hook_factory(_is_union_with_level, partial(_structure_union, registry))
    converter.register_structure_hook_factory(_is_keyed_by_level, structure_mapping)
    converter.register_unstructure_hook_factory(_is_keyed_by_level, partial(_unstructure_keyed, unstructure))
    work_around_cattrs_bugs(converter, unstructure)


def format_exception(error: BaseException, type_: type | None) -> str:
    """The text of one error for ``cattrs.transform_error(..., format_exception=...)``.

    The message of an error of quantlevels, and the closest names for unknown keys; any other error's text is cattrs'.
    """
    if isinstance(error, QuantLevelsError):
        return str(error)
    if isinstance(error, ForbiddenExtraKeysError):
        return "; ".join(_extra(key, keys_of(error.cl)) for key in sorted(map(str, error.extra_fields)))
    return _cattrs_text(error, type_)


def _extra(key: str, known: tuple[str, ...]) -> str:
    return f"unknown key {key!r}{did_you_mean(closest(key, known))}"


# -- one level ---------------------------------------------------------------------------------------------------------


def _any(converter: BaseConverter, registry: Registry) -> Hook:
    find = registry.__getitem__
    read_table = structure_table(converter)

    def structure(value: Any, _: object) -> QuantizationLevel:  # Any: what a parser gave
        try:
            return find(value)  # first and alone: nearly every value is a name
        except (TypeError, UnknownLevelError):
            if isinstance(value, str):
                raise
        if isinstance(value, Mapping):
            return resolve_custom(read_table(_unwrapped(value), QuantizationLevel), registry)
        return read_level(value, registry)

    return structure


def _unwrapped(value: Any) -> Any:  # Any: what a parser gave
    """The plain value of an item of tomlkit, whose integers are not ``int``."""
    if hasattr(value, "unwrap"):
        return value.unwrap()
    return value


def structure_table(converter: BaseConverter) -> Hook:
    """The hook that reads a table of the fields of a level; each mistake has the path of its field.

    Raises:
        ClassValidationError: (the hook) with all mistakes, as cattrs itself would raise it; from a converter without
            detailed validation, ConfigError.
    """

    def structure(table: Mapping[Any, object], _: object) -> QuantizationLevel:  # Any: the keys a parser gave
        errors = [_as_cattrs_error(defect) for defect in table_defects(table)]
        if errors and converter.detailed_validation:
            raise _class_error(QuantizationLevel, errors)
        return level_from_table(table)

    return structure


def _class_error(record: type, errors: list[Exception]) -> Exception:
    make: Any = ClassValidationError  # Any: to checkers it takes what ExceptionGroup takes
    error: Exception = make(f"While structuring {record.__name__}", errors, record)
    return error


def _as_cattrs_error(defect: TableDefect) -> Exception:
    """A mistake in a table as the error that cattrs raises for its kind, with cattrs' notes of the path."""
    *outer, key = defect.keys
    record = Block if outer else QuantizationLevel
    error: Exception
    if defect.kind == "unknown":
        error = ForbiddenExtraKeysError("", record, {key})
    else:
        error = ConfigError((defect.text,))
        if defect.kind == "missing":  # what cattrs raises for a field without default
            error = KeyError(key)
        error.add_note(AttributeValidationNote(f"{record.__name__}.{key}", key, get_type_hints(record)[key]))
    for name in outer:
        error = _class_error(record, [error])
        error.add_note(AttributeValidationNote(f"{QuantizationLevel.__name__}.{name}", name, record))
    return error


# -- as the original enum ----------------------------------------------------------------------------------------------


def _canonical() -> Hook:
    five: Final = {level.name: level for level in BUILTIN}

    def structure(value: object, _: object) -> QuantizationLevel:
        if isinstance(value, Mapping) and len(value) == 1 and not isinstance(value, _Repeated):
            ((name, content),) = value.items()
            if content is None:  # serde's form of an enum variant without data
                value = name
        if isinstance(value, str) and value in five:
            return five[value]
        if isinstance(value, str):
            raise UnknownLevelError(value, tuple(get_close_matches(value, five)), "name of the original five")
        raise ConfigError((f"expected one of {', '.join(five)}, got {value_text(value)}",))

    return structure


def _canonical_name(level: QuantizationLevel) -> str:
    if level not in BUILTIN:
        raise UntranslatableLevelError(level.name, "canonical names")
    return level.name


class _Repeated(dict[str, object]):
    """A JSON object that gives one of its keys twice: allowed for a mapping, not for a level."""


def _keep_repeated_names(converter: BaseConverter) -> None:
    from cattrs.preconf.json import JsonConverter

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        table = dict(items)
        if len(table) == len(items):
            return table
        return _Repeated(items)

    # `json` keeps the last of two equal keys without a word, and the original refuses them; no other parser of
    # cattrs' preconf converters can be told to show both
    if isinstance(converter, JsonConverter):
        converter.loads = partial(converter.loads, object_pairs_hook=pairs)  # type: ignore[method-assign]


# -- levels in unions and mappings -------------------------------------------------------------------------------------


def _is_union_with_level(type_: Any) -> bool:
    if not is_union(type_):
        return False
    members = get_args(type_)
    return any(map(is_level, members)) and not all(is_level(t) or t is NoneType for t in members)


def _is_chosen(type_: Any) -> bool:  # Any: a type form
    return get_origin(type_) is Annotated and any(isinstance(note, OneOf) for note in type_.__metadata__)


def _structure_chosen(type_: Any, converter: BaseConverter) -> Hook:  # Any: a type form
    plain = type_.__origin__
    structure = converter.get_structure_hook(plain)
    choices = [note for note in type_.__metadata__ if isinstance(note, OneOf)]

    def structure_chosen(value: object, _: object) -> object:
        result = structure(value, plain)
        for choice in choices:
            choice.check(result)
        return result

    return structure_chosen


def _structure_union(registry: Registry, union: Any, converter: BaseConverter) -> Hook:  # Any: a type form
    """The hook for a union of a level and other types; the docstring of `configure_converter` has the rules."""
    level_type = next(filter(is_level, get_args(union)))
    others = tuple(t for t in get_args(union) if not is_level(t))
    members_by_word: dict[str, object] = {}
    for choice in others:
        members_by_word |= {word: member for word, member in choices(choice) if isinstance(word, str)}
    if str in others or _reads_as_level(registry, others, members_by_word.keys()):
        message = f"a value in a file can fit several members of {union}; use a Literal, or a class of your own"
        raise StructureHandlerNotFoundError(message, union)
    structure_level = converter.get_structure_hook(level_type)
    structure_other = _structure_other_members(others, converter)

    def structure(value: Any, _: object) -> object:  # Any: what a parser gave
        value = _unwrapped(value)
        if isinstance(value, str) and value in members_by_word:
            return members_by_word[value]
        if not (isinstance(value, (str, QuantizationLevel)) or _defines_level(value)):
            return structure_other(value)
        try:
            return structure_level(value, level_type)
        except UnknownLevelError as error:
            # a misspelt member of the Literal is reported by its own word, before the closest levels
            meant = closest(value, members_by_word)
            if meant is None:
                raise
            raise UnknownLevelError(error.value, (meant, *error.suggestions)) from error

    return structure


def _defines_level(value: object) -> bool:
    return isinstance(value, Mapping) and "bits_per_param" in value


def _reads_as_level(registry: Registry, types: tuple[Any, ...], words: Set[str]) -> bool:  # Any: type forms
    """Whether a level and one of these types can stand in a file as the same word, or as tables of the same keys."""
    names = {level.name for level in registry}
    return bool(names & words) or any({"name", "bits_per_param"} <= {*keys_of(t)} for t in types)


def _structure_other_members(types: tuple[Any, ...], converter: BaseConverter) -> Callable[[Any], object]:
    # Any: type forms, and what a parser gave
    """Reads a value as the member of its own type, else as one of the members that are not scalars."""
    scalars = {int, float, bool, bytes, NoneType}.intersection(types)
    objects = tuple(t for t in types if t not in scalars)
    rest: Any = Union[objects] if objects else None  # noqa: UP007  # pyrefly: ignore[not-a-type]  # the operator cannot join a tuple

    def structure(value: Any) -> object:
        if type(value) in scalars:  # not isinstance: True is an int to Python, and a mistake in the place of one
            return value
        if type(value) is int and float in scalars:
            return float(value)
        if rest is None:
            raise not_a_level(value)
        return converter.structure(value, rest)

    return structure


def _is_keyed_by_level(type_: Any) -> bool:  # Any: a type form
    return is_mapping(type_) and any(map(is_level, get_args(type_)[:1]))


def structure_mapping(mapping: Any, converter: BaseConverter) -> Hook:  # Any: a type form
    """The hook that reads a mapping as cattrs does.

    Raises:
        ConfigError: (the hook) for two spellings of one key.
    """
    origin = get_origin(mapping) or mapping
    # the hooks that cattrs itself has for these three kinds, made here since a factory cannot call the next one
    if issubclass(origin, defaultdict):
        structure = defaultdict_structure_factory(mapping, converter)
    elif issubclass(origin, Counter):
        structure = mapping_structure_factory(mapping, converter, structure_to=Counter, val_type=int)
    else:
        structure = mapping_structure_factory(mapping, converter)

    def refuse_two_spellings(value: Any, type_: Any) -> object:  # Any: what a parser gave
        result = structure(value, type_)
        if len(result) < len(value):  # 'int4' and 'i4' gave one key: the value of the first would be lost
            raise ConfigError((f"two of the keys {', '.join(map(repr, value))} mean the same level",))
        return result

    return refuse_two_spellings


def _unstructure_keyed(unstructure: Callable[[Any], object], mapping: Any, converter: BaseConverter) -> Any:
    # Any: type forms, and whatever converters make of mappings
    # several converters turn keys into text by `str`, which for a level is its label: give them text
    as_text = converter.get_unstructure_hook(get_origin(mapping)[(str, *get_args(mapping)[1:])])
    return lambda value: as_text({as_key(key, unstructure(key)): item for key, item in value.items()})
