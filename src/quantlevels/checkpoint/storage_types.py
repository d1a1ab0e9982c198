"""Words of containers for what one stored element is."""

from __future__ import annotations

from quantlevels.container import UnknownType
from quantlevels.errors import AmbiguousLevelError, UnknownLevelError
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import levels


def storage_type(dialect: str, spelling: str | int) -> QuantizationLevel | UnknownType:
    """The level that a spelling in a container stands for; `UnknownType` where no single one answers to it."""
    try:
        return levels.from_dialect(dialect, spelling)
    except (UnknownLevelError, AmbiguousLevelError):
        return UnknownType(dialect, spelling)
