"""One checkpoint in several files: named by an index, or numbered."""

from __future__ import annotations

from collections import Counter
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final, cast

from attrs import evolve

from quantlevels.checkpoint.jsonfile import read_object
from quantlevels.checkpoint.locate import PART, is_weights, kind
from quantlevels.checkpoint.source import TruncatedError, shown
from quantlevels.checkpoint.tensor import Checkpoint, File
from quantlevels.errors import CheckpointError
from quantlevels.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from quantlevels.checkpoint.tensor import JSON, Format, Tensor

#: how many names a finding lists
_LISTED: Final = 3
#: how many tensors a split GGUF says it has
_TENSOR_COUNT: Final = "split.tensors.count"
#: what makes a name lead elsewhere, on any system
_NOT_PLAIN: Final = frozenset("/\\:~\0")


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
    joined, shards = _join(path, format, named, read, places)
    findings = [*joined.findings, *_misplaced(places, shards)]
    claims = index.get("metadata")
    claims = claims if isinstance(claims, dict) else {}
    claim = claims.get("total_size")
    total = sum(tensor.nbytes for tensor in joined.tensors)
    if claim is not None and claim != total and len(shards) == len(named):
        findings.append(Finding("QL204", f"total_size is {shown(claim)}, the tensors take {total:,} bytes", path.name))
    said = {key: value for key, value in claims.items() if isinstance(value, str | int | float)}
    return evolve(joined, metadata={**joined.metadata, **said}, findings=tuple(findings))


def _places(path: Path, index: Mapping[str, JSON]) -> dict[str, str]:
    """Tensor → shard, as an index says."""
    places = index.get("weight_map")
    if not isinstance(places, dict):
        raise CheckpointError(path, "has no weight_map, an object of tensor and file names")
    for name in set(map(shown, places.values())) if not all(isinstance(name, str) for name in places.values()) else ():
        raise CheckpointError(path, f"weight_map must name files, not {name}")
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
    part = PART.fullmatch(path.name)
    if part is None:
        return read(path)
    stem, count, suffix = part.group("stem", "count", "suffix")
    named = [f"{stem}-{number:05}-of-{count}{suffix}" for number in range(1, int(count) + 1)]
    joined, shards = _join(path, kind(path), named, read)
    claim, total = joined.metadata.get(_TENSOR_COUNT), len(joined.tensors)
    if claim not in (None, total) and len(shards) == len(named):
        lacking = Finding("QL202", f"{_TENSOR_COUNT} is {claim}, the parts hold {total:,} tensors")
        return evolve(joined, findings=(*joined.findings, lacking))
    return joined


def _join(
    path: Path,
    format: Format,
    names: Iterable[str],
    read: Callable[[Path], Checkpoint],
    places: Mapping[str, str] = {},
) -> tuple[Checkpoint, dict[str, Checkpoint]]:
    shards: dict[str, Checkpoint] = {}
    files: list[File] = []
    findings: list[Finding] = []
    for name in names:
        file = path.with_name(name)
        if not file.exists():  # nor what it links to
            findings.append(Finding("QL201", "is not there", name))
            continue
        try:
            shards[name] = read(file)
        except TruncatedError as error:
            findings.append(Finding("QL206", f"{error.reason}; its tensors are left out", name))
        files.append(File(name, file.stat().st_size))
    tensors = list(chain.from_iterable(shard.tensors for shard in shards.values()))
    if len({tensor.name for tensor in tensors}) != len(tensors):
        tensors, repeated = _once(shards, places)
        findings.extend(repeated)
    metadata = {key: value for shard in reversed(shards.values()) for key, value in shard.metadata.items()}
    for shard in shards.values():
        findings.extend(shard.findings)
    return (
        Checkpoint(
            path=path, format=format, tensors=tensors, metadata=metadata, files=tuple(files), findings=tuple(findings)
        ),
        shards,
    )


def _once(shards: Mapping[str, Checkpoint], places: Mapping[str, str]) -> tuple[list[Tensor], list[Finding]]:
    """Every tensor once: that of the shard an index places it in, else the first; and what is there again."""
    counts = Counter(tensor.name for shard in shards.values() for tensor in shard.tensors)
    kept: dict[str, Tensor] = {}
    for name, shard in shards.items():
        for tensor in shard.tensors:
            if tensor.name not in kept or places.get(tensor.name) == name:
                kept[tensor.name] = tensor
    repeated = [tensor for tensor, count in counts.items() if count > 1]
    return list(kept.values()), [Finding("QL203", f"{_some(repeated)} in more than one file", repeated[0])]


def _misplaced(places: Mapping[str, str], shards: Mapping[str, Checkpoint]) -> Iterable[Finding]:
    """The tensors that are not in the shard their index places them in, by shard."""
    actual: dict[str, str] = {}
    for name, shard in shards.items():
        actual.update(zip((tensor.name for tensor in shard.tensors), repeat(name)))
    if actual == places:
        return
    for name, shard in shards.items():
        there = {tensor.name for tensor in shard.tensors}
        absent = [tensor for tensor, place in places.items() if place == name and tensor not in there]
        if absent:
            yield Finding("QL202", f"{_some(absent)} listed in it, but not there", name)


def _some(names: list[str]) -> str:
    listed = ", ".join(map(shown, names[:_LISTED]))
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return f"{len(names):,} tensor{'s' if len(names) > 1 else ''} ({listed}{more})"
