"""Shell globs and regular expressions from files, none of which reaches ``re``.

Each pattern is parsed once. A text that must stand in every name that it matches puts it into an index, so that a name
is held against the few patterns that may match it, however many there are. Each pattern is written out as a few
variants of fixed pieces with gaps between them, and a name that has the pieces of none is not matched. Where a pattern
is more than these, a machine of states decides the rest: it reads a name once and remembers every step it has taken
(Thompson, Regular Expression Search Algorithm, 1968).
"""

from quantlevels.schemes.patterns.expressions import ANY, MOST_STATES
from quantlevels.schemes.patterns.index import PatternIndex
from quantlevels.schemes.patterns.matcher import Matcher, glob, regex

__all__ = ["ANY", "MOST_STATES", "Matcher", "PatternIndex", "glob", "regex"]
