"""Config files: JSON, TOML, YAML or MessagePack into your own class, strictly, with all mistakes named at once."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime
from enum import Enum, EnumType
from functools import cache, partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, get_args, get_origin, is_typeddict

import attrs
from cattrs import (
    AttributeValidationNote,
    ClassValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.cols import (
    is_any_set,
    is_mapping,
    is_sequence,
    namedtuple_dict_structure_factory,
    namedtuple_dict_unstructure_factory,
)
from cattrs.gen import make_dict_unstructure_fn, override

from quantlevels.config.converters import (
    Hook,
    as_key,
    choices,
    closest,
    configure_converter,
    hint,
    is_level,
    is_union,
    keys_of,
    shown,
    structure_mapping,
    structure_table,
)
from quantlevels.config.documents import SUFFIXES, Document, Format, Keys, dump, library, parse, place
from quantlevels.errors import ConfigError, QuantLevelsError, UnknownLevelError
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import Registry, levels

T = TypeVar("T")


def load(path: str | os.PathLike[str], cls: type[T]) -> T:
    """Read a config file into an attrs class, dataclass, TypedDict, NamedTuple or any type cattrs knows.

    The format is told by the suffix: ``.json``, ``.toml``, ``.yaml`` or ``.yml``, ``.msgpack``. Types are strict: no
    value is converted, but an integer where a float is expected; keys the class does not have are refused.

    Raises:
        ConfigError: with a line for every mistake in the file: its place, what was expected and found, close names.
        OSError: if the file cannot be read.
    """
    path = Path(path)
    format = _format_of(path)
    return _structured(path.read_bytes(), format, _converter_for, cls, str(path))


def loads(text: str | bytes, format: Format, cls: type[T]) -> T:
    """Read the text of a config file, as `load` does.

    Raises:
        ConfigError: as `load`.
    """
    return _structured(text, format, _converter_for, cls, f"<{format}>")


def save(path: str | os.PathLike[str], obj: object) -> None:
    """Write an object to a config file that `load` reads back as an equal object.

    TOML has no null: fields that are None, and would be without being in the file, are left out of it.

    Raises:
        ConfigError: if the format has no way to say it; the file is then left as it is.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    format = _format_of(path)
    try:
        content = dump(_converter_for(format).unstructure(obj), format)
    except QuantLevelsError as error:
        raise ConfigError((f"{path}: {error}",)) from error
    path.write_bytes(content)


def levels_file(path: str | os.PathLike[str], *, registry: Registry = levels) -> tuple[QuantizationLevel, ...]:
    """Register the levels a file defines, all or none, and give them back.

    The file has one table, ``levels``: name → the fields of a level, as in ``[levels.Int4Acme]`` and
    ``bits_per_param = 4``.

    Raises:
        ConfigError: with a line for every mistake in the file, as `load`.
        OSError: if the file cannot be read.
    """
    path = Path(path)

    def converter_for(format: Format) -> Converter:
        converter = _strict(format)
        converter.register_structure_hook(_Definitions, _structure_definitions(converter, registry))
        return converter

    format = _format_of(path)
    found = _structured(path.read_bytes(), format, converter_for, _LevelsFile, str(path)).levels
    try:
        return registry.register_all(found)
    except QuantLevelsError as error:  # another thread was faster
        raise ConfigError((f"{path}: {error}",)) from error


def _format_of(path: Path) -> Format:
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise ConfigError((f"{path}: the suffix must be one of {', '.join(SUFFIXES)}",)) from None


def _structured(
    content: str | bytes, format: Format, converter_for: Callable[[Format], Converter], cls: type[T], name: str
) -> T:
    try:
        document = parse(content, format)
    except ConfigError as error:
        raise ConfigError(tuple(f"{name}: {message}" for message in error.messages)) from error
    mistakes = [_Mistake(keys, text) for keys, text in document.faults]
    structure = converter_for(format).get_structure_hook(cls)  # what the class itself lacks is no ConfigError
    try:
        result: T = structure(document.data, cls)
    except RecursionError:
        mistakes.append(_Mistake((), "nested too deeply"))
    except Exception as error:  # whatever a class of the user's own raises for a value
        mistakes.extend(_mistakes(error, (), cls, document.data))
    else:
        if not mistakes:
            return result
    raise ConfigError(_worded(mistakes, document, name))


# -- levels of a file --------------------------------------------------------------------------------------------------


class _Definitions(tuple[QuantizationLevel, ...]):
    """The levels a file defines."""

    __slots__ = ()


@attrs.frozen
class _LevelsFile:
    levels: _Definitions


