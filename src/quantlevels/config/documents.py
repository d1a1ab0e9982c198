"""JSON, TOML, YAML and MessagePack: text into plain data that knows its lines, and plain data into text.

What two readers of one format take for different things is refused, not chosen: a key given twice, a number that is
too large, YAML's ``010`` and ``yes``. Nothing in a document makes these functions raise anything but ``ConfigError``.
"""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module

# missing in typeshed
from json.decoder import JSONArray, JSONDecoder, JSONObject  # type: ignore[attr-defined]  # ty: ignore[missing-module-member]
from json.scanner import py_make_scanner  # type: ignore[attr-defined]  # ty: ignore[missing-module-member]
from math import isfinite
from typing import Any, Final, Literal, TypeAlias

from attrs import field, frozen

from quantlevels.config.words import Keys, place
from quantlevels.errors import ConfigError

Format: TypeAlias = Literal["json", "toml", "yaml", "msgpack"]

SUFFIXES: Final[Mapping[str, Format]] = {
    ".json": "json",
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".msgpack": "msgpack",
    ".mpk": "msgpack",
}

_MOST_DEPTH: Final = 100  # of tables and lists in each other, for whoever reads on by recursion
_MOST_VALUES: Final = 1_000_000  # of a YAML document whose aliases are written out


@frozen
class Document:
    """What a document holds.

    Args:
        data: plain values: mappings, lists, strings, numbers, true and false, null, times.
        line: the line of the deepest value on the way to a place, from 1; None where a format has no lines.
        faults: what is wrong without standing in the way of the rest, each with its place.
    """

    data: Any  # what a parser gives
    line: Callable[[Keys], int | None] = field(default=lambda keys: None)
    faults: tuple[tuple[Keys, str], ...] = ()


def parse(content: bytes | str, format: Format) -> Document:
    """Read a document.

    Raises:
        ConfigError: if it is not one of that format, or the library for the format is missing. It has one message.
    """
    try:
        if format == "msgpack":
            document = _msgpack(content.encode() if isinstance(content, str) else content)
        else:
            text = content.decode("utf-8") if isinstance(content, bytes) else content
            document = _TEXTS[format](text.removeprefix("\ufeff"))
        _check_depth(document.data, _MOST_DEPTH)
    except RecursionError:
        reason = "nested too deeply"
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 text, from byte {error.start:,} on"
    except ValueError as error:
        reason = " ".join(str(error).split())
    else:
        return document
    raise ConfigError((f"not {_NAMES[format]}: {reason}",))


def _check_depth(data: object, left: int) -> None:
    if left < 0:
        raise RecursionError
    if isinstance(data, (dict, list)):
        for item in data.values() if isinstance(data, dict) else data:
            _check_depth(item, left - 1)


def dump(data: object, format: Format) -> bytes:
    """Write plain data as a document that `parse` reads.

    Raises:
        ConfigError: if the format has no way to say it, or the library for it is missing.
    """
    try:
        return _WRITERS[format](data)
    except RecursionError:
        reason = "nested too deeply"
    except _UNWRITABLE as error:
        reason = f"{place(_unwritable(data, _WRITERS[format]))}: {error}"
    raise ConfigError((f"cannot be written as {_NAMES[format]}: {reason}",))


_UNWRITABLE: Final = (TypeError, ValueError, OverflowError)


def _unwritable(data: object, write: Callable[[object], bytes]) -> Keys:
    """Where the first value is that cannot be written."""
    children: Iterable[tuple[object, object]] = (
        data.items() if isinstance(data, Mapping) else enumerate(data) if isinstance(data, (list, tuple)) else ()
    )
    for key, child in children:
        try:
            write({key: child} if isinstance(data, Mapping) else {"": child})
        except _UNWRITABLE:
            return (key, *_unwritable(child, write))
    return ()


