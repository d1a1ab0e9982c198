"""What the readers of all formats share: a document, values that know their lines, optional libraries."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from math import isfinite
from typing import Any, Final

from attrs import field, frozen

from quantlevels.config.words import Keys
from quantlevels.errors import ConfigError

MAX_DEPTH: Final = 100
"""Tables and lists inside each other, since classes and converters read them by recursion."""


@frozen
class Document:
    """What a document holds.

    Args:
        data: plain values: mappings, lists, strings, numbers, true and false, null, times.
        line: the line, from 1, of the deepest value on the way to a place; None if the format has no lines.
        faults: mistakes that do not prevent reading the rest, each with its place.
    """

    data: Any  # what a parser gives
    line: Callable[[Keys], int | None] = field(default=lambda keys: None)
    faults: tuple[tuple[Keys, str], ...] = ()


class ValueNode:
    """A value and its line.

    The value of a mapping is a `Pairs`, of a list a list of nodes. `size` is the number of values in it.
    """

    __slots__ = ("line", "size", "value")

    def __init__(self, value: object, line: int, size: int = 1) -> None:
        self.value: object = value
        self.line: int = line
        self.size: int = size


class Pairs(list[tuple[object, ValueNode]]):
    """The keys and values of a mapping in the order of the document; a key may be there twice."""


def located(root: ValueNode) -> Document:
    """The document of a tree of nodes."""
    plain = _Plain()
    data = plain.data(root, ())
    return Document(data, _line_finder(root), tuple(plain.faults))


class _Plain:
    """Takes plain data out of nodes and notes keys that are given twice."""

    def __init__(self) -> None:
        self.faults: list[tuple[Keys, str]] = []
        self._done: dict[int, object] = {}  # several aliases of one YAML node share one value

    def data(self, node: ValueNode, keys: Keys) -> object:
        if id(node) not in self._done:
            self._done[id(node)] = self._build(node.value, keys)
        return self._done[id(node)]

    def _build(self, value: object, keys: Keys) -> object:
        if isinstance(value, Pairs):
            table: dict[object, object] = {}
            for key, node in value:
                if key in table:
                    self.faults.append(((*keys, key), "given twice"))
                table[key] = self.data(node, (*keys, key))
            return table
        if isinstance(value, list):
            return [self.data(node, (*keys, index)) for index, node in enumerate(value)]
        return value


def _line_finder(root: ValueNode) -> Callable[[Keys], int]:
    # cached for a file with many mistakes: each asks for the way from the root
    @cache
    def children(node: ValueNode) -> dict[object, ValueNode]:
        if isinstance(node.value, Pairs):
            return dict(node.value)
        if isinstance(node.value, list):
            return dict(enumerate(node.value))
        return {}

    def line(keys: Keys) -> int:
        node = root
        for key in keys:
            child = children(node).get(key)
            if child is None:
                break
            node = child
        return node.line

    return line


def decoded(content: bytes) -> str:
    """UTF-8 text without its byte order mark.

    Raises:
        UnicodeDecodeError: if it is not UTF-8.
    """
    # editors on Windows write the mark, and the parsers of JSON and TOML refuse it
    return content.decode("utf-8").removeprefix("\ufeff")


def finite(digits: str) -> float:
    """The float of a literal; ``inf`` and ``nan`` are accepted: a format without them never asks.

    Raises:
        ValueError: if digits give a number that is too large.
    """
    number = float(digits)
    # 1e999 is infinity to Python without an error; the words for infinity end in a letter
    if not isfinite(number) and digits[-1].isdigit():
        raise ValueError("a number too large for 64 bits of floating point")
    return number


def library(module: str, extra: str | None = None) -> Any:  # Any: libraries that may be missing when types are checked
    """A library that a format needs; ``extra`` is the extra it comes with, if that has another name.

    Raises:
        ConfigError: if it is missing.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError((f"{module} is missing: pip install 'quantlevels[{extra or module}]'",)) from error
