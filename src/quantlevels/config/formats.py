"""The converter of cattrs for each format of config files, made strict, and what a format lacks: null, keys, times."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Final, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.cols import namedtuple_dict_structure_factory, namedtuple_dict_unstructure_factory
from cattrs.gen import make_dict_unstructure_fn, override

from quantlevels.config.converters import configure_converter, structure_mapping
from quantlevels.config.documents import DocumentFormat
from quantlevels.config.documents.document import library
from quantlevels.config.reader import expected
from quantlevels.config.strict import Hook, make_strict, structure_scalar
from quantlevels.config.words import as_key, in_words, is_level, is_namedtuple, is_plain_mapping, is_record


@cache
def shared_converter(format: DocumentFormat) -> Converter:
    """The converter that all files of a format share."""
    return strict_converter(format)


def strict_converter(format: DocumentFormat) -> Converter:
    """A new converter of cattrs for a format, made to convert no value.

    Raises:
        ConfigError: if the library for the format is missing.
    """
    converter = _preconf(format)
    # first the levels, last the strict rules: cattrs asks newer factories first, and `make_strict` wraps the older ones
    configure_converter(converter)
    for kind in (date, datetime):
        # cattrs' hook for msgpack reads numbers of seconds; the other formats have no such numbers
        structure_number = None
        if format == "msgpack":
            structure_number = converter.get_structure_hook(kind)
            # cattrs would write numbers, and a time without a zone would be read back with one
            converter.register_unstructure_hook(kind, kind.isoformat)
        converter.register_structure_hook(kind, _structure_time(kind, structure_number))
    if format == "msgpack":
        converter.register_structure_hook(bytes, structure_scalar(bytes))
    converter.register_structure_hook_factory(_is_key, _structure_key)
    converter.register_structure_hook_factory(is_plain_mapping, _structure_mapping)
    converter.register_structure_hook_factory(is_namedtuple, _structure_namedtuple)
    converter.register_unstructure_hook_factory(is_namedtuple, namedtuple_dict_unstructure_factory)
    make_strict(converter)
    if format == "toml":
        converter.register_unstructure_hook_factory(_is_keyed_by_other_than_text, _unstructure_keys)
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


#: A date is written as the seconds to its midnight; other seconds are a time, and reading one as a date would lose it.
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


#: Marks the type of a mapping's keys, so that only keys are read by the hook below.
_KEY: Final = object()


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
            # JSON and TOML have only text as keys, so that numbers are written as text
            for number in _numbers_written_as(value):
                with suppress(Exception):
                    return structure(number, plain)
            raise

    return structure_key


def _numbers_written_as(key: object) -> Iterator[float]:
    """The integer and the float that Python writes exactly like this text: not ``01``, not ``1.0`` for 1."""
    for number in (int, float):
        with suppress(TypeError, ValueError):
            if isinstance(key, str) and repr(number(key)) == key:
                yield number(key)


def _is_text(type_: Any) -> bool:  # Any: a type form
    return type_ in (str, Any)


def _is_keyed_by_other_than_text(type_: Any) -> bool:  # Any: a type form
    return is_plain_mapping(type_) and not all(map(_is_text, get_args(type_)[:1]))


def _unstructure_keys(mapping: Any, converter: Converter) -> Callable[[Any], Any]:  # Any: a type form
    """Writes the keys of a mapping as text, since TOML has no others."""
    key, *values = get_args(mapping)
    write_key = converter.get_unstructure_hook(key)
    # a Counter has no type of values to be given: they are integers
    by_text: Any = dict[(str, *(values or [int]))]  # type: ignore[misc]  # ty: ignore[invalid-type-form]
    write = converter.get_unstructure_hook(by_text)
    return lambda value: write({as_key(name, write_key(name)): item for name, item in value.items()})


def _structure_namedtuple(type_: Any, converter: Converter) -> Hook:  # Any: a type form
    # as a table by field names: cattrs' default is a list, in which a file could not say what is what
    return namedtuple_dict_structure_factory(type_, converter, "from_converter", True)


def _structure_mapping(type_: Any, converter: Converter) -> Hook:  # Any: a type form
    key, *values = get_args(type_) or (Any,)
    if not (_is_text(key) or is_level(key)):
        type_ = get_origin(type_)[(Annotated[key, _KEY], *values)]  # ty: ignore[invalid-type-form]
    return structure_mapping(type_, converter)


def _unstructure_without_null(type_: Any, converter: Converter) -> Callable[[Any], Any]:  # Any: a type form, a record
    """Leaves out fields that are None and None by default, since TOML has no null."""
    cls = get_origin(type_) or type_
    defaults = _defaults(cls)
    # Any: the type of every keyword argument there is
    # only those: left out, a field that is None but has another default would be read back as that default
    optional: dict[str, Any] = {n: override(omit_if_default=True) for n, default in defaults.items() if default is None}
    if is_namedtuple(cls):
        return namedtuple_dict_unstructure_factory(type_, converter, **optional)
    return make_dict_unstructure_fn(type_, converter, **optional)


def _defaults(cls: Any) -> Mapping[str, object]:  # Any: a record
    if is_namedtuple(cls):
        defaults: Mapping[str, object] = cls._field_defaults
        return defaults
    if attrs.has(cls):
        return {field.name: field.default for field in attrs.fields(cls)}
    return {field.name: field.default for field in dataclasses.fields(cls)}
