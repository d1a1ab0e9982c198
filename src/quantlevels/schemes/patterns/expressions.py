"""Regular expressions, read into the variants of their texts and into machines of states."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain, cycle
from typing import Final, NamedTuple, TypeAlias, final

from quantlevels.schemes.patterns.machine import MATCHED, Machine, Reads
from quantlevels.schemes.patterns.pieces import Anchor, Token

#: States one pattern may take, and characters it may have.
MOST_STATES: Final = 4096
#: Groups within groups.
_DEEPEST: Final = 50
#: How many variants of a pattern may be written out, and how many states the pattern may have then.
_MOST_VARIANTS: Final = 16
_LONGEST_VARIANT: Final = 256

ANY: Final = r"[\s\S]"
_ANCHOR: Final = re.compile(r"(\^|\\A)|\$|\\Z")
_CLASSES: Final = {
    "d": str.isdecimal,
    "s": str.isspace,
    "w": lambda char: char.isalnum() or char == "_",
    "D": lambda char: not char.isdecimal(),
    "S": lambda char: not char.isspace(),
    "W": lambda char: not (char.isalnum() or char == "_"),
}
NEGATIVE_LOOKAHEAD: Final = "(?!"
_BEGINNINGS_OF_QUANTIFIERS: Final = frozenset("*+?{")
_QUANTIFIER: Final = re.compile(r"([*+?])|\{(?!\})([0-9]*)(,?)([0-9]*)\}")
#: texts that stand for themselves and dots for any character, the last of them without a quantifier
_RUN: Final = re.compile(r"(?:[\w/.-]|\\[._/-])+(?![*+?{])")
_TOKEN_OF_RUN: Final = re.compile(r"\.|(?:[\w/-]|\\.)+")
Build: TypeAlias = Callable[[int], int]  # adds the states of a part before a given state; gives the first of them

#: The variants of a part that matches more than can be written out.
_GAP: Final[tuple[tuple[Token, ...], ...]] = ((None,),)


class UnsupportedError(Exception):
    """The pattern is invalid, too large, or outside the subset. Becomes a finding, never reaches a user."""


def machine(expression: str) -> Machine:
    """The machine of a regular expression."""
    return Machine(lambda states: Parser(expression, states).whole().build(MATCHED))


class Part(NamedTuple):
    """A part of a regular expression.

    Args:
        build: adds its states to the parser's machine.
        size: how many states these are.
        variants: texts and gaps: all that the part matches has those of one of them.
        is_exact: whether it matches all that has them, but for line breaks.
    """

    build: Build
    size: int
    variants: tuple[tuple[Token, ...], ...]
    is_exact: bool


@final
class Parser:
    """Reads a regular expression by recursive descent; its parts build states of a machine, if there is one."""

    def __init__(self, pattern: str, machine: Machine | None = None) -> None:
        self.pattern: str = pattern
        self.machine: Machine | None = machine
        self.at: int = 0
        self.depth: int = 0

    def whole(self) -> Part:
        """The whole expression."""
        _require(len(self.pattern) <= MOST_STATES)
        part = self.alternatives()
        _require(self.at == len(self.pattern))
        return part

    def split(self) -> tuple[list[str], str]:
        """What the lookaheads at the beginning bar, and the rest, which they are for as a whole."""
        # `^(?!.*(lm_head|embed)).*` is how configs say "all but these"
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

    def add(self, reads: Reads | None = None, anchor: str = "", *, then: list[int]) -> int:
        """The number of a new state of the machine."""
        assert self.machine
        return self.machine.add(reads, anchor, then=then)

    def take(self, text: str) -> bool:
        """Go on behind a text, if it is next."""
        if not self.pattern.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def char(self) -> str:
        """The next character."""
        _require(self.at < len(self.pattern))
        self.at += 1
        return self.pattern[self.at - 1]

    def alternatives(self) -> Part:
        """A part of branches, up to the end of its group."""
        branches = [self.sequence()]
        while self.take("|"):
            branches.append(self.sequence())
        if len(branches) == 1:
            return branches[0]
        variants = tuple(chain.from_iterable(branch.variants for branch in branches))
        is_few = len(variants) <= _MOST_VARIANTS
        return Part(
            lambda then: self.add(then=[branch.build(then) for branch in branches]),
            _sized(1 + sum(branch.size for branch in branches)),
            variants if is_few else _GAP,
            is_few and all(branch.is_exact for branch in branches),
        )

    def sequence(self) -> Part:
        """Parts one after the other."""
        parts: list[Part] = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            run = _RUN.match(self.pattern, self.at)
            if run:  # names of modules, their dots escaped or not, are most of what configs hold: read in one step
                self.at = run.end()
                parts += map(self.token, _TOKEN_OF_RUN.findall(run[0]))
            else:
                parts.append(self.repeated())

        def build(then: int) -> int:
            for part in reversed(parts):
                then = part.build(then)
            return then

        size = _sized(sum(part.size for part in parts))
        most = _MOST_VARIANTS if size < _LONGEST_VARIANT else 1
        is_exact = True
        variants: list[list[Token]] = [[]]
        for part in parts:
            is_few = len(variants) * len(part.variants) <= most
            tails = part.variants if is_few else _GAP
            is_exact = is_exact and is_few and part.is_exact
            if len(tails) > 1:
                variants = [head.copy() for head in variants for _ in tails]
            for head, tail in zip(variants, cycle(tails), strict=False):
                head += tail
        return Part(build, size, tuple(map(tuple, variants)), is_exact)

    def repeated(self) -> Part:
        """A part, its quantifier with it."""
        match = _ANCHOR.match(self.pattern, self.at)
        if match:
            self.at = match.end()
            anchor = "^" if match[1] else "$"
            _require(self.quantifier() is None)
            return Part(lambda then: self.add(anchor=anchor, then=[then]), 1, ((Anchor(anchor),),), True)
        _require(self.quantifier() is None)
        part = self.atom()
        bounds = self.quantifier()
        if bounds is None:
            return part
        self.take("?")  # a lazy repeat matches the same names
        _require(self.quantifier() is None)
        return self.repeat(part, *bounds)

    def token(self, token: str) -> Part:
        """A token of a run."""
        if token == ".":
            return self.dot()
        return self.plain(token.replace("\\", ""))

    def dot(self) -> Part:
        """Any character but a line break."""
        return self.reading(_is_no_line_break, is_any=True)

    def plain(self, text: str) -> Part:
        """Characters that stand for themselves."""

        def build(then: int) -> int:
            for char in reversed(text):
                then = self.add(char.__eq__, then=[then])
            return then

        return Part(build, _sized(len(text)), ((text,),), True)

    def repeat(self, part: Part, least: int, most: int | None) -> Part:
        """A part so many times."""

        def build(then: int) -> int:
            end = then
            if most is None:
                then = self.add(then=(loop := [end]))
                loop.append(part.build(then))
            for _ in range((most or least) - least):
                then = self.add(then=[part.build(then), end])
            for _ in range(least):
                then = part.build(then)
            return then

        # checked before a state is built: `(a{999}){999}` would have a million
        times = 1 if most is None else most - least
        size = _sized(times * (1 + part.size) + least * max(1, part.size))
        if (least, most) == (0, 1) and len(part.variants) < _MOST_VARIANTS:
            # a gap may be nothing as well
            variants = part.variants if (None,) in part.variants else (*part.variants, ())
            return Part(build, size, variants, part.is_exact)
        tokens, *others = part.variants
        if others:
            return Part(build, size, _GAP, is_exact=False)
        if least == most:
            return Part(build, size, (tokens * least,), part.is_exact)
        is_exact = part.is_exact and tokens == ("",) and most is None
        return Part(build, size, ((*tokens * least, None),), is_exact)

    def quantifier(self) -> tuple[int, int | None] | None:
        """How often the part before it stands: at least and at most; None if there is no quantifier."""
        if self.pattern[self.at : self.at + 1] not in _BEGINNINGS_OF_QUANTIFIERS:
            return None
        match = _QUANTIFIER.match(self.pattern, self.at)
        if match is None:
            return None
        self.at = match.end()
        sign, least, comma, most = match.groups()
        if sign:
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        _require(len(least) <= 4 and len(most) <= 4)
        low = int(least or 0)
        if most:
            _require(low <= int(most))
            return low, int(most)
        return low, (None if comma else low)

    def atom(self) -> Part:
        """A group, a class or a character."""
        if self.take("("):
            self.depth += 1
            _require((self.take("?:") or not self.take("?")) and self.depth <= _DEEPEST)
            inner = self.alternatives()
            _require(self.take(")"))
            self.depth -= 1
            return inner
        if self.take("["):
            return self.reading(self.members())
        if self.take("."):
            return self.dot()
        char = self.char()
        if char != "\\":
            return self.plain(char)
        char = self.char()
        if char in _CLASSES:
            return self.reading(_CLASSES[char])
        _require(not (char.isascii() and char.isalnum()))  # \b, \1 and the like: not what the letter says
        return self.plain(char)

    def reading(self, reads: Reads, *, is_any: bool = False) -> Part:
        """One character of a class."""
        return Part(lambda then: self.add(reads, then=[then]), 1, (("",),), is_any)

    def members(self) -> Reads:
        """The rest of a class in brackets."""
        negated = self.take("^")
        tests: list[Reads] = []
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

    def member(self, tests: list[Reads]) -> str:
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


def _is_no_line_break(char: str) -> bool:
    return char != "\n"


def _sized(size: int) -> int:
    """A number of states that a pattern may take.

    Raises:
        UnsupportedError: if it is too large.
    """
    _require(size < MOST_STATES)
    return size


def _require(condition: bool) -> None:
    if not condition:
        raise UnsupportedError
