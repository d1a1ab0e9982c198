"""The digests that files carry in their names or beside them, and the digests that they have."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, final

from attrs import frozen

if TYPE_CHECKING:
    from quantlevels.values.arrays import Bytes

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SHA1: Final = re.compile(r"[0-9a-f]{40}")
_OLLAMA: Final = re.compile(r"sha256-([0-9a-f]{64})")
_LFS: Final = re.compile(r"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n")
_SUM: Final = re.compile(r"\\?([0-9a-fA-F]{64})(?:[ \t]+[ *]?(.+?))?\s*")
#: files that list the sums of others in their folder
_LISTS: Final = ("SHA256SUMS", "sha256sums.txt", "SHA256SUMS.txt", "checksums.sha256")
#: a pointer, or a sum in a file of its own, is shorter; a list of sums may be so long
_POINTER: Final = 1 << 10
_LIST: Final = 1 << 20


@final
@frozen
class Expected:
    """A digest that a file should have.

    Args:
        algorithm: ``sha256``, or ``git-sha1``: of the file with git's header before it.
        digest: in hexadecimal, lower case.
        origin: where it is from.
        recorded: seconds since 1970 at which it was recorded, if that is known.
    """

    algorithm: str
    digest: str
    origin: str
    recorded: float | None = None


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


@final
class Digest:
    """A digest in the making.

    Args:
        algorithm: of `Expected`.
        size: bytes of the file.
    """

    def __init__(self, algorithm: str, size: int) -> None:
        self._hash: _Hash
        if algorithm == "sha256":
            self._hash = hashlib.sha256(usedforsecurity=False)
        else:
            self._hash = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

    def update(self, data: Bytes) -> None:
        """Take the next bytes."""
        self._hash.update(data.data)

    def hexdigest(self) -> str:
        """The digest of all bytes taken."""
        return self._hash.hexdigest()


def expected(path: Path) -> Expected | None:
    """The digest that a local file should have, by its name, its store or a file beside it; None if nothing says."""
    return next(_expected(path), None)


def _expected(path: Path) -> Iterator[Expected]:
    for name in (path, path.resolve()):
        if found := _named(name):
            yield found
    yield from _downloaded(path)
    yield from _beside(path)


def _named(path: Path) -> Expected | None:
    """The digest in the name of a blob: of the cache of Hugging Face, of Ollama, of an OCI store."""
    if match := _OLLAMA.fullmatch(path.name):
        return Expected("sha256", match[1], "blob-name")
    parents = (path.parent.name, path.parent.parent.name)
    if _SHA256.fullmatch(path.name) and (parents[0] == "blobs" or parents == ("sha256", "blobs")):
        return Expected("sha256", path.name, "blob-name")
    if _SHA1.fullmatch(path.name) and parents[0] == "blobs":
        return Expected("git-sha1", path.name, "blob-name")
    return None


def _downloaded(path: Path) -> Iterator[Expected]:
    """The ETag that ``hf download --local-dir`` keeps: commit, ETag and time, a line each."""
    for folder in (path.parent, *path.parent.parents[:3]):
        metadata = folder / ".cache" / "huggingface" / "download" / f"{path.relative_to(folder)}.metadata"
        lines = _text(metadata, _POINTER).splitlines()
        if len(lines) < 2:
            continue
        etag = lines[1].strip().strip('"').lower()
        recorded = _time(lines[2]) if len(lines) > 2 else None
        if _SHA256.fullmatch(etag):
            yield Expected("sha256", etag, "download-metadata", recorded)
        elif _SHA1.fullmatch(etag):
            yield Expected("git-sha1", etag, "download-metadata", recorded)
        return


def _time(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _beside(path: Path) -> Iterator[Expected]:
    """Sums in files of their own or in lists, and pointers of Git LFS."""
    for sidecar in (path.with_name(f"{path.name}.sha256"), path.with_name(f"{path.name}.sha256sum")):
        if (match := _SUM.fullmatch(_text(sidecar, _POINTER))) and match[2] in (None, path.name):
            yield Expected("sha256", match[1].lower(), "sidecar")
    for name in _LISTS:
        for line in _text(path.with_name(name), _LIST).splitlines():
            match = _SUM.fullmatch(line)
            if match and match[2] and match[2].removeprefix("./") == path.name:
                yield Expected("sha256", match[1].lower(), "sidecar")
    for pointer in sorted(path.parent.glob(f"{_escaped(path.name)}.*")):
        if pointed := _LFS.match(_text(pointer, _POINTER)):
            yield Expected("sha256", pointed[1], "lfs-pointer")


def _escaped(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)


def _text(path: Path, most: int) -> str:
    """The text of a small file; empty if it is missing, longer, or no text."""
    try:
        if not path.is_file() or path.stat().st_size > most:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
