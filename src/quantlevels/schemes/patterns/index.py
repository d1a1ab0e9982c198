"""Many patterns at once: a name is held against the few that may match it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from itertools import product
from typing import TYPE_CHECKING, Final, TypeVar, final

from quantlevels.schemes.patterns.pieces import DIGITS, WINDOWS
from quantlevels.schemes.patterns.work import COST_OF_PARSING, TooCostlyError, Work

if TYPE_CHECKING:
    from quantlevels.schemes.patterns.matcher import Matcher

#: Of finding that a pattern may match a name.
_COST_OF_CANDIDATE: Final = 2

_T = TypeVar("_T")


@final
class PatternIndex:
    """Many patterns; finds the first that matches a name without trying all of them.

    Args:
        parse: number of a pattern → its matcher; None if it is not supported. Called again for a pattern that is needed
            after it was forgotten: many thousands of matchers would take more memory than their config may.
    """

    def __init__(self, parse: Callable[[int], Matcher | None]) -> None:
        self._parse = parse
        #: number of a pattern → how many characters it has
        self._lengths: dict[int, int] = {}
        self._parsed: dict[int, Matcher] = {}
        # Tables of their own for numbers: most entries differ only in these, and a name has few places where one ends.
        #: two texts that end at, or right after, a number → patterns that need both: a layer and an expert
        self._pairs: dict[tuple[str, str], list[int]] = {}
        #: the first, and the second texts of pairs
        self._firsts: dict[str, str] = {}
        self._seconds: dict[str, str] = {}
        #: one such text → patterns that need it
        self._numbered: dict[str, list[int]] = {}
        #: the same for other texts
        self._others: dict[str, list[int]] = {}
        #: patterns that may match any name
        self._everywhere: list[int] = []
        self._work = Work()
        self.given_up: bool = False

    def add(self, number: int, characters: int) -> bool:
        """Add a pattern of so many characters; numbers must rise. False if it is not supported."""
        matcher = self._parse(number)
        if matcher is None:
            return False
        self._lengths[number] = characters
        self._work.allow(characters)
        if self._work.remembered + matcher.size < self._work.most_remembered // 4:  # the rest is for machines
            self._keep(number, matcher)
        if not matcher.windows:
            self._everywhere.append(number)
        for window, *others in matcher.windows:
            for second in others:
                self._firsts[window] = window
                self._seconds[second] = second
                self._pairs.setdefault((window, second), []).append(number)
            if not others:
                table = self._numbered if DIGITS.search(window) else self._others
                table.setdefault(window, []).append(number)
        return True

    def numbers(self) -> Iterable[int]:
        """The numbers of all patterns."""
        return self._lengths

    def first(self, name: str) -> int | None:
        """The lowest number of a pattern that matches a name; None if none does, and once they are given up."""
        if self.given_up:
            return None
        self._work.allow(len(name))
        try:
            for number in self._candidates(name):
                self._work.spend(_COST_OF_CANDIDATE)
                if self._matcher(number).matches(name, self._work):
                    return number
        except TooCostlyError:
            self.given_up = True  # for all later names too; the patterns are then reported as not supported
        return None

    def _matcher(self, number: int) -> Matcher:
        """The matcher of a pattern, parsed again if it was forgotten.

        Raises:
            TooCostlyError: if no more work is allowed.
        """
        if self._work.remembered >= self._work.most_remembered:
            # machines first: a matcher that is forgotten is parsed again for each name that it may match
            for matcher in self._parsed.values():
                matcher.forget()
            self._work.remembered = sum(matcher.size for matcher in self._parsed.values())
            if self._work.remembered >= self._work.most_remembered // 2:
                self._parsed.clear()
                self._work.remembered = 0
        known = self._parsed.get(number)
        if known:
            return known
        self._work.spend(COST_OF_PARSING * self._lengths[number])
        parsed = self._parse(number)
        assert parsed  # it was supported when it was added
        self._keep(number, parsed)
        return parsed

    def _keep(self, number: int, matcher: Matcher) -> None:
        self._parsed[number] = matcher
        self._work.remembered += matcher.size

    def _candidates(self, name: str) -> Iterator[int]:
        """The patterns that may match a name, in rising order."""
        ends: set[int] = set()
        for run in DIGITS.finditer(name):
            ends.update(range(run.start() + 1, run.end() + 2))
        found = [*dict(_at(self._numbered, name, ends)).values()]
        found += dict(_at(self._others, name, range(1, len(name) + 1))).values()
        firsts, seconds = dict(_at(self._firsts, name, ends)), dict(_at(self._seconds, name, ends))
        self._work.spend(len(firsts) * len(seconds) // 8)
        found += [self._pairs[pair] for pair in product(firsts, seconds) if pair in self._pairs]
        # lazily: the first that matches ends the search
        return merge(*found, self._everywhere)


def _at(index: Mapping[str, _T], name: str, ends: Iterable[int]) -> Iterator[tuple[str, _T]]:
    """What an index has for the texts that end in these places of a name, each once or more."""
    if not index:
        return
    for end in ends:
        for length in WINDOWS[: bisect_right(WINDOWS, end)]:
            text = name[end - length : end]
            if text in index:
                yield text, index[text]
