"""YAML, by PyYAML's parser with rules of our own: a word that YAML 1.1 and 1.2 read differently is text (010, yes)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from quantlevels.config.documents.document import Document, Pairs, ValueNode, decoded, finite, library, located

_MAX_VALUES: Final = 1_000_000
"""Values of a document with its aliases and merges written out: a few lines can stand for billions."""

_TAG: Final = "tag:yaml.org,2002:"
_MAP: Final = f"{_TAG}map"
_SEQUENCE: Final = f"{_TAG}seq"
_MERGE: Final = f"{_TAG}merge"

#: tag → the plain words that have it, and their value
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
        lambda text: finite(re.sub(r"(?i)\.(?=inf|nan)", "", text)),
    ),
    _MERGE: (re.compile("<<"), lambda text: text),
    # last: every text matches
    f"{_TAG}str": (re.compile("(?s).*"), str),
}


def read(content: bytes) -> Document:
    """Read YAML text.

    Raises:
        ValueError: if it is not YAML, or has tags of other types; RecursionError if it is nested too deeply.
        ConfigError: if PyYAML is missing.
    """
    yaml = library("yaml")
    loader, _ = _classes()
    try:
        root = yaml.compose(decoded(content), Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        if mark is None:  # characters that YAML does not allow have no mark
            raise ValueError(error) from error
        raise ValueError(f"line {mark.line + 1}: {error.problem}") from error
    if root is None:  # an empty document is null
        return located(ValueNode(None, 1))
    return located(_Reader().node(root))


@cache
def _classes() -> tuple[Any, Any]:  # Any: classes of a library that may be missing when types are checked
    """A loader for the words above, and a dumper that quotes text which the loader or YAML 1.1 takes for a value."""
    yaml = library("yaml")
    # classes of our own, without PyYAML's words of YAML 1.1; aliases are written out, since equal lists of a config are
    # not one list to its author
    # Any: as the result
    loader: Any = type("Loader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": {}})
    dumper: Any = type("Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda self, data: True})
    for tag, (pattern, _) in _SCALARS.items():
        if not tag.endswith("str"):
            whole = re.compile(f"(?:{pattern.pattern})$")  # PyYAML calls `match`, which stops before the end
            loader.add_implicit_resolver(tag, whole, None)
            dumper.add_implicit_resolver(tag, whole, None)
    # read as text here, but as an octal number by YAML 1.2: quoted, it is text to both
    dumper.add_implicit_resolver(f"{_TAG}int", re.compile("0o[0-7]+$"), None)
    for kind, plain in ((str, str.__str__), (int, int.__int__), (float, float.__float__)):  # of enums and the like
        dumper.add_multi_representer(kind, lambda self, value, plain=plain: self.represent_data(plain(value)))
    return loader, dumper


class _Reader:
    """Reads the nodes of PyYAML, each once: aliases of a node share what it was read into."""

    def __init__(self) -> None:
        self._nodes: dict[int, ValueNode | None] = {}  # None while a node is being read
        self._merged = 0  # keys copied by ``<<`` so far

    def node(self, source: Any) -> ValueNode:  # Any: a node of a library that may be missing; here and below
        if id(source) not in self._nodes:
            self._nodes[id(source)] = None
            self._nodes[id(source)] = self._read(source)
        node = self._nodes[id(source)]
        if node is None:
            raise ValueError(f"line {_line(source)}: an alias of a value inside that value")
        return node

    def _read(self, source: Any) -> ValueNode:
        line, value, size = _line(source), source.value, 1
        if isinstance(value, str):
            value = _scalar(source)
        elif source.tag == _MAP:
            value = self._pairs(source)
            size += sum(child.size for _, child in value)
        elif source.tag == _SEQUENCE:
            value = [self.node(item) for item in value]
            size += sum(child.size for child in value)
        else:
            raise _unreadable_tag(source)
        if size > _MAX_VALUES:  # counted as nodes are read, not by walking what they stand for
            raise _too_many_values(source)
        return ValueNode(value, line, size)

    def _pairs(self, source: Any) -> Pairs:
        """The keys and values of a mapping, its own before those that it merges; the first of equal keys counts."""
        pairs, merged = Pairs(), Pairs()
        for key, value in source.value:
            if key.tag == _MERGE:
                merged.extend(self._merged_pairs(value))
            elif isinstance(key.value, str):
                pairs.append((self.node(key).value, self.node(value)))
            else:
                raise ValueError(f"line {_line(source)}: a key that is a list or a table")
        keys = {key for key, _ in pairs}
        for key, child in merged:
            if key not in keys:
                keys.add(key)
                pairs.append((key, child))
        return pairs

    def _merged_pairs(self, source: Any) -> Pairs:
        """The pairs of the mapping, or of each mapping in the list, after ``<<``."""
        pairs = Pairs()
        sources = [source]
        if source.tag == _SEQUENCE:
            sources = source.value
        for item in sources:
            base = self.node(item).value
            if not isinstance(base, Pairs):
                raise ValueError(  # noqa: TRY004  # a mistake in the document
                    f"line {_line(source)}: only tables can be merged by <<"
                )
            self._merged += len(base)
            if self._merged > _MAX_VALUES:
                raise _too_many_values(source)
            pairs.extend(base)
        return pairs


def _line(source: Any) -> int:
    line: int = source.start_mark.line + 1
    return line


def _unreadable_tag(source: Any) -> ValueError:
    return ValueError(f"line {_line(source)}: the tag {source.tag!r} is not read")


def _too_many_values(source: Any) -> ValueError:
    return ValueError(f"line {_line(source)}: more than {_MAX_VALUES:,} values with its aliases written out")


def _scalar(source: Any) -> object:
    if source.tag not in _SCALARS:
        raise _unreadable_tag(source)
    pattern, convert = _SCALARS[source.tag]
    if not pattern.fullmatch(source.value):
        raise ValueError(f"line {_line(source)}: {source.value!r:.80} is not a valid {source.tag.removeprefix(_TAG)}")
    try:
        return convert(source.value)
    except ValueError as error:
        raise ValueError(f"line {_line(source)}: {error}") from error


def write(data: object) -> bytes:
    """Write YAML text.

    Raises:
        ValueError: for data that YAML cannot hold. ConfigError: if PyYAML is missing.
    """
    yaml = library("yaml")
    _, dumper = _classes()
    try:
        text: str = yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True)
        if re.search("[\x85\u2028\u2029]", text):  # line breaks in YAML, which PyYAML escapes only without Unicode
            text = yaml.dump(data, Dumper=dumper, sort_keys=False)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(map(str, error.args))) from error
    return text.encode()