def library(module: str, extra: str | None = None) -> Any:  # Any: libraries that are not there to check against
    """A library that a format needs; ``extra`` is the extra it comes with, if not of its own name.

    Raises:
        ConfigError: if it is missing.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError((f"{module} is missing: pip install 'quantlevels[{extra or module}]'",)) from error


# -- values with lines -------------------------------------------------------------------------------------------------


class _Node:
    """A value and its line; the value of a mapping is a `_Pairs`, of a list a list of nodes."""

    __slots__ = ("line", "value")

    def __init__(self, value: object, line: int) -> None:
        self.value = value
        self.line = line


class _Pairs(list[tuple[object, _Node]]):
    """The keys and values of a mapping as they are written."""


def _document(root: _Node) -> Document:
    faults: list[tuple[Keys, str]] = []
    done: dict[int, object] = {}  # what several aliases share is one value

    def plain(node: _Node, keys: Keys) -> object:
        if id(node) not in done:
            done[id(node)] = build(node.value, keys)
        return done[id(node)]

    def build(value: object, keys: Keys) -> object:
        if isinstance(value, _Pairs):
            table: dict[object, object] = {}
            for key, node in value:
                if key in table:
                    faults.append(((*keys, key), "given twice"))
                table[key] = plain(node, (*keys, key))
            return table
        if isinstance(value, list):
            return [plain(node, (*keys, index)) for index, node in enumerate(value)]
        return value

    @cache
    def children(node: _Node) -> dict[object, _Node]:
        if isinstance(node.value, _Pairs):
            return dict(node.value)
        return dict(enumerate(node.value)) if isinstance(node.value, list) else {}

    def line(keys: Keys) -> int:
        node = root
        for key in keys:
            found = children(node).get(key)
            if found is None:
                break
            node = found
        return node.line

    return Document(plain(root, ()), line, tuple(faults))


# -- JSON --------------------------------------------------------------------------------------------------------------


def _json(text: str) -> Document:
    """By the parser of the standard library, which is told to keep what it would lose: lines and repeated keys."""
    ends = [match.start() for match in re.finditer("\n", text)]

    def located(scan: Callable[[str, int], tuple[object, int]]) -> Callable[[str, int], tuple[_Node, int]]:
        def scan_once(string: str, index: int) -> tuple[_Node, int]:
            try:
                value, end = scan(string, index)
            except json.JSONDecodeError:
                raise
            except ValueError as error:
                raise json.JSONDecodeError(str(error), string, index) from error
            return _Node(value, bisect(ends, index) + 1), end

        return scan_once

    # Any: attributes that are there for this, if not in typeshed
    decoder: Any = JSONDecoder(object_pairs_hook=_Pairs, parse_constant=_refuse_constant, parse_float=_finite)
    decoder.parse_object = lambda at, strict, scan, *rest: JSONObject(at, strict, located(scan), *rest)
    decoder.parse_array = lambda at, scan, *rest: JSONArray(at, located(scan), *rest)
    decoder.scan_once = located(py_make_scanner(decoder))
    return _document(decoder.decode(text))


def _refuse_constant(word: str) -> object:
    raise ValueError(f"{word} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number) and digits[-1].isdigit():
        raise ValueError("a number too large for 64 bits of floating point")
    return number


# -- TOML --------------------------------------------------------------------------------------------------------------


#: Keys joined by dots, more than may be nested. Time and memory of tomllib grow with the square of their number.
_TOML_PATH: Final = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{_MOST_DEPTH}}}"""
)


def _toml(text: str) -> Document:
    if _TOML_PATH.search(text):
        raise RecursionError
    data = tomllib.loads(text, parse_float=_finite)
    lines = cache(lambda: _toml_lines(text))

    def line(keys: Keys) -> int | None:
        while keys and keys not in lines():
            keys = keys[:-1]
        return lines().get(keys)

    return Document(data, line)


#: What brackets and ends of lines are to be told from, and these themselves.
_TOML_MARK: Final = re.compile(
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


def _toml_statements(text: str) -> Iterator[str]:
    """The headers and the keys with their values of a valid document, and its comments and empty lines."""
    start = depth = 0
    for mark in _TOML_MARK.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark[0], 0)
        if mark[0] == "\n" and not depth:
            yield text[start : mark.start()]
            start = mark.end()
    yield text[start:]


