"""One checkpoint in several files: named by an index, or numbered."""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar
from itertools import chain, repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Final, cast

from attrs import evolve

from quantlevels.checkpoint.jsonfile import read_object
from quantlevels.checkpoint.locate import is_weights, kind, numbered
from quantlevels.checkpoint.source import TruncatedError, exists, shown
from quantlevels.container import Checkpoint, File
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding, pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from quantlevels.container import JSON, Format, Tensor

#: what hands on the names of files while they are read, one after the other: a place for a progress bar
WATCH: Final[ContextVar[Callable[[list[str]], Iterable[str]]]] = ContextVar("WATCH", default=iter)
#: how many names a finding lists
_LISTED: Final = 3
#: how many tensors a split GGUF says it has, and which part of how many a file of it says it is, from 0
_TENSOR_COUNT: Final = "split.tensors.count"
_NUMBER: Final = "split.no"
_COUNT: Final = "split.count"
#: what makes a name lead elsewhere, on any system
_NOT_PLAIN: Final = frozenset("/\\:~\0")

_tensor_name: Callable[[Tensor], str] = attrgetter("name")
_tensor_bytes: Callable[[Tensor], int] = attrgetter("nbytes")


def read_index(path: Path, read: Callable[[Path], Checkpoint]) -> Checkpoint:
    """The checkpoint that an index (``model.safetensors.index.json``) describes, its shards read by ``read``.

    What the index says is held against the shards: QL201 to QL206. Shards may be links to elsewhere, as in a cache of
    Hugging Face; their names must be plain.

    Raises:
        CheckpointError: if the index is malformed or names what is no file in its folder, or a shard is malformed.
    """
    index = read_object(path)
    places = _places(path, index)
    named = sorted(set(places.values()))
    format: Format = "pytorch" if path.name.endswith(".bin.index.json") else "safetensors"
    joined, actual, unread = _join(path, format, named, read, places)
    findings = [*joined.findings, *_misplaced(places, actual, unread)]
    claims = index.get("metadata")
    claims = claims if isinstance(claims, dict) else {}
    claim = claims.get("total_size")
    if claim is not None and not unread and claim != (total := sum(map(_tensor_bytes, joined.tensors))):
        findings.append(Finding("QL204", f"total_size is {shown(claim)}, the tensors take {total:,} bytes", path.name))
    said = {key: value for key, value in claims.items() if isinstance(value, str | int | float)}
    return evolve(joined, metadata={**joined.metadata, **said}, findings=tuple(findings))


def _places(path: Path, index: Mapping[str, JSON]) -> dict[str, str]:
    """Tensor → shard, as an index says."""
    places = index.get("weight_map")
    if not isinstance(places, dict):
        raise CheckpointError(path, "has no weight_map, an object of tensor and file names")
    if set(map(type, places.values())) - {str}:
        raise CheckpointError(path, "weight_map must name files, not numbers or other things")
    for name in set(cast("dict[str, str]", places).values()):
        if not name.strip(".") or _NOT_PLAIN & set(name) or not is_weights(name):
            raise CheckpointError(
                path, f"weight_map names {shown(name)}, which is no plain name of a file with weights"
            )
    return cast("dict[str, str]", places)


def read_parts(path: Path, read: Callable[[Path], Checkpoint]) -> Checkpoint:
    """The checkpoint of which a file is one numbered part (``model-00001-of-00003.gguf``), its parts read by ``read``.

    Raises:
        CheckpointError: if a part is malformed.
    """
    part = numbered(path.name)
    if part is None:
        return read(path)
    named = [f"{part.stem}-{number:05}-of-{part.total:05}{part.suffix}" for number in range(1, part.total + 1)]
    joined, _, unread = _join(path, kind(path), named, lambda file: _in_place(file.name, read(file)))
    claim, total = joined.metadata.get(_TENSOR_COUNT), len(joined.tensors)
    if claim not in (None, total) and not unread:
        lacking = Finding("QL202", f"{_TENSOR_COUNT} is {claim}, the parts hold {total:,} tensors")
        return evolve(joined, findings=(*joined.findings, lacking))
    return joined