def _structure_definitions(converter: Converter, registry: Registry) -> Hook:
    structure_fields = structure_table(converter)

    def structure(name: object, table: object) -> QuantizationLevel:
        if not isinstance(table, Mapping):
            raise _expected("a table of the fields of a level", table)
        if "name" in table:
            raise ConfigError((f"the name is {name!r} already, by the key of the table",))
        level: QuantizationLevel = structure_fields({"name": name, **table}, QuantizationLevel)
        return level

    def structure_definitions(value: object, _: object) -> _Definitions:
        if not isinstance(value, Mapping):
            raise _expected("a table of levels by name", value)
        scratch = Registry()
        scratch.register_all(registry)
        found, errors = [], []
        for name, table in value.items():
            try:
                found.append(scratch.register(structure(name, table)))
            except Exception as error:  # collected, as cattrs does
                error.add_note(IterableValidationNote("level", name, QuantizationLevel))
                errors.append(error)
        if errors:
            refused: Any = IterableValidationError  # Any: to checkers it takes what ExceptionGroup takes
            raise refused("levels", errors, _Definitions)
        return _Definitions(found)

    return structure_definitions


# -- strict types ------------------------------------------------------------------------------------------------------

_IN_WORDS: Final[Mapping[object, str]] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    bytes: "bytes",
    date: "a date",
    datetime: "a date and time",
    QuantizationLevel: "a level",
    _Definitions: "a table of levels by name",
    Any: "a value",
}


@cache
def _converter_for(format: Format) -> Converter:
    return _strict(format)


def _strict(format: Format) -> Converter:
    """The converter of cattrs for a format, made to convert nothing."""
    converter = _preconf(format)
    configure_converter(converter)
    for scalar in (bool, int, float, str, *((bytes,) if format == "msgpack" else ())):
        converter.register_structure_hook(scalar, _structure_scalar(scalar))
    for kind in (date, datetime):
        numbers = converter.get_structure_hook(kind) if format == "msgpack" else None
        converter.register_structure_hook(kind, _structure_time(kind, numbers))
        if format == "msgpack":  # as numbers, times without a zone would get one
            converter.register_unstructure_hook(kind, kind.isoformat)
    converter.register_structure_hook_factory(_is_key, _structure_key)
    converter.register_structure_hook_factory(_is_plain_mapping, _structure_mapping)
    converter.register_structure_hook_factory(is_namedtuple, _structure_namedtuple)
    converter.register_unstructure_hook_factory(is_namedtuple, namedtuple_dict_unstructure_factory)
    converter.register_structure_hook_factory(_is_choice, _structure_choice)
    _wrap(converter, is_union, _check_union)
    _wrap(converter, _is_list, partial(_check_shape, list, "a list"))
    _wrap(converter, _is_table, partial(_check_shape, Mapping, "a table"))
    if format == "toml":
        converter.register_unstructure_hook_factory(_is_mapping_by_no_text, _unstructure_keys)
        converter.register_unstructure_hook_factory(_is_record, _unstructure_without_null)
    return converter


def _preconf(format: Format) -> Converter:
    if format == "msgpack":
        library("msgpack")
        from cattrs.preconf import msgpack

        return msgpack.make_converter(forbid_extra_keys=True)
    if format == "toml":
        from cattrs.preconf import tomllib

        return tomllib.make_converter(forbid_extra_keys=True)
    from cattrs.preconf import json

    return json.make_converter(forbid_extra_keys=True)  # YAML 1.2 has no more types than JSON


def _expected(what: str, value: object) -> ConfigError:
    return ConfigError((f"expected {what}, got {shown(value)}",))


def _structure_scalar(scalar: type) -> Hook:
    def structure(value: Any, type_: Any) -> object:  # Any: what a parser gave, a type form
        if issubclass(type_, Enum):  # cattrs takes subclasses for the scalar
            return _structure_choice(type_)(value, type_)
        if type(value) is not scalar and not (scalar is float and type(value) is int):
            raise _expected(_IN_WORDS[scalar], value)
        return value if type(value) is type_ else type_(value)

    return structure


def _structure_time(kind: type[date], structure_number: Hook | None) -> Hook:
    def structure(value: Any, _: object) -> object:  # Any: what a parser gave
        if isinstance(value, str):
            with suppress(ValueError):
                return kind.fromisoformat(value)
        elif type(value) is kind:
            return value
        elif structure_number and type(value) in (int, float) and (kind is datetime or value % _SECONDS_OF_A_DAY == 0):
            return structure_number(value, kind)
        raise _expected(_IN_WORDS[kind], value)

    return structure


_SECONDS_OF_A_DAY: Final = 86_400


def is_namedtuple(type_: Any) -> bool:  # Any: a type form
    """Whether it is one, also by a call of NamedTuple, which cattrs does not see before Python 3.12."""
    return isinstance(type_, type) and issubclass(type_, tuple) and {"_fields", "__annotations__"} <= vars(type_).keys()


