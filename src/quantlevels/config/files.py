"""Config files: JSON, TOML, YAML or MessagePack into your own class, strictly, with all mistakes named at once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

import attrs
from cattrs import Converter, IterableValidationError, IterableValidationNote
from cattrs.cols import namedtuple_dict_structure_factory, namedtuple_dict_unstructure_factory
from cattrs.gen import make_dict_unstructure_fn, override

from quantlevels.config.converters import configure_converter, structure_mapping, structure_table
from quantlevels.config.documents import SUFFIXES, DocumentFormat, dump, parse
from quantlevels.config.documents.document import Document, library
from quantlevels.config.reader import Mistake, expected
from quantlevels.config.strict import Hook, make_strict, mistakes, structure_scalar
from quantlevels.config.words import as_key, in_words, is_level, is_namedtuple, is_plain_mapping, is_record, place
from quantlevels.errors import ConfigError, QuantLevelsError
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import Registry, levels

__all__ = ["levels_file", "load", "loads", "save"]

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


def loads(text: str | bytes, format: DocumentFormat, cls: type[T]) -> T:
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

    def converter_for(format: DocumentFormat) -> Converter:
        converter = _strict(format)
        converter.register_structure_hook(_Definitions, _structure_definitions(converter, registry))
        return converter

    format = _format_of(path)
    found = _structured(path.read_bytes(), format, converter_for, _LevelsFile, str(path)).levels.values()
    try:
        return registry.register_all(tuple(found))
    except QuantLevelsError as error:  # another thread was faster
        raise ConfigError((f"{path}: {error}",)) from error


def _format_of(path: Path) -> DocumentFormat:
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise ConfigError((f"{path}: the suffix must be one of {', '.join(SUFFIXES)}",)) from None


def _structured(
    content: str | bytes,
    format: DocumentFormat,
    converter_for: Callable[[DocumentFormat], Converter],
    cls: type[T],
    name: str,
) -> T:
    try:
        document = parse(content, format)
    except ConfigError as error:
        raise ConfigError(tuple(f"{name}: {message}" for message in error.messages)) from error
    found = [Mistake(keys, text) for keys, text in document.faults]
    structure = converter_for(format).get_structure_hook(cls)  # what the class itself lacks is no ConfigError
    try:
        result: T = structure(document.data, cls)
    except Exception as error:  # whatever a class of the user's own raises for a value
        found.extend(mistakes(error, cls, document.data))
    else:
        if not found:
            return result
    raise ConfigError(_lines(found, document, name))


def _lines(found: list[Mistake], document: Document, name: str) -> tuple[str, ...]:
    """A line per mistake, in the order of the file: ``serve.toml: $.port: expected an integer, got 'x' (line 2)``."""
    numbered = []
    for mistake in found:
        number = document.line(mistake.keys)
        where = f" (line {number})" if number else ""
        numbered.append((number or 0, f"{name}: {place(mistake.keys)}: {mistake.text}{where}"))
    return tuple(line for _, line in sorted(numbered, key=lambda pair: pair[0]))


# -- levels of a file --------------------------------------------------------------------------------------------------


class _Definitions(dict[str, QuantizationLevel]):
    """The levels a file defines, by name."""

    __slots__ = ()


@attrs.frozen
class _LevelsFile:
    levels: _Definitions


def _structure_definitions(converter: Converter, registry: Registry) -> Hook:
    structure_fields = structure_table(converter)

    def structure(name: object, table: object) -> QuantizationLevel:
        if not isinstance(table, Mapping):
            raise expected("a table of the fields of a level", table)
        if "name" in table:
            raise ConfigError((f"the name is {name!r} already, by the key of the table",))
        level: QuantizationLevel = structure_fields({"name": name, **table}, QuantizationLevel)
        return level

    def structure_definitions(value: object, _: object) -> _Definitions:
        if not isinstance(value, Mapping):
            raise expected("a table of levels by name", value)
        scratch = Registry()
        scratch.register_all(registry)
        found: dict[str, QuantizationLevel] = {}
        errors: list[Exception] = []
        for name, table in value.items():
            try:
                found[name] = scratch.register(structure(name, table))
            except Exception as error:  # collected, as cattrs does
                error.add_note(IterableValidationNote("level", name, QuantizationLevel))
                errors.append(error)
        if errors:
            refused: Any = IterableValidationError  # Any: to checkers it takes what ExceptionGroup takes
            raise refused("levels", errors, _Definitions)
        return _Definitions(found)

    return structure_definitions


# -- converters of the formats -----------------------------------------------------------------------------------------


@cache
def _converter_for(format: DocumentFormat) -> Converter:
    return _strict(format)


def _strict(format: DocumentFormat) -> Converter:
    """The converter of cattrs for a format, made to convert nothing."""
    converter = _preconf(format)
    configure_converter(converter)
    for kind in (date, datetime):
        numbers = converter.get_structure_hook(kind) if format == "msgpack" else None
        converter.register_structure_hook(kind, _structure_time(kind, numbers))
    if format == "msgpack":
        converter.register_structure_hook(bytes, structure_scalar(bytes))
        for kind in (date, datetime):  # as numbers, times without a zone would get one
            converter.register_unstructure_hook(kind, kind.isoformat)
    converter.register_structure_hook_factory(_is_key, _structure_key)
    converter.register_structure_hook_factory(is_plain_mapping, _structure_mapping)
    converter.register_structure_hook_factory(is_namedtuple, _structure_namedtuple)
    converter.register_unstructure_hook_factory(is_namedtuple, namedtuple_dict_unstructure_factory)
    make_strict(converter)
    if format == "toml":
        converter.register_unstructure_hook_factory(_is_mapping_by_no_text, _unstructure_keys)
        converter.register_unstructure_hook_factory(is_record, _unstructure_without_null)
    return converter


def _structure_time(kind: type[date], structure_number: Hook | None) -> Hook:
    """The hook that takes a date, or a date and time; ISO text for either, and numbers if the format has them."""

    def structure(value: Any, _: object) -> object:  # Any: what a parser gave
        if isinstance(value, str):
            with suppress(ValueError):
                return kind.fromisoformat(value)
        elif type(value) is kind:
            return value
        elif structure_number and type(value) in (int, float) and (kind is datetime or value % _SECONDS_OF_A_DAY == 0):
            return structure_number(value, kind)
        raise expected(in_words(kind), value)

    return structure


_SECONDS_OF_A_DAY: Final = 86_400


def _preconf(format: DocumentFormat) -> Converter:
    if format == "msgpack":
        library("msgpack")
        from cattrs.preconf import msgpack

        return msgpack.make_converter(forbid_extra_keys=True)
    if format == "toml":
        from cattrs.preconf import tomllib

        return tomllib.make_converter(forbid_extra_keys=True)
    from cattrs.preconf import json

    return json.make_converter(forbid_extra_keys=True)  # YAML 1.2 has no more types than JSON


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
    return is_plain_mapping(type_) and not all(map(_is_text, get_args(type_)[:1]))


def _unstructure_keys(mapping: Any, converter: Converter) -> Callable[[Any], Any]:  # Any: a type form
    key, *values = get_args(mapping)
    write_key = converter.get_unstructure_hook(key)
    by_text: Any = dict[(str, *(values or [int]))]  # type: ignore[misc]  # ty: ignore[invalid-type-form]
    write = converter.get_unstructure_hook(by_text)
    return lambda value: write({as_key(own, write_key(own)): item for own, item in value.items()})


def _structure_namedtuple(type_: Any, converter: Converter) -> Hook:  # Any: a type form
    return namedtuple_dict_structure_factory(type_, converter, "from_converter", True)


def _structure_mapping(type_: Any, converter: Converter) -> Hook:  # Any: a type form
    key, *values = get_args(type_) or (Any,)
    if not (_is_text(key) or is_level(key)):
        type_ = get_origin(type_)[(Annotated[key, _KEY], *values)]  # ty: ignore[invalid-type-form]
    return structure_mapping(type_, converter)


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
