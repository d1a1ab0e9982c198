"""How programs keep models on disk: each store is known by its marks, and gives the places of its checkpoints.

Source: huggingface_hub 2.4.0 ``file_download.py``; Ollama ``manifest/paths.go``, ``types/model/name.go``; LM Studio's
documentation of its models folder; llama.cpp ``common/download.cpp``; Docker Model Runner ``pkg/distribution``.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from attrs import evolve

from quantlevels.checkpoint.catalogue import PIPELINE, is_weights
from quantlevels.survey.grouping import groups_of, named
from quantlevels.survey.places import CheckpointPlace, Listing, Store, stamp

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_HUB_PREFIX: Final = "models--"
_OLLAMA_MODEL: Final = "application/vnd.ollama.image.model"
_OLLAMA_TENSOR: Final = "application/vnd.ollama.image.tensor"
#: parts of a name that Ollama leaves out
_OLLAMA_HOST, _OLLAMA_LIBRARY = "registry.ollama.ai", "library"
_DOCKER_HOST: Final = "index.docker.io/"
#: bytes of a list that a store keeps; the largest, Docker's of all models, takes a few hundred per model
_LARGEST_MANIFEST: Final = 1 << 22


def places(root: str | os.PathLike[str]) -> Iterator[CheckpointPlace]:
    """Every checkpoint below a folder, whatever stores are in it.

    Folders that are links are not entered; hidden folders only if a store keeps its models there.

    Raises:
        OSError: if the root cannot be read.
    """
    folder = Path(root)
    if folder.is_file():
        yield _single(folder)
        return
    try:
        os.scandir(folder).close()  # raises what keeps the root from being read
    except ValueError as error:  # no folder can have such a name
        raise OSError(errno.EINVAL, str(error), str(root)) from error
    for listing in _readable([folder]):
        yield from _walk(listing, str(root), folder)


def default_roots() -> list[Path]:
    """The folders in which the programs of this user keep their models, those that exist."""
    home = Path.home()
    cache = Path(os.environ.get("XDG_CACHE_HOME", home / ".cache"))
    hub_home = Path(os.environ.get("HF_HOME", cache / "huggingface"))
    candidates = (
        Path(os.environ.get("HF_HUB_CACHE", hub_home / "hub")),
        Path(os.environ.get("OLLAMA_MODELS", home / ".ollama/models")),
        Path("/usr/share/ollama/.ollama/models"),
        home / ".lmstudio/models",
        home / ".cache/lm-studio/models",
        Path(os.environ.get("LLAMA_CACHE", cache / "llama.cpp")),
        home / "Library/Caches/llama.cpp",
        home / ".docker/models",
    )
    # not Path.is_dir: before Python 3.14 it raises if a folder above is closed to this user, as Ollama's may be
    return [folder for folder in dict.fromkeys(candidates) if os.path.isdir(folder)]  # noqa: PTH112


def _single(file: Path) -> CheckpointPlace:
    version, nbytes, identities = stamp([file])
    return CheckpointPlace(
        root=str(file), store="tree", name=file.name, path=str(file), version=version, file_bytes=nbytes,
        identities=identities,
    )  # fmt: skip


def _readable(folders: Iterable[Path]) -> Iterator[Listing]:
    """What is in each folder; one that this user may not read, or that is gone, holds nothing of theirs."""
    for folder in folders:
        try:
            listing = Listing.of(folder)
        except OSError:
            continue
        yield listing


def _walk(listing: Listing, root: str, top: Path) -> Iterator[CheckpointPlace]:
    """The places below a folder: those of a store if it is one, else its own and those of its folders."""
    folder = listing.folder
    # a store is not searched like a folder: its blobs have no file names, and its links would count files twice
    for layout in _LAYOUTS:
        if layout.is_one(listing):
            yield from layout.places(listing, root)
            return
    if PIPELINE in listing.names:  # its folders are parts of one model
        yield _pipeline(folder, root, _name(folder, top))
        return
    # files that lie loose in the root go by their own names; with a config the root is itself a model
    name = _name(folder, top)
    if folder == top and "config.json" not in listing.names:
        name = ""
    yield from _folder(listing, root, "tree", name)
    for below in _readable(listing.folders):
        yield from _walk(below, root, top)


def _name(folder: Path, top: Path) -> str:
    return top.name if folder == top else str(folder).removeprefix(str(top)).replace(os.sep, "/").strip("/")


def _pipeline(folder: Path, root: str, name: str) -> CheckpointPlace:
    """A model in several folders that belong together."""
    version, nbytes, identities = stamp(file for file in folder.glob("*/*") if is_weights(file.name))
    return CheckpointPlace(
        root=root, store="tree", name=name, path=str(folder), version=version, file_bytes=nbytes,
        identities=identities,
    )  # fmt: skip


def _folder(
    listing: Listing, root: str, store: Store, name: str, *, revision: str | None = None
) -> Iterator[CheckpointPlace]:
    """The checkpoints of one folder: itself if it holds one model, a file each if it holds several.

    Args:
        listing: the folder the files are in.
        root: what is surveyed.
        store: whose layout it is in.
        name: what the folder is called; empty if its files are called by their own names.
        revision: its commit or digest, if there is one.
    """
    # links that lead nowhere too: a cache whose blobs were deleted is a broken checkpoint, and not no checkpoint
    folder = listing.folder
    for group, called, file in named(name, groups_of(listing.files)):
        version, nbytes, identities = stamp(os.path.join(folder, part) for part in group.files)  # noqa: PTH118
        yield CheckpointPlace(
            root=root,
            store=store,
            name=called,
            path=str(folder / file),
            revision=revision,
            version=revision or version,
            file_bytes=nbytes,
            identities=identities,
            certain=group.certain,
        )


# -- the Hugging Face cache --------------------------------------------------------------------------------------------


def _is_hub(listing: Listing) -> bool:
    return any(name.startswith(_HUB_PREFIX) for name in listing.names)


def _hub_places(listing: Listing, root: str) -> Iterator[CheckpointPlace]:
    repositories = [folder for folder in listing.folders if folder.name.startswith(_HUB_PREFIX)]
    for snapshots in _readable(repository / "snapshots" for repository in repositories):
        # `--` is the slash: the Hub allows it in no name
        name = snapshots.folder.parent.name.removeprefix(_HUB_PREFIX).replace("--", "/")
        for snapshot in _readable(snapshots.folders):
            yield from _snapshot(snapshot, root, name, snapshot.folder.name)


def _snapshot(listing: Listing, root: str, name: str, commit: str) -> Iterator[CheckpointPlace]:
    """A snapshot, and the folders in it that hold models of their own."""
    # repositories of GGUF files often have a folder for each quantization that is split
    yield from _folder(listing, root, "huggingface", name, revision=commit)
    if PIPELINE not in listing.names:
        for below in _readable(listing.folders):
            yield from _snapshot(below, root, f"{name}/{below.folder.name}", commit)


# -- Ollama ------------------------------------------------------------------------------------------------------------


def _is_ollama(listing: Listing) -> bool:
    return {"manifests", "blobs"} <= listing.names and not _is_docker(listing)


def _ollama_places(listing: Listing, root: str) -> Iterator[CheckpointPlace]:
    folder = listing.folder
    manifests = folder / "manifests"
    found = [path for path in manifests.rglob("*") if not any(part.startswith(".") for part in path.parts[-4:])]
    # the tag that is meant if none is named comes first: others of the same bytes are the same as it
    for path in sorted(filter(os.path.isfile, found), key=lambda path: (path.name != "latest", path)):
        yield _ollama_place(folder, path, root)


def _ollama_name(parts: tuple[str, ...]) -> str:
    *model, tag = parts
    if model[:1] == [_OLLAMA_HOST]:
        model = model[1:]
    if model[:1] == [_OLLAMA_LIBRARY]:
        model = model[1:]
    return f"{'/'.join(model)}:{tag}"


def _ollama_place(folder: Path, manifest: Path, root: str) -> CheckpointPlace:
    name = _ollama_name(manifest.relative_to(folder / "manifests").parts)
    broken = CheckpointPlace(root=root, store="ollama", name=name, path=str(manifest), error="")
    try:
        layers = _objects(_read_json(manifest), "layers")
    except (OSError, ValueError) as error:
        return evolve(broken, error=f"its manifest is not valid JSON: {error}")
    models = [layer for layer in layers if layer.get("mediaType") == _OLLAMA_MODEL]
    if not models:
        tensors = sum(layer.get("mediaType") == _OLLAMA_TENSOR for layer in layers)
        reason = "its manifest has no model layer"
        if tensors:
            reason = f"its manifest lists {tensors} tensor blobs, which are not read yet"
        return evolve(broken, error=reason)
    return _blob_place(broken, models[0].get("digest"), lambda digest: folder / "blobs" / digest.replace(":", "-"))


def _blob_place(place: CheckpointPlace, digest: object, blob_of: Callable[[str], Path]) -> CheckpointPlace:
    """A place whose weights are the blob of a digest."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        return evolve(place, error=f"its digest is not sha256 and 64 hexadecimal digits: {digest!r:.80}")
    blob = blob_of(digest)
    # named by its content, so the digest is version and identity: nothing has to be compared
    place = evolve(place, revision=place.revision or digest, version=digest)
    try:
        nbytes = blob.stat().st_size
    except FileNotFoundError:
        return evolve(place, error=f"its blob is missing: {blob.name}")
    except OSError as error:
        return evolve(place, error=f"its blob cannot be read: {error.strerror}: {blob.name}")
    return evolve(place, path=str(blob), file_bytes=nbytes, identities=frozenset({digest}))


