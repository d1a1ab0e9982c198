"""NeMo: ``.nemo``, a tar archive of a configuration and a PyTorch file.

Source: NeMo 2.5 ``nemo/core/connectors/save_restore_connector.py``; POSIX.1-2017 ``pax`` (ustar), the GNU extensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from attrs import evolve, frozen

from quantlevels.checkpoint.pytorch import read_pytorch
from quantlevels.checkpoint.source import shown
from quantlevels.container import Contents, Places, TruncatedError
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from quantlevels.container import Source, TypeLookup

_BLOCK: Final = 512
_MAGIC: Final = b"ustar"
_GZIP: Final = b"\x1f\x8b"
#: where a header keeps the name, the size, the kind and the magic
_NAME, _SIZE, _KIND, _MAGIC_AT = slice(0, 100), slice(124, 136), 156, 257
_FILE_KINDS: Final = b"0\0"
_WEIGHTS: Final = ".ckpt"
#: an archive of NeMo holds some ten files; one of a tokenizer's merges a few more
_MOST_ENTRIES: Final = 10_000


@final
@frozen
class _Slice:
    """A part of a file as a source of its own."""

    source: Source
    start: int
    size: int

    @property
    def path(self) -> Path | str:
        """That of the whole file."""
        return self.source.path

    @property
    def name(self) -> str:
        """That of the whole file."""
        return self.source.name

    @property
    def version(self) -> str | None:
        """That of the whole file."""
        return self.source.version

    @property
    def is_local(self) -> bool:
        """That of the whole file."""
        return self.source.is_local

    def read(self, offset: int, count: int) -> bytes:
        """Exactly ``count`` bytes from ``offset`` of the part.

        Raises:
            TruncatedError: if the part ends before, with the offset.
        """
        if offset < 0 or offset + count > self.size:
            reason = f"truncated: {count:,} bytes are needed, {max(self.size - offset, 0):,} remain"
            raise TruncatedError(self.path, reason, self.start + offset)
        return self.source.read(self.start + offset, count)

    def prefetch(self, offset: int, least: int) -> None:
        """Announce a read of the part."""
        self.source.prefetch(self.start + offset, least)

    def sibling_size(self, name: str) -> int | None:
        """Bytes of a file beside the whole one."""
        return self.source.sibling_size(name)


def read_nemo(source: Source, level_of: TypeLookup) -> Contents:
    """The tensors of the PyTorch file in a ``.nemo`` archive.

    Raises:
        CheckpointError: if it is compressed, is not such an archive, or its PyTorch file is malformed.
    """
    if source.read(0, min(len(_GZIP), source.size)) == _GZIP:
        reason = "is compressed; unpack it with `tar -xzf`, and inspect the .ckpt file in it"
        raise CheckpointError(source.path, reason)
    start, size = _weights(source)
    contents = read_pytorch(_Slice(source, start, size), level_of)
    places = Places.of(place and place._replace(offset=place.offset + start) for place in contents.places)
    return evolve(contents, places=places)


def _weights(source: Source) -> tuple[int, int]:
    """Where the PyTorch file begins in the archive, and its bytes."""
    # not Python's tarfile: it needs a file object, and follows links and long names, which these archives do not need
    offset = 0
    for _ in range(_MOST_ENTRIES):
        if offset + _BLOCK > source.size:
            break
        header = source.read(offset, _BLOCK)
        if not header.strip(b"\0"):  # the end of the archive is two empty blocks
            break
        if header[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
            raise CheckpointError(source.path, "is not a NeMo archive: an entry is not one of a tar file", offset)
        size = _number(source, header[_SIZE], offset)
        start = offset + _BLOCK
        if start + size > source.size:
            reason = f"truncated: an entry of {size:,} bytes, {source.size - start:,} remain"
            raise TruncatedError(source.path, reason, offset)
        name = header[_NAME].rstrip(b"\0")
        if header[_KIND] in _FILE_KINDS and name.endswith(_WEIGHTS.encode()):
            return start, size
        offset = start + size + -size % _BLOCK  # contents fill whole blocks
    raise CheckpointError(source.path, "is not a NeMo archive: it holds no .ckpt file")


def _number(source: Source, field: bytes, offset: int) -> int:
    """A size: octal digits, or from 8 GiB on a binary number after a byte of 0x80."""
    if field[0] == 0x80:  # the mark of the GNU extension
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.strip(b"\0 ") or b"0", 8)
    except ValueError as error:
        raise CheckpointError(source.path, f"is not a NeMo archive: an entry of size {shown(field)}", offset) from error
