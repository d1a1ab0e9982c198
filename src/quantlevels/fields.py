"""Levels as values of other libraries: fields of pydantic and msgspec, arguments of argparse, click and typer."""

from typing import TYPE_CHECKING

from quantlevels.config.fields import Level as Level
from quantlevels.config.fields import OneOf as OneOf
from quantlevels.config.fields import as_level as as_level
from quantlevels.config.fields import dec_hook as dec_hook
from quantlevels.config.fields import enc_hook as enc_hook

if TYPE_CHECKING:
    from quantlevels.config.click_type import LevelType as LevelType

__all__ = ["Level", "LevelType", "OneOf", "as_level", "dec_hook", "enc_hook"]

if not TYPE_CHECKING:  # else checkers would believe that every name exists

    def __getattr__(name: str) -> object:
        """Import click when its type is used first."""
        if name != "LevelType":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from quantlevels.config.click_type import LevelType

        return LevelType
