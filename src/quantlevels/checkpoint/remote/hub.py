"""A repository of the Hugging Face Hub at one commit: one listing, then ranges of its files.

Endpoints and headers: huggingface_hub 2.4.0 ``hf_api.py``, ``file_download.py``, ``errors.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from quantlevels.checkpoint.remote.addresses import clean, is_private, is_safe_name, quoted
from quantlevels.checkpoint.remote.client import Client
from quantlevels.checkpoint.remote.hubcache import CachedRepository
from quantlevels.checkpoint.remote.listing import ListedFolder
from quantlevels.checkpoint.remote.ranges import HttpFile
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from quantlevels.checkpoint.remote.client import AddressCheck
    from quantlevels.checkpoint.remote.windows import Ranges
    from quantlevels.container import RemoteLimits

_SCHEME: Final = "hf://"
_PART: Final = r"[A-Za-z0-9][\w.-]*"
_REPOSITORY: Final = re.compile(rf"(?:{_PART}/)?{_PART}", re.ASCII)
#: web addresses of the Hub: of something in a repository, and of the repository
_PAGE: Final = re.compile(rf"/((?:{_PART}/)?{_PART})/(?:blob|resolve|tree|raw)/([^/]+)(?:/(.*))?", re.ASCII)
_FRONT_PAGE: Final = re.compile(rf"/({_PART}/{_PART})/?()()", re.ASCII)
_HUB_HOSTS: Final = ("huggingface.co", "hf.co")
_KINDS: Final = ("datasets", "spaces", "buckets")
_MAIN: Final = "main"
_OFFLINE: Final = "HF_HUB_OFFLINE is set"
_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")
#: bytes and files of a listing; the largest repositories have some ten thousand files
_LARGEST_LISTING: Final = 64 << 20
_MOST_FILES: Final = 1_000_000


class HubPlace(NamedTuple):
    """What a URL of the Hub names."""

    repository: str
    revision: str
    #: a file or folder in it; empty for the repository
    path: str


def hub_place(url: str) -> HubPlace | None:
    """What a URL names on the Hub; None for a URL of another host.

    Raises:
        CheckpointError: if it is of the Hub, and not of a model.
    """
    if not url.lower().startswith(_SCHEME):
        parts = urlsplit(url)
        if parts.hostname not in _HUB_HOSTS:
            return None
        page = _PAGE.fullmatch(parts.path) or _FRONT_PAGE.fullmatch(parts.path)
        if page is None or page[1].partition("/")[0] in _KINDS:
            return None
        return _checked(url, HubPlace(page[1], unquote(page[2] or _MAIN), unquote(page[3] or "").strip("/")))
    name, _, path = url[len(_SCHEME) :].partition("@")
    if path:
        revision, _, path = path.partition("/")
    else:
        revision = _MAIN
        parts_of = name.split("/", 2)
        name, path = "/".join(parts_of[:2]), "".join(parts_of[2:])
    if name.partition("/")[0] in _KINDS:
        raise CheckpointError(clean(url), f"is in {name.partition('/')[0]}, not a model")
    path = unquote(path).strip("/")
    return _checked(url, HubPlace(name, unquote(revision), path))


def _checked(url: str, place: HubPlace) -> HubPlace:
    """A place of which no part leads elsewhere.

    Raises:
        CheckpointError: if one does.
    """
    safe = is_safe_name(place.revision) and (not place.path or is_safe_name(place.path))
    if not safe or not _REPOSITORY.fullmatch(place.repository):
        raise CheckpointError(clean(url), "is not hf://org/name[@revision][/path]")
    return place


def hub_folder(place: HubPlace, limits: RemoteLimits, check: AddressCheck = is_private) -> tuple[ListedFolder, str]:
    """The folder of the Hub that was named, and the file in it; an empty name for the folder itself.

    Raises:
        CheckpointError: if it does not exist, or may not be read.
    """
    from huggingface_hub import constants, get_token

    shown = f"{_SCHEME}{place.repository}" + (f"@{place.revision}" if place.revision != _MAIN else "")
    endpoint = constants.ENDPOINT.rstrip("/")
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    client = Client(endpoint, {"Authorization": f"Bearer {token}"} if token else {}, limits.silence, check)
    offline = constants.HF_HUB_OFFLINE
    cache = CachedRepository(Path(constants.HF_HUB_CACHE) / f"models--{place.repository.replace('/', '--')}")
    if offline:
        commit, files = _cached(cache, place, shown)
    else:
        # what belongs to a commit never changes: a list in the cache is as good as a new one
        known = cache.listing(place.revision) if _COMMIT.fullmatch(place.revision) else None
        if known:
            commit, files = place.revision, known
        else:
            # the commit once, and every file by it: a push in between cannot mix two versions
            commit, files = _listing(client, endpoint, place, shown, limits)
    url = f"{endpoint}/{place.repository}/resolve/{commit}/"
    if place.path in files:
        above, _, name = place.path.rpartition("/")
    else:
        above, name = place.path, ""
    below = f"{above}/" if above else ""
    if not any(file.startswith(below) for file in files):
        raise CheckpointError(f"{shown}/{place.path}", "is not in the repository")

    def opener(path: str, shown: str) -> Ranges:
        cached = cache.file(commit, path, shown)
        if cached is not None and cached.size == files[path]:
            return cached
        if offline:
            raise CheckpointError(shown, f"{_OFFLINE}, and the cache on this machine does not have this file")
        file = HttpFile(client, url + quoted(path), limits, files[path], _explain)
        file.path = shown
        return file

    return ListedFolder(f"{shown}/{above}".rstrip("/"), files, below, opener, "repository"), name


def _cached(cache: CachedRepository, place: HubPlace, shown: str) -> tuple[str, dict[str, int]]:
    """The commit of a revision, and the size of each file, as the cache on this machine knows them.

    Raises:
        CheckpointError: if it does not.
    """
    revision = place.revision
    commit = revision if _COMMIT.fullmatch(revision) else cache.commit(revision)
    files = (cache.listing(commit) or cache.fetched(commit)) if commit else {}
    if not commit or not files:
        raise CheckpointError(shown, f"{_OFFLINE}, and the cache on this machine does not have it")
    return commit, files


def _listing(
    client: Client, endpoint: str, place: HubPlace, shown: str, limits: RemoteLimits
) -> tuple[str, dict[str, int]]:
    """The commit of a revision, and the size of each file."""
    revision = quote(place.revision, safe="")
    listing = HttpFile(
        client,
        f"{endpoint}/api/models/{place.repository}/revision/{revision}?blobs=true",
        limits,
        explain=_explain,
    )
    listing.path = shown
    answer = _as_object(listing.get_json(_LARGEST_LISTING), shown)
    commit, siblings = answer.get("sha"), answer.get("siblings")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit) or not isinstance(siblings, list):
        raise CheckpointError(shown, "the Hub's answer has no commit or no files")
    if len(siblings) > _MOST_FILES:
        raise CheckpointError(shown, f"has more than {_MOST_FILES:,} files")
    files: dict[str, int] = {}
    for sibling in siblings:
        match sibling:
            case {"rfilename": str(name), "size": int(size)} if is_safe_name(name) and size >= 0:
                files[name] = size
            case _:  # a name that would lead elsewhere could not be asked for
                continue
    return commit, files


def _as_object(raw: bytes, shown: str) -> dict[str, Any]:  # Any: JSON
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(shown, "the Hub's answer is not valid JSON") from error
    if not isinstance(found, dict):
        raise CheckpointError(shown, "the Hub's answer is not an object")
    return found


def _explain(path: str, status: int, headers: Mapping[str, str]) -> CheckpointError | None:
    """What an answer of the Hub means, by its ``X-Error-Code``."""
    repository = path.removeprefix(_SCHEME).partition("@")[0]
    match headers.get("X-Error-Code", ""), status:
        case "GatedRepo", _:
            reason = f"is gated: accept its terms at https://huggingface.co/{repository}, then run `hf auth login`"
        case "RepoNotFound", _:
            reason = "does not exist, or is private and needs a token: run `hf auth login`"
        case "RevisionNotFound", _:
            reason = "has no such revision"
        case "EntryNotFound", _:
            reason = "has no such file"
        case _, 401:
            reason = "does not exist, or is private and needs a token: run `hf auth login`"
        case _:
            return None
    return CheckpointError(path, reason)
