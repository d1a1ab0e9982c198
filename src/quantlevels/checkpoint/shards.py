"""One checkpoint in several files: named by an index, or numbered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Final, TypeAlias, cast, final

from attrs import evolve, field, frozen

from quantlevels.checkpoint.catalogue import container_named, container_of, is_weights
from quantlevels.checkpoint.jsonfile import read_object
from quantlevels.checkpoint.names import numbered
from quantlevels.checkpoint.source import shown
from quantlevels.checkpoint.storage_types import type_lookup
from quantlevels.container import Contents, File, Places, TruncatedError
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding, pluralize

if TYPE_CHECKING:
    from quantlevels.container import JSON, Container, Folder, Source, Tensor, TypeLookup
    from quantlevels.vocabulary.registry import Registry

#: Gets the names of files and yields them one by one as they are read: a place for a progress bar.
Progress: TypeAlias = Callable[[Sequence[str]], Iterable[str]]

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


@final
@frozen(kw_only=True)
class Joined:
    """What the files of a checkpoint hold together.

    Args:
        container: of the first file; None if none could be read and no name tells.
        contents: their contents, each tensor once.
        shard_of: name of a tensor → the file that holds it; empty for a single file.
        unread: the files that are missing or cut.
    """

    container: Container | None
    contents: Contents
    shard_of: Mapping[str, str] = field(factory=dict[str, str])
    unread: frozenset[str] = frozenset()


@final
@frozen(kw_only=True)
class Files:
    """Reads files of one folder.

    Args:
        folder: where they are.
        registry: knows the levels of storage types, and the plugins.
        progress: gets the names of files while several are read.
    """

    folder: Folder
    registry: Registry
    progress: Progress = iter
    level_of: TypeLookup = field(init=False)

    @level_of.default
    def _default_level_of(self) -> TypeLookup:
        return type_lookup(self.registry)

    def read(self, name: str) -> Joined:
        """One file with weights.

        Raises:
            CheckpointError: if it is malformed or of no known format.
        """
        with self.folder.open(name) as source:
            container = container_of(source, self.registry)
            if container is None:
                raise CheckpointError(source.path, "is a JSON file, not weights")
            return self.read_as(container, source)

    def read_as(self, container: Container, source: Source) -> Joined:
        """One open file with weights, of a container that is known.

        Raises:
            CheckpointError: if it is malformed.
        """
        contents = container.reader(source, self.level_of)
        files = (File(source.name, source.size), *contents.files)
        return Joined(container=container, contents=evolve(contents, files=files))

    def read_json(self, name: str) -> dict[str, JSON]:
        """The object in one JSON file.

        Raises:
            CheckpointError: if there is none.
        """
        with self.folder.open(name) as source:
            return read_object(source)


def read_index(files: Files, name: str) -> Joined:
    """The checkpoint that an index (``model.safetensors.index.json``) describes.

    What the index says is compared with the shards: QL201 to QL206. Shards may be links to elsewhere, as in a cache of
    Hugging Face; their names must be plain.

    Raises:
        CheckpointError: if the index is malformed or names what is not a file in its folder, or a shard is malformed.
    """
    index = files.read_json(name)
    claimed = _shard_names(files.folder.path, name, index)
    joined = _join(files, sorted(set(claimed.values())), claimed)
    findings = [*joined.contents.findings, *_misplaced(claimed, joined.shard_of, joined.unread)]
    metadata = index.get("metadata")
    said = metadata if isinstance(metadata, dict) else {}
    claim = said.get("total_size")
    total = sum(map(_tensor_bytes, joined.contents.tensors))
    if claim not in (None, total) and not joined.unread:
        findings.append(Finding("QL204", f"total_size is {shown(claim)}, the tensors take {total:,} bytes", name))
    scalars = {key: value for key, value in said.items() if isinstance(value, str | int | float)}
    contents = evolve(joined.contents, metadata={**joined.contents.metadata, **scalars}, findings=tuple(findings))
    return evolve(joined, contents=contents, container=joined.container or container_named(name))


def _shard_names(folder: object, name: str, index: Mapping[str, JSON]) -> dict[str, str]:
    """Tensor → shard, as an index claims."""
    path = f"{folder}/{name}"
    shard_of = index.get("weight_map")
    if not isinstance(shard_of, dict):
        raise CheckpointError(path, "has no weight_map, an object of tensor and file names")
    if set(map(type, shard_of.values())) - {str}:
        raise CheckpointError(path, "weight_map must name files, not numbers or other things")
    for shard in set(cast("dict[str, str]", shard_of).values()):
        if not shard.strip(".") or _NOT_PLAIN & set(shard) or not is_weights(shard):
            raise CheckpointError(path, f"weight_map names {shown(shard)}, not the plain name of a file with weights")
    return cast("dict[str, str]", shard_of)


def read_parts(files: Files, name: str) -> Joined:
    """The checkpoint of which a file is one numbered part (``model-00001-of-00003.gguf``).

    Raises:
        CheckpointError: if a part is malformed.
    """
    part = numbered(name)
    joined = _join(files, part.all_names if part else [name], {})
    claim, total = joined.contents.metadata.get(_TENSOR_COUNT), len(joined.contents.tensors)
    if claim in (None, total) or joined.unread:
        return joined
    lacking = Finding("QL202", f"{_TENSOR_COUNT} is {claim}, the parts hold {total:,} tensors")
    return evolve(joined, contents=evolve(joined.contents, findings=(*joined.contents.findings, lacking)))


def _number_finding(name: str, part: Contents) -> Iterator[Finding]:
    """A finding if a numbered part says itself that it is another one; loaders go by what it says."""
    named = numbered(name)
    number, count = part.metadata.get(_NUMBER), part.metadata.get(_COUNT)
    if named and (number not in (None, named.number - 1) or count not in (None, named.total)):
        yield Finding("QL201", f"{_NUMBER} and {_COUNT} in it are {number} and {count}: it is another part", name)


def _join(files: Files, names: list[str], claimed: Mapping[str, str]) -> Joined:
    """What several files hold together, and which of them could not be read.

    Args:
        files: reads them.
        names: the files.
        claimed: name of a tensor → the file that an index places it in; empty without an index.
    """
    shards: dict[str, Contents] = {}
    container: Container | None = None
    sizes: list[File] = []
    findings: list[Finding] = []
    missing: list[str] = []
    for name in files.progress(names):
        size = files.folder.size(name)
        if size is None:
            missing.append(name)
            continue
        try:
            shard = files.read(name)
        except TruncatedError as error:
            findings.append(Finding("QL206", f"{error.reason}; its tensors are left out", name))
            sizes.append(File(name, size))
            continue
        container = container or shard.container
        shards[name] = shard.contents
        sizes += shard.contents.files
        findings += (*shard.contents.findings, *_number_finding(name, shard.contents))
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        message = f"{len(missing):,} of {pluralize(len(names), 'file')} {verb} missing: {_some(missing)}"
        findings.append(Finding("QL201", message, missing[0]))
    tensors = list(chain.from_iterable(shard.tensors for shard in shards.values()))
    places = Places.joined(shard.places for shard in shards.values())
    shard_of = claimed
    if not _agrees(claimed, shards):
        shard_of, repeated = _found(claimed, shards)
        if repeated:
            several = f"{pluralize(len(repeated), 'tensor')} in more than one file: {_some(repeated)}"
            findings.append(Finding("QL203", several, repeated[0]))
            holders = chain.from_iterable(repeat(name, len(shard.tensors)) for name, shard in shards.items())
            pairs = enumerate(zip(tensors, holders, strict=True))
            kept = [index for index, (tensor, name) in pairs if shard_of[tensor.name] == name]
            tensors, places = [tensors[index] for index in kept], places.chosen(kept) if places else places
    first = next(iter(shards.values()), Contents())
    contents = evolve(
        first,
        tensors=tensors,
        places=places,
        metadata={key: value for shard in reversed(shards.values()) for key, value in shard.metadata.items()},
        files=tuple(sizes),
        findings=tuple(findings),
        nodes=(),
        tied=(),
    )
    return Joined(
        container=container, contents=contents, shard_of=shard_of, unread=frozenset(set(names) - shards.keys())
    )


def _agrees(claimed: Mapping[str, str], shards: Mapping[str, Contents]) -> bool:
    """Whether each tensor is in the shard the index claims, and the index claims no other."""
    return sum(len(shard.tensors) for shard in shards.values()) == len(claimed) and all(
        [*map(claimed.get, map(_tensor_name, shard.tensors))] == [name] * len(shard.tensors)
        for name, shard in shards.items()
    )


def _found(claimed: Mapping[str, str], shards: dict[str, Contents]) -> tuple[dict[str, str], list[str]]:
    """The shard that holds each tensor, and the tensors that several hold: then the claimed one, else the first."""
    counts = Counter(name for shard in shards.values() for name in map(_tensor_name, shard.tensors))
    shard_of: dict[str, str] = {}
    for name, shard in reversed(shards.items()):
        shard_of.update(zip(map(_tensor_name, shard.tensors), repeat(name)))
    for name, shard in shards.items():
        shard_of.update((tensor.name, name) for tensor in shard.tensors if claimed.get(tensor.name) == name)
        shard_of.update((tied, name) for tied in shard.tied if tied not in shard_of)
    return shard_of, [name for name, count in counts.items() if count > 1]


def _misplaced(claimed: Mapping[str, str], shard_of: Mapping[str, str], unread: frozenset[str]) -> Iterator[Finding]:
    """The tensors that are not in the shard their index claims, one finding per shard."""
    if shard_of is claimed:
        return
    absent: dict[str, list[str]] = {}
    for tensor, shard in claimed.items():
        if shard_of.get(tensor) != shard and shard not in unread:
            absent.setdefault(shard, []).append(tensor)
    for shard, tensors in absent.items():
        message = f"{pluralize(len(tensors), 'tensor')} listed in it, but not there: {_some(tensors)}"
        yield Finding("QL202", message, shard)


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(map(shown, names[:_LISTED])) + more
