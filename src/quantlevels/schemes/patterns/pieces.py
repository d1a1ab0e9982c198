"""Patterns as texts of fixed length with gaps between them, which a name has or has not."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

if TYPE_CHECKING:
    from quantlevels.schemes.patterns.work import Work

DIGITS: Final = re.compile("[0-9]+")
#: Lengths of the texts in an index: a name is looked up once for each of those in use at each place in it.
WINDOWS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


class Anchor(Enum):
    """An end of the name."""

    START = "^"
    END = "$"


#: A text, an empty text for any one character, None for a gap of any length, or an end of the name.
Token: TypeAlias = str | Anchor | None


class Piece(NamedTuple):
    """Part of a pattern of fixed length: texts at their offsets, and any character between them."""

    length: int
    texts: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, tokens: Sequence[str]) -> Piece:
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
class Pieces:
    """Pieces with gaps between them: the first at the start of a name, each other where it comes first.

    Args:
        pieces: at least one; the last is empty if the pattern ends with a gap.
        at_end: whether the last must end the name.
        below: whether the last may also end a part of it, before a dot.
        is_exact: whether the pattern matches every name that has them; if not, only such names.
    """

    __slots__ = ("_at_end", "_below", "_pieces", "cost", "is_exact")

    def __init__(self, pieces: Sequence[Piece], *, at_end: bool, below: bool, is_exact: bool) -> None:
        self._pieces = pieces
        self._at_end = at_end
        self._below = below
        self.is_exact: bool = is_exact
        self.cost: int = sum(2 + len(piece.texts) for piece in pieces)

    @classmethod
    def of(cls, tokens: Sequence[Token], *, whole: bool, below: bool, is_exact: bool) -> Pieces:
        """The pieces of a variant of a pattern.

        Args:
            tokens: those of the variant.
            whole: whether it is for whole names, even without an anchor at its end.
            below: whether it is also for all names below those it matches.
            is_exact: whether every name matches that has the tokens.
        """
        start, end = 0, len(tokens)
        while start < end and tokens[start] is Anchor.START:
            start += 1
        while start < end and tokens[end - 1] is Anchor.END:
            end -= 1
        pieces: list[list[str]] = [[]]
        for token in tokens[start:end]:
            if isinstance(token, Anchor):
                is_exact = False  # an end within the pattern: a machine tells whether it can hold
            elif token is None:
                pieces.append([])
            else:
                pieces[-1].append(token)
        at_end = whole or end < len(tokens)
        return cls(tuple(map(Piece.of, pieces)), at_end=at_end, below=below, is_exact=is_exact)

    def windows(self) -> tuple[str, ...]:
        """For an index: the ends of two texts with numbers in them, or of one text; none if they have no text."""
        texts = {text for piece in self._pieces for _, text in piece.texts}
        numbered = sorted(filter(DIGITS.search, texts), key=_rarity)
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


def _rarity(text: str) -> tuple[int, str]:
    """The longer, the fewer names have it; the text itself, so that the order is the same in each process."""
    return len(text), text


def _window(text: str) -> str:
    """The end of a text that stands for it in an index: up to its last number, if any."""
    end = len(text)
    runs = [run.end() for run in DIGITS.finditer(text)]
    if runs:  # names differ by their layer: the texts around a number leave few patterns for each name
        end = min(runs[-1] + 1, end)
    length = WINDOWS[bisect_right(WINDOWS, end) - 1]
    return text[end - length : end]