def _is_record(type_: Any) -> bool:  # Any: a type form
    cls = get_origin(type_) or type_
    return attrs.has(cls) or dataclasses.is_dataclass(cls) or is_namedtuple(cls)


def _is_table(type_: Any) -> bool:  # Any: a type form
    return _is_record(type_) or is_mapping(type_) or is_typeddict(type_)


def _is_list(type_: Any) -> bool:  # Any: a type form
    cls = get_origin(type_) or type_
    return not _is_table(type_) and (is_sequence(type_) or is_any_set(type_) or cls in (tuple, deque))


def _wrap(converter: Converter, is_such: Callable[[Any], bool], check: Callable[[Any, Hook], Hook]) -> None:
    """Have the values of some types checked before the hook that is next in line reads them."""
    mine = threading.local()  # the types whose hook is asked for from here, so that the next one in line is found

    def is_new(type_: Any) -> bool:  # Any: a type form
        return type_ not in getattr(mine, "types", ()) and is_such(type_)

    def structure_checked(type_: Any, converter: Converter) -> Hook:  # Any: a type form
        before = getattr(mine, "types", ())
        mine.types = (*before, type_)
        try:
            return check(type_, converter.get_structure_hook(type_, cache_result=False))
        finally:
            mine.types = before

    converter.register_structure_hook_factory(is_new, structure_checked)


def _check_shape(kind: type, what: str, type_: object, structure: Hook) -> Hook:
    """Refuse what cattrs would take apart, whatever it is."""

    def structure_shape(value: object, type_: object) -> object:
        if not isinstance(value, kind):
            raise _expected(what, value)
        return structure(value, type_)

    return structure_shape


def _check_union(union: Any, structure: Hook) -> Hook:  # Any: a type form
    """Refuse true and false for an integer, which cattrs takes, and name all members where a value is none of them."""
    members = {getattr(t, "__supertype__", t) for t in get_args(union)}
    words = {type(word) for t in members if get_origin(t) is Literal for word in get_args(t)}
    is_counted = int in members and not {bool, object, Any} & {*members, *words}

    def structure_union(value: object, _: object) -> object:
        try:
            if not (is_counted and isinstance(value, bool)):
                return structure(value, union)
        except UnknownLevelError:
            raise
        except Exception:
            if isinstance(value, (str, Mapping, list)):
                raise  # it says more
        raise _expected(_in_words(union), value)

    return structure_union


_KEY: Final = object()  # notes that a type is that of a mapping's keys


def _is_key(type_: Any) -> bool:  # Any: a type form
    return get_origin(type_) is Annotated and type_.__metadata__[-1] is _KEY


def _structure_key(type_: Any, converter: Converter) -> Hook:  # Any: a type form
    plain, *notes, _ = get_args(type_)
    if notes:
        plain = Annotated[(plain, *notes)]  # ty: ignore[invalid-type-form]
    structure = converter.get_structure_hook(plain)

    def structure_key(value: Any, _: object) -> object:  # Any: what a parser gave
        try:
            return structure(value, plain)
        except Exception:
            for number in (int, float) if isinstance(value, str) else ():  # JSON and TOML have no other keys than text
                with suppress(Exception):
                    if repr(number(value)) == value:
                        return structure(number(value), plain)
            raise

    return structure_key


def _is_text(type_: Any) -> bool:  # Any: a type form
    return type_ in (str, Any)


def _is_mapping_by_no_text(type_: Any) -> bool:  # Any: a type form
    return _is_plain_mapping(type_) and not all(map(_is_text, get_args(type_)[:1]))


def _unstructure_keys(mapping: Any, converter: Converter) -> Callable[[Any], Any]:  # Any: a type form
    key, *values = get_args(mapping)
    write_key = converter.get_unstructure_hook(key)
    by_text: Any = dict[(str, *(values or [int]))]  # type: ignore[misc]  # ty: ignore[invalid-type-form]
    write = converter.get_unstructure_hook(by_text)
    return lambda value: write({as_key(own, write_key(own)): item for own, item in value.items()})


def _is_plain_mapping(type_: Any) -> bool:  # Any: a type form
    return is_mapping(type_) and not is_typeddict(type_)


def _structure_namedtuple(type_: Any, converter: Converter) -> Hook:  # Any: a type form
    return namedtuple_dict_structure_factory(type_, converter, "from_converter", True)


def _structure_mapping(type_: Any, converter: Converter) -> Hook:  # Any: a type form
    key, *values = get_args(type_) or (Any,)
    if not (_is_text(key) or is_level(key)):
        type_ = get_origin(type_)[(Annotated[key, _KEY], *values)]  # ty: ignore[invalid-type-form]
    return structure_mapping(type_, converter)


