"""One shell glob or regular expression from a file, and whether it matches a name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, final

from quantlevels.schemes.patterns.expressions import ANY, MOST_STATES, Parser, UnsupportedError, machine
from quantlevels.schemes.patterns.machine import Machine
from quantlevels.schemes.patterns.pieces import Pieces, Token
from quantlevels.schemes.patterns.work import COST_OF_PARSING, TooCostlyError, Work

_BELOW: Final = rf"(\.{ANY}*)?"
_GLOB_TOKEN: Final = re.compile(r"(\*+)|(\?)|\[(!?+)(\]?[^\]]+|\])\]|[^*?\[]+|.", re.DOTALL)
#: In the unit of `work.MOST_REMEMBERED`.
_SIZE_OF_MATCHER, _SIZE_OF_STATE = 5, 6


def regex(pattern: str) -> Matcher | None:
    """The matcher of a regular expression at the start of a name, as ``re.match`` decides.

    ``$`` is the end of the name. None for a pattern that is invalid, larger than `MOST_STATES`, or uses more than
    literals, classes, groups, alternatives, repeats, anchors, and lookaheads at its beginning that must not match.
    """
    try:
        barred, rest = Parser(pattern).split()
        part = Parser(rest).whole()
        for expression in barred:
            Parser(expression).whole()
    except UnsupportedError:
        return None
    is_exact = part.is_exact and not barred
    variants = [Pieces.of(tokens, whole=False, below=False, is_exact=is_exact) for tokens in part.variants]
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
            part = Parser(expression).whole()
        except UnsupportedError:
            return None
        return Matcher(
            (expression,),
            [Pieces.of(tokens, whole=True, below=False, is_exact=part.is_exact) for tokens in part.variants],
        )
    if len(pattern) > MOST_STATES:
        return None
    pieces = Pieces.of(tuple(_glob_tokens(pattern)), whole=True, below=below, is_exact=True)
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
    # behind the last bracket no class ends; to look for its end from each "[" would take quadratic time
    end = pattern.rfind("]") + 1
    return _GLOB_TOKEN.sub(expression, pattern[:end]) + _GLOB_TOKEN.sub(expression, pattern[end:].replace("[", "[[]"))


def _glob_tokens(pattern: str) -> Iterator[Token]:
    for token in _GLOB_TOKEN.finditer(pattern):
        star, any_character, *_ = token.groups()
        if star:
            yield None
        elif any_character:
            yield ""
        else:
            yield token[0]


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
        self, expressions: tuple[str, ...], variants: Iterable[Pieces], *, reads_line_breaks: bool = True
    ) -> None:
        self._expressions = expressions
        self._variants = tuple(variants)
        self._reads_line_breaks = reads_line_breaks
        self._machines: list[Machine] = []
        windows = {pieces.windows() for pieces in self._variants}
        #: every name that it matches has all texts of one of these, for an index; empty if that is not known
        self.windows: frozenset[tuple[str, ...]] = frozenset(windows) if all(windows) else frozenset()
        #: what it takes in memory before it has built a machine, in the unit of `MOST_REMEMBERED`
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
        for built in self._machines:
            built.forget()
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
            work.spend(COST_OF_PARSING * sum(map(len, self._expressions)))
            self._machines = [machine(expression) for expression in self._expressions]
            work.remembered += sum(_SIZE_OF_STATE * len(built.states) for built in self._machines)
        wanted, *barred = self._machines
        return wanted.matches(name, work) and not any(unwanted.matches(name, work) for unwanted in barred)
