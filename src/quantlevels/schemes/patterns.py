"""Shell globs and regular expressions from files, none of which reaches ``re``.

Each pattern is parsed once. A text that must stand in every name that it matches puts it into an index, so that a name
is held against the few patterns that may match it, however many there are. Each pattern is written out as a few
variants of fixed pieces with gaps between them, and a name that has the pieces of none is not matched. Where a pattern
is more than these, a machine of states decides the rest: it reads a name once and remembers every step it has taken
(Thompson, Regular Expression Search Algorithm, 1968).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from heapq import merge
from itertools import chain, cycle, product
from typing import Final, NamedTuple, TypeAlias, TypeVar, final

#: States one pattern may take, and characters it may have.
MOST_STATES: Final = 4096
#: Groups within groups.
_DEEPEST: Final = 50
#: What a machine, and all patterns of an index together, remember before they forget it: about 100 bytes each.
_MOST_REMEMBERED: Final = 3 << 17
#: What may be spent before patterns are given up, in states visited and pieces looked for: some seconds. Each character
#: of patterns and names adds to it, so that a long config is read whole and the time stays linear in its length.
_WORK: Final = 1 << 21
_WORK_PER_CHARACTER: Final = 6
#: As with work: what is remembered may grow with what is read.
_CHARACTERS_PER_REMEMBERED: Final = 16
#: In the unit of `_MOST_REMEMBERED`.
_SIZE_OF_MATCHER, _SIZE_OF_STATE = 5, 6
#: Of building the machine of a pattern, or of parsing it again after it was forgotten, for each of its characters.
_COST_OF_PARSING: Final = 4
#: Of finding that a pattern may match a name.
_COST_OF_CANDIDATE: Final = 2
#: How many variants of a pattern may be written out, and how many states the pattern may have then.
_MOST_VARIANTS: Final = 16
_LONGEST_VARIANT: Final = 256
#: Lengths of the texts in an index: a name is looked up once for each of those in use at each place in it.
_WINDOWS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)

ANY: Final = r"[\s\S]"
_BELOW: Final = rf"(\.{ANY}*)?"
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
_GLOB_TOKEN: Final = re.compile(r"(\*+)|(\?)|\[(!?+)(\]?[^\]]+|\])\]|[^*?\[]+|.", re.DOTALL)
#: texts that stand for themselves and dots for any character, the last of them without a quantifier
_RUN: Final = re.compile(r"(?:[\w/.-]|\\[._/-])+(?![*+?{])")
_TOKEN_OF_RUN: Final = re.compile(r"\.|(?:[\w/-]|\\.)+")
_DIGITS: Final = re.compile("[0-9]+")

_T = TypeVar("_T")
_Reads: TypeAlias = Callable[[str], bool]
_Build: TypeAlias = Callable[[int], int]  # adds the states of a part before a given state; gives the first of them


class _Anchor(Enum):
    """An end of the name."""

    START = "^"
    END = "$"


#: A text, an empty text for any one character, None for a gap of any length, or an end of the name.
_Token: TypeAlias = str | _Anchor | None
#: The variants of a part that matches more than can be written out.
_GAP: Final[tuple[tuple[_Token, ...], ...]] = ((None,),)


def regex(pattern: str) -> Matcher | None:
    """The matcher of a regular expression at the start of a name, as ``re.match`` decides.

    ``$`` is the end of the name. None for a pattern that is invalid, larger than `MOST_STATES`, or uses more than
    literals, classes, groups, alternatives, repeats, anchors, and lookaheads at its beginning that must not match.
    """
    try:
        barred, rest = _Parser(pattern).split()
        part = _Parser(rest).whole()
        for expression in barred:
            _Parser(expression).whole()
    except _UnsupportedError:
        return None
    is_exact = part.is_exact and not barred
    variants = [_Pieces.of(tokens, whole=False, below=False, is_exact=is_exact) for tokens in part.variants]
    # a dot does not match a line break, which pieces cannot say: such names go to the machine
    return Matcher((rest, *barred), variants, reads_line_breaks=False)


def glob(pattern: str, *, below: bool = False) -> Matcher | None:
    """The matcher of a shell glob for whole names, as ``fnmatch.fnmatchcase`` decides.

    Args:
        pattern: the glob.
        below: whether all names below those it matches are matched too: ``a.b`` for ``a*``.

    None for a pattern that is larger than `MOST_STATES`, or has a range that runs backwards.
    """
    expression = glob_expression(pattern) + (_BELOW if below else "") + "$"
    if "[" in pattern:
        try:
            part = _Parser(expression).whole()
        except _UnsupportedError:
            return None
        return Matcher(
            (expression,),
            [_Pieces.of(tokens, whole=True, below=False, is_exact=part.is_exact) for tokens in part.variants],
        )
    if len(pattern) > MOST_STATES:
        return None
    pieces = _Pieces.of(tuple(_glob_tokens(pattern)), whole=True, below=below, is_exact=True)
    return Matcher((expression,), [pieces])


def glob_expression(pattern: str) -> str:
    """The glob as a regular expression, not anchored at its end."""

    def expression(token: re.Match[str]) -> str:
        star, any_character, negated, members = token.groups()
        if members:
            escaped = members.replace("\\", r"\\").replace("^", r"\^")
            return f"[{'^' if negated else ''}{escaped}]"
        if star:
            return ANY + "*"
        return ANY if any_character else re.escape(token[0])

    if len(pattern) > MOST_STATES:  # the parser refuses it for its length; to write it out first would double the cost
        return pattern
    return _GLOB_TOKEN.sub(expression, pattern)


def _glob_tokens(pattern: str) -> Iterator[_Token]:
    for token in _GLOB_TOKEN.finditer(pattern):
        star, any_character, *_ = token.groups()
        if star:
            yield None
        elif any_character:
            yield ""
        else:
            yield token[0]


@final
class Work:
    """What matching may still cost, so that no config takes longer than its size allows."""

    __slots__ = ("_left", "most_remembered", "remembered")

    def __init__(self) -> None:
        self._left = _WORK
        #: what patterns have put into memory, and may put there: in the unit of `_MOST_REMEMBERED`
        self.remembered: int = 0
        self.most_remembered: int = _MOST_REMEMBERED

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


@final
class Matcher:
    """Decides which names a pattern matches.

    Args:
        expressions: the regular expression, and those that must not match.
        variants: every name that it matches has the pieces of one of them.
        reads_line_breaks: whether pieces that are exact decide names with a line break as well.
    """

    __slots__ = ("_expressions", "_machines", "_reads_line_breaks", "_variants", "size", "windows")

    def __init__(
        self, expressions: tuple[str, ...], variants: Iterable[_Pieces], *, reads_line_breaks: bool = True
    ) -> None:
        self._expressions = expressions
        self._variants = tuple(dict.fromkeys(variants))
        self._reads_line_breaks = reads_line_breaks
        self._machines: list[_Machine] = []
        windows = {pieces.windows() for pieces in self._variants}
        #: every name that it matches has all texts of one of these, for an index; empty if that is not known
        self.windows: frozenset[tuple[str, ...]] = frozenset(windows) if all(windows) else frozenset()
        #: what it takes in memory before it has built a machine, in the unit of `_MOST_REMEMBERED`
        self.size: int = _SIZE_OF_MATCHER + sum(pieces.cost for pieces in self._variants)

    def __call__(self, name: str) -> bool:
        """Whether it matches a name; if that is too costly, it does not."""
        work = Work()
        work.allow(len(name))
        try:
            return self.matches(name, work)
        except TooCostlyError:  # for callers that have one name: `PatternIndex` reports what was given up
            return False

    def forget(self) -> None:
        """Free what matching has built."""
        for machine in self._machines:
            machine.forget()
        self._machines.clear()

    def matches(self, name: str, work: Work) -> bool:
        """Whether it matches a name.

        Raises:
            TooCostlyError: if no more work is allowed.
        """
        fits = False
        for pieces in self._variants:
            if pieces.matches(name, work):
                if pieces.is_exact and (self._reads_line_breaks or "\n" not in name):
                    return True
                fits = True
        if not fits:
            return False
        if not self._machines:
            # built only now: most patterns of a config never meet a name that their pieces cannot decide
            work.spend(_COST_OF_PARSING * sum(map(len, self._expressions)))
            self._machines = [_Machine(expression) for expression in self._expressions]
            work.remembered += sum(_SIZE_OF_STATE * len(machine.states) for machine in self._machines)
        wanted, *barred = self._machines
        return wanted.matches(name, work) and not any(machine.matches(name, work) for machine in barred)


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
                table = self._numbered if _DIGITS.search(window) else self._others
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
        self._work.spend(_COST_OF_PARSING * self._lengths[number])
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
        for run in _DIGITS.finditer(name):
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
        for length in _WINDOWS[: bisect_right(_WINDOWS, end)]:
            text = name[end - length : end]
            if text in index:
                yield text, index[text]


def _rarity(text: str) -> tuple[int, str]:
    """The longer, the fewer names have it; the text itself, so that the order is the same in each process."""
    return len(text), text


def _window(text: str) -> str:
    """The end of a text that stands for it in an index: up to its last number, if any."""
    end = len(text)
    runs = [run.end() for run in _DIGITS.finditer(text)]
    if runs:  # names differ by their layer: the texts around a number leave few patterns for each name
        end = min(runs[-1] + 1, end)
    length = _WINDOWS[bisect_right(_WINDOWS, end) - 1]
    return text[end - length : end]


# -- pieces and gaps ---------------------------------------------------------------------------------------------------


class _Piece(NamedTuple):
    """Part of a pattern of fixed length: texts at their offsets, and any character between them."""

    length: int
    texts: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, tokens: Sequence[str]) -> _Piece:
        """The piece of some texts and single characters."""
        at = 0
        texts: list[tuple[int, str]] = []
        for token in tokens:
            if token and texts and texts[-1][0] + len(texts[-1][1]) == at:
                offset, before = texts.pop()
                texts.append((offset, before + token))
            elif token:
                texts.append((at, token))
            at += len(token) or 1
        return cls(at, tuple(texts))

    def fits(self, name: str, at: int) -> bool:
        """Whether a name has the piece at a place."""
        if not 0 <= at <= len(name) - self.length:
            return False
        return all(name.startswith(text, at + offset) for offset, text in self.texts)

    def find(self, name: str, at: int, work: Work) -> int:
        """The first place from ``at`` on where a name has the piece; -1 if it has it nowhere.

        Raises:
            TooCostlyError: if no more work is allowed.
        """
        last = len(name) - self.length
        if at > last:
            return -1
        if not self.texts:  # single characters alone fit anywhere
            return at
        offset, text = self.texts[0]
        end = last + offset + len(text)
        found = name.find(text, at + offset, end)
        while found >= 0 and not self.fits(name, found - offset):
            work.spend(2 + len(self.texts))
            found = name.find(text, found + 1, end)
        if found < 0:
            return -1
        return found - offset


@final
class _Pieces:
    """Pieces with gaps between them: the first at the start of a name, each other where it comes first.

    Args:
        pieces: at least one; the last is empty if the pattern ends with a gap.
        at_end: whether the last must end the name.
        below: whether the last may also end a part of it, before a dot.
        is_exact: whether the pattern matches every name that has them; if not, only such names.
    """

    __slots__ = ("_at_end", "_below", "_pieces", "cost", "is_exact")

    def __init__(self, pieces: Sequence[_Piece], *, at_end: bool, below: bool, is_exact: bool) -> None:
        self._pieces = pieces
        self._at_end = at_end
        self._below = below
        self.is_exact: bool = is_exact
        self.cost: int = sum(2 + len(piece.texts) for piece in pieces)

    @classmethod
    def of(cls, tokens: Sequence[_Token], *, whole: bool, below: bool, is_exact: bool) -> _Pieces:
        """The pieces of a variant of a pattern.

        Args:
            tokens: those of the variant.
            whole: whether it is for whole names, even without an anchor at its end.
            below: whether it is also for all names below those it matches.
            is_exact: whether every name matches that has the tokens.
        """
        start, end = 0, len(tokens)
        while start < end and tokens[start] is _Anchor.START:
            start += 1
        while start < end and tokens[end - 1] is _Anchor.END:
            end -= 1
        pieces: list[list[str]] = [[]]
        for token in tokens[start:end]:
            if isinstance(token, _Anchor):
                is_exact = False  # an end within the pattern: a machine tells whether it can hold
            elif token is None:
                pieces.append([])
            else:
                pieces[-1].append(token)
        at_end = whole or end < len(tokens)
        return cls(tuple(map(_Piece.of, pieces)), at_end=at_end, below=below, is_exact=is_exact)

    def windows(self) -> tuple[str, ...]:
        """For an index: the ends of two texts with numbers in them, or of one text; none if they have no text."""
        texts = {text for piece in self._pieces for _, text in piece.texts}
        numbered = sorted(filter(_DIGITS.search, texts), key=_rarity)
        if numbered:
            return tuple(dict.fromkeys(map(_window, numbered[-2:])))
        return (_window(max(texts, key=_rarity)),) if texts else ()

    def matches(self, name: str, work: Work) -> bool:
        """Whether a name is the first piece, and each other after it.

        Raises:
            TooCostlyError: if no more work is allowed.
        """
        first, *others = self._pieces
        if not first.fits(name, 0):
            work.spend(1)
            return False
        work.spend(self.cost + len(name) // 16)
        if not others:
            return self._ends(name, first.length)
        # the first place is always the best: what it leaves of the name is longest
        at = first.length
        for piece in others[:-1]:
            at = piece.find(name, at, work)
            if at < 0:
                return False
            at += piece.length
        last = others[-1]
        if not self._at_end or not (last.length or self._below):
            return last.find(name, at, work) >= 0
        if last.fits(name, len(name) - last.length) and at <= len(name) - last.length:
            return True
        while self._below and (at := last.find(name, at, work)) >= 0:
            work.spend(1)
            if self._ends(name, at + last.length):
                return True
            at += 1
        return False

    def _ends(self, name: str, at: int) -> bool:
        """Whether the pattern may end at a place of a name."""
        return not self._at_end or at == len(name) or (self._below and name.startswith(".", at))


# -- machines ----------------------------------------------------------------------------------------------------------


class _State(NamedTuple):
    """Reads one character and goes on; without ``reads``, goes on at once, at an anchor only where that holds."""

    reads: _Reads | None
    anchor: str
    then: list[int]


#: The state that is reached when a pattern has matched; it stays so, whatever follows.
_MATCHED: Final = 0


@final
class _DfaState(dict[str, "_DfaState"]):
    """The states that the beginning of a name has reached, and what each character met so far leads on to."""

    __slots__ = ("at_end", "decided", "states")

    def __init__(self, states: frozenset[int], at_end: str = "$") -> None:
        self.states = states
        #: the anchors that hold if the name ends here
        self.at_end = at_end
        self.decided = not states or _MATCHED in states  # the rest of a name need not be read


@final
class _Machine:
    """A regular expression, matched from the start of a name."""

    def __init__(self, pattern: str) -> None:
        self.states: list[_State] = []
        self.visited = 0
        self.add(lambda _: True, then=[_MATCHED])
        self.entrance = _Parser(pattern, self).whole().build(_MATCHED)
        #: state that reads → the states it leads on to, of which `closure` is taken once
        self._behind: dict[int, frozenset[int]] = {}
        self._known: dict[frozenset[int], _DfaState] = {}
        self.forget()

    def forget(self) -> None:
        """Free what is remembered."""
        for reached in self._known.values():
            reached.clear()  # they lead to each other in circles, and the garbage collector may be paused
        self._known.clear()
        self._remembered = 0
        self._start = _DfaState(self.closure([self.entrance], "^"), at_end="^$")

    def add(self, reads: _Reads | None = None, anchor: str = "", *, then: list[int]) -> int:
        """The number of a new state."""
        self.states.append(_State(reads, anchor, then))
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
            if reached.decided:
                return _MATCHED in reached.states
        return _MATCHED in self.closure(reached.states, reached.at_end)

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
        return frozenset([_MATCHED] if _MATCHED in seen else closed)

    def step(self, states: frozenset[int], char: str) -> _DfaState:
        """What is reached from some states by a character."""
        after: set[int] = set()
        for number in states:
            reads, _, then = self.states[number]
            if reads and reads(char):
                if number not in self._behind:
                    self._behind[number] = self.closure(then, "")
                after |= self._behind[number]
        self.visited += len(states) + len(after)
        reached = frozenset([_MATCHED] if _MATCHED in after else after)
        self._remembered += 1
        if reached not in self._known:
            self._remembered += len(reached)
        if self._remembered > _MOST_REMEMBERED:  # a hostile pattern can have as many sets as its states have subsets
            self.forget()
        if reached not in self._known:
            self._known[reached] = _DfaState(reached)
        return self._known[reached]


# -- reading expressions -----------------------------------------------------------------------------------------------


class _UnsupportedError(Exception):
    """The pattern is invalid, too large, or outside the subset."""


class _Part(NamedTuple):
    """A part of a regular expression.

    Args:
        build: adds its states to the parser's machine.
        size: how many states these are.
        variants: texts and gaps: all that the part matches has those of one of them.
        is_exact: whether it matches all that has them, but for line breaks.
    """

    build: _Build
    size: int
    variants: tuple[tuple[_Token, ...], ...]
    is_exact: bool


@final
class _Parser:
    """Reads a regular expression by recursive descent; its parts build states of a machine, if there is one."""

    def __init__(self, pattern: str, machine: _Machine | None = None) -> None:
        self.pattern = pattern
        self.machine = machine
        self.at = 0
        self.depth = 0

    def whole(self) -> _Part:
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

    def add(self, reads: _Reads | None = None, anchor: str = "", *, then: list[int]) -> int:
        """The number of a new state of the machine."""
        assert self.machine
        return self.machine.add(reads, anchor, then=then)

    def take(self, text: str) -> bool:
        if not self.pattern.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def char(self) -> str:
        _require(self.at < len(self.pattern))
        self.at += 1
        return self.pattern[self.at - 1]

    def alternatives(self) -> _Part:
        branches = [self.sequence()]
        while self.take("|"):
            branches.append(self.sequence())
        if len(branches) == 1:
            return branches[0]
        variants = tuple(chain.from_iterable(branch.variants for branch in branches))
        is_few = len(variants) <= _MOST_VARIANTS
        return _Part(
            lambda then: self.add(then=[branch.build(then) for branch in branches]),
            _sized(1 + sum(branch.size for branch in branches)),
            variants if is_few else _GAP,
            is_few and all(branch.is_exact for branch in branches),
        )

    def sequence(self) -> _Part:
        parts: list[_Part] = []
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
        variants: list[list[_Token]] = [[]]
        for part in parts:
            is_few = len(variants) * len(part.variants) <= most
            tails = part.variants if is_few else _GAP
            is_exact = is_exact and is_few and part.is_exact
            if len(tails) > 1:
                variants = [head.copy() for head in variants for _ in tails]
            for head, tail in zip(variants, cycle(tails), strict=False):
                head += tail
        return _Part(build, size, tuple(map(tuple, variants)), is_exact)

    def repeated(self) -> _Part:
        match = _ANCHOR.match(self.pattern, self.at)
        if match:
            self.at = match.end()
            anchor = "^" if match[1] else "$"
            _require(self.quantifier() is None)
            return _Part(lambda then: self.add(anchor=anchor, then=[then]), 1, ((_Anchor(anchor),),), True)
        _require(self.quantifier() is None)
        part = self.atom()
        bounds = self.quantifier()
        if bounds is None:
            return part
        self.take("?")  # a lazy repeat matches the same names
        _require(self.quantifier() is None)
        return self.repeat(part, *bounds)

    def token(self, token: str) -> _Part:
        """A token of a run."""
        if token == ".":
            return self.dot()
        return self.plain(token.replace("\\", ""))

    def dot(self) -> _Part:
        """Any character but a line break."""
        return self.reading(_is_no_line_break, is_any=True)

    def plain(self, text: str) -> _Part:
        """Characters that stand for themselves."""

        def build(then: int) -> int:
            for char in reversed(text):
                then = self.add(char.__eq__, then=[then])
            return then

        return _Part(build, _sized(len(text)), ((text,),), True)

    def repeat(self, part: _Part, least: int, most: int | None) -> _Part:
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
            return _Part(build, size, variants, part.is_exact)
        if len(part.variants) > 1:
            return _Part(build, size, _GAP, is_exact=False)
        (tokens,) = part.variants
        if least == most:
            return _Part(build, size, (tokens * least,), part.is_exact)
        is_exact = part.is_exact and tokens == ("",) and most is None
        return _Part(build, size, ((*tokens * least, None),), is_exact)

    def quantifier(self) -> tuple[int, int | None] | None:
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

    def atom(self) -> _Part:
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

    def reading(self, reads: _Reads, *, is_any: bool = False) -> _Part:
        """One character of a class."""
        return _Part(lambda then: self.add(reads, then=[then]), 1, (("",),), is_any)

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


def _is_no_line_break(char: str) -> bool:
    return char != "\n"


def _sized(size: int) -> int:
    """A number of states that a pattern may take.

    Raises:
        _UnsupportedError: if it is too large.
    """
    _require(size < MOST_STATES)
    return size


def _require(condition: bool) -> None:
    if not condition:
        raise _UnsupportedError
