"""One checkpoint in several files: named by an index, or numbered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, final

from attrs import Factory, define, evolve, field, frozen

from quantlevels.checkpoint.catalogue import CONTAINERS, beginning_of_text, container_named, container_of
from quantlevels.checkpoint.defects import missing_files, some
from quantlevels.checkpoint.jsonfile import read_object
from quantlevels.checkpoint.names import numbered, rank_of
from quantlevels.checkpoint.source import shown
from quantlevels.checkpoint.storage_types import type_lookup
from quantlevels.container import Contents, File, Places, Tensors, TruncatedError
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding, pluralize

if TYPE_CHECKING:
    from quantlevels.checkpoint.weight_map import Placement
    from quantlevels.container import JSON, Container, Folder, Source, Tensor, TypeLookup
    from quantlevels.vocabulary.registry import Registry

#: Gets the names of files and yields them one by one as they are read: a place for a progress bar.
Progress: TypeAlias = Callable[[Sequence[str]], Iterable[str]]

_V = TypeVar("_V")

#: remote files that are read at a time: 60 shards at 50 ms a request take 0.44 s with 8, and 0.25 s with 16; servers
#: limit requests, so the smaller number
_PARALLEL: Final = 8
#: how many names a finding lists
_LISTED: Final = 3
#: how many tensors a split GGUF says it has, and which part of how many a file of it says it is, from 0
_TENSOR_COUNT: Final = "split.tensors.count"
_NUMBER: Final = "split.no"
_COUNT: Final = "split.count"
_ARCHITECTURE: Final = "general.architecture"


@final
@frozen(kw_only=True, eq=False, repr=False)
class Joined:
    """What the files of a checkpoint hold together.

    Args:
        container: of the first file; None if none could be read and no name tells.
        contents: their contents, each tensor once.
        shard_of: name of a tensor → the file that holds it; None for a single file, and if all are where an index
            places them.
        unread: the files that are missing or cut.
        is_part: whether tensors are shares of larger ones, whose shapes the files do not tell.
    """

    container: Container | None
    contents: Contents
    shard_of: Mapping[str, str] | None = None
    unread: frozenset[str] = frozenset()
    is_part: bool = False


@final
@frozen(kw_only=True, eq=False, repr=False)
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
    level_of: TypeLookup = field(init=False, default=Factory(lambda self: type_lookup(self.registry), takes_self=True))

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
        try:
            contents = self._contents(container, source)
        except CheckpointError as error:
            text = "" if container.is_text else beginning_of_text(source)
            if not text:
                raise
            reason = f"is text, not weights, and begins with {shown(text)}; download the file again"
            raise CheckpointError(source.path, reason) from error
        files = (File(source.name, source.size), *contents.files)
        places = contents.places or Places.nowhere(len(contents.tensors))
        return Joined(container=container, contents=evolve(contents, files=files, places=places))

    def _contents(self, container: Container, source: Source) -> Contents:
        if container in CONTAINERS:
            return container.reader(source, self.level_of)
        from quantlevels.checkpoint.plugins import read_by_plugin  # here: most files need no plugin

        return read_by_plugin(container, source, self.level_of)

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
    from quantlevels.checkpoint.weight_map import read_weight_map  # here: most checkpoints have no index

    with files.folder.open(name) as source:
        index, placed = read_weight_map(source)
    joined = _read_all(files, sorted(placed)).merged(placed)
    findings = [*joined.contents.findings, *_misplaced(placed, joined)]
    metadata = index.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    claim = metadata.get("total_size")
    total = joined.contents.tensors.nbytes
    # a shard that could not be read explains any difference, and has a finding of its own
    if claim not in (None, total) and not joined.unread:
        findings.append(Finding("QL204", f"total_size is {shown(claim)}, but the tensors take {total:,} bytes", name))
    scalars = {key: value for key, value in metadata.items() if isinstance(value, str | int | float)}
    contents = evolve(joined.contents, metadata={**joined.contents.metadata, **scalars}, findings=tuple(findings))
    return evolve(joined, contents=contents, container=joined.container or container_named(name))


def read_parts(files: Files, name: str) -> Joined:
    """The checkpoint of which a file is one numbered part (``model-00001-of-00003.gguf``).

    Raises:
        CheckpointError: if a part is malformed, or belongs to another model.
    """
    part = numbered(name)
    shards = _read_all(files, part.all_names if part else [name])
    _check_same_model(files, shards)
    for shard, contents in shards.contents.items():
        shards.findings += _number_finding(shard, contents)
    joined = shards.merged({})
    claim, total = joined.contents.metadata.get(_TENSOR_COUNT), len(joined.contents.tensors)
    if claim in (None, total) or joined.unread:
        return joined
    miscounted = Finding("QL202", f"{_TENSOR_COUNT} is {claim}, the parts hold {total:,} tensors")
    return evolve(joined, contents=evolve(joined.contents, findings=(*joined.contents.findings, miscounted)))


def read_ranks(files: Files, names: Sequence[str]) -> Joined:
    """One model that several processes saved, each its share: ``rank0.safetensors``, ``consolidated.00.pth`` ...

    Tensors of the same name in several files are shares of one tensor, and are kept apart as ``rank0.NAME``: the files
    do not tell whether a share is a slice or a copy. QL201 if the numbers of the ranks have a gap.

    Raises:
        CheckpointError: if a file is malformed.
    """
    shards = _read_all(files, names)
    ranks = {name: rank[0] for name in names if (rank := rank_of(name))}
    gaps = sorted(set(range(max(ranks.values()))) - set(ranks.values()))
    if gaps:
        listed = ", ".join(map(str, gaps[:_LISTED]))
        shards.findings.append(
            Finding("QL201", f"the files of {pluralize(len(gaps), 'rank')} are missing: {listed}", names[0])
        )
    counts = shards.tensor_counts()
    for name, contents in shards.contents.items():
        renamed: list[Tensor] = []
        for tensor in contents.tensors:
            if counts[tensor.name] > 1:
                tensor = tensor._replace(name=f"rank{ranks[name]}.{tensor.name}")
            renamed.append(tensor)
        shards.contents[name] = evolve(contents, tensors=renamed)
    return evolve(shards.merged({}), is_part=max(counts.values(), default=0) > 1)


def _check_same_model(files: Files, shards: _Shards) -> None:
    """Raise CheckpointError if a part has another byte order or architecture than the first one."""
    first = next(iter(shards.contents.values()), Contents())
    expected = first.metadata.get(_ARCHITECTURE)
    for name, contents in shards.contents.items():
        # gguf-split writes the metadata into the first part only
        architecture = contents.metadata.get(_ARCHITECTURE, expected)
        problem = ""
        if contents.byte_order != first.byte_order:
            problem = f"its numbers are {contents.byte_order}-endian, but the first part is {first.byte_order}-endian"
        elif architecture != expected:
            problem = f"its {_ARCHITECTURE} is {shown(architecture)}, but that of the first part is {shown(expected)}"
        if problem:
            raise CheckpointError(f"{files.folder.path}/{name}", f"does not belong to this model: {problem}")


def _number_finding(name: str, part: Contents) -> Iterator[Finding]:
    """A finding if a numbered part says itself that it is another one; loaders go by what it says."""
    named = numbered(name)
    number, count = part.metadata.get(_NUMBER), part.metadata.get(_COUNT)
    if named and (number not in (None, named.number - 1) or count not in (None, named.total)):
        yield Finding("QL201", f"its header has {_NUMBER} {number} and {_COUNT} {count}, which is another part", name)


def _read_all(files: Files, names: Sequence[str]) -> _Shards:
    """What can be read of several files of one checkpoint; QL201 and QL206 for those that are missing or cut.

    Raises:
        CheckpointError: if a file is malformed.
    """
    shards = _Shards(names)
    missing: list[str] = []
    for name, shard in zip(files.progress(names), _each(files, names), strict=True):
        if shard is None:
            missing.append(name)
            continue
        # a cut file is what an interrupted download leaves, so a finding; one that is malformed ends the reading
        if isinstance(shard, TruncatedError):
            shards.findings.append(Finding("QL206", f"{shard.reason}; the tensors of this file are not counted", name))
            shards.files.append(File(name, files.folder.size(name) or 0))
            continue
        shards.container = shards.container or shard.container
        shards.contents[name] = shard.contents
        shards.files += shard.contents.files
    shards.findings += missing_files(missing, len(names))
    return shards


def _each(files: Files, names: Sequence[str]) -> Iterator[Joined | TruncatedError | None]:
    """What each file holds, in their order; several at a time if each takes a round trip over a network."""
    read = partial(_read_one, files)
    if files.folder.is_local:
        yield from map(read, names)
        return
    from concurrent.futures import ThreadPoolExecutor  # here: it takes time to import
    from contextvars import copy_context

    # a context each: one cannot be entered twice at a time
    contexts = [copy_context() for _ in names]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        yield from pool.map(lambda context, name: context.run(read, name), contexts, names)


def _read_one(files: Files, name: str) -> Joined | TruncatedError | None:
    """What one file holds; an error if it is cut, None if it is missing."""
    if files.folder.size(name) is None:
        return None
    try:
        return files.read(name)
    except TruncatedError as error:
        return error


@define(eq=False, repr=False)
class _Shards:
    """Several files of one checkpoint, each read by itself."""

    names: Sequence[str]
    container: Container | None = None
    #: name of each file that could be read → its contents
    contents: dict[str, Contents] = field(factory=dict[str, Contents])
    files: list[File] = field(factory=list[File])
    findings: list[Finding] = field(factory=list[Finding])

    def tensor_counts(self) -> Counter[str]:
        """In how many files each tensor is."""
        return Counter(chain.from_iterable(shard.tensors.names for shard in self.contents.values()))

    def merged(self, placed: Placement) -> Joined:
        """What the files hold together, each tensor once.

        Args:
            placed: the tensors that an index places in each file; empty without an index.
        """
        shards = self.contents
        tensors = Tensors.joined([shard.tensors for shard in shards.values()])
        places = Places.joined(shard.places for shard in shards.values())
        shard_of: dict[str, str] | None = None
        findings = [*self.findings, *chain.from_iterable(shard.findings for shard in shards.values())]
        if not _agrees(placed, shards):  # the usual case needs no dict of all tensors
            shard_of, repeated = _found(placed, shards, self.tensor_counts())
            if repeated:
                several = f"{pluralize(len(repeated), 'tensor')} in more than one file: {some(repeated)}"
                findings.append(Finding("QL203", several, repeated[0]))
                kept = self.indices(shard_of)
                tensors, places = tensors.chosen(kept), places.chosen(kept) if places else places
        contents = evolve(
            next(iter(shards.values()), Contents()),
            tensors=tensors,
            places=places,
            metadata=_first_of(shard.metadata for shard in shards.values()),
            markers=_first_of(shard.markers for shard in shards.values()),
            files=tuple(self.files),
            findings=tuple(findings),
            # what refers to tensors by place within the first file says nothing of the whole
            nodes=(),
            tied=(),
        )
        return Joined(
            container=self.container,
            contents=contents,
            shard_of=shard_of,
            unread=frozenset(set(self.names) - shards.keys()),
        )

    def indices(self, shard_of: Mapping[str, str]) -> list[int]:
        """The indices of those tensors that are in the file given for them, among all tensors of all files."""
        holders = chain.from_iterable(repeat(name, len(shard.tensors)) for name, shard in self.contents.items())
        tensors = chain.from_iterable(shard.tensors.names for shard in self.contents.values())
        pairs = enumerate(zip(tensors, holders, strict=True))
        return [index for index, (tensor, name) in pairs if shard_of[tensor] == name]


def _first_of(mappings: Iterable[Mapping[str, _V]]) -> dict[str, _V]:
    """All keys of several mappings, with the value of the first that has it."""
    merged: dict[str, _V] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            merged.setdefault(key, value)
    return merged


def _agrees(placed: Placement, shards: Mapping[str, Contents]) -> bool:
    """Whether each file holds exactly the tensors that the index places in it."""
    return placed.keys() == shards.keys() and all(
        _are_same(tensors, shards[name].tensors.names) for name, tensors in placed.items()
    )


def _are_same(placed: list[str], held: Sequence[str]) -> bool:
    # a list in the same order is compared without hashing; an index has each tensor once
    return placed == held or (len(placed) == len(held) and set(placed) == set(held))


def _found(
    placed: Placement, shards: Mapping[str, Contents], counts: Mapping[str, int]
) -> tuple[dict[str, str], list[str]]:
    """The shard that holds each tensor, and the tensors that several hold: then the claimed one, else the first."""
    shard_of: dict[str, str] = {}
    # in reverse, so that the first shard overwrites the later ones
    for name, shard in reversed(list(shards.items())):
        shard_of.update(zip(shard.tensors.names, repeat(name)))
    for name, shard in shards.items():
        claimed = set(placed.get(name, ()))
        shard_of.update((tensor, name) for tensor in shard.tensors.names if tensor in claimed)
        shard_of.update((tied, name) for tied in shard.tied if tied not in shard_of)
    return shard_of, [name for name, count in counts.items() if count > 1]


def _misplaced(placed: Placement, joined: Joined) -> Iterator[Finding]:
    """The tensors that are not in the shard their index places them in, one finding per shard."""
    if joined.shard_of is None:
        return
    for shard, tensors in placed.items():
        absent = [tensor for tensor in tensors if joined.shard_of.get(tensor) != shard]
        if absent and shard not in joined.unread:
            several = pluralize(len(absent), "tensor")
            message = f"the index lists {several} that this file does not hold: {some(absent)}"
            yield Finding("QL202", message, shard)
