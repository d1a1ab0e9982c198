"""JSON as it comes from files: strict, bounded, one object.

Refused, each by name: what is not UTF-8, repeated keys, NaN and infinities, nesting that recursion could not follow.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Final, cast, overload

from quantlevels.checkpoint.source import shown
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from quantlevels.container import JSON, Source

#: the largest index of a public model has a few MB; the limit is the one safetensors has for headers
MAX_BYTES: Final = 100_000_000
#: an index nests two deep, configs of quantizers six or so
_MAX_DEPTH: Final = 64
#: arrays and objects that any text may have, and bytes for each further one; the shortest entry of a safetensors header
#: has three in 52 bytes
_LEAST_BRACKETS: Final = 500_000
_BYTES_PER_BRACKET: Final = 16
_STRING: Final = r'(?s:"(?:[^"\\]|\\.)*+")'
#: JSON has none of them within a string
CONTROL_CHARACTERS: Final = bytes(range(0x20))
_TOO_DEEP: Final = "it is nested too deeply"


def unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    """The object of these pairs; a hook for decoders.

    Raises:
        ValueError: if a key is repeated.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        repeated = max(counts, key=counts.__getitem__)
        raise ValueError(f"the key {shown(repeated)} is repeated")
    return found


def finite(text: str) -> float:
    """The number in a text; a hook for decoders.

    Raises:
        ValueError: if it is not finite.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{shown(text)} is not a finite number")
    return number


_FAST = json.JSONDecoder(parse_float=finite, parse_constant=finite)
_EXACT = json.JSONDecoder(object_pairs_hook=unique, parse_float=finite, parse_constant=finite)


@overload
def read_object(source: Source) -> dict[str, JSON]: ...
@overload
def read_object(source: Source, kind: type[list[JSON]]) -> list[JSON]: ...
def read_object(source: Source, kind: type[dict[str, JSON]] | type[list[JSON]] = dict) -> JSON:
    """The object in a JSON file, in UTF-8 with or without a byte order mark.

    Args:
        source: the file.
        kind: ``list`` for a file that holds an array.

    Raises:
        CheckpointError: if the file does not hold one, with what is wrong and where.
    """
    return object_in(source.path, read_whole(source), kind)


def read_whole(source: Source) -> bytes:
    """All bytes of a JSON file.

    Raises:
        CheckpointError: if it has more than a JSON file of a model can need.
    """
    if source.size > MAX_BYTES:
        raise CheckpointError(source.path, f"has {source.size:,} bytes, more than a JSON file of a model can need")
    return source.read(0, source.size)


@overload
def object_in(path: Path | str, raw: bytes) -> dict[str, JSON]: ...
@overload
def object_in(path: Path | str, raw: bytes, kind: type[dict[str, JSON]] | type[list[JSON]]) -> JSON: ...
def object_in(path: Path | str, raw: bytes, kind: type[dict[str, JSON]] | type[list[JSON]] = dict) -> JSON:
    """The object in the bytes of a JSON file.

    Args:
        path: of the file, for errors.
        raw: its bytes, in UTF-8 with or without a byte order mark.
        kind: as in `read_object`.

    Raises:
        CheckpointError: if they do not hold one, with what is wrong and where.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CheckpointError(path, "is not UTF-8", error.start) from error
    try:
        found = decoded(text)
    except RecursionError as error:
        raise CheckpointError(path, f"is not valid JSON: {_TOO_DEEP}") from error
    except ValueError as error:
        raise CheckpointError(path, f"is not valid JSON: {error}") from error
    if not isinstance(found, kind):
        expected = "object" if kind is dict else "array"
        raise CheckpointError(path, f"must hold a JSON {expected}, not {shown(found)}")
    return found


def decoded(text: str, fast: json.JSONDecoder = _FAST) -> JSON:
    """The value of a JSON text.

    Args:
        text: the JSON.
        fast: decodes it, and may overlook repeated keys: telling those takes most of the time and memory.

    Raises:
        ValueError: if it is not valid, repeats a key, or has more arrays and objects than a file of a model can need.
        RecursionError: if it is nested too deeply.
    """
    check_brackets(text)
    # A hook for each object would make json leave its parser in C: repeated keys are noticed by the number of strings
    # instead, and the exact decoder then only finds the words of the error.
    found = cast("JSON", fast.decode(text))
    if _count_literals(text) != _count_strings(found):  # a repeated key has dropped some
        _EXACT.decode(text)
    return found


def check_brackets(text: str) -> None:
    """Raise ValueError for a text whose empty arrays or objects would take far more memory than the text."""
    allowed = _LEAST_BRACKETS + len(text) // _BYTES_PER_BRACKET
    if text.count("[") + text.count("{") <= allowed:  # strings may hold some too
        return
    bare = re.sub(_STRING, "", text)
    if bare.count("[") + bare.count("{") > allowed:
        raise ValueError("more arrays and objects than a file of a model can need")


def _count_literals(text: str) -> int:
    """The strings in a JSON text, by the quotes that no backslash escapes."""
    escaped = 0
    if "\\" in text:  # seldom, and it takes the time of all else here
        text = text.replace(r"\\", "")
        escaped = text.count(r"\"")
    return (text.count('"') - escaped) // 2


def _count_strings(found: JSON) -> int:
    """The strings in a JSON value, keys included.

    Raises:
        ValueError: if it is nested too deeply.
    """
    strings = int(isinstance(found, str))
    layer = [found]
    for _ in range(_MAX_DEPTH):
        below: list[JSON] = []
        for value in layer:
            children: list[JSON] = []
            if isinstance(value, dict):
                strings += len(value)
                children = list(value.values())
            elif isinstance(value, list):
                children = value
            kinds = list(map(type, children))
            strings += kinds.count(str)
            if dict in kinds or list in kinds:
                below += (child for child in children if isinstance(child, dict | list))
        if not below:
            return strings
        layer = below
    raise ValueError(_TOO_DEEP)
