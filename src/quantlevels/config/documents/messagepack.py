"""MessagePack, by the msgpack library."""

from __future__ import annotations

from quantlevels.config.documents.document import Document, library


def read(content: bytes) -> Document:
    """Read a MessagePack value.

    Raises:
        ValueError: if it is not valid, or gives a key twice. ConfigError: if msgpack is missing.
    """
    msgpack = library("msgpack")
    try:
        # keys of any type, since a config may have a mapping by numbers; two equal ones are refused by `_table`
        return Document(msgpack.unpackb(content, object_pairs_hook=_table, strict_map_key=False))
    except (msgpack.UnpackException, OverflowError, TypeError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _table(pairs: list[tuple[object, object]]) -> dict[object, object]:
    table: dict[object, object] = {}
    for key, value in pairs:
        try:
            if key in table:
                raise ValueError(f"the key {key!r:.80} is given twice")
        except TypeError as error:
            raise ValueError("a key that is a list or a table") from error
        table[key] = value
    return table


def write(data: object) -> bytes:
    """Write a MessagePack value.

    Raises:
        TypeError, ValueError, OverflowError: for data it cannot hold. ConfigError: if msgpack is missing.
    """
    return bytes(library("msgpack").packb(data))
