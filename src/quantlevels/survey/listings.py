"""Checkpoints behind URLs: one listing of a bucket, or of each model of an organization on the Hub; no header is read.

Source: huggingface_hub 2.4.0 ``hf_api.py`` (``list_models``, ``model_info``); fsspec 2026.9.0 ``spec.py`` (``find``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, final

from attrs import evolve, frozen

from quantlevels.checkpoint.catalogue import PIPELINE, is_weights
from quantlevels.errors import CheckpointError, SurveyError
from quantlevels.survey.grouping import groups_of, named
from quantlevels.survey.places import CheckpointPlace, Identity, Store

if TYPE_CHECKING:
    from quantlevels.checkpoint.remote.hub import HubPlace

_T = TypeVar("_T")

#: models of an organization that are listed at a time
_LISTED_AT_ONCE: Final = 8
#: hexadecimal digits that tell one version of some files from another
_VERSION_DIGITS: Final = 16
_MAIN: Final = "main"
#: names of errors of huggingface_hub and of the libraries of stores → what they mean and what to do
_REASONS: Final[Mapping[str, str]] = {
    "FileNotFoundError": "does not exist",
    "PermissionError": "access is forbidden",
    "GatedRepoError": "is gated: accept its terms on the Hub, then run `hf auth login`",
    "RepositoryNotFoundError": "does not exist, or is private and needs a token: run `hf auth login`",
    "RevisionNotFoundError": "has no such revision",
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set",
    "NoCredentialsError": "needs credentials, which the library of the store did not find",
}


def is_url(root: str) -> bool:
    """Whether a root is elsewhere than on this machine, or behind a library that makes it look so."""
    return "://" in root


def remote_places(root: str) -> Iterator[CheckpointPlace]:
    """Every checkpoint below a URL: a bucket or a prefix in it, ``hf://org``, ``hf://org/name``, or one web address.

    Raises:
        SurveyError: if it cannot be listed, or the libraries that are needed are not installed.
    """
    try:
        from quantlevels.checkpoint.remote.addresses import clean
        from quantlevels.checkpoint.remote.hub import hub_place
    except ModuleNotFoundError as error:
        raise SurveyError(f"{root}: needs {error.name}: pip install 'quantlevels[remote]'") from error
    try:
        place = hub_place(root)
    except CheckpointError as error:
        raise SurveyError(str(error)) from error
    if place:
        yield from _hub_places(place, clean(root).rstrip("/"))
    elif root.lower().startswith(("http://", "https://")):  # a web server lists nothing
        shown = clean(root)
        yield CheckpointPlace(root=shown, store="web", name=shown.rpartition("/")[2] or shown, path=shown, url=root)
    else:
        yield from _bucket_places(root, clean(root).rstrip("/"))


class _Entry(NamedTuple):
    """A file of a listing."""

    nbytes: int
    #: changes with its content: an ETag, a digest, a time
    mark: str
    #: what makes it the same file as another
    identity: Identity


@final
@frozen(kw_only=True)
class _Listing:
    """The files below a URL.

    Args:
        root: what is surveyed, as it is shown.
        store: where it is.
        name: what its top is called; empty if files there are called by their own names.
        shown: path within the listing → path that is shown.
        url: path within the listing → what is read.
        revision: its commit, if it has one.
        files: path within the listing → what is known of the file.
    """

    root: str
    store: Store
    name: str
    shown: Callable[[str], str]
    url: Callable[[str], str]
    revision: str | None
    files: Mapping[str, _Entry]

    def places(self) -> Iterator[CheckpointPlace]:
        """The checkpoints, by the rules that folders on disk follow."""
        folders: dict[str, list[str]] = {}
        for path in sorted(self.files):
            folder, _, name = path.rpartition("/")
            if _is_hidden(folder):
                continue
            if not _can_be_asked_for(path):
                if is_weights(name):
                    yield evolve(self._place(path, path, [path]), error="its name cannot be a part of a URL")
                continue
            folders.setdefault(folder, []).append(name)
        pipelines = {folder for folder, names in folders.items() if PIPELINE in names}
        parts: dict[str, list[str]] = {folder: [] for folder in pipelines}
        for folder, names in folders.items():
            pipeline = next((above for above in _above(folder) if above in pipelines), None)
            if pipeline is None:
                yield from self._folder(folder, names)
            else:
                parts[pipeline] += (_joined(folder, name) for name in names if is_weights(name))
        for folder, files in parts.items():
            yield self._place(folder, _joined(self.name, folder), files)

    def _folder(self, folder: str, names: list[str]) -> Iterator[CheckpointPlace]:
        for group, called, file in named(_joined(self.name, folder), groups_of(names)):
            place = self._place(_joined(folder, file), called, [_joined(folder, part) for part in group.files])
            yield evolve(place, certain=group.certain)

    def _place(self, path: str, called: str, files: list[str]) -> CheckpointPlace:
        entries = [self.files[file] for file in files]
        marks = "\n".join(f"{file} {self.files[file].nbytes} {self.files[file].mark}" for file in sorted(files))
        return CheckpointPlace(
            root=self.root,
            store=self.store,
            name=called,
            path=self.shown(path),
            url=self.url(path),
            revision=self.revision,
            version=self.revision or hashlib.sha256(marks.encode()).hexdigest()[:_VERSION_DIGITS],
            file_bytes=sum(entry.nbytes for entry in entries),
            identities=frozenset(entry.identity for entry in entries),
        )


def _joined(folder: str, name: str) -> str:
    return "/".join(filter(None, (folder, name)))


def _above(folder: str) -> Iterator[str]:
    """A folder and all that it is in, up to the top, which has no name."""
    yield folder
    while folder:
        folder = folder.rpartition("/")[0]
        yield folder


def _is_hidden(folder: str) -> bool:
    return any(part.startswith(".") for part in folder.split("/"))


def _can_be_asked_for(path: str) -> bool:
    from quantlevels.checkpoint.remote.addresses import is_safe_name

    return is_safe_name(path)


def _asked(shown: str, ask: Callable[[], _T]) -> _T:
    """The answer of a library; any of its errors as one of ours, without what may be secret in its words.

    Raises:
        SurveyError: if it gives none.
    """
    try:
        return ask()
    except ImportError as error:
        raise SurveyError(f"{shown}: needs a library that is not installed: {error.name or error}") from None
    except Exception as error:  # libraries of stores raise errors of their own
        # by name: the libraries are optional
        names = (cls.__name__ for cls in type(error).__mro__)
        reason = next((_REASONS[name] for name in names if name in _REASONS), None)
        raise SurveyError(f"{shown}: {reason or f'cannot be listed: {type(error).__name__}'}") from None


# -- buckets -----------------------------------------------------------------------------------------------------------


def _bucket_places(root: str, shown: str) -> Iterator[CheckpointPlace]:
    from fsspec import url_to_fs

    from quantlevels.checkpoint.remote.stores import size_of, version_of

    store, key = _asked(shown, lambda: url_to_fs(root))
    _asked(shown, store.invalidate_cache)  # else a second survey may get the listing of the first
    key = key.rstrip("/")
    # one listing has sizes, marks and times: to ask for each file would take a hundred thousand requests
    found = _asked(shown, lambda: store.find(key, detail=True))
    top = f"{key}/"
    if key in found:  # a file was named
        top = key[: key.rfind("/") + 1]
        shown, root = shown.rpartition("/")[0], root.rpartition("/")[0]
    # the same object may be found by two roots; equal objects at two keys take their space twice
    host = f"{store.protocol!r}"
    files = {
        path.removeprefix(top): _Entry(size_of(info) or 0, version_of(info) or "", f"{host} {path}")
        for path, info in found.items()
        if path.startswith(top)
    }
    if not files:
        raise SurveyError(f"{shown}: no files were found")
    listing = _Listing(
        root=shown,
        store="bucket",
        name="",
        shown=lambda path: _below(shown, path),
        url=lambda path: _below(root.rstrip("/"), path),
        revision=None,
        files=files,
    )
    if "config.json" in files:  # the root is itself a model
        listing = evolve(listing, name=shown.rpartition("/")[2])
    yield from listing.places()


def _below(url: str, path: str) -> str:
    """The URL of a path below another; in a chain, as ``zip://model::s3://bucket/archive.zip``, below its first."""
    if not path:
        return url
    first, chain, others = url.partition("::")
    if chain and "://" not in first:
        first = f"{first}:/"
    return f"{first}/{path}{chain}{others}"


