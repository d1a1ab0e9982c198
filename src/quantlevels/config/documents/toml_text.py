"""TOML, by tomllib and tomli-w. tomllib gives no lines: they are found by parsing each statement on its own."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from quantlevels.config.documents.document import MAX_DEPTH, Document, decoded, finite, library
from quantlevels.config.words import Keys

#: More keys joined by dots than tables may be nested. tomllib's time and memory grow with the square of their number.
_TOO_MANY_DOTS: Final = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}"""
)
#: Brackets and ends of lines, and the strings and comments in which they mean nothing. Its repeats give nothing back
#: (``*+``), so that a string without an end costs no more than its length.
_MARK: Final = re.compile(
    r"""
    \"{3} (?: [^"\\]++ | \\. | "(?!"") )*+ "{3,5}
    | '{3} (?: [^']++ | '(?!'') )*+ '{3,5}
    | " (?: [^"\\\n] | \\. )*+ "
    | ' [^'\n]*+ '
    | \#[^\n]*
    | [][{}\n]
    """,
    re.VERBOSE | re.DOTALL,
)
_DEPTH_CHANGE: Final = {"[": 1, "{": 1, "]": -1, "}": -1}


def read(content: bytes) -> Document:
    """Read TOML text.

    Raises:
        ValueError: if it is not TOML; RecursionError if it is nested too deeply.
    """
    text = decoded(content)
    if _TOO_MANY_DOTS.search(text):  # before tomllib reads them
        raise RecursionError
    data = tomllib.loads(text, parse_float=finite)
    lines = cache(lambda: _lines(text))  # only mistakes need them

    def line(keys: Keys) -> int | None:
        while keys and keys not in lines():
            keys = keys[:-1]
        return lines().get(keys)

    return Document(data, line)


def _lines(text: str) -> dict[Keys, int]:
    """The line of every key of a valid document."""
    lines: dict[Keys, int] = {(): 1}
    array_lengths: dict[Keys, int] = {}  # of arrays of tables, so far
    table: Keys = ()
    number = 1
    for statement in _statements(text.replace("\r\n", "\n")):  # as tomllib itself does before it parses
        if statement.lstrip().startswith("["):
            table = _header(tomllib.loads(statement), array_lengths, lines, number)
        else:
            _key_lines(tomllib.loads(statement), table, lines, number)
        number += statement.count("\n") + 1
    return lines


def _statements(text: str) -> Iterator[str]:
    """The headers, the keys with their values, the comments and the empty lines of a valid document."""
    start = depth = 0
    for mark in _MARK.finditer(text):
        depth += _DEPTH_CHANGE.get(mark[0], 0)
        if mark[0] == "\n" and not depth:
            yield text[start : mark.start()]
            start = mark.end()
    yield text[start:]


def _header(parsed: object, array_lengths: dict[Keys, int], lines: dict[Keys, int], number: int) -> Keys:
    """The place that a header, ``[a.b]`` or ``[[a.b]]``, opens, and its line in ``lines``."""
    keys: Keys = ()
    while isinstance(parsed, dict) and parsed:
        key, parsed = next(iter(parsed.items()))
        keys = (*keys, key)
        lines.setdefault(keys, number)
        if keys in array_lengths and parsed != [{}]:  # inside the last table of an array
            keys = (*keys, array_lengths[keys] - 1)
    if parsed == [{}]:  # a further table of an array
        array_lengths[keys] = array_lengths.get(keys, 0) + 1
        keys = (*keys, array_lengths[keys] - 1)
    lines[keys] = number
    return keys


def _key_lines(parsed: object, table: Keys, lines: dict[Keys, int], number: int) -> None:
    """Note the line of a key in a table, ``a.b = 1``, and of the first keys of inline tables in it."""
    # only the first key of each inline table: they are written on one line nearly always
    keys = table
    while isinstance(parsed, dict) and parsed:
        key, parsed = next(iter(parsed.items()))
        keys = (*keys, key)
        lines.setdefault(keys, number)


def write(data: object) -> bytes:
    """Write TOML text.

    Raises:
        TypeError, ValueError: for data that TOML cannot hold. ConfigError: if tomli-w is missing.
    """
    if not isinstance(data, Mapping):
        raise TypeError("a document is a table")
    text: str = library("tomli_w", "toml").dumps(data)
    return text.encode()
