"""Strict reading of plain data: no value is converted, and every mistake is collected with its place.

The configs of checkpoints are read here. Config files of users are read by cattrs, which knows more types, under the
same rules (`strict`). Checkpoints do without it: to import cattrs takes a third of the time that inspecting a small
checkpoint takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from types import NoneType
from typing import Annotated, Any, Final, NamedTuple, TypeAlias, TypeVar, get_args, get_origin

import attrs

from quantlevels.config.words import (
    Keys,
    choices,
    in_words,
    is_choice,
    is_list,
    is_plain_mapping,
    is_table,
    is_union,
)
from quantlevels.errors import ConfigError, closest, did_you_mean
from quantlevels.vocabulary.plain import value_text

_T = TypeVar("_T")
# Any: what a parser gave, and what a type makes of it
ValueReader: TypeAlias = Callable[[Any], Any]


class Mistake(NamedTuple):
    """One mistake in config data.

    Args:
        keys: where it was made.
        text: what is wrong.
        meant: of an unknown key, the place that was probably meant; of a missing key, its own place.
        missing: whether a required key is missing.
        cause: the error that was raised for it, if there was one.
    """

    keys: Keys
    text: str
    meant: Keys | None = None
    missing: bool = False
    cause: BaseException | None = None


class RefusedError(Exception):
    """Data that cannot be read; it has all mistakes. Never reaches a user."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        super().__init__(mistakes)
        self.mistakes: tuple[Mistake, ...] = tuple(mistakes)


class UnknownWordError(ConfigError):
    """Text that is not one of the words a Literal or an Enum has."""


def read(value: object, type_: type[_T]) -> _T:
    """Plain data as a value of a type: an attrs class, and what its fields can be.

    Raises:
        RefusedError: for data that do not fit the type, with every mistake.
        Exception: whatever a class of another author raises for values of its own.
        TypeError: for a type that cannot be read, such as a dataclass.
    """
    result: _T = reader(type_)(value)  # type: ignore[arg-type]  # every type can be hashed
    return result


@cache
def reader(type_: Any) -> ValueReader:  # Any: a type form
    """The function that reads values of a type.

    Raises:
        TypeError: for a type that cannot be read.
    """
    for applies, make in _READERS:
        if applies(type_):
            return make(type_)
    raise TypeError(f"configs cannot have values of type {type_}")


def mistakes_in(error: BaseException) -> tuple[Mistake, ...]:
    """Every mistake in an error that reading raised."""
    if isinstance(error, RefusedError):
        return error.mistakes
    if isinstance(error, RecursionError):
        return (Mistake((), "nested too deeply", cause=error),)
    return (Mistake((), message_of(error), cause=error),)


def message_of(error: BaseException) -> str:
    """The message of an error on one line; of attrs' validators, which add the values they saw, the message alone."""
    text = str(error)
    if len(error.args) > 1 and isinstance(error, ValueError):  # attrs: (message, attribute, allowed values, value)
        text = str(error.args[0])
    return " ".join(text.split()) or type(error).__name__


def expected(what: str, value: object) -> ConfigError:
    """The error for a value of another kind than is expected."""
    return ConfigError((f"expected {what}, got {value_text(value)}",))


def _at(key: object, error: BaseException) -> Iterator[Mistake]:
    return (mistake._replace(keys=(key, *mistake.keys)) for mistake in mistakes_in(error))


# -- scalars and words -------------------------------------------------------------------------------------------------


def read_scalar(scalar: type, value: Any) -> Any:  # Any: as of `ValueReader`
    """A value of exactly this type, or an integer as a float.

    Raises:
        ConfigError: for any other value.
    """
    if type(value) is scalar:
        return value
    if scalar is float and type(value) is int:
        return float(value)
    raise expected(in_words(scalar), value)


def choice_reader(type_: Any) -> ValueReader:  # Any: a type form
    """The function that reads the members of a Literal or Enum.

    Raises:
        UnknownWordError, ConfigError: (the function) for text that is not a member, and for any other value.
    """
    members = choices(type_)
    words = [word for word, _ in members]

    def read_choice(value: object) -> object:
        for word, member in members:
            if type(value) is type(word) and value == word:  # 1 == True == 1.0
                return member
        refusal = expected(" or ".join(map(value_text, words)), value)
        if not isinstance(value, str):
            raise refusal
        raise UnknownWordError((f"{refusal}{did_you_mean(closest(value, words))}",))

    return read_choice


# -- records, tables, lists --------------------------------------------------------------------------------------------


