"""Which files of a folder stand for the checkpoint, and why none does."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from quantlevels.checkpoint.catalogue import (
    CONFIG_SUFFIX,
    MODULES,
    ONNX,
    PIPELINE,
    foreign_named,
    is_weights,
    plugin_containers,
    weights_in,
)
from quantlevels.checkpoint.jsonfile import read_object
from quantlevels.checkpoint.names import (
    INDEX_SUFFIX,
    PROJECTOR,
    STANDARD_NAMES,
    ShardName,
    numbered,
    rank_of,
    suffix_of,
)
from quantlevels.checkpoint.source import shown
from quantlevels.container import config_files
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from quantlevels.checkpoint.shards import Files
    from quantlevels.container import Folder

#: how many names a message lists
_LISTED: Final = 5
#: the folder of a repository in the cache of Hugging Face, and where it keeps the commit of a branch
_HUB_REPOSITORY: Final = "models--"
_REPOSITORY_NAME: Final = r"(?a:[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)"
_SNAPSHOTS: Final = "snapshots"
_MAIN_BRANCH: Final = "refs/main"
#: bytes read of the file that names a commit; a hash takes 40, and the file may be anything
_LONGEST_COMMIT: Final = 256
_CONFIG: Final = "config.json"
#: suffixes of files that accompany weights in most repositories: for these alone no plugin is imported
_NEVER_OF_PLUGINS: Final = ("", ".json", ".txt", ".md", ".py")
#: a download that has not ended: Hugging Face, browsers, wget, curl, llama.cpp, LM Studio
_UNFINISHED: Final = (
    *(".incomplete", ".crdownload", ".part", ".partial"),
    *(".download", ".downloadinprogress", ".tmp", ".aria2"),
)


class Located(NamedTuple):
    """What a folder holds."""

    #: the files of the checkpoint: one file, an index, the first numbered part, or all ranks; empty if nothing is read
    files: tuple[str, ...] = ()
    #: why nothing can be read
    reason: str = ""
    #: other models beside it
    others: tuple[str, ...] = ()


def resolved(folder: Folder) -> Folder:
    """The snapshot that a repository folder in the cache of Hugging Face stands for; any other folder itself.

    Raises:
        CheckpointError: if the repository has several snapshots and none is that of its main branch.
    """
    if not folder.name.startswith(_HUB_REPOSITORY) or _SNAPSHOTS not in folder.folders():
        return folder
    snapshots = folder.subfolder(_SNAPSHOTS)
    commits = snapshots.folders()
    if folder.size(_MAIN_BRANCH) is not None:
        with folder.open(_MAIN_BRANCH) as source:
            commit = source.read(0, min(source.size, _LONGEST_COMMIT)).decode(errors="replace").strip()
        if commit in commits:
            return snapshots.subfolder(commit)
    if len(commits) == 1:
        return snapshots.subfolder(commits[0])
    listed = _listed([f"{_SNAPSHOTS}/{commit}" for commit in commits])
    raise CheckpointError(folder.path, f"holds {len(commits)} snapshots, name one of them: {listed or 'none is there'}")


def is_repository_name(path: str) -> bool:
    """Whether a relative path looks like ``org/name`` of a model on the Hub."""
    path = path.replace(os.sep, "/")
    name = path.rpartition("/")[2]
    is_file = is_weights(name) or suffix_of(name) == CONFIG_SUFFIX
    return not is_file and re.fullmatch(_REPOSITORY_NAME, path) is not None


def in_cache(path: str) -> str:
    """The folder of ``org/name`` in this machine's cache of Hugging Face, if nothing is at that path; else the path."""
    if os.path.lexists(path) or not is_repository_name(path):  # of a Path, this raises if a folder is unreadable
        return path
    # as huggingface_hub looks for its cache; it is an optional dependency, so its rule is repeated here
    variables = os.environ
    home = variables.get("HF_HOME") or f"{variables.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    cache = variables.get("HF_HUB_CACHE") or variables.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    cached = os.path.join(os.path.expanduser(cache), f"models--{path.replace(os.sep, '/').replace('/', '--')}")  # noqa: PTH111, PTH118
    return cached if os.path.isdir(cached) else path  # noqa: PTH112  # as above


def component_folders(files: Files, names: Sequence[str]) -> tuple[str, ...]:
    """The folders of the models that belong together in this folder, "" for itself; empty if it holds one model.

    Raises:
        CheckpointError: if the file that lists them is not valid JSON.
    """
    if PIPELINE in names:
        listed: Iterable[str] = files.read_json(PIPELINE)
    elif MODULES in names:
        listed = _module_paths(files)
    else:
        return ()
    # only names of real subfolders are followed, so that a listed path cannot lead out of the folder
    below = set(files.folder.folders())
    found = [name for name in listed if name in below and _holds_model(files.folder.subfolder(name))]
    if found and "" in listed and any(map(is_weights, names)):
        found.insert(0, "")
    return tuple(found)