# -- Docker Model Runner -----------------------------------------------------------------------------------------------


def _is_docker(listing: Listing) -> bool:
    return {"models.json", "layout.json"} <= listing.names


def _docker_places(listing: Listing, root: str) -> Iterator[CheckpointPlace]:
    folder = listing.folder
    listed = folder / "models.json"
    try:
        models = _objects(_read_json(listed), "models")
    except (OSError, ValueError) as error:
        reason = f"is not valid JSON: {error}"
        yield CheckpointPlace(root=root, store="docker", name=listed.name, path=str(listed), error=reason)
        return
    for model in models:
        identity, files = model.get("id"), model.get("files")
        tags = model.get("tags")
        # one model under two tags is two rows, of which the second is the same as the first
        for tag in tags if isinstance(tags, list) and tags else [identity]:
            place = CheckpointPlace(
                root=root,
                store="docker",
                name=str(tag).removeprefix(_DOCKER_HOST),
                path=str(listed),
                revision=identity if isinstance(identity, str) else None,
            )
            digest = files[0] if isinstance(files, list) and files else None
            yield _blob_place(place, digest, lambda digest: folder / "blobs" / "sha256" / digest.partition(":")[2])


def _read_json(path: Path) -> object:
    """The value in a small JSON file.

    Raises:
        OSError, ValueError: if it cannot be read, is too large, or is not JSON.
    """
    if path.stat().st_size > _LARGEST_MANIFEST:
        raise ValueError(f"has over {_LARGEST_MANIFEST:,} bytes")
    value: object = json.loads(path.read_bytes())
    return value


