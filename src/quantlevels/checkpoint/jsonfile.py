"""JSON as it comes from files: strict, bounded, one object.

Refused, each by name: what is not UTF-8, repeated keys, NaN and infinities, nesting that recursion could not follow.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Final, cast

from quantlevels.checkpoint.source import Source, shown
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from quantlevels.checkpoint.tensor import JSON

#: the largest index of a public model has a few MB; the limit is the one safetensors has for headers
MAX_BYTES: Final = 100_000_000
_MAX_DEPTH: Final = 64


def unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    """The object of these pairs; a hook for decoders.

    Raises:
        ValueError: if a key is repeated.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {shown(repeated)} is repeated")
    return found


def finite(text: str) -> float:
    """The number in a text; a hook for decoders.

    Raises:
        ValueError: if it is not finite.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{shown(text)} is no finite number")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=unique, parse_float=finite, parse_constant=finite)


def read_object(path: Path) -> dict[str, JSON]:
    """The object in a JSON file, in UTF-8 with or without a byte order mark.

    Raises:
        CheckpointError: if there is none, with what is wrong and where.
    """
    with Source(path) as source:
        if source.size > MAX_BYTES:
            raise CheckpointError(path, f"has {source.size:,} bytes, more than a JSON file of a model can need")
        raw = source.read(0, source.size)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CheckpointError(path, "is not UTF-8", error.start) from error
    try:
        found = cast("JSON", _DECODER.decode(text))
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise CheckpointError(path, f"is no JSON that can be used: {reason}") from error
    if not isinstance(found, dict):
        raise CheckpointError(path, f"must hold a JSON object, not {shown(found)}")
    if text.count("{") + text.count("[") > _MAX_DEPTH:  # else it cannot be deep
        _check_depth(path, found)
    return found


def _check_depth(path: Path, found: JSON) -> None:
    layer = [found]
    for _ in range(_MAX_DEPTH):
        layer = [
            child
            for value in layer
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
        ]
    if layer:
        raise CheckpointError(path, f"is nested more than {_MAX_DEPTH} deep")
