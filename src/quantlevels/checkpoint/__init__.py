"""What a checkpoint holds: containers read by their headers into one record of tensors. No quantizer is known here."""

from __future__ import annotations

import gc
import os
import re
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from attrs import evolve

from quantlevels.checkpoint.catalogue import container_of, is_weights, weights_in
from quantlevels.checkpoint.jsonfile import read_object
from quantlevels.checkpoint.locate import component_folders, in_cache, is_repository_name, locate, resolved
from quantlevels.checkpoint.names import INDEX_SUFFIX, PROJECTOR, is_standard, numbered, suffix_of
from quantlevels.checkpoint.shards import Files, Joined, read_index, read_parts, read_ranks
from quantlevels.checkpoint.source import LocalFolder, shown
from quantlevels.container import Checkpoint, config_files
from quantlevels.errors import CheckpointError
from quantlevels.findings import Finding
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from quantlevels.checkpoint.shards import Progress
    from quantlevels.container import JSON, RemoteLimits
    from quantlevels.vocabulary.registry import Registry

#: findings of a checkpoint that lacks a part: a file that is missing, or cut
_LACKING: Final = frozenset({"QL201", "QL206"})
#: a file without tensors is not larger: a header with metadata. A larger one is not opened just to learn this.
_LARGEST_EMPTY: Final = 1 << 12
#: what `pathlib` leaves out of a path, or writes in another way
_IRREGULAR: Final = r"^$|//|(^|/)\./|/\.?$|\\"
#: how many names a finding lists
_LISTED: Final = 5


def read_checkpoint(
    path: str | os.PathLike[str],
    *,
    registry: Registry = levels,
    progress: Progress | None = None,
    limits: RemoteLimits | None = None,
) -> Checkpoint:
    """What the headers of a checkpoint say, and the config files beside it.

    Args:
        path: a folder, one file with weights, an index, any part of a split GGUF, or a config file alone. One shard of
            several, given by name, means that shard, with the config files beside it; GGUF has none.
        registry: knows the levels of storage types.
        progress: gets the names of the files of one checkpoint and yields them one by one while they are read.
        limits: of what is fetched of each remote file.

    Raises:
        CheckpointError: if nothing that can be read is there, or it is malformed; what is merely missing from a
            checkpoint in several files is a finding.
    """
    with gc_paused():
        path = _as_text(path)
        if "://" in path:
            return _read_url(path, registry, progress or iter, limits)
        path = in_cache(path)
        if not _is_folder(path):
            above, name = os.path.split(path)
            files = Files(folder=LocalFolder(above or os.curdir), registry=registry, progress=progress or iter)
            return _read_named(files, path, name)
        folder = resolved(LocalFolder(path))
        return _read_folder(Files(folder=folder, registry=registry, progress=progress or iter), path)


def _read_url(url: str, registry: Registry, progress: Progress, limits: RemoteLimits | None) -> Checkpoint:
    """The checkpoint behind a URL."""
    from quantlevels.checkpoint.remote import open_url  # here: a local path needs no network

    folder, name = open_url(url, limits)
    files = Files(folder=folder, registry=registry, progress=progress)
    if name:
        return _read_named(files, f"{folder.path}/{name}", name)
    return _read_folder(files, str(folder.path))


def _as_text(path: str | os.PathLike[str]) -> str:
    """A URL as it is, and a path as `pathlib` writes it: without ``./``, slashes in a row or at the end."""
    text = os.fspath(path)
    if "://" in text or not re.search(_IRREGULAR, text):
        return text
    from pathlib import Path  # here: it takes a while to import, and most paths are regular

    return str(Path(text))


def _is_folder(path: str) -> bool:
    """Whether a path is a folder, not a file.

    Raises:
        CheckpointError: if it is neither.
    """
    try:
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            mode = 0
        if stat.S_ISDIR(mode):
            return True
        if stat.S_ISREG(mode):
            return False
        exists = bool(mode)
        reason = "is not a file or folder" if exists else "does not exist"
        # the more specific reason wins: `org/name` is both missing and the name of a repository
        if is_repository_name(path) and not exists:
            reason = f"does not exist, nor in the cache of Hugging Face; to read it remotely, name hf://{path}"
        if os.path.islink(path) and not exists:  # noqa: PTH114
            reason = "is a link to a missing file; download it again"
    except (OSError, ValueError) as error:  # a ValueError if no file can have such a name
        raise CheckpointError(path, f"cannot be read: {getattr(error, 'strerror', error)}") from error
    raise CheckpointError(path, reason)


def _read_folder(files: Files, path: str) -> Checkpoint:
    """What a folder holds: one model, or several that belong together.

    Args:
        files: reads those of the folder.
        path: what the user named.
    """
    names = files.folder.names()
    below = component_folders(files, names)
    if not below:
        return _read_model(files, path, names)
    components: list[Checkpoint] = []
    for name in below:
        folder = files.folder.subfolder(name) if name else files.folder
        place = path if name == "" else f"{path}/{name}"
        components.append(_read_model(evolve(files, folder=folder), place, folder.names()))
    # weights beside the file that lists the components belong to none of them
    root = () if "" in below else tuple(filter(is_weights, names))
    return Checkpoint(
        path=path,
        container=next((component.container for component in components if component.container), None),
        folder=files.folder,
        findings=tuple(_other_models(root)),
        partial=any(component.partial for component in components),
        components=tuple(components),
    )