# -- the Hub -----------------------------------------------------------------------------------------------------------


def _hub_places(place: HubPlace, root: str) -> Iterator[CheckpointPlace]:
    """The models of an organization, or those in one repository."""
    names: list[str] = []
    if "/" not in place.repository and not place.path and place.revision == _MAIN:
        api = _hub_api()
        names = _asked(root, lambda: [model.id for model in api.list_models(author=place.repository)])
    if not names:  # a repository; a few old ones have no organization
        yield from _repository_places(place, root)
        return
    pool = ThreadPoolExecutor(_LISTED_AT_ONCE)
    try:
        yield from _each_repository(pool, names, place, root)
    finally:
        pool.shutdown(cancel_futures=True)


def _each_repository(
    pool: ThreadPoolExecutor, names: list[str], place: HubPlace, root: str
) -> Iterator[CheckpointPlace]:
    def listed(name: str) -> list[CheckpointPlace]:
        try:
            return list(_repository_places(place._replace(repository=name), root))
        except SurveyError as error:  # one model that may not be read does not end the survey of the others
            reason = str(error).removeprefix(f"hf://{name}: ")
            return [CheckpointPlace(root=root, store="hub", name=name, path=f"hf://{name}", error=reason)]

    for found in pool.map(listed, names):
        yield from found


def _repository_places(place: HubPlace, root: str) -> Iterator[CheckpointPlace]:
    from quantlevels.checkpoint.remote.addresses import quoted

    repository, revision = place.repository, place.revision
    top = f"hf://{repository}"
    shown = top
    if revision != _MAIN:
        shown = f"{top}@{quoted(revision).replace('/', '%2F')}"
    api = _hub_api()
    info = _asked(shown, lambda: api.model_info(repository, revision=revision, files_metadata=True))
    if not info.sha:
        raise SurveyError(f"{shown}: the Hub's answer has no commit")
    files = {file.rfilename: _hub_entry(file) for file in info.siblings or ()}
    if place.path:
        files = {
            path: entry for path, entry in files.items() if path == place.path or path.startswith(f"{place.path}/")
        }
    if place.path and not files:
        raise SurveyError(f"{shown}/{place.path}: is not in the repository")
    listing = _Listing(
        root=root,
        store="hub",
        name=repository,
        shown=lambda path: _joined(shown, quoted(path)),
        # by the commit that was listed: a push in between changes nothing
        url=lambda path: _joined(f"{top}@{info.sha}", quoted(path)),
        revision=info.sha,
        files=files,
    )
    yield from listing.places()


def _hub_entry(file: Any) -> _Entry:  # Any: a RepoSibling; huggingface_hub is optional
    digest = str(file.lfs.sha256 if file.lfs else file.blob_id)
    return _Entry(file.size or 0, digest, digest)


def _hub_api() -> Any:  # Any: as above
    from huggingface_hub import HfApi, constants, get_token

    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    return HfApi(endpoint=constants.ENDPOINT, token=token or False)
