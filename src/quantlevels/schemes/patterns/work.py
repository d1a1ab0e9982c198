"""How much matching patterns may cost, in time and in memory."""

from __future__ import annotations

from typing import Final, final

#: What a machine, and all patterns of an index together, remember before they forget it: about 100 bytes each.
MOST_REMEMBERED: Final = 3 << 17
#: As with work: what is remembered may grow with what is read.
_CHARACTERS_PER_REMEMBERED: Final = 16
#: What may be spent before patterns are given up, in states visited and pieces looked for: a second or two. Each
#: character of patterns and names adds to it, so that a long config is read whole in a time linear in its length.
_WORK: Final = 1 << 21
_WORK_PER_CHARACTER: Final = 6
#: Of building the machine of a pattern, or of parsing it again after it was forgotten, for each of its characters.
COST_OF_PARSING: Final = 4


@final
class Work:
    """What matching may still cost, so that no config takes longer than its size allows."""

    __slots__ = ("_left", "most_remembered", "remembered")

    def __init__(self) -> None:
        self._left = _WORK
        #: what patterns have put into memory, and may put there: in the unit of `MOST_REMEMBERED`
        self.remembered: int = 0
        self.most_remembered: int = MOST_REMEMBERED

    def allow(self, characters: int) -> None:
        """Allow for characters that have been read."""
        self._left += characters * _WORK_PER_CHARACTER
        self.most_remembered += characters // _CHARACTERS_PER_REMEMBERED

    def spend(self, amount: int) -> None:
        """Take note of work that is about to be done.

        Raises:
            TooCostlyError: if no more is allowed.
        """
        self._left -= amount
        if self._left < 0:
            raise TooCostlyError


class TooCostlyError(Exception):
    """Patterns would take longer than their size allows. Becomes a finding, never reaches a user."""
