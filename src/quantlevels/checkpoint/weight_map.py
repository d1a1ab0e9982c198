"""The weight map of an index: the tensors that it places in each shard."""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

from quantlevels.checkpoint.catalogue import is_weights
from quantlevels.checkpoint.jsonfile import CONTROL_CHARACTERS, object_in, read_whole
from quantlevels.checkpoint.source import shown
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quantlevels.container import JSON, Source

#: name of a shard → the tensors that an index places in it, each tensor once in the whole map
Placement: TypeAlias = dict[str, list[str]]

_KEY: Final = "weight_map"
#: what makes a name lead elsewhere, on any system
_NOT_PLAIN: Final = frozenset("/\\:~\0")
#: where the map begins, and its first entry, which shows how the writer spells all of them
_TO_ENTRIES: Final = re.compile(rb'"weight_map": ?\{[ \t\n\r]*+(?=")')
_FIRST_ENTRY: Final = re.compile(rb'"[^"]*+(?P<colon>" ?: ?")[^"]*+(?P<comma>",[ \t\n\r]*+")')
#: bytes of the map that are split at a time: few enough that most pieces name one shard
_PIECE: Final = 1 << 14
_QUOTES_PER_ENTRY: Final = 4


def read_weight_map(source: Source) -> tuple[dict[str, JSON], Placement]:
    """The object in an index, and its weight map by shards.

    Raises:
        CheckpointError: if the index is malformed, or names what is not a file in its folder.
    """
    raw = read_whole(source)
    found = _scanned(source.path, raw)
    if found is None:
        index = object_in(source.path, raw)
        found = index, _by_shard(source.path, index.get(_KEY))
    # huggingface_hub 2.4.0 follows names such as ../../other/model with the user's token; nothing but a name is sound
    for shard in found[1]:
        if not shard.strip(".") or _NOT_PLAIN & set(shard) or not is_weights(shard):
            reason = f"weight_map names {shown(shard)}, not the plain name of a file with weights"
            raise CheckpointError(source.path, reason)
    return found


def _by_shard(path: Path | str, shard_of: JSON) -> Placement:
    """A weight map that was parsed as JSON."""
    if not isinstance(shard_of, dict):
        raise CheckpointError(path, "has no weight_map: it needs an object with a file name for each tensor")
    placed: Placement = defaultdict(list)
    for tensor, shard in shard_of.items():
        if not isinstance(shard, str):
            raise CheckpointError(path, "weight_map must hold names of files, nothing else")
        placed[shard].append(tensor)
    return placed


def _scanned(path: Path | str, raw: bytes) -> tuple[dict[str, JSON], Placement] | None:
    """As `read_weight_map`, in little more than half the time of parsing; None if the index is unusual or wrong.

    The rest of the index is parsed with an empty map in place of the real one.
    """
    opening = _TO_ENTRIES.search(raw)
    # without escapes, each quote begins or ends a string; of two keys, the map could be that of an object within
    if opening is None or b"\\" in raw or raw.count(f'"{_KEY}"'.encode()) > 1:
        return None
    # a name with a brace in it makes this the wrong one, and then the scan fails
    stop = raw.find(b"}", opening.end())
    placed = _entries(raw, opening.end(), stop)
    if placed is None:
        return None
    with suppress(CheckpointError):  # parsing the whole text gives the place of what is wrong
        index = object_in(path, raw[: opening.end()] + raw[stop:])
        if index.get(_KEY) == {}:  # not the map of an object within the index
            return index, placed
    return None


def _entries(raw: bytes, start: int, stop: int) -> Placement | None:
    """The entries of a weight map; None if they are not spelled all alike, or one is wrong.

    Args:
        raw: the index.
        start: where the first quote of the first entry is.
        stop: where the brace after the last entry is.
    """
    last = raw.rfind(b'"', start, stop)
    first = _FIRST_ENTRY.match(raw, start, stop)
    if first is None or raw[last + 1 : stop].strip(b" \t\n\r"):
        return None
    colon, comma = first["colon"].decode(), first["comma"].decode()
    # line breaks between entries are control characters too; within a string JSON allows none
    breaks = set(first["comma"]).intersection(CONTROL_CHARACTERS)
    others = [control for control in CONTROL_CHARACTERS if control not in breaks]
    placed: Placement = defaultdict(list)
    try:
        for piece in _pieces(raw, start + 1, last, first["comma"]):
            commas = _place(piece.decode(), colon, comma, placed) - 1
            if any(piece.count(control) != commas * comma.count(chr(control)) for control in breaks):
                return None
            if any(map(piece.__contains__, others)):
                return None
    except ValueError:
        return None
    tensors = list(chain.from_iterable(placed.values()))
    return placed if len(set(tensors)) == len(tensors) else None


def _pieces(raw: bytes, start: int, stop: int, comma: bytes) -> Iterator[bytes]:
    """The entries in pieces, without the quote before the first entry and the one after the last."""
    while start <= stop:  # if the text ends with a comma, the empty piece after it is an error
        cut = raw.find(comma, start + _PIECE, stop)
        if cut < 0:
            cut = stop
        yield raw[start:cut]
        start = cut + len(comma)


def _place(piece: str, colon: str, comma: str, placed: Placement) -> int:
    """Add the entries of a piece, and return their number.

    Raises:
        ValueError: if it is not entries alone. All quotes must be of the separators, so none is within a name.
    """
    quotes = piece.count('"') + 2
    # In most pieces all tensors are in one shard: its name is then part of what separates them.
    shard = piece.partition(colon)[2].partition(comma)[0]
    *tensors, rest = f"{piece}{comma}".split(f"{colon}{shard}{comma}")
    if not rest and quotes == _QUOTES_PER_ENTRY * len(tensors):
        placed[shard] += tensors
        return len(tensors)
    entries = piece.split(comma)
    if quotes != _QUOTES_PER_ENTRY * len(entries):
        raise ValueError
    for entry in entries:
        tensor, shard = entry.split(colon)
        placed[shard].append(tensor)
    return len(entries)
