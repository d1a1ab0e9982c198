"""A quantization config as it is written → the class of its method, by the strict rules of config files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TypeVar

import attrs
from cattrs import BaseConverter, BaseValidationError

from quantlevels.config.strict import UnknownWordError, make_strict, mistakes, structure_record
from quantlevels.config.words import place
from quantlevels.scheme import Config, UnknownTypeError

_T = TypeVar("_T")

_UNKNOWN_WORDS = (UnknownTypeError, UnknownWordError)


def structured(config: Config, class_: type[_T]) -> _T:
    """A config as an instance of an attrs class; keys that are not its fields are left alone.

    Raises:
        Exception: for values that do not fit, as cattrs, validators or a plugin's class raise it: see `complaints`.
    """
    return _converter().structure(config, class_)


def complaints(error: Exception, path: str) -> Iterator[str]:
    """A line for every mistake in the config at a path: ``$.quantization_config.bits: expected ...``."""
    for mistake in mistakes(error):
        yield f"{place(mistake.keys, root=path)}: {mistake.text}"


def only_unknown(error: Exception) -> bool:
    """Whether the only mistakes are words for levels that are not known."""
    if isinstance(error, BaseValidationError):
        return error.split(_UNKNOWN_WORDS)[1] is None
    return isinstance(error, _UNKNOWN_WORDS)


@cache
def _converter() -> BaseConverter:
    converter = BaseConverter()  # quicker to make than a Converter, and needs nothing of what that adds
    converter.register_structure_hook_factory(attrs.has, structure_record)
    make_strict(converter)
    return converter