def _toml_lines(text: str) -> dict[Keys, int]:
    """The line of every key of a valid document: each statement is a document of its own, for the parser to read."""
    found: dict[Keys, int] = {(): 1}
    lengths: dict[Keys, int] = {}  # of arrays of tables, so far
    table: Keys = ()
    number = 1
    for text_of_it in _toml_statements(text.replace("\r\n", "\n")):
        statement: object = tomllib.loads(text_of_it)
        header = text_of_it.lstrip().startswith("[")
        keys = () if header else table
        while isinstance(statement, dict) and statement:
            key, statement = next(iter(statement.items()))
            keys = (*keys, key)
            found.setdefault(keys, number)
            if header and keys in lengths and statement != [{}]:
                keys = (*keys, lengths[keys] - 1)
        if header:
            if statement == [{}]:
                lengths[keys] = lengths.get(keys, 0) + 1
                keys = (*keys, lengths[keys] - 1)
            found[keys] = number
            table = keys
        number += text_of_it.count("\n") + 1
    return found


def _toml_text(data: object) -> bytes:
    if not isinstance(data, Mapping):
        raise TypeError("a document is a table")
    text: str = library("tomli_w", "toml").dumps(data)
    return text.encode()


# -- YAML --------------------------------------------------------------------------------------------------------------

_TAG: Final = "tag:yaml.org,2002:"

#: tag → what plain text it is told by, and its value. Where YAML 1.1 and 1.2 differ, a word is text: 010, 1_0, yes.
_SCALARS: Final[Mapping[str, tuple[re.Pattern[str], Callable[[str], object]]]] = {
    f"{_TAG}null": (re.compile("~|null|Null|NULL|"), lambda text: None),
    f"{_TAG}bool": (re.compile("true|True|TRUE|false|False|FALSE"), lambda text: text in ("true", "True", "TRUE")),
    f"{_TAG}int": (
        re.compile("[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+"),
        lambda text: int(text, 16 if "x" in text else 10),
    ),
    f"{_TAG}float": (
        re.compile(
            r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
            r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
        ),
        lambda text: _finite(re.sub(r"(?i)\.(?=inf|nan)", "", text)),
    ),
    f"{_TAG}merge": (re.compile("<<"), lambda text: text),
    f"{_TAG}str": (re.compile("(?s).*"), str),
}


