"""A config as it is written → the class of its method: scalars are taken for what they are, mistakes named by place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import attrs
from cattrs import BaseValidationError, Converter, transform_error
from cattrs.gen import make_dict_structure_fn

from quantlevels.config.converters import format_exception
from quantlevels.scheme import Config, LayoutError, UnknownTypeError

_T = TypeVar("_T")

#: type of a field → what it is called, and the types of JSON values it takes
_SCALARS: Final[dict[type, tuple[str, tuple[type, ...]]]] = {
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("text", (str,)),
    bool: ("true or false", (bool,)),
}


def structured(config: Config, class_: type[_T]) -> _T:
    """A config as an instance of an attrs class; keys that are no fields are left alone.

    Raises:
        Exception: for values that do not fit, as cattrs, validators or a plugin's class raise it: see `complaints`.
    """
    return _converter().structure(config, class_)


def complaints(error: Exception, path: str) -> Iterator[str]:
    """What is wrong with a config at a path, a line for each place: ``$.quantization_config.bits: must be ...``."""
    for line in transform_error(error, path=path, format_exception=_text):
        text, _, place = line.rpartition(" @ ")
        yield f"{place}: {text}" if text else line


def only_unknown(error: Exception) -> bool:
    """Whether all that is wrong are words for levels that are not known."""
    if isinstance(error, BaseValidationError):
        return error.split(UnknownTypeError)[1] is None
    return isinstance(error, UnknownTypeError)


def _text(error: BaseException, type_: type | None) -> str:
    own = isinstance(error, ValueError | TypeError | LayoutError) and error.args
    return str(error) if own else format_exception(error, type_)


@cache
def _converter() -> Converter:
    """A converter without coercion: no bool for a number, no text for either."""
    converter = Converter()
    for scalar in _SCALARS:
        converter.register_structure_hook(scalar, _scalar)
    converter.register_structure_hook_func(_is_one_of, _one_of)
    converter.register_structure_hook_func(lambda type_: type_ == tuple[str, ...], _texts)
    converter.register_structure_hook_factory(attrs.has, partial(_object, converter))
    converter.register_structure_hook_factory(_is_object_or_other, partial(_object_or_other, converter))
    return converter


def _scalar(value: Any, type_: type) -> Any:  # Any: types and values, as cattrs has them; here and below
    what, types = _SCALARS[type_]
    if type(value) not in types:
        raise TypeError(f"expected {what}, got {value!r:.80}")
    return value


def _object(converter: Converter, type_: Any) -> Callable[[Any, Any], Any]:
    """Reads an object into a class, and refuses what is none by name."""
    structure = make_dict_structure_fn(type_, converter)

    def read(value: Any, type_: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, got {value!r:.80}")
        return structure(value, type_)

    return read


def _texts(value: Any, _: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError(f"expected a list of texts, got {value!r:.80}")
    return tuple(value)


def _is_one_of(type_: Any) -> bool:
    origin: object = get_origin(type_)
    return origin is Literal


def _one_of(value: Any, type_: Any) -> Any:
    allowed = get_args(type_)
    if value not in allowed:
        kind = UnknownTypeError if isinstance(value, str) else ValueError
        raise kind(f"expected one of {', '.join(map(repr, allowed))}, got {value!r:.80}")
    return value


def _is_object_or_other(type_: Any) -> bool:
    return (
        get_origin(type_) is UnionType
        and any(map(attrs.has, get_args(type_)))
        and len({*get_args(type_), NoneType}) > 2
    )


def _object_or_other(converter: Converter, type_: Any) -> Callable[[Any, Any], Any]:
    """Reads what may be an object of one class, or else of one other type or null."""
    (own,) = filter(attrs.has, get_args(type_))
    (other,) = (one for one in get_args(type_) if one not in (own, NoneType))
    nullable = NoneType in get_args(type_)

    def read(value: Any, _: object) -> Any:
        if value is None and nullable:
            return None
        return converter.structure(value, own if isinstance(value, dict) else other)

    return read
