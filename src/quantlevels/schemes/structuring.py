"""A quantization section of a config → the class of its method, by the strict rules of config files.

One bad value does not hide the values beside it: what cannot be used is left out, and every mistake is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any, Final, Generic, NamedTuple, TypeVar, get_args, get_origin

import attrs

from quantlevels.config.reader import Mistake, UnknownWordError, mistakes_in, read, reader
from quantlevels.config.words import Keys, place
from quantlevels.container import JSON
from quantlevels.scheme import Config, UnknownTypeError

_T = TypeVar("_T")

_UNKNOWN_WORDS: Final = (UnknownTypeError, UnknownWordError)
#: Validators run only after all values have their types, so that the second reading may find new mistakes.
_MAX_READINGS: Final = 3


class Complaint(NamedTuple):
    """One mistake in a section.

    Args:
        place: where it is: ``$.quantization_config.bits``.
        text: what is wrong: ``expected a whole number, got '4'``.
        is_unknown_word: whether a word is unknown, rather than a value impossible.
    """

    place: str
    text: str
    is_unknown_word: bool


class SectionReading(NamedTuple, Generic[_T]):
    """What could be read of a section.

    Args:
        config: the instance; None if a required field is missing or nothing could be repaired.
        left_out: fields that could not be used and have their defaults.
        entries: entries of tables that could not be used and were left out: (field, key).
        complaints: every mistake.
    """

    config: _T | None
    left_out: frozenset[str] = frozenset()
    entries: frozenset[tuple[str, str]] = frozenset()
    complaints: tuple[Complaint, ...] = ()


def structured(config: Config, class_: type[_T], path: str, written: Set[str]) -> SectionReading[_T]:
    """Read a section into an attrs class; keys that are not its fields are left alone.

    Args:
        config: the section.
        class_: the class of its method.
        path: where the section stands, for complaints.
        written: the keys that the section has in the file: a scheme may have put others around them.
    """
    complaints: list[Complaint] = []
    left_out: set[str] = set()
    entries: set[tuple[str, str]] = set()
    # read, leave out what was refused, and read again: so that one bad value does not cost the level of the model
    for _ in range(_MAX_READINGS):
        try:
            found = read(config, class_)
        except Exception as error:  # a plugin's class raises what it likes
            complaints += complaints_of(error, path, written, left_out)
            bad = set(_bad_places(error, config, class_))
            if not bad:  # a required field is missing, or the class refuses values that are fine one by one
                break
            by_field: dict[str, set[str | None]] = {}
            for field, entry in bad:
                by_field.setdefault(field, set()).add(entry)
            config = {
                field: _without(value, by_field.get(field, set()))
                for field, value in config.items()
                if None not in by_field.get(field, set())
            }
            left_out |= {field for field, entry in bad if entry is None}
            entries |= {(field, entry) for field, entry in bad if entry is not None}
        else:
            return SectionReading(
                config=found,
                left_out=frozenset(left_out),
                entries=frozenset(entries),
                complaints=tuple(complaints),
            )
    return SectionReading(config=None, complaints=tuple(complaints))


def _without(value: JSON, entries: set[str | None]) -> JSON:
    """A table without some entries; any other value as it is."""
    if not entries or not isinstance(value, dict):
        return value
    return {key: inner for key, inner in value.items() if key not in entries}


def complaints_of(
    error: Exception, path: str, written: Set[str] = frozenset(), left_out: Set[str] = frozenset()
) -> Iterator[Complaint]:
    """Every mistake in the section at a path, but that required fields are missing that were left out."""
    for mistake in sorted(mistakes_in(error), key=_is_unknown_word):
        if mistake.missing and mistake.keys[0] in left_out:
            continue
        # a scheme's `prepare` may have put a key around the section's own: the file's author knows only the inner one
        inner = mistake.keys[1:]
        keys = inner if inner and mistake.keys[0] not in written else mistake.keys
        yield Complaint(place(keys, root=path), mistake.text, _is_unknown_word(mistake))


def _is_unknown_word(mistake: Mistake) -> bool:
    return isinstance(mistake.cause, _UNKNOWN_WORDS)


def _bad_places(error: Exception, config: Config, class_: type) -> Iterator[tuple[str, str | None]]:
    """The fields that cannot be used, each with the entry of its table that is to blame."""
    tables = {field.name for field in attrs.fields(class_) if _table(field.type)}
    for mistake in mistakes_in(error):
        field, *inner = mistake.keys or ("",)
        if not mistake.keys:  # what validators say of a field does not name its place
            yield from ((name, None) for name in _refused_by_validators(config, class_))
        elif not mistake.missing or inner:
            yield str(field), str(inner[0]) if inner and field in tables else None


def _refused_by_validators(config: Config, class_: Any) -> Iterator[str]:  # Any: an attrs class
    for field in attrs.fields(class_):
        if field.validator is None or field.name not in config:
            continue
        try:
            field.validator(class_, field, reader(field.type)(config[field.name]))
        except Exception:  # whatever a validator raises
            yield field.name


def _table(type_: Any) -> Any:  # Any: type forms
    """The type of a table by names that a type is or allows; None if it has none."""
    return next((member for member in (type_, *get_args(type_)) if get_origin(member) is Mapping), None)


def unread_keys(config: Config, class_: Any, also: frozenset[str] = frozenset()) -> Iterator[Keys]:  # Any: a class
    """The places of keys that are neither fields of an attrs class nor among its ``ignored_keys``, nested ones too.

    Args:
        config: the object that was read into the class.
        class_: the class.
        also: other keys that were read.
    """
    attrs.resolve_types(class_)
    fields = {field.name: field.type for field in attrs.fields(class_)}
    ignored: frozenset[str] = getattr(class_, "ignored_keys", frozenset())
    for key, value in config.items():
        if key in fields:
            yield from ((key, *inner) for inner in _unread_within(value, fields[key]))
        elif value is not None and key not in ignored and key not in also:  # null claims nothing
            yield (key,)


def _unread_within(value: JSON, type_: Any) -> Iterator[Keys]:  # Any: a type form
    members = [type_, *get_args(type_)]
    record = next((member for member in members if attrs.has(member)), None)
    table = _table(type_)
    if isinstance(value, Mapping) and table:
        for key, entry in value.items():
            yield from ((key, *inner) for inner in _unread_within(entry, get_args(table)[1]))
    elif isinstance(value, Mapping) and record is not None:
        yield from unread_keys(value, record)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for member in members:
                if isinstance(item, Mapping) and attrs.has(member):
                    yield from ((index, *inner) for inner in unread_keys(item, member))