@cache
def _yaml_classes() -> tuple[Any, Any]:  # Any: classes of a library that may be missing
    """A loader that tells plain words as above, and a dumper that quotes what it or YAML 1.1 would not read as text."""
    yaml = library("yaml")
    # Any: as of the result
    loader: Any = type("Loader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": {}})
    dumper: Any = type("Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda self, data: True})
    for tag, (pattern, _) in _SCALARS.items():
        if not tag.endswith("str"):
            whole = re.compile(f"(?:{pattern.pattern})$")
            loader.add_implicit_resolver(tag, whole, None)
            dumper.add_implicit_resolver(tag, whole, None)
    dumper.add_implicit_resolver(f"{_TAG}int", re.compile("0o[0-7]+$"), None)
    for kind, plain in ((str, str.__str__), (int, int.__int__), (float, float.__float__)):  # of enums and the like
        dumper.add_multi_representer(kind, lambda self, value, plain=plain: self.represent_data(plain(value)))
    return loader, dumper


def _yaml(text: str) -> Document:
    yaml = library("yaml")
    try:
        root = yaml.compose(text, Loader=_yaml_classes()[0])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ValueError(f"line {mark.line + 1}: {error.problem}" if mark else error) from error
    return _document(_Node(None, 1) if root is None else _yaml_node(root))


def _yaml_node(root: Any) -> _Node:  # Any: nodes of a library that may be missing
    nodes: dict[int, _Node | None] = {}  # None while one is being read
    sizes: dict[int, int] = {}  # with aliases written out

    def read(node: Any) -> _Node:
        line = node.start_mark.line + 1
        if id(node) not in nodes:
            nodes[id(node)] = None
            value, size = content(node, line)
            nodes[id(node)] = _Node(value, line)
            sizes[id(node)] = size
            if size > _MOST_VALUES:
                raise ValueError(f"line {line}: more than {_MOST_VALUES:,} values with its aliases written out")
        done = nodes[id(node)]
        if done is None:
            raise ValueError(f"line {line}: an alias of what it is in")
        return done

    def content(node: Any, line: int) -> tuple[object, int]:
        if node.tag == f"{_TAG}map" and isinstance(node.value, list):
            own, merged = _Pairs(), _Pairs()
            for key, value in node.value:
                if key.tag == f"{_TAG}merge":
                    merged.extend(pair for base in bases(value) for pair in base)
                elif isinstance(key.value, str):
                    own.append((read(key).value, read(value)))
                else:
                    raise ValueError(f"line {line}: a key that is a list or a table")
            taken = {key for key, _ in own}
            for key, child in merged:
                if key not in taken:
                    taken.add(key)
                    own.append((key, child))
            return own, 1 + sum(sizes[id(value)] for _, value in node.value if id(value) in sizes)
        if node.tag == f"{_TAG}seq" and isinstance(node.value, list):
            return [read(item) for item in node.value], 1 + sum(sizes[id(item)] for item in node.value)
        pattern, convert = _SCALARS.get(node.tag, (None, str))
        if pattern is None or not isinstance(node.value, str):
            raise ValueError(f"line {line}: the tag {node.tag!r} is not read")
        if not pattern.fullmatch(node.value):
            raise ValueError(f"line {line}: {node.value!r:.80} is no {node.tag.removeprefix(_TAG)}")
        try:
            return convert(node.value), 1
        except ValueError as error:
            raise ValueError(f"line {line}: {error}") from error

    def bases(node: Any) -> list[_Pairs]:
        values = [read(item) for item in node.value] if node.tag == f"{_TAG}seq" else [read(node)]
        tables = [value.value for value in values if isinstance(value.value, _Pairs)]
        if len(tables) != len(values):
            raise ValueError(f"line {node.start_mark.line + 1}: only tables can be merged by <<")
        return tables

    return read(root)


def _yaml_text(data: object) -> bytes:
    yaml = library("yaml")
    _, dumper = _yaml_classes()
    try:
        text: str = yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True)
        if re.search("[\x85\u2028\u2029]", text):  # line breaks to YAML, which PyYAML does not escape then
            text = yaml.dump(data, Dumper=dumper, sort_keys=False)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(map(str, error.args))) from error
    return text.encode()


# -- MessagePack -------------------------------------------------------------------------------------------------------


def _msgpack(content: bytes) -> Document:
    msgpack = library("msgpack")
    repeated: list[object] = []

    def table(pairs: list[tuple[object, object]]) -> dict[object, object]:
        whole: dict[object, object] = {}
        try:
            for key, value in pairs:
                if key in whole:
                    repeated.append(key)
                whole[key] = value
        except TypeError as error:
            raise ValueError("a key that is a list or a table") from error
        return whole

    try:
        data = msgpack.unpackb(content, object_pairs_hook=table, strict_map_key=False)
    except (msgpack.UnpackException, OverflowError, TypeError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if repeated:
        raise ValueError(f"the key {repeated[0]!r:.80} is given twice")
    return Document(data)


# -- formats -----------------------------------------------------------------------------------------------------------

_NAMES: Final[Mapping[Format, str]] = {"json": "JSON", "toml": "TOML", "yaml": "YAML", "msgpack": "MessagePack"}
_TEXTS: Final[Mapping[str, Callable[[str], Document]]] = {"json": _json, "toml": _toml, "yaml": _yaml}
_WRITERS: Final[Mapping[Format, Callable[[object], bytes]]] = {
    "json": lambda data: (json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode(),
    "toml": _toml_text,
    "yaml": _yaml_text,
    "msgpack": lambda data: bytes(library("msgpack").packb(data)),
}
