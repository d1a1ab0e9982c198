"""Checkpoints behind URLs: the headers are fetched by ranges. Nothing of this package is imported for a local path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantlevels.checkpoint.remote.addresses import clean, origin
from quantlevels.container import RemoteLimits
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from quantlevels.container import Folder


def open_url(url: str, limits: RemoteLimits | None = None) -> tuple[Folder, str]:
    """The folder that a URL leads to, and the file in it that was named; an empty name for the folder itself.

    Args:
        url: ``hf://org/name[@revision][/path]``, ``https://...``, or any other that fsspec knows, such as ``s3://...``.
        limits: of each file.

    Raises:
        CheckpointError: if it cannot be read, or the libraries that are needed are not installed.
    """
    scheme = url.partition("://")[0].lower()
    try:
        from quantlevels.checkpoint.remote.hub import hub_folder, hub_place
        from quantlevels.checkpoint.remote.stores import store_folder
        from quantlevels.checkpoint.remote.web import web_folder
    except ModuleNotFoundError as error:
        reason = f"needs {error.name}: pip install 'quantlevels[remote]'"
        raise CheckpointError(clean(url), reason) from error
    limits = limits or RemoteLimits()
    try:
        origin(url)
    except ValueError:  # a host or a port that cannot be
        raise CheckpointError(clean(url), "is not a valid URL") from None
    place = hub_place(url)
    if place:
        return hub_folder(place, limits)
    if scheme in ("http", "https"):
        return web_folder(url, limits)
    return store_folder(url, limits)