def _is_choice(type_: Any) -> bool:  # Any: a type form
    return get_origin(type_) is Literal or isinstance(type_, EnumType)


def _structure_choice(type_: Any) -> Hook:  # Any: a type form
    members = choices(type_)
    words = [word for word, _ in members]

    def structure_choice(value: object, _: object) -> object:
        for word, member in members:
            if type(value) is type(word) and value == word:
                return member
        meant = hint(closest(value, words))
        raise ConfigError((f"expected {' or '.join(map(shown, words))}, got {shown(value)}{meant}",))

    return structure_choice


def _unstructure_without_null(type_: Any, converter: Converter) -> Callable[[Any], Any]:  # Any: a type form, a record
    cls = get_origin(type_) or type_
    if is_namedtuple(cls):
        defaults: Mapping[str, object] = cls._field_defaults
    else:
        fields = attrs.fields(cls) if attrs.has(cls) else dataclasses.fields(cls)
        defaults = {field.name: field.default for field in fields}
    # Any: the type of every keyword argument there is
    optional: dict[str, Any] = {n: override(omit_if_default=True) for n, default in defaults.items() if default is None}
    make = namedtuple_dict_unstructure_factory if is_namedtuple(cls) else make_dict_unstructure_fn
    return make(type_, converter, **optional)


# -- mistakes ----------------------------------------------------------------------------------------------------------


class _Mistake(NamedTuple):
    keys: Keys
    text: str
    #: of a key that is not known: the one that was meant; of one that is missing: itself
    meant: Keys | None = None
    missing: bool = False


def _mistakes(error: BaseException, keys: Keys, type_: Any, data: object) -> Iterator[_Mistake]:  # Any: a type form
    """Every mistake in an error of cattrs, where it was made."""
    if isinstance(error, (ClassValidationError, IterableValidationError)):
        for inner in error.exceptions:
            for note in getattr(inner, "__notes__", ()):
                if isinstance(note, AttributeValidationNote):
                    yield from _mistakes(inner, (*keys, note.name), note.type, data)
                    break
                if isinstance(note, IterableValidationNote):
                    yield from _mistakes(inner, (*keys, note.index), note.type, data)
                    break
            else:
                yield from _mistakes(inner, keys, None, data)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = keys_of(error.cl)
        for key in error.extra_fields:
            meant = closest(key, known)
            yield _Mistake((*keys, key), f"unknown key{hint(meant)}", (*keys, meant) if meant else None)
    elif isinstance(error, RecursionError):
        yield _Mistake((), "nested too deeply")
    elif isinstance(error, QuantLevelsError):
        yield _Mistake(keys, str(error))
    elif isinstance(error, KeyError) and error.args[:1] == keys[-1:] and not _found(keys, data):
        yield _Mistake(keys, f"missing, expected {_in_words(type_)}", keys, missing=True)
    elif type_ is None:  # what a class says of its fields together
        yield _Mistake(keys, " ".join(str(error).split()) or type(error).__name__)
    else:
        yield _Mistake(keys, f"expected {_in_words(type_)}, got {shown(_value(keys, data))}")


def _value(keys: Keys, data: Any) -> object:  # Any: what a parser gave
    for key in keys:
        data = data[key]
    return data


def _found(keys: Keys, data: object) -> bool:
    try:
        _value(keys, data)
    except (LookupError, TypeError):
        return False
    return True


def _in_words(type_: Any) -> str:  # Any: a type form
    if type_ in _IN_WORDS:
        return _IN_WORDS[type_]
    if type_ is NoneType:
        return "null"
    if is_union(type_):
        return " or ".join(dict.fromkeys(map(_in_words, get_args(type_))))
    if _is_choice(type_):
        return " or ".join(shown(word) for word, _ in choices(type_))
    if get_origin(type_) is Annotated or hasattr(type_, "__supertype__"):
        return _in_words(getattr(type_, "__supertype__", None) or type_.__origin__)
    if _is_table(type_):
        return "a table"
    return "a list" if _is_list(type_) else getattr(type_, "__name__", str(type_))


def _worded(mistakes: list[_Mistake], document: Document, name: str) -> tuple[str, ...]:
    meant = {mistake.meant for mistake in mistakes if not mistake.missing}
    lines = []
    for mistake in mistakes:
        if not (mistake.missing and mistake.meant in meant):  # misspelt, which is said already
            number = document.line(mistake.keys)
            where = f" (line {number})" if number else ""
            lines.append((number or 0, f"{name}: {place(mistake.keys)}: {mistake.text}{where}"))
    return tuple(line for _, line in sorted(lines, key=lambda line: line[0]))