def _objects(value: object, key: str) -> list[Mapping[str, Any]]:  # Any: JSON, whose values the callers check
    """The objects in a list of a JSON object.

    Raises:
        ValueError: if it has no such list.
    """
    found: object = None
    if isinstance(value, dict):
        found = value.get(key)
    if not isinstance(found, list):
        raise ValueError(f"has no list {key!r}")  # noqa: TRY004  # it is the file that is wrong
    return [item for item in found if isinstance(item, dict)]


# -- LM Studio and llama.cpp -------------------------------------------------------------------------------------------


def _is_lmstudio(listing: Listing) -> bool:
    """Its models lie beside the virtual models of its hub, or in a folder of its name."""
    folder = listing.folder
    if folder.name != "models":
        return False
    if folder.parent.name in (".lmstudio", "lm-studio"):
        return True
    return os.path.isdir(folder.parent / "hub" / "models")  # noqa: PTH112  # as in `default_roots`


def _lmstudio_places(listing: Listing, root: str) -> Iterator[CheckpointPlace]:
    for publisher in _readable(listing.folders):
        for model in _readable(publisher.folders):
            yield from _folder(model, root, "lmstudio", f"{publisher.folder.name}/{model.folder.name}")


def _is_llamacpp(listing: Listing) -> bool:
    """A flat folder in which files that were downloaded have their tags beside them."""
    names = listing.names
    return any(name.startswith("manifest=") for name in names) or any(
        name.endswith(".gguf") and (f"{name}.etag" in names or f"{name}.json" in names) for name in names
    )


def _llamacpp_places(listing: Listing, root: str) -> Iterator[CheckpointPlace]:
    return _folder(listing, root, "llamacpp", "")


class _Layout(NamedTuple):
    """A program's layout: whether a folder with these names in it is one, and the places in it."""

    is_one: Callable[[Listing], bool]
    places: Callable[[Listing, str], Iterator[CheckpointPlace]]


#: in this order: a folder of Docker has the marks of Ollama too, and the marks of llama.cpp are the weakest
_LAYOUTS: Final = (
    _Layout(_is_docker, _docker_places),
    _Layout(_is_ollama, _ollama_places),
    _Layout(_is_hub, _hub_places),
    _Layout(_is_lmstudio, _lmstudio_places),
    _Layout(_is_llamacpp, _llamacpp_places),
)
