"""How levels are pickled: by functions of the package itself, a path that stays when modules move.

A level that comes with quantlevels is pickled by name, so that it is the same object again whatever fields later
versions add to it. Any other level is pickled as the table that a config file would have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantlevels.errors import UnknownLevelError
from quantlevels.vocabulary.index import shipped
from quantlevels.vocabulary.plain import level_from_table, level_to_table
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantlevels.vocabulary.level import QuantizationLevel

__all__ = ["_custom_level", "_shipped_level"]  # pickles name them as quantlevels._custom_level and so on


def pickled(level: QuantizationLevel) -> tuple[Callable[..., QuantizationLevel], tuple[object, ...]]:
    """The function and arguments that restore a level from a pickle."""
    if shipped().equal(level) is level:  # a name and no table: pickles of many tensors repeat it
        return _shipped_level, (level.name,)
    return _custom_level, (level_to_table(level),)


def _shipped_level(name: str) -> QuantizationLevel:
    """Unpickle a level that comes with quantlevels.

    Raises:
        UnknownLevelError: if this version does not have it yet.
    """
    level = shipped().find(name)
    if level:
        return level
    raise UnknownLevelError(name)


def _custom_level(table: Mapping[str, object]) -> QuantizationLevel:
    """Unpickle any other level: the known level if an equal one is known, without consulting plugins."""
    return levels.canonical(level_from_table(table))


# pickle writes a function as its module and name: this path is kept, wherever the module moves
for _function in (_shipped_level, _custom_level):
    _function.__module__ = "quantlevels"
