"""Machines of states, which read a name once however a pattern is written."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

from quantlevels.schemes.patterns.work import MOST_REMEMBERED

if TYPE_CHECKING:
    from quantlevels.schemes.patterns.work import Work

Reads: TypeAlias = Callable[[str], bool]


class State(NamedTuple):
    """Reads one character and goes on; without ``reads``, goes on at once, at an anchor only where that holds."""

    reads: Reads | None
    anchor: str
    then: list[int]


#: The state that is reached when a pattern has matched; it stays so, whatever follows.
MATCHED: Final = 0


@final
class _Reached(dict[str, "_Reached"]):
    """The states that the beginning of a name has reached, and what each character met so far leads on to."""

    __slots__ = ("at_end", "is_decided", "matches", "states")

    def __init__(self, states: frozenset[int], at_end: str = "$") -> None:
        self.states: frozenset[int] = states
        #: the anchors that hold if the name ends here
        self.at_end: str = at_end
        #: whether the rest of a name need not be read
        self.is_decided: bool = not states or MATCHED in states
        #: whether a name matches that ends here; None until one does
        self.matches: bool | None = MATCHED in states if self.is_decided else None


@final
class Machine:
    """A regular expression, matched from the start of a name.

    Args:
        build: adds the states of the expression, the last of which lead to `MATCHED`; gives the first of them.
    """

    def __init__(self, build: Callable[[Machine], int]) -> None:
        self.states: list[State] = []
        #: how many states have been looked at
        self.visited: int = 0
        self.add(lambda _: True, then=[MATCHED])
        self._entrance = build(self)
        self._known: dict[frozenset[int], _Reached] = {}
        self.forget()

    def forget(self) -> None:
        """Free what is remembered."""
        for reached in self._known.values():
            reached.clear()  # they lead to each other in circles, and the garbage collector may be paused
        self._known.clear()
        self._remembered = 0
        self._start = _Reached(self.closure([self._entrance], "^"), at_end="^$")

    def add(self, reads: Reads | None = None, anchor: str = "", *, then: list[int]) -> int:
        """The number of a new state."""
        self.states.append(State(reads, anchor, then))
        return len(self.states) - 1

    def matches(self, name: str, work: Work) -> bool:
        """Whether the expression matches the start of a name.

        Raises:
            TooCostlyError: if no more work is allowed.
        """
        reached = self._start
        work.spend(1 + len(name) // 4)
        for char in name:
            following = reached.get(char)
            if following is None:
                visited, remembered = self.visited, self._remembered
                following = reached[char] = self.step(reached.states, char)
                work.spend(self.visited - visited)
                work.remembered += max(0, self._remembered - remembered)
            reached = following
            if reached.is_decided:
                break
        if reached.matches is None:
            visited = self.visited
            reached.matches = MATCHED in self.closure(reached.states, reached.at_end)
            work.spend(self.visited - visited)
        return reached.matches

    def closure(self, states: Collection[int], anchors: str) -> frozenset[int]:
        """The states reached without reading that read themselves, or wait for an anchor not among ``anchors``."""
        if all(self.states[number].reads for number in states):  # so it is within a text, where most steps are taken
            self.visited += len(states)
            return frozenset(states)
        seen = set(states)
        pending = list(seen)
        closed: list[int] = []
        while pending:
            number = pending.pop()
            reads, anchor, then = self.states[number]
            if reads or (anchor and anchor not in anchors):
                closed.append(number)
                continue
            new = set(then) - seen
            seen |= new
            pending += new
        self.visited += len(seen)
        return frozenset([MATCHED] if MATCHED in seen else closed)

    def step(self, states: frozenset[int], char: str) -> _Reached:
        """What is reached from some states by a character."""
        after: set[int] = set()
        for number in states:
            reads, _, then = self.states[number]
            if reads and reads(char):
                after.update(then)
        self.visited += len(states)
        reached = self.closure(after, "")  # of all at once: of each, it would take the square of the number of states
        self._remembered += 1
        if reached not in self._known:
            self._remembered += len(reached)
        if self._remembered > MOST_REMEMBERED:  # a hostile pattern can have as many sets as its states have subsets
            self.forget()
        if reached not in self._known:
            self._known[reached] = _Reached(reached)
        return self._known[reached]