def _in_place(name: str, part: Checkpoint) -> Checkpoint:
    """A numbered part, with a finding if it says itself that it is another one; loaders go by what it says."""
    named = numbered(name)
    number, count = part.metadata.get(_NUMBER), part.metadata.get(_COUNT)
    if named is None or (number in (None, named.number - 1) and count in (None, named.total)):
        return part
    other = Finding("QL201", f"{_NUMBER} and {_COUNT} in it are {number} and {count}: it is another part", name)
    return evolve(part, findings=(*part.findings, other))


def _join(
    path: Path, format: Format, names: list[str], read: Callable[[Path], Checkpoint], places: Mapping[str, str] = {}
) -> tuple[Checkpoint, Mapping[str, str], set[str]]:
    """What several files hold together, which of them holds a tensor, and which could not be read."""
    shards: dict[str, Checkpoint] = {}
    files: list[File] = []
    findings: list[Finding] = []
    missing: list[str] = []
    for name in WATCH.get()(names):
        file = path.with_name(name)
        if not exists(file):
            missing.append(name)
            continue
        try:
            shards[name] = read(file)
        except TruncatedError as error:
            findings.append(Finding("QL206", f"{error.reason}; its tensors are left out", name))
        files.append(File(name, file.stat().st_size))
    if missing:
        findings.append(Finding("QL201", f"of {len(names):,} files {_some('file', missing)} not there", missing[0]))
    tensors = list(chain.from_iterable(shard.tensors for shard in shards.values()))
    if _agrees(places, shards):
        actual = places
    else:
        actual, repeated = _found(places, shards)
        if repeated:
            findings.append(Finding("QL203", f"{_some('tensor', repeated)} in more than one file", repeated[0]))
            tensors = [it for name, shard in shards.items() for it in shard.tensors if actual[it.name] == name]
    metadata = {key: value for shard in reversed(shards.values()) for key, value in shard.metadata.items()}
    findings.extend(finding for shard in shards.values() for finding in shard.findings)
    joined = Checkpoint(
        path=path, format=format, tensors=tensors, metadata=metadata, files=tuple(files), findings=tuple(findings)
    )
    return joined, actual, set(names) - shards.keys()


def _agrees(places: Mapping[str, str], shards: Mapping[str, Checkpoint]) -> bool:
    """Whether each tensor is where the index places it, and no other is placed."""
    return sum(len(shard.tensors) for shard in shards.values()) == len(places) and all(
        [*map(places.get, map(_tensor_name, shard.tensors))] == [name] * len(shard.tensors)
        for name, shard in shards.items()
    )


def _found(places: Mapping[str, str], shards: dict[str, Checkpoint]) -> tuple[dict[str, str], list[str]]:
    """Which shard holds a tensor, of several the one that the index means, else the first; and those several hold."""
    counts = Counter(name for shard in shards.values() for name in map(_tensor_name, shard.tensors))
    actual: dict[str, str] = {}
    for name, shard in reversed(shards.items()):
        actual.update(zip(map(_tensor_name, shard.tensors), repeat(name)))
    for name, shard in shards.items():
        actual.update((tensor.name, name) for tensor in shard.tensors if places.get(tensor.name) == name)
        actual.update((tied, name) for tied in shard.tied if tied not in actual)
    return actual, [name for name, count in counts.items() if count > 1]


def _misplaced(places: Mapping[str, str], actual: Mapping[str, str], unread: set[str]) -> Iterator[Finding]:
    """The tensors that are not in the shard their index places them in, by shard."""
    if actual is places:
        return
    absent: dict[str, list[str]] = {}
    for tensor, place in places.items():
        if actual.get(tensor) != place and place not in unread:
            absent.setdefault(place, []).append(tensor)
    for place, tensors in absent.items():
        yield Finding("QL202", f"{_some('tensor', tensors)} listed in it, but not there", place)


def _some(what: str, names: list[str]) -> str:
    listed = ", ".join(map(shown, names[:_LISTED]))
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return f"{pluralize(len(names), what)} ({listed}{more})"
