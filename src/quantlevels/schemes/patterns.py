"""Shell globs and regular expressions from files, of which none reaches ``re``.

They run side by side on one machine of states that reads a name once (Thompson, Regular Expression Search Algorithm,
1968) and remembers every step it has taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, final

#: States one pattern may take, and characters it may have.
MOST_STATES: Final = 4096
#: States all patterns of a config may take together.
_MOST_STATES_IN_ALL: Final = 1 << 18
#: Groups within groups, and components of a name in the tree.
DEEPEST: Final = 50
#: What a machine remembers, in states and steps, before it forgets all: some tens of megabytes.
_MOST_REMEMBERED: Final = 1 << 19
#: States visited for all names before a machine gives up: seconds; a thousand honest patterns visit a third of them.
_MOST_VISITED: Final = 1 << 22
#: Patterns of a config that may begin with what a name must not match, each a machine of its own.
MAX_LOOKAHEADS: Final = 8

_Reads = Callable[[str], bool]
_Part = Callable[[int], int]  # adds the states of a part of a pattern before a given state; gives the first of them

ANY: Final = r"[\s\S]"
_ANCHORS: Final = {"^": "^", r"\A": "^", "$": "$", r"\Z": "$"}
_CLASSES: Final[Mapping[str, _Reads]] = {
    "d": str.isdecimal,
    "s": str.isspace,
    "w": lambda char: char.isalnum() or char == "_",
    "D": lambda char: not char.isdecimal(),
    "S": lambda char: not char.isspace(),
    "W": lambda char: not (char.isalnum() or char == "_"),
}
NEGATIVE_LOOKAHEAD: Final = "(?!"
_QUANTIFIER: Final = re.compile(r"([*+?])|\{(?!\})([0-9]*)(,?)([0-9]*)\}")
_GLOB_TOKEN: Final = re.compile(r"(\*+)|(\?)|\[(!?+)(\]?[^\]]+|\])\]|.", re.DOTALL)


def regex(pattern: str) -> Callable[[str], bool] | None:
    """Whether ``pattern`` matches a name from its start, as ``re.match`` decides, in time linear in the name.

    ``$`` is the end of the name. None for a pattern that is invalid, larger than `MOST_STATES`, or uses more than
    literals, classes, groups, alternatives, repeats, anchors, and lookaheads at its beginning that must not match. One
    so costly that it takes seconds over many names matches nothing from then on.
    """
    try:
        barred, rest = _Parser(pattern, _Machine({})).barred()
    except _UnsupportedError:
        return None
    share = MAX_LOOKAHEADS if barred else 1
    first, *others = machines = [_Machine({0: one}, share) for one in (rest, *barred)]

    def matches(name: str) -> bool:
        matched = first.matches(name) and not any(other.matches(name) for other in others)
        return matched and not any(machine.unsupported for machine in machines)

    return None if any(machine.unsupported for machine in machines) else matches


def glob(pattern: str) -> Callable[[str], bool]:
    """Whether ``pattern`` matches a whole name, as ``fnmatch.fnmatchcase`` decides, in time linear in the name.

    A pattern that is larger than `MOST_STATES`, or has a range that runs backwards, matches nothing.
    """
    return _Machine({0: glob_expression(pattern) + "$"}).matches


def glob_expression(pattern: str) -> str:
    """The glob as a regular expression, not anchored at its end."""

    def expression(token: re.Match[str]) -> str:
        star, one, negated, members = token.groups()
        if members:
            escaped = members.replace("\\", r"\\").replace("^", r"\^")
            return f"[{'^' if negated else ''}{escaped}]"
        return ANY + "*" if star else ANY if one else re.escape(token[0])

    # a longer pattern is turned away as it is
    return pattern if len(pattern) > MOST_STATES else _GLOB_TOKEN.sub(expression, pattern)


class _State(NamedTuple):
    """Reads one character and goes on; without ``reads``, goes on at once, at an anchor only where that holds."""

    reads: _Reads | None
    anchor: str
    then: list[int]


@final
class _DfaState(dict[str, "_DfaState"]):
    """The states some prefix of a name has reached, and what each character met so far leads on to."""

    __slots__ = ("decided", "first", "machine", "states")

    def __init__(self, machine: _Machine, states: frozenset[int], at_end: str = "$") -> None:
        self.machine = machine
        self.states = states
        self.first = machine.accepted(machine.closure(states, at_end))
        self.decided = not states or states == {self.first}

    def __missing__(self, char: str) -> _DfaState:
        reached = self[char] = self.machine.step(self.states, char)
        return reached


@final
class _Machine:
    """Regular expressions side by side, each matched from the start of a name; the first in order counts."""

    def __init__(self, patterns: Mapping[int, str], share: int = 1) -> None:
        self.most_visited = _MOST_VISITED // share
        self.states: list[_State] = []
        self.accepting: dict[int, int] = {}
        self.entrances: list[int] = []
        self.unsupported: list[int] = []
        self.visited = 0
        for index, pattern in patterns.items():
            start = len(self.states)
            self.limit = min(start + MOST_STATES, _MOST_STATES_IN_ALL)
            try:
                # what is accepted stays so, whatever follows
                accepted = self.add(lambda _: True, then=[start])
                self.entrances.append(_Parser(pattern, self).whole()(accepted))
                self.accepting[accepted] = index
            except _UnsupportedError:
                del self.states[start:]
                self.unsupported.append(index)
        self._forget()

    def _forget(self) -> None:
        self._known: dict[frozenset[int], _DfaState] = {}
        self._remembered = 0
        self._start = _DfaState(self, self.closure(self.entrances, "^"), at_end="^$")

    def add(self, reads: _Reads | None = None, anchor: str = "", *, then: list[int]) -> int:
        """The number of a new state.

        Raises:
            _UnsupportedError: if there are as many as there may be.
        """
        if len(self.states) >= self.limit:
            raise _UnsupportedError
        self.states.append(_State(reads, anchor, then))
        return len(self.states) - 1

    def matches(self, name: str) -> bool:
        """Whether any of the expressions matches the start of ``name``."""
        return self.first(name) is not None

    def first(self, name: str) -> int | None:
        """The index of the first expression that matches the start of ``name``."""
        reached = self._start
        for char in name:
            reached = reached[char]
            if reached.decided:
                break
        return None if reached.first is None else self.accepting[reached.first]

    def accepted(self, states: Iterable[int]) -> int | None:
        """The state among these at which the first expression in order has matched; None if none has."""
        return min((number for number in states if number in self.accepting), default=None)

    def closure(self, states: Iterable[int], anchors: str) -> frozenset[int]:
        """The states reached without reading that read themselves, or wait for an anchor not among ``anchors``."""
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
        # a pattern's accepting state is the lowest of its states: those above it no longer count
        accepted = self.accepted(closed)
        self.visited += len(seen)
        return frozenset(closed if accepted is None else (number for number in closed if number <= accepted))

    def step(self, states: frozenset[int], char: str) -> _DfaState:
        """What is reached from some states by a character."""
        if self.visited > self.most_visited:
            self.unsupported = sorted({*self.unsupported, *self.accepting.values()})
            self.entrances.clear()
            self._forget()
            return self._start
        after: set[int] = set()
        for number in states:
            reads, _, then = self.states[number]
            if reads and reads(char):
                after.update(then)
        reached = self.closure(after, "")
        self._remembered += 1 if reached in self._known else 1 + len(reached)
        if self._remembered > _MOST_REMEMBERED:
            self._forget()
        if reached not in self._known:
            self._known[reached] = _DfaState(self, reached)
        return self._known[reached]


class _UnsupportedError(Exception):
    """The pattern is invalid, too large, or outside the subset."""


@final
class _Parser:
    """Reads a regular expression by recursive descent into the parts that build its states."""

    def __init__(self, pattern: str, machine: _Machine) -> None:
        self.pattern = pattern
        self.machine = machine
        self.at = 0
        self.depth = 0

    def whole(self) -> _Part:
        _require(len(self.pattern) <= MOST_STATES)
        part = self.alternatives()
        _require(self.at == len(self.pattern))
        return part

    def barred(self) -> tuple[list[str], str]:
        """What the lookaheads the pattern begins with bar, and the rest of it, which they are for as a whole."""
        found: list[str] = []
        while self.take("^" + NEGATIVE_LOOKAHEAD) or self.take(NEGATIVE_LOOKAHEAD):
            start = self.at
            self.alternatives()
            _require(self.take(")"))
            found.append(self.pattern[start : self.at - 1])
        rest = self.pattern[self.at :]
        if found:
            self.sequence()
            _require(self.at == len(self.pattern))
        return found, rest

    def take(self, text: str) -> bool:
        taken = self.pattern.startswith(text, self.at)
        self.at += len(text) if taken else 0
        return taken

    def char(self) -> str:
        _require(self.at < len(self.pattern))
        self.at += 1
        return self.pattern[self.at - 1]

    def alternatives(self) -> _Part:
        branches = [self.sequence()]
        while self.take("|"):
            branches.append(self.sequence())
        return lambda then: self.machine.add(then=[branch(then) for branch in branches])

    def sequence(self) -> _Part:
        parts: list[_Part] = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            parts.append(self.repeated())

        def build(then: int) -> int:
            for part in reversed(parts):
                then = part(then)
            return then

        return build

    def repeated(self) -> _Part:
        for text, anchor in _ANCHORS.items():
            if self.take(text):
                _require(self.quantifier() is None)
                return lambda then: self.machine.add(anchor=anchor, then=[then])
        _require(self.quantifier() is None)
        part = self.atom()
        bounds = self.quantifier()
        if bounds is None:
            return part
        self.take("?")  # a lazy repeat matches the same names
        _require(self.quantifier() is None)
        least, most = bounds

        def build(then: int) -> int:
            end = then
            if most is None:
                then = self.machine.add(then=(loop := [end]))
                loop.append(part(then))
            for _ in range((most or least) - least):
                then = self.machine.add(then=[part(then), end])
            for _ in range(least):
                then = part(then)
            return then

        return build

    def quantifier(self) -> tuple[int, int | None] | None:
        match = _QUANTIFIER.match(self.pattern, self.at)
        if match is None:
            return None
        self.at = match.end()
        sign, least, comma, most = match.groups()
        if sign:
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        _require(len(least) <= 4 and len(most) <= 4)
        low = int(least or 0)
        high = int(most) if most else None if comma else low
        _require(high is None or low <= high)
        return low, high

    def atom(self) -> _Part:
        if self.take("("):
            self.depth += 1
            _require((self.take("?:") or not self.take("?")) and self.depth <= DEEPEST)
            inner = self.alternatives()
            _require(self.take(")"))
            self.depth -= 1
            return inner
        reads = self.members() if self.take("[") else self.one()
        return lambda then: self.machine.add(reads, then=[then])

    def one(self) -> _Reads:
        if self.take("."):
            return lambda char: char != "\n"
        literal = self.char()
        return self.escape() if literal == "\\" else literal.__eq__

    def escape(self) -> _Reads:
        """After a backslash: a class, or punctuation as it is."""
        char = self.char()
        _require(char in _CLASSES or not (char.isascii() and char.isalnum()))
        return _CLASSES.get(char, char.__eq__)

    def members(self) -> _Reads:
        """The rest of a class in brackets."""
        negated = self.take("^")
        tests: list[_Reads] = []
        ranges: list[tuple[str, str]] = []
        while not (tests or ranges) or not self.take("]"):
            low = self.member(tests)
            if self.pattern.startswith("-", self.at) and not self.pattern.startswith("-]", self.at):
                self.at += 1
                high = self.member([])
                _require(bool(low) and bool(high) and low <= high)
                ranges.append((low, high))
            elif low:
                ranges.append((low, low))
        return lambda char: negated != (any(test(char) for test in tests) or any(a <= char <= b for a, b in ranges))

    def member(self, tests: list[_Reads]) -> str:
        """One character of a class in brackets; empty for a class such as ``\\d``, which joins ``tests``."""
        char = self.char()
        if char != "\\":
            return char
        char = self.char()
        if char in _CLASSES:
            tests.append(_CLASSES[char])
            return ""
        _require(not (char.isascii() and char.isalnum()))
        return char


def _require(condition: bool) -> None:
    if not condition:
        raise _UnsupportedError