def _read_model(files: Files, path: str, names: Sequence[str]) -> Checkpoint:
    """The only model in a folder; a finding if nothing there is a model."""
    located = locate(files, names)
    if not located.files:
        configs, findings = _configs(files, names)
        findings.append(Finding("QL207", located.reason))
        return Checkpoint(path=path, container=None, folder=files.folder, configs=configs, findings=tuple(findings))
    main = located.files[0]
    # several files without an index are the ranks of one model: `locate` refuses any other choice of several
    if len(located.files) > 1:
        joined = read_ranks(files, located.files)
    elif main.endswith(INDEX_SUFFIX):
        joined = read_index(files, main)
    elif numbered(main):
        joined = read_parts(files, main)
    else:
        joined = files.read(main)
    findings = [*_stray(files, names, joined), *_other_models(located.others)]
    return _checkpoint(files, path, joined, names, findings)


def _read_named(files: Files, path: str, name: str) -> Checkpoint:
    """The checkpoint that a file stands for."""
    if name.endswith(INDEX_SUFFIX):
        joined = read_index(files, name)
        names = files.folder.names()
        return _checkpoint(files, path, joined, names, _stray(files, names, joined))
    with files.folder.open(name) as source:
        container = container_of(source, files.registry)
        if container is None:  # a JSON file that is not an index is taken for a config
            config = read_object(source)
            return Checkpoint(path=path, container=None, folder=files.folder, configs={name: config})
        part = numbered(name) is not None
        joined = read_parts(files, name) if part and container.part_is_whole else files.read_as(container, source)
    # on a web server each name that is looked for takes a request
    names = files.folder.names() if container.configs_beside else ()
    checkpoint = _checkpoint(files, path, joined, names)
    return evolve(checkpoint, partial=True) if part and not container.part_is_whole else checkpoint


def _checkpoint(
    files: Files, path: str, joined: Joined, names: Sequence[str], findings: Iterable[Finding] = ()
) -> Checkpoint:
    """The checkpoint of which the files have been read, with the configs beside them."""
    contents = joined.contents
    found = [*contents.findings, *findings]
    configs: Mapping[str, Mapping[str, JSON]] = {}
    if joined.container is None or joined.container.configs_beside:
        configs, unusable = _configs(files, names)
        found += unusable
    return Checkpoint(
        tensors=contents.tensors,
        places=contents.places,
        metadata=contents.metadata,
        byte_order=contents.byte_order,
        files=contents.files,
        findings=tuple(found),
        nodes=contents.nodes,
        markers=contents.markers,
        tied=contents.tied,
        path=path,
        container=joined.container,
        folder=files.folder,
        configs=configs,
        partial=joined.is_part or any(finding.code in _LACKING for finding in found),
    )


def _configs(files: Files, names: Sequence[str]) -> tuple[dict[str, Mapping[str, JSON]], list[Finding]]:
    """The config files of a folder, and a finding for each that cannot be used: it never hides the weights."""
    configs: dict[str, Mapping[str, JSON]] = {}
    findings: list[Finding] = []
    for name in config_files(names):
        try:
            configs[name] = files.read_json(name)
        except CheckpointError as error:
            findings.append(Finding("QL305", error.reason, name))
    return configs, findings


def _stray(files: Files, names: Sequence[str], joined: Joined) -> Iterator[Finding]:
    """Weights in a folder that were not read, of the same format or of a name that loaders look for."""
    read = {file.path for file in joined.contents.files}
    suffixes = set(map(suffix_of, read))
    for name in weights_in(names):
        # a projector (mmproj) is a model of its own: it is reported as QL402, not as a stray shard
        if name in read or name in joined.unread or PROJECTOR in name.lower():
            continue
        if (suffix_of(name) in suffixes or is_standard(name)) and not _is_empty(files, name):
            yield Finding("QL205", "holds weights that do not belong to the checkpoint", name)
    for name in files.folder.dangling():
        if is_standard(name) and name not in joined.unread:
            yield Finding("QL201", "is a link to a missing file; download it again", name)


def _is_empty(files: Files, name: str) -> bool:
    """Whether a file is named like weights and holds no tensors, as the last shard that some writers leave."""
    if (files.folder.size(name) or 0) > _LARGEST_EMPTY:
        return False
    try:
        return not files.read(name).contents.tensors
    except CheckpointError:
        return False


def _other_models(names: Sequence[str]) -> Iterator[Finding]:
    if names:
        listed = ", ".join(map(shown, names[:_LISTED]))
        more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
        yield Finding("QL402", f"other models beside this one, not counted here: {listed}{more}", names[0])


@contextmanager
def gc_paused() -> Generator[None, None, None]:
    """Pause the garbage collector: headers make no reference cycles, and looking for some takes a third of the time."""
    if not gc.isenabled():
        yield
        return
    # the switch is global: a thread that allocates cycles meanwhile collects them when reading has ended
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
