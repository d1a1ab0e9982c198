"""The type of a level for programs made with click or typer. No other module of this package imports click."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from quantlevels.errors import ConfigError
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from quantlevels.config.fields import OneOf
    from quantlevels.vocabulary.level import QuantizationLevel


class LevelType(click.ParamType["QuantizationLevel"]):
    """A click type: any spelling of a level, with completion of names.

    Args:
        choices: the only levels allowed; all if none are given.

    Raises:
        TypeError: for choices that are not levels.
    """

    name = "level"

    def __init__(self, *choices: QuantizationLevel) -> None:
        self._choice: OneOf | None = None
        if choices:
            from quantlevels.config.fields import OneOf  # here: most options take any level

            self._choice = OneOf(*choices)

    def convert(
        self, value: str | QuantizationLevel, param: click.Parameter | None, ctx: click.Context | None
    ) -> QuantizationLevel:
        """The level that an argument or a default means; a usage error if it is unknown, or not a choice."""
        from quantlevels.config.fields import as_level  # here: most runs of a program name no level

        try:
            level = as_level(value)
            if self._choice is None:
                return level
            return self._choice.check(level)
        except (ValueError, ConfigError) as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin as typed, each with the level's summary."""
        from click.shell_completion import CompletionItem  # here: only completion needs it

        # without choices, the levels known without a plugin: completion must not wait for imports of others
        known = self._choice.levels if self._choice else levels
        typed = incomplete.lower()
        return [
            CompletionItem(level.name, help=level.summary) for level in known if level.name.lower().startswith(typed)
        ]
