"""Levels found by word: how spellings are compared, and the index of those that come with quantlevels."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from quantlevels.errors import AmbiguousLevelError
from quantlevels.vocabulary.builtin import BUILTIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from quantlevels.vocabulary.level import QuantizationLevel, Spelling

TORCH_PREFIX: Final = "torch."


def normalized(spelling: str) -> str:
    """The form in which names are compared: lower case, ``-`` as ``_``; what is not ASCII stays, and names no level."""
    return spelling.lower().replace("-", "_") if spelling.isascii() else spelling


def own_words(level: QuantizationLevel) -> tuple[str, ...]:
    """What a level is called outside of any dialect."""
    return (level.name, level.label, *level.aliases)


def dialect_words(level: QuantizationLevel) -> Iterator[tuple[str, Spelling]]:
    """(dialect, word) of every spelling of a level."""
    return ((dialect, word) for dialect, words in level.spellings.items() for word in words)


class Index:
    """A fixed set of levels, found by name, by any of their words, and by dialect.

    Args:
        levels: in the order in which they are listed; no two share a name, label or alias.
        ambiguous: words that mean several levels, beside those that two dialects use differently.
    """

    __slots__ = ("dialects", "levels", "meanings")

    def __init__(self, levels: Iterable[QuantizationLevel], ambiguous: Mapping[str, tuple[str, ...]] = {}) -> None:
        self.levels: tuple[QuantizationLevel, ...] = tuple(levels)
        #: (dialect, word) → level, letter by letter
        self.dialects: dict[tuple[str, Spelling], QuantizationLevel] = {
            key: level for level in self.levels for key in dialect_words(level)
        }
        #: normalised word → what it can mean, by the names of the levels
        self.meanings: dict[str, dict[str, QuantizationLevel]] = {}
        by_name = {level.name: level for level in self.levels}
        for (_, word), level in self.dialects.items():
            if isinstance(word, str):
                self.meanings.setdefault(normalized(word), {})[level.name] = level
        for level in self.levels:
            self.meanings.update({normalized(word): {level.name: level} for word in own_words(level)})
        self.meanings.update({word: {name: by_name[name] for name in names} for word, names in ambiguous.items()})

    def means(self, spelling: str) -> Mapping[str, QuantizationLevel]:
        """What a spelling can mean, by the names of the levels."""
        word = normalized(spelling)
        if word.startswith(TORCH_PREFIX):
            level = self.dialects.get(("torch", word.removeprefix(TORCH_PREFIX)))
            return {level.name: level} if level else {}
        return self.meanings.get(word, {})

    def find(self, spelling: str) -> QuantizationLevel | None:
        """The level that a spelling means, or None.

        Raises:
            AmbiguousLevelError: if it means several.
        """
        meanings = self.means(spelling)
        if len(meanings) > 1:
            raise AmbiguousLevelError(spelling, tuple(meanings))
        return next(iter(meanings.values()), None)

    def equal(self, level: QuantizationLevel) -> QuantizationLevel | None:
        """The level of this index that equals another one, or None."""
        mine = self.meanings.get(normalized(level.name), {}).get(level.name)
        return mine if mine == level else None

    def clash(self, level: QuantizationLevel) -> tuple[str, str] | None:
        """The first word of a new level that is taken here, and whose it is: ``("q4_k", "Q4_K")``."""
        for name in own_words(level):
            if meanings := self.means(name):
                return name, " or ".join(meanings)
        for dialect, word in dialect_words(level):
            if owner := self.dialects.get((dialect, word)):
                return f"{dialect} {word}", owner.name
            if isinstance(word, str) and (meanings := self.means(word)):
                return word, " or ".join(meanings)
        return None


@cache
def shipped() -> Index:
    """The levels that come with quantlevels, the five first; built on the first name that is not one of the five."""
    from quantlevels.vocabulary.formats import AMBIGUOUS, SHIPPED

    return Index((*BUILTIN, *SHIPPED), AMBIGUOUS)
