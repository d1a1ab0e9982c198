"""Files in any store that fsspec knows: s3, gs, az, sftp ... One listing, then ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar, final

from quantlevels.checkpoint.remote.addresses import clean, is_safe_name
from quantlevels.checkpoint.remote.listing import ListedFolder
from quantlevels.checkpoint.remote.spending import Spending
from quantlevels.container import TruncatedError
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from quantlevels.container import RemoteLimits

_T = TypeVar("_T")

#: below one URL; a bucket without a folder would be listed whole
_MOST_FILES: Final = 1_000_000
#: what stores call the mark of a version
_VERSION_KEYS: Final = ("ETag", "etag", "md5Hash", "LastModified", "mtime")


@final
class StoreFile:
    """A file in a store, of which every range must be as long as it was asked for.

    Args:
        store: reads it.
        key: its path there.
        path: as it is shown.
        limits: of requests and bytes.
        info: its entry in the listing.
    """

    def __init__(
        self, store: AbstractFileSystem, key: str, path: str, limits: RemoteLimits, info: Mapping[str, object]
    ) -> None:
        self.path = path
        self.size: int | None = size_of(info)
        self.version: str | None = version_of(info)
        self._listed = info
        self._store = store
        self._key = key
        self._spending = Spending(limits)

    def fetch(self, offset: int, count: int) -> bytes:
        """The bytes from an offset, fewer only at the end of the file.

        Raises:
            CheckpointError: if the store does not give them.
            TruncatedError: if it gives fewer.
        """
        count = min(count, (self.size or 0) - offset)
        if count <= 0:
            return b""
        with self._spending.request(self.path, count):
            # keywords only: the third positional argument of s3fs is a version
            body = _asked(self.path, lambda: self._store.cat_file(self._key, start=offset, end=offset + count))
            self._spending.nbytes += len(body)
        if len(body) < count:
            raise TruncatedError(self.path, f"the store gives {len(body):,} of {count:,} bytes", offset)
        if len(body) > count:
            raise CheckpointError(self.path, f"the store gives {len(body):,} bytes for {count:,}")
        return body

    def check_unchanged(self) -> None:
        """Raise CheckpointError if the file is not the one of the listing any more."""
        _asked(self.path, self._store.invalidate_cache)  # else it answers from the listing that it keeps
        with self._spending.request(self.path, 0):
            info = _asked(self.path, lambda: self._store.info(self._key))
        # a store may say less, or in another type, of one file than in a listing
        marks = ((self._listed.get(key), info.get(key)) for key in _VERSION_KEYS)
        other = any(before != after for before, after in marks if before and type(before) is type(after))
        if other or size_of(info) != self.size:
            raise CheckpointError(self.path, "changed while it was read")


def store_folder(url: str, limits: RemoteLimits) -> tuple[ListedFolder, str]:
    """The folder of a store that a URL leads to, and the file in it; an empty name for the folder itself.

    Raises:
        CheckpointError: if nothing is there, or the library of the store is not installed.
    """
    from fsspec import url_to_fs

    shown = clean(url).rstrip("/")
    store, key = _asked(shown, lambda: url_to_fs(url))
    _asked(shown, store.invalidate_cache)  # fsspec keeps stores, and those the listings, of calls before
    key = key.rstrip("/")
    inner, chain, outer = shown.partition("::")
    if chain:  # as zip::s3://bucket/archive.zip/model: what is added at the end lies within
        scheme, _, within = inner.partition("://")
        shown = f"{scheme}::{outer}/{within}".rstrip("/")
    name = ""
    spending = Spending(limits)
    with spending.request(shown, 0):
        is_file = _asked(shown, lambda: store.isfile(key))
    if is_file:
        shown, _, name = shown.rpartition("/")
        key, _, name = key.rpartition("/")
    with spending.request(shown, 0):
        found = _asked(shown, lambda: store.find(key, detail=True))
    if len(found) > _MOST_FILES:
        raise CheckpointError(shown, f"has more than {_MOST_FILES:,} files")
    files = {file[len(key) + 1 :]: info for file, info in found.items() if file.startswith(f"{key}/")}
    files = {file: info for file, info in files.items() if is_safe_name(file)}
    if not files:
        raise CheckpointError(shown, "does not exist, or holds no files")

    def opener(path: str, shown: str) -> StoreFile:
        return StoreFile(store, f"{key}/{path}", shown, limits, files[path])

    return ListedFolder(shown, {file: size_of(info) for file, info in files.items()}, "", opener, "store"), name


def size_of(info: Mapping[str, object]) -> int | None:
    """Bytes in a file of a listing; None if the listing does not have them."""
    size = info.get("size")
    if isinstance(size, int):
        return size
    return None


def version_of(info: Mapping[str, object]) -> str | None:
    """A mark of the version of a file, as the store has it."""
    return next((str(info[key]) for key in _VERSION_KEYS if info.get(key)), None)


def _asked(path: str, ask: Callable[[], _T]) -> _T:
    """The answer of a store; any error of its library as one of ours, without what may be secret in its words."""
    try:
        return ask()
    except CheckpointError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(path, "does not exist") from None
    except PermissionError:
        raise CheckpointError(path, "access is forbidden") from None
    except ImportError as error:
        raise CheckpointError(path, f"needs a library that is not installed: {error.name or error}") from None
    except Exception as error:  # libraries of stores raise errors of their own
        raise CheckpointError(path, f"cannot be read: {type(error).__name__}") from None