def _module_paths(files: Files) -> list[str]:
    """The folders that ``modules.json`` of sentence-transformers lists."""
    with files.folder.open(MODULES) as source:
        modules = read_object(source, list)
    paths = (module.get("path") for module in modules if isinstance(module, dict))
    return [path for path in paths if isinstance(path, str)]


def _holds_model(folder: Folder) -> bool:
    """Whether a folder holds weights, or the config of a model whose weights are missing."""
    names = folder.names()
    return any(map(is_weights, names)) or (_CONFIG in names and bool(folder.dangling()))


def locate(files: Files, names: Sequence[str]) -> Located:
    """The files that stand for the checkpoint in a folder.

    An index comes first, then the names that loaders look for, then the only model there is.

    Args:
        files: reads them.
        names: all files of the folder.

    Raises:
        CheckpointError: if it holds several models of which none has such a name.
    """
    models = _models(names) or _models_of_plugins(files, names)
    standard = [name for name in STANDARD_NAMES if name in names]
    indexes = [name for name in names if name.endswith(INDEX_SUFFIX)]
    chosen = standard[:1] or indexes or models
    if len(chosen) > 1:
        ranks = [(rank, name) for name in chosen if (rank := rank_of(name))]
        if len(ranks) == len(chosen):
            return Located(tuple(name for _, name in sorted(ranks)))
        chosen = _main_models(files, chosen)
    if not chosen:
        return Located(reason=_reason(files.folder, names))
    if len(chosen) > 1:
        raise CheckpointError(
            files.folder.path, f"holds {len(chosen)} models, name one of them: {', '.join(map(repr, chosen))}"
        )
    projectors = tuple(name for name in models if PROJECTOR in name.lower() and name not in chosen)
    return Located((chosen[0],), others=(*projectors, *_folders_with_weights(files.folder)))


def _main_models(files: Files, names: list[str]) -> list[str]:
    """Of several models those that are neither the projector nor the external data of another one."""
    # if all are projectors, the folder is one of projectors, and each of them is a model
    main = [name for name in names if PROJECTOR not in name.lower()] or names
    if len(main) > 1:
        external = set(_external_data(files, main))
        main = [name for name in main if name not in external]
    return main


def _models(names: Sequence[str]) -> list[str]:
    """The files with weights; of the numbered parts of one model only the first that is there."""
    return _first_parts(weights_in(names))


def _models_of_plugins(files: Files, names: Sequence[str]) -> list[str]:
    """As `_models`, for the containers of plugins; these are imported, as nothing else was found."""
    if all(suffix_of(name) in _NEVER_OF_PLUGINS for name in names):
        return []
    plugins = plugin_containers(files.registry)
    return _first_parts(name for name in names if is_weights(name, plugins))


def _first_parts(names: Iterable[str]) -> list[str]:
    first: dict[str | ShardName, str] = {}
    for name in names:
        # all parts of one model are equal but for the number, so they share a key
        part = numbered(name)
        model = part._replace(number=1) if part else name
        first.setdefault(model, name)
    return list(first.values())


def _external_data(files: Files, names: Sequence[str]) -> Iterator[str]:
    """The files that ONNX models among these name as theirs."""
    for name in names:
        if suffix_of(name) in ONNX.suffixes:
            _, *external = files.read(name).contents.files  # the first is the model itself
            yield from (file.path for file in external)


def _folders_with_weights(folder: Folder) -> Iterator[str]:
    for name in folder.folders():
        try:
            names = folder.subfolder(name).names()
        except CheckpointError:  # unreadable, so nothing is known of it
            continue
        if weights_in(names):
            yield name


def _reason(folder: Folder, names: Sequence[str]) -> str:
    """Why no weights can be read in a folder, and what to do."""
    dangling = [name for name in folder.dangling() if is_weights(name)]
    others = [name for name in folder.others() if is_weights(name)]
    unfinished = [name for name in names if name.lower().endswith(_UNFINISHED)]
    below = list(_folders_with_weights(folder))
    # the most certain reason first: a folder may also hold other things that would explain it
    if dangling:
        return f"{_listed(dangling)}: a link to a missing file; download it again"
    if others:
        return f"{_listed(others)}: a folder, pipe or device, not a file"
    if unfinished:
        return f"{_listed(unfinished)}: a download that has not finished"
    if foreign := next(filter(None, map(foreign_named, (folder.name, *names))), None):
        return f"this folder holds {foreign.format}, a format that quantlevels does not read; {foreign.advice}"
    if below:
        return f"no weights here; name one of the folders in it that hold weights: {_listed(below)}"
    if config_files(names):
        return "no weights here, only config files"
    return "no weights or quantization config here"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(map(shown, names[:_LISTED])) + more
