"""JSON, TOML, YAML and MessagePack: a document → plain data that knows its lines, and plain data → a document.

What two readers of one format understand differently is refused: a key given twice, a number that is too large,
YAML's ``010`` and ``yes``. Whatever a document holds, these functions raise nothing but ``ConfigError``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, TypeAlias

from attrs import frozen

from quantlevels.config.documents import json_text, messagepack, toml_text, yaml_text
from quantlevels.config.documents.document import MAX_DEPTH, Document
from quantlevels.config.words import Keys, place
from quantlevels.errors import ConfigError

DocumentFormat: TypeAlias = Literal["json", "toml", "yaml", "msgpack"]

SUFFIXES: Final[Mapping[str, DocumentFormat]] = {
    ".json": "json",
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".msgpack": "msgpack",
    ".mpk": "msgpack",
}


@frozen
class _Support:
    """A format: how messages call it, how a document is read and written."""

    name: str
    read: Callable[[bytes], Document]
    write: Callable[[object], bytes]


_FORMATS: Final[Mapping[DocumentFormat, _Support]] = {
    "json": _Support("JSON", json_text.read, json_text.write),
    "toml": _Support("TOML", toml_text.read, toml_text.write),
    "yaml": _Support("YAML", yaml_text.read, yaml_text.write),
    "msgpack": _Support("MessagePack", messagepack.read, messagepack.write),
}


def _support(format: DocumentFormat) -> _Support:
    """What reads and writes a format.

    Raises:
        ConfigError: if no format has that name, which users without a type checker learn only here.
    """
    if format not in _FORMATS:
        raise ConfigError((f"unknown document format {format!r}; known are {', '.join(_FORMATS)}",))
    return _FORMATS[format]


def parse(content: bytes | str, format: DocumentFormat) -> Document:
    """Read a document.

    Raises:
        ConfigError: with one message, if it is not a document of that format, or the library for it is missing.
    """
    support = _support(format)
    # what the libraries raise for bad content is one of the errors below, or was made a ValueError by its reader
    try:
        if isinstance(content, str):
            content = content.encode()
        document = support.read(content)
        _check_depth(document.data, MAX_DEPTH)
    except RecursionError:
        reason = "nested too deeply"
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 text, from byte {error.start:,} on"
    except UnicodeEncodeError as error:  # a lone surrogate in text that was given as a str
        reason = str(error)
    except ValueError as error:
        reason = " ".join(str(error).split())
    else:
        return document
    raise ConfigError((f"not valid {support.name}: {reason}",))


def _check_depth(data: object, levels_left: int) -> None:
    # only JSON and TOML stop by themselves; PyYAML and msgpack nest as deep as memory allows
    if levels_left < 0:
        raise RecursionError
    for _, child in _children(data):
        _check_depth(child, levels_left - 1)


def dump(data: object, format: DocumentFormat) -> bytes:
    """Write plain data as a document that `parse` reads.

    Raises:
        ConfigError: if the format cannot hold the data, or the library for it is missing.
    """
    support = _support(format)
    try:
        return support.write(data)
    except RecursionError:
        reason = "nested too deeply"
    except _UNWRITABLE as error:
        reason = f"{place(_unwritable(data, support.write))}: {error}"
    raise ConfigError((f"cannot be written as {support.name}: {reason}",))


_UNWRITABLE: Final = (TypeError, ValueError, OverflowError)


def _unwritable(data: object, write: Callable[[object], bytes]) -> Keys:
    """The place of the first value that cannot be written."""
    # found by trying: no library says where it failed
    for key, child in _children(data):
        try:
            write({key if isinstance(data, Mapping) else "": child})  # a table, since TOML writes nothing else
        except _UNWRITABLE:
            return (key, *_unwritable(child, write))
    return ()


def _children(data: object) -> Iterable[tuple[object, object]]:
    if isinstance(data, Mapping):
        return data.items()
    if isinstance(data, (list, tuple)):
        return enumerate(data)
    return ()
