"""The rules of the strict reader for cattrs: a converter that converts no value, and its mistakes with their places."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial
from types import NoneType
from typing import Any, Literal, TypeAlias, get_args, get_origin

import attrs
from cattrs import (
    AttributeValidationNote,
    BaseConverter,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)

from quantlevels.config.reader import Mistake, choice_reader, expected, message_of, read_scalar
from quantlevels.config.reader import UnknownWordError as UnknownWordError
from quantlevels.config.words import (
    Keys,
    in_words,
    is_choice,
    is_level,
    is_list,
    is_table,
    is_union,
    keys_of,
)
from quantlevels.errors import QuantLevelsError, UnknownLevelError, closest, did_you_mean
from quantlevels.vocabulary.plain import value_text

# Any: cattrs' hooks take what a parser gave, and types as values
Hook: TypeAlias = Callable[[Any, Any], Any]


def make_strict(converter: BaseConverter) -> None:
    """Make a cattrs converter refuse what it would convert: no text for a number, no true for 1, no text for a list."""
    for scalar in (bool, int, float, str):
        converter.register_structure_hook(scalar, structure_scalar(scalar))
    converter.register_structure_hook_factory(is_choice, _structure_choice)
    converter.register_structure_hook_factory(_is_record_or_other, _structure_record_or_other)
    _wrap(converter, is_union, _check_union)
    _wrap(converter, is_list, partial(_check_shape, list, "a list"))
    _wrap(converter, is_table, partial(_check_shape, Mapping, "a table"))


def structure_scalar(scalar: type) -> Hook:
    """The hook that takes values of one type, and integers for float.

    Raises:
        ConfigError: (the hook) for any other value.
    """

    def structure(value: Any, type_: Any) -> object:  # Any: what a parser gave, a type form
        if issubclass(type_, Enum):  # to cattrs, a member of an IntEnum is an integer
            return choice_reader(type_)(value)
        result = read_scalar(scalar, value)
        if type(result) is type_:
            return result
        return type_(result)  # cattrs calls the hook of `int` for subclasses of int as well

    return structure


def _wrap(converter: BaseConverter, applies: Callable[[Any], bool], check: Callable[[Any, Hook], Hook]) -> None:
    """Check the values of some types before the hook that is next in line reads them."""
    # cattrs has no way to ask for the next hook in line. So while a hook is looked up from here, this factory does not
    # apply to its type; in this thread only, since others may look up the same type.
    local = threading.local()

    def is_new(type_: Any) -> bool:  # Any: a type form
        return type_ not in getattr(local, "types", ()) and applies(type_)

    def structure_checked(type_: Any, converter: BaseConverter) -> Hook:  # Any: a type form
        before = getattr(local, "types", ())
        local.types = (*before, type_)
        try:
            return check(type_, converter.get_structure_hook(type_, cache_result=False))
        finally:
            local.types = before

    converter.register_structure_hook_factory(is_new, structure_checked)


def _check_shape(kind: type, what: str, type_: object, structure: Hook) -> Hook:
    """Refuse other values before cattrs does: it iterates over any value, a string included."""

    def structure_shape(value: object, type_: object) -> object:
        if not isinstance(value, kind):
            raise expected(what, value)
        return structure(value, type_)

    return structure_shape


def _check_union(union: Any, structure: Hook) -> Hook:  # Any: a type form
    """Refuse true and false for an integer, which cattrs accepts, and name all members if a value fits none of them."""
    members = {getattr(t, "__supertype__", t) for t in get_args(union)}
    types_of_words: set[object] = set()
    for literal in members:
        if get_origin(literal) is Literal:
            types_of_words.update(map(type, get_args(literal)))
    refuses_bool = int in members and not {bool, object, Any} & {*members, *types_of_words}

    def structure_union(value: object, _: object) -> object:
        try:
            if not (refuses_bool and isinstance(value, bool)):
                return structure(value, union)
        except UnknownLevelError:
            raise
        except Exception:
            if isinstance(value, (str, Mapping, list)):
                raise  # the member's own error says more: the closest word, or the place inside
        raise expected(in_words(union), value)

    return structure_union


def _is_record_or_other(type_: Any) -> bool:  # Any: a type form
    if not is_union(type_):
        return False
    members = get_args(type_)
    if any(map(is_level, members)):  # the converter has rules of its own for levels
        return False
    others = [t for t in members if t is not NoneType and not attrs.has(t)]
    # cattrs cannot tell a class from a type that is not one; with two classes, its own rules for unions are needed
    return len(others) == 1 and sum(map(attrs.has, members)) == 1 and not is_table(others[0])


def _structure_record_or_other(union: Any, converter: BaseConverter) -> Hook:  # Any: a type form
    """The hook for a class or one other type: a table is the class's, any other value the other type's."""
    members = get_args(union)
    record = next(filter(attrs.has, members))
    other = next(t for t in members if t not in (record, NoneType))

    def structure(value: object, _: object) -> object:
        if value is None and NoneType in members:
            return None
        member = record if isinstance(value, Mapping) else other
        return converter.get_structure_hook(member)(value, member)

    return structure


def _structure_choice(type_: Any) -> Hook:  # Any: a type form
    read_choice = choice_reader(type_)
    return lambda value, _: read_choice(value)


# -- mistakes ----------------------------------------------------------------------------------------------------------


def mistakes(error: BaseException, type_: Any = None, data: object = None) -> list[Mistake]:  # Any: a type form
    """Every mistake in an error that a strict converter raised for data of a type, at the place where it was made."""
    found = list(_mistakes(error, (), type_, data))
    # a misspelt key is one mistake to its author, not two: an unknown key and a missing one
    meant = {mistake.meant for mistake in found if not mistake.missing}
    return [mistake for mistake in found if not (mistake.missing and mistake.meant in meant)]


def _mistakes(error: BaseException, keys: Keys, type_: Any, data: object) -> Iterator[Mistake]:  # Any: a type form
    if isinstance(error, (ClassValidationError, IterableValidationError)):
        for inner in error.exceptions:
            step, inner_type = _step_and_type(inner)
            yield from _mistakes(inner, (*keys, *step), inner_type, data)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = keys_of(error.cl)
        for key in error.extra_fields:
            meant = closest(key, known)
            mistake = Mistake((*keys, key), f"unknown key{did_you_mean(meant)}")
            if meant:
                mistake = mistake._replace(meant=(*keys, meant))
            yield mistake
    elif isinstance(error, RecursionError):
        yield Mistake((), "nested too deeply")
    elif isinstance(error, QuantLevelsError):
        yield Mistake(keys, str(error))
    # the key itself must be missing: the code of a class may raise KeyError for any reason
    elif isinstance(error, KeyError) and error.args[:1] == keys[-1:] and not _is_there(keys, data):
        yield Mistake(keys, f"missing, expected {in_words(type_)}", keys, missing=True)
    elif type_ is not None and _is_there(keys, data):
        yield Mistake(keys, f"expected {in_words(type_)}, got {value_text(_value(keys, data))}")
    else:  # the error of a class about its fields together
        yield Mistake(keys, message_of(error))


def _step_and_type(error: BaseException) -> tuple[Keys, Any]:  # Any: a type form
    """The key or index that cattrs noted on an error, and the type expected there; nothing for a class's own error."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return (note.name,), note.type
        if isinstance(note, IterableValidationNote):
            return (note.index,), note.type
    return (), None


def _value(keys: Keys, data: Any) -> object:  # Any: what a parser gave
    """The value at a place in the data; LookupError or TypeError if there is none."""
    for key in keys:
        data = data[key]
    return data


def _is_there(keys: Keys, data: object) -> bool:
    try:
        _value(keys, data)
    except (LookupError, TypeError):
        return False
    return True
