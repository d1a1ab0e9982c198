"""Words of containers for what one stored element is."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from quantlevels.container import UnknownType
from quantlevels.errors import AmbiguousLevelError, UnknownLevelError

if TYPE_CHECKING:
    from quantlevels.container import TypeLookup
    from quantlevels.vocabulary.level import QuantizationLevel
    from quantlevels.vocabulary.registry import Registry


def type_lookup(registry: Registry) -> TypeLookup:
    """The look-up of storage types in a registry, each asked for once; `UnknownType` if no single level has it."""

    @cache
    def level_of(dialect: str, spelling: str | int) -> QuantizationLevel | UnknownType:
        try:
            return registry.from_dialect(dialect, spelling)
        except (UnknownLevelError, AmbiguousLevelError):
            return UnknownType(dialect, spelling)

    return level_of
