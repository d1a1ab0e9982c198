"""A repository of the Hugging Face Hub at one commit: one listing, then ranges of its files.

Endpoints and headers: huggingface_hub 2.4.0 ``hf_api.py``, ``file_download.py``, ``errors.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from attrs import evolve

from quantlevels.checkpoint.remote.addresses import clean, is_private, is_safe_name, quoted
from quantlevels.checkpoint.remote.client import Client
from quantlevels.checkpoint.remote.listing import ListedFolder
from quantlevels.checkpoint.remote.ranges import HttpFile
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from quantlevels.checkpoint.remote.client import AddressCheck
    from quantlevels.container import RemoteLimits

_SCHEME: Final = "hf://"
_PART: Final = r"[A-Za-z0-9][\w.-]*"
_REPOSITORY: Final = re.compile(rf"(?:{_PART}/)?{_PART}", re.ASCII)
#: a web address of the Hub: ``org/name``, and perhaps what is shown of it
_PAGE: Final = re.compile(rf"/({_PART}/{_PART})(?:/(?:blob|resolve|tree|raw)/([^/]+)(?:/(.*))?)?/?", re.ASCII)
_HUB_HOSTS: Final = ("huggingface.co", "hf.co")
_KINDS: Final = ("datasets", "spaces", "buckets")
_MAIN: Final = "main"
_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")
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
        page = _PAGE.fullmatch(parts.path) if parts.hostname in _HUB_HOSTS else None
        if page is None or page[1].partition("/")[0] in _KINDS:
            return None
        return HubPlace(page[1], unquote(page[2] or _MAIN), unquote(page[3] or ""))
    name, _, path = url[len(_SCHEME) :].partition("@")
    if path:
        revision, _, path = path.partition("/")
    else:
        revision = _MAIN
        parts_of = name.split("/", 2)
        name, path = "/".join(parts_of[:2]), "".join(parts_of[2:])
    if name.partition("/")[0] in _KINDS:
        raise CheckpointError(clean(url), f"is of {name.partition('/')[0]}, not a model")
    path = unquote(path).strip("/")
    if not _REPOSITORY.fullmatch(name) or not revision or (path and not is_safe_name(path)):
        raise CheckpointError(clean(url), "is not hf://org/name[@revision][/path]")
    return HubPlace(name, unquote(revision), path)


def hub_folder(place: HubPlace, limits: RemoteLimits, check: AddressCheck = is_private) -> tuple[ListedFolder, str]:
    """The folder of the Hub that was named, and the file in it; an empty name for the folder itself.

    Raises:
        CheckpointError: if it does not exist, or may not be read.
    """
    from huggingface_hub import constants, get_token

    shown = f"{_SCHEME}{place.repository}" + (f"@{place.revision}" if place.revision != _MAIN else "")
    if constants.HF_HUB_OFFLINE:
        raise CheckpointError(shown, "HF_HUB_OFFLINE is set: nothing is read from the Hub")
    endpoint = constants.ENDPOINT.rstrip("/")
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    client = Client(endpoint, {"Authorization": f"Bearer {token}"} if token else {}, limits.silence, check)
    commit, files = _listing(client, endpoint, place, shown, limits)
    url = f"{endpoint}/{place.repository}/resolve/{commit}/"
    if place.path in files:
        above, _, name = place.path.rpartition("/")
    else:
        above, name = place.path, ""
    below = f"{above}/" if above else ""
    if not any(file.startswith(below) for file in files):
        raise CheckpointError(f"{shown}/{place.path}", "is not in the repository")

    def opener(path: str, shown: str) -> HttpFile:
        file = HttpFile(client, url + quoted(path), limits, files[path], _explain)
        file.path = shown
        return file

    return ListedFolder(f"{shown}/{above}".rstrip("/"), files, below, opener, "repository"), name


def _listing(
    client: Client, endpoint: str, place: HubPlace, shown: str, limits: RemoteLimits
) -> tuple[str, dict[str, int]]:
    """The commit of a revision, and the size of each file."""
    revision = quote(place.revision, safe="")
    listing = HttpFile(
        client,
        f"{endpoint}/api/models/{place.repository}/revision/{revision}?blobs=true",
        evolve(limits, nbytes=2 * _LARGEST_LISTING),
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
            case _:
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