def _record_reader(cls: Any) -> ValueReader:  # Any: an attrs class
    """Reads a table into an attrs class and ignores keys that are not its fields."""
    attrs.resolve_types(cls)
    fields = [field for field in attrs.fields(cls) if field.init]

    def read_record(value: object) -> object:
        if not isinstance(value, Mapping):
            raise expected("a table", value)
        arguments: dict[str, object] = {}
        found: list[Mistake] = []
        for field in fields:
            if field.name in value:
                try:
                    # looked up only now, so that a class can have fields of its own type
                    arguments[str(field.alias)] = reader(field.type)(value[field.name])
                except Exception as error:  # collected
                    found += _at(field.name, error)
            elif field.default is attrs.NOTHING:
                keys = (field.name,)
                found.append(Mistake(keys, f"missing, expected {in_words(field.type)}", keys, missing=True))
        if found:
            raise RefusedError(found)
        return cls(**arguments)

    return read_record


def _mapping_reader(type_: Any) -> ValueReader:  # Any: a type form
    key_type, value_type = get_args(type_) or (Any, Any)

    def read_mapping(value: object) -> object:
        if not isinstance(value, Mapping):
            raise expected("a table", value)
        keys = _read_each(reader(key_type), ((key, key) for key in value))
        return dict(zip(keys, _read_each(reader(value_type), value.items()), strict=True))

    return read_mapping


def _list_reader(type_: Any) -> ValueReader:  # Any: a type form
    cls = get_origin(type_) or type_
    make = tuple  # for Sequence and its like too: records are frozen, so their fields should be
    if cls in (list, set, frozenset):
        make = cls
    members = get_args(type_) or (Any, ...)
    is_fixed = cls is tuple and members[-1] is not ...

    def read_list(value: object) -> object:
        if not isinstance(value, list):
            raise expected("a list", value)
        if not is_fixed:
            return make(_read_each(reader(members[0]), enumerate(value)))
        if len(value) != len(members):
            raise ConfigError((f"expected {len(members)} values, got {len(value)}",))
        return tuple(_read_each(lambda pair: reader(pair[0])(pair[1]), enumerate(zip(members, value, strict=True))))

    return read_list


def _read_each(read_item: ValueReader, items: Iterable[tuple[object, object]]) -> list[Any]:  # Any: as of `ValueReader`
    """The items under some keys, each read; the mistakes of all of them, if there are any."""
    results: list[object] = []
    found: list[Mistake] = []
    for key, item in items:
        try:
            results.append(read_item(item))
        except Exception as error:  # collected
            found += _at(key, error)
    if found:
        raise RefusedError(found)
    return results


# -- unions ------------------------------------------------------------------------------------------------------------


def _union_reader(union: Any) -> ValueReader:  # Any: a type form
    """Reads a value as the first member that takes it; the mistakes in it, if only one member is for its kind."""
    members = get_args(union)

    def read_union(value: object) -> object:
        candidates = [member for member in members if _is_for(member, value)]
        if len(candidates) == 1:  # its mistakes are worth more than "expected a table or null"
            return reader(candidates[0])(value)
        for member in candidates:
            try:
                return reader(member)(value)
            except Exception:  # the next member may take it
                continue
        raise expected(in_words(union), value)

    return read_union


def _is_for(type_: Any, value: object) -> bool:  # Any: a type form
    """Whether a type is for values of this kind, whatever is in them."""
    if type_ is Any:
        return True
    if isinstance(value, Mapping):
        return is_table(type_)
    if isinstance(value, list):
        return is_list(type_)
    # by the type of the words, not the words: a misspelt one should be refused by its Literal, with a suggestion
    kinds = {type(word) for word, _ in choices(type_)} or {type_}
    return type(value) in kinds or (float in kinds and type(value) is int)  # pyright: ignore[reportUnnecessaryContains]


_SCALARS: Final = (bool, int, float, str)

#: Which types → how a function that reads them is made; the first that applies counts. Records come before mappings and
#: lists, because a class may be both.
_READERS: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any], ValueReader]], ...]] = (
    (lambda type_: type_ in (Any, object), lambda _: lambda value: value),
    (lambda type_: type_ is NoneType, lambda _: lambda value: value),  # asked for null alone, by a union
    (is_choice, choice_reader),
    (lambda type_: type_ in _SCALARS, lambda type_: lambda value: read_scalar(type_, value)),
    (lambda type_: get_origin(type_) is Annotated, lambda type_: reader(type_.__origin__)),
    (lambda type_: hasattr(type_, "__supertype__"), lambda type_: reader(type_.__supertype__)),
    (is_union, _union_reader),
    (attrs.has, _record_reader),
    (is_plain_mapping, _mapping_reader),
    (is_list, _list_reader),
)
