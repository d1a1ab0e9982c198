"""Types, values and places of config data in the words that messages use."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from enum import Enum, EnumType
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin, is_typeddict

import attrs

from quantlevels.errors import ConfigError
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.plain import value_text

Keys: TypeAlias = tuple[object, ...]
"""Where in a document: mapping keys and list indices, from the root."""

_TYPES: Final[Mapping[object, str]] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    bytes: "bytes",
    NoneType: "null",
    QuantizationLevel: "a level",
    Any: "a value",
}
#: not by the classes themselves: few files have dates, and the import takes time
_TIMES: Final = {"date": "a date", "datetime": "a date and time"}


def place(keys: Keys, root: str = "$") -> str:
    """A place in a document as people read it: ``$.layers[0].level``."""
    return root + "".join(map(_step, keys))


def _step(key: object) -> str:
    if isinstance(key, str) and key.isidentifier():
        return f".{key}"
    return f"[{key!r:.80}]"  # cut: a key of a hostile file may be as long as the file


def in_words(type_: Any) -> str:  # Any: a type form
    """What a type expects, with its article: ``an integer or null``."""
    if type_ in _TYPES:
        return _TYPES[type_]
    # the order matters below: an Enum may be a str, an Annotated may hold a union
    if getattr(type_, "__module__", "") == "datetime":
        return _TIMES.get(type_.__name__, str(type_.__name__))
    if is_union(type_):
        return " or ".join(dict.fromkeys(map(in_words, get_args(type_))))
    if is_choice(type_):
        return " or ".join(value_text(word) for word, _ in choices(type_))
    if hasattr(type_, "__supertype__"):
        return in_words(type_.__supertype__)
    if get_origin(type_) is Annotated:
        return in_words(type_.__origin__)
    if is_table(type_):
        return "a table"
    if is_list(type_):
        return "a list"
    return getattr(type_, "__name__", str(type_))


def as_key(key: object, written: object) -> str:
    """The text of a mapping key, from what its own hook writes.

    Raises:
        ConfigError: for a level that is written as a table.
    """
    # a key is text: a level that is written as a table cannot be one
    if isinstance(key, QuantizationLevel) and not isinstance(written, str):
        raise ConfigError((f"{key.name!r} is not registered, and a mapping key has no room for its definition",))
    if isinstance(written, Enum):
        written = written.value
    return str(written)


# -- kinds of types ----------------------------------------------------------------------------------------------------


def is_level(type_: object) -> bool:
    """Whether a type is the class of levels, perhaps annotated."""
    return type_ is QuantizationLevel or (get_origin(type_) is Annotated and is_level(get_args(type_)[0]))


def is_union(type_: Any) -> bool:  # Any: a type form
    """Whether a type is a union, written in either way."""
    return get_origin(type_) in (Union, UnionType)


def is_choice(type_: Any) -> bool:  # Any: a type form
    """Whether a type is a Literal or an Enum."""
    return get_origin(type_) is Literal or isinstance(type_, EnumType)


def choices(type_: Any) -> list[tuple[object, object]]:  # Any: a type form
    """Each member of a Literal or Enum, after what a file has in its place; empty for any other type."""
    members: Iterable[object] = ()
    if get_origin(type_) is Literal:
        members = get_args(type_)
    elif isinstance(type_, EnumType):
        members = type_
    return [(_word(member), member) for member in members]


def _word(member: object) -> object:
    """What a file has for a member of a Literal or Enum; a Literal may have members of an Enum."""
    if isinstance(member, Enum):
        return member.value
    return member


def is_namedtuple(type_: Any) -> bool:  # Any: a type form
    """Whether a type is a named tuple, also one made by a call, which cattrs does not see before Python 3.12."""
    return isinstance(type_, type) and issubclass(type_, tuple) and {"_fields", "__annotations__"} <= vars(type_).keys()


def is_dataclass(cls: type) -> bool:
    """Whether a class is a dataclass; ``dataclasses`` would say the same, but its import takes time."""
    return hasattr(cls, "__dataclass_fields__")


def is_record(type_: Any) -> bool:  # Any: a type form
    """Whether a type is an attrs class, a dataclass or a named tuple."""
    cls = get_origin(type_) or type_
    return attrs.has(cls) or is_dataclass(cls) or is_namedtuple(cls)


def is_plain_mapping(type_: Any) -> bool:  # Any: a type form
    """Whether a type is a mapping, but not a TypedDict."""
    return _is_subclass(type_, Mapping) and not is_typeddict(type_)


def is_table(type_: Any) -> bool:  # Any: a type form
    """Whether a file has a table in the place of a type."""
    return is_record(type_) or is_plain_mapping(type_) or is_typeddict(type_)


def is_list(type_: Any) -> bool:  # Any: a type form
    """Whether a file has a list in the place of a type."""
    is_text = _is_subclass(type_, (str, bytes, bytearray))  # sequences to Python, but one value in a file
    return not is_text and not is_table(type_) and _is_subclass(type_, (Sequence, Set, deque))


def _is_subclass(type_: Any, of: type | tuple[type, ...]) -> bool:  # Any: a type form
    cls = get_origin(type_) or type_
    return isinstance(cls, type) and issubclass(cls, of)


def keys_of(cls: Any) -> tuple[str, ...]:  # Any: a class or a generic alias of one
    """The names of the fields of an attrs class, dataclass, TypedDict or NamedTuple; empty for any other type."""
    cls = get_origin(cls) or cls
    if attrs.has(cls):  # not `__annotations__`, which lacks the fields of base classes
        return tuple(attribute.name for attribute in attrs.fields(cls))
    if is_dataclass(cls):
        return tuple(cls.__dataclass_fields__)
    return tuple(getattr(cls, "__annotations__", ()))
