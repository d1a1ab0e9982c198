"""The digests that files carry in their names or beside them, and the digests that they have."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final, Protocol, final

import numpy as np
from attrs import frozen

from quantlevels.values.arrays import CHUNK

if TYPE_CHECKING:
    from types import TracebackType

    from quantlevels.values.arrays import Bytes

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SHA1: Final = re.compile(r"[0-9a-f]{40}")
_OLLAMA: Final = re.compile(r"sha256-([0-9a-f]{64})")
_LFS: Final = re.compile(r"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n")
#: A sum and the name of a file. No space can be matched in two ways: a long line would take the square of its length.
_SUM: Final = re.compile(r"\\?([0-9a-fA-F]{64})(?:[ \t]++\*?(.*\S))?\s*")
#: files that list the sums of others in their folder
_LISTS: Final = ("SHA256SUMS", "sha256sums.txt", "SHA256SUMS.txt", "checksums.sha256")
#: a pointer, or a sum in a file of its own, is shorter; a list of sums may be so long
_POINTER: Final = 1 << 10
_LIST: Final = 1 << 20
#: chunks in flight between the thread that reads and the one that makes the digest: hashlib releases the GIL, so that
#: both go on at once
_BUFFERS: Final = 3


@final
@frozen
class ExpectedDigest:
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
class Digester:
    """Makes the digest of a file in a thread of its own, while another judges the same bytes.

    Bytes are read into buffers that are used in turn; a buffer comes again once its bytes are in the digest.

    Args:
        wanted: which digest; None for none.
        size: bytes of the file.
    """

    def __init__(self, wanted: ExpectedDigest | None, size: int) -> None:
        self._hash = _new_hash(wanted.algorithm, size) if wanted else None
        # queues, not futures, which would take 2 % more time
        self._free: SimpleQueue[Bytes] = SimpleQueue()
        self._filled: SimpleQueue[tuple[Bytes, int] | None] = SimpleQueue()
        for _ in range(_BUFFERS if wanted else 1):
            self._free.put(np.empty(CHUNK, np.uint8))
        self._buffer: Bytes | None = None
        self._thread: Thread | None = None
        if self._hash:
            self._thread = Thread(target=self._digest, args=(self._hash,))
            self._thread.start()

    def _digest(self, digest: _Hash) -> None:
        """Add chunks to the digest until there are no more."""
        while filled := self._filled.get():
            buffer, nbytes = filled
            digest.update(buffer[:nbytes].data)
            self._free.put(buffer)

    def buffer(self, nbytes: int) -> Bytes:
        """Memory for the next bytes of the file; those of the buffer before must have been taken."""
        self._buffer = self._free.get()
        return self._buffer[:nbytes]

    def take(self, data: Bytes) -> None:
        """Add the bytes that the last buffer was filled with."""
        assert self._buffer is not None
        if self._thread:
            self._filled.put((self._buffer, data.size))
        else:
            self._free.put(self._buffer)

    def hexdigest(self) -> str | None:
        """The digest of all bytes taken; no more can be added."""
        self._stop()
        return self._hash.hexdigest() if self._hash else None

    def _stop(self) -> None:
        if self._thread:
            self._filled.put(None)
            self._thread.join()

    def __enter__(self) -> Digester:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()


def _new_hash(algorithm: str, size: int) -> _Hash:
    if algorithm == "sha256":
        return hashlib.sha256(usedforsecurity=False)
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # git's header: so it names what it stores


def expected_digest(path: Path) -> ExpectedDigest | None:
    """The digest that a local file should have, by its name, its store or a file beside it; None if it has none."""
    return next(_expected(path), None)


def _expected(path: Path) -> Iterator[ExpectedDigest]:
    # a cache has links with the names of files, which lead to blobs that are named by their digest
    for name in (path, path.resolve()):
        found = _named(name)
        if found:
            yield found
    yield from _downloaded(path)
    yield from _beside(path)


def _named(path: Path) -> ExpectedDigest | None:
    """The digest in the name of a blob: of the cache of Hugging Face, of Ollama, of an OCI store."""
    match = _OLLAMA.fullmatch(path.name)
    if match:
        return ExpectedDigest("sha256", match[1], "blob-name")
    parents = (path.parent.name, path.parent.parent.name)
    if _SHA256.fullmatch(path.name) and (parents[0] == "blobs" or parents == ("sha256", "blobs")):
        return ExpectedDigest("sha256", path.name, "blob-name")
    if _SHA1.fullmatch(path.name) and parents[0] == "blobs":
        return ExpectedDigest("git-sha1", path.name, "blob-name")
    return None


def _downloaded(path: Path) -> Iterator[ExpectedDigest]:
    """The ETag that ``hf download --local-dir`` keeps: commit, ETag and time, one per line."""
    # a repository's file may be a few folders below the one that was downloaded into
    for folder in (path.parent, *path.parent.parents[:3]):
        metadata = folder / ".cache" / "huggingface" / "download" / f"{path.relative_to(folder)}.metadata"
        lines = _text(metadata, _POINTER).splitlines()
        if len(lines) < 2:
            continue
        etag = lines[1].strip().strip('"').lower()
        recorded = _time(lines[2]) if len(lines) > 2 else None
        # the Hub's ETag is the SHA-256 of a file in LFS or Xet, and git's name for any other
        if _SHA256.fullmatch(etag):
            yield ExpectedDigest("sha256", etag, "download-metadata", recorded)
        elif _SHA1.fullmatch(etag):
            yield ExpectedDigest("git-sha1", etag, "download-metadata", recorded)
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


def _beside(path: Path) -> Iterator[ExpectedDigest]:
    """Sums in files of their own or in lists, and pointers of Git LFS."""
    for sidecar in (path.with_name(f"{path.name}.sha256"), path.with_name(f"{path.name}.sha256sum")):
        match = _SUM.fullmatch(_text(sidecar, _POINTER))
        if match and match[2] in (None, path.name):
            yield ExpectedDigest("sha256", match[1].lower(), "sidecar")
    for name in _LISTS:
        for line in _text(path.with_name(name), _LIST).splitlines():
            match = _SUM.fullmatch(line)
            if match and match[2] and match[2].removeprefix("./") == path.name:
                yield ExpectedDigest("sha256", match[1].lower(), "sidecar")
    try:
        pointers = sorted(path.parent.glob(f"{_escaped(path.name)}.*"))
    except OSError:  # the folder is gone by now
        return
    for pointer in pointers:
        match = _LFS.match(_text(pointer, _POINTER))
        if match:
            yield ExpectedDigest("sha256", match[1], "lfs-pointer")


def _escaped(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)


def _text(path: Path, most: int) -> str:
    """The text of a small file; empty if it is missing, longer, or not text."""
    try:
        if not path.is_file() or path.stat().st_size > most:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
