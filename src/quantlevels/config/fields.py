"""A level as a field in pydantic and msgspec, a choice of levels for these and cattrs, and a converter for any other.

None of the three is imported before it is used: pydantic asks `QuantizationLevel` itself, msgspec its hooks.
"""

from __future__ import annotations

import sys
from abc import ABCMeta
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, final

from attrs import frozen

from quantlevels.errors import ConfigError, QuantLevelsError, UnknownLevelError
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.plain import pydantic_validator, read_level, write_level

if TYPE_CHECKING:
    from collections.abc import Callable

    #: The annotation of a field in a ``msgspec.Struct``, which decodes to `QuantizationLevel`: so type checkers see it.
    #: At run time it is another class, since msgspec calls no hook for an attrs class.
    Level: TypeAlias = QuantizationLevel
else:

    class Level(metaclass=ABCMeta):  # noqa: B024  # abstract, so that levels can be its instances
        """The annotation of a field in a ``msgspec.Struct``; its values are ``QuantizationLevel``."""

        __slots__ = ()

    Level.register(QuantizationLevel)

T = TypeVar("T")


@final
@frozen(init=False)
class OneOf:
    """Only these levels: ``Annotated[QuantizationLevel, OneOf(INT8, INT4)]``, for cattrs and pydantic.

    Args:
        levels: those allowed, at least one.

    Raises:
        TypeError: for anything but levels, or none.
    """

    levels: tuple[QuantizationLevel, ...]

    def __init__(self, *levels: QuantizationLevel) -> None:
        if not levels or not all(isinstance(level, QuantizationLevel) for level in levels):
            raise TypeError(f"expected one or more levels to choose from, got {levels!r}")
        object.__setattr__(self, "levels", levels)  # frozen for all others

    def check(self, value: T) -> T:
        """The value itself.

        Raises:
            ConfigError: if it is a level other than these. A value of another type is for its own reader to judge.
        """
        if isinstance(value, QuantizationLevel) and value not in self.levels:
            raise ConfigError(
                (f"expected {' or '.join(repr(level.name) for level in self.levels)}, got {value.name!r}",)
            )
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: Callable[[object], object]) -> object:
        core: Any = import_module("pydantic_core").core_schema  # Any: a library that may be missing
        schema: object = core.no_info_after_validator_function(pydantic_validator(self.check), handler(source))
        return schema

    def __get_pydantic_json_schema__(
        self, core_schema: object, handler: Callable[[object], dict[str, object]]
    ) -> dict[str, object]:
        return {**handler(core_schema), "examples": [level.name for level in self.levels]}


@cache
def _value_error() -> type[ValueError]:
    from argparse import ArgumentTypeError

    class LevelValueError(ValueError, ArgumentTypeError):
        """argparse shows the text of its own error only; of a ValueError it shows the name of the function."""

    return LevelValueError


def as_level(value: str | QuantizationLevel) -> QuantizationLevel:
    """A level, from a level or any spelling of one: for arguments, settings and converters of any library.

    Raises:
        ValueError: for anything else, with the closest spellings. argparse shows its text too.
    """
    try:
        return read_level(value)
    except (QuantLevelsError, TypeError) as error:
        text = str(error)
        # without a suggestion, the message would not say how to go on
        if isinstance(error, UnknownLevelError) and not (error.suggestions or error.explanation):
            text += "; `quantlevels list` shows them all"
        # a program that does not use argparse is spared its import
        error_class = _value_error() if "argparse" in sys.modules else ValueError
        raise error_class(text) from error


def enc_hook(value: object) -> str | dict[str, object]:
    """``msgspec.json.encode(config, enc_hook=enc_hook)``: a level as its name, or a table if it is not registered.

    Raises:
        NotImplementedError: for anything but a level, as msgspec wants it.
        QuantLevelsError: if it would be read as a different level.
    """
    if isinstance(value, QuantizationLevel):
        return write_level(value)
    raise NotImplementedError(f"objects of type {type(value).__name__} are not supported")


def dec_hook(type_: type, value: object) -> Any:  # Any: what msgspec's own stubs say
    """``msgspec.json.decode(text, type=Config, dec_hook=dec_hook)``, for fields annotated with `Level`.

    Raises:
        NotImplementedError: for any other type, as msgspec wants it.
        ValueError: if the value is not a level; msgspec adds the path.
    """
    if type_ is not Level:
        raise NotImplementedError(f"objects of type {type_.__name__} are not supported")
    try:
        return read_level(value)
    except QuantLevelsError as error:
        raise ValueError(str(error)) from error
