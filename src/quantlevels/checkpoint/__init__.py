"""What a checkpoint holds: containers read by their headers into one record of tensors. No quantizer is known here."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve

from quantlevels.checkpoint.catalogue import container_of, is_weights
from quantlevels.checkpoint.jsonfile import read_object
from quantlevels.checkpoint.locate import main_file, plugin_file
from quantlevels.checkpoint.names import INDEX_SUFFIX, PROJECTOR, is_standard, numbered, suffix_of
from quantlevels.checkpoint.shards import Files, Joined, read_index, read_parts
from quantlevels.checkpoint.source import LocalFolder
from quantlevels.container import CONFIG_FILES, Checkpoint
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from quantlevels.checkpoint.shards import Progress
    from quantlevels.container import JSON
    from quantlevels.vocabulary.registry import Registry

#: findings of a checkpoint that lacks a part: a file that is missing, or cut
_LACKING: Final = frozenset({"QL201", "QL206"})


def read_checkpoint(
    path: str | os.PathLike[str], *, registry: Registry = levels, progress: Progress | None = None
) -> Checkpoint:
    """What the headers of a checkpoint say, and the config files beside it.

    Args:
        path: a folder, one file with weights, an index, any part of a split GGUF, or a config file alone. One shard of
            several, given by name, means that shard, with the config files beside it; GGUF has none.
        registry: knows the levels of storage types.
        progress: gets the names of the files of one checkpoint and yields them one by one while they are read.

    Raises:
        CheckpointError: if nothing that can be read is there, or it is malformed; what is merely missing from a
            checkpoint in several files is a finding.
    """
    path = Path(path)
    with gc_paused():
        try:
            is_folder = path.is_dir()
            if not is_folder and not path.is_file():
                raise CheckpointError(path, "is not a file or folder" if path.exists() else "does not exist")
        except OSError as error:
            raise CheckpointError(path, f"cannot be read: {error.strerror}") from error
        folder = LocalFolder(path if is_folder else path.parent)
        files = Files(folder=folder, registry=registry, progress=progress or iter)
        read = _read_folder if is_folder else _read_named
        return read(files, path)


def _read_folder(files: Files, path: Path) -> Checkpoint:
    """The checkpoint in a folder."""
    names = files.folder.names()
    main = main_file(LocalFolder(path), names) or plugin_file(LocalFolder(path), names, files.registry)
    if main is None:
        return Checkpoint(path=path, container=None, folder=files.folder, configs=_configs(files, names))
    if main.endswith(INDEX_SUFFIX):
        joined = read_index(files, main)
    elif numbered(main):
        joined = read_parts(files, main)
    else:
        joined = files.read(main)
    return _checkpoint(files, path, joined, names, findings=_stray(names, joined))


def _read_named(files: Files, path: Path) -> Checkpoint:
    """The checkpoint that a file stands for."""
    name = path.name
    names = files.folder.names()
    if name.endswith(INDEX_SUFFIX):
        joined = read_index(files, name)
        return _checkpoint(files, path, joined, names, findings=_stray(names, joined))
    with files.folder.open(name) as source:
        container = container_of(source, files.registry)
        if container is None:
            config = read_object(source)
            return Checkpoint(path=path, container=None, folder=files.folder, configs={name: config})
        if not numbered(name):
            return _checkpoint(files, path, files.read_as(container, source), names)
        if not container.part_is_whole:
            return evolve(_checkpoint(files, path, files.read_as(container, source), names), partial=True)
    return _checkpoint(files, path, read_parts(files, name), names)


def _checkpoint(
    files: Files, path: Path, joined: Joined, names: Sequence[str], findings: Iterable[Finding] = ()
) -> Checkpoint:
    """The checkpoint of which the files have been read, with the configs beside them."""
    configs_apply = joined.container is None or joined.container.configs_beside
    contents = joined.contents
    all_findings = (*contents.findings, *findings)
    return Checkpoint(
        tensors=contents.tensors,
        places=contents.places,
        metadata=contents.metadata,
        byte_order=contents.byte_order,
        files=contents.files,
        findings=all_findings,
        nodes=contents.nodes,
        tied=contents.tied,
        path=path,
        container=joined.container,
        folder=files.folder,
        configs=_configs(files, names) if configs_apply else {},
        partial=any(finding.code in _LACKING for finding in all_findings),
    )


def _configs(files: Files, names: Sequence[str]) -> Mapping[str, Mapping[str, JSON]]:
    return {name: files.read_json(name) for name in CONFIG_FILES if name in names}


def _stray(names: Sequence[str], joined: Joined) -> Iterator[Finding]:
    """Weights in a folder that were not read, of the same format or of a name that loaders look for."""
    own = {file.path for file in joined.contents.files}
    suffixes = set(map(suffix_of, own))
    for name in names:
        if name in own or PROJECTOR in name.lower() or not is_weights(name):
            continue
        if suffix_of(name) in suffixes or is_standard(name):
            yield Finding("QL205", "holds weights that do not belong to the checkpoint", name)


@contextmanager
def gc_paused() -> Generator[None, None, None]:
    """Headers make no reference cycles; looking for some in so many small records takes a third of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
