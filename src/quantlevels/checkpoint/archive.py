"""Zip archives of entries that are not compressed, as ``torch.save`` writes them, read by their central directory.

Layout: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from quantlevels.checkpoint.source import shown
from quantlevels.container import TruncatedError
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from quantlevels.container import Source

MAGIC: Final = b"PK\x03\x04"

_LOCAL: Final = struct.Struct("<4s2xHH16xHH")
_CENTRAL: Final = struct.Struct("<4s4xHH8xLLHHH8xL")
_END: Final = struct.Struct("<4s6xHLLH")
_LOCATOR64: Final = struct.Struct("<4s4xQ4x")
_END64: Final = struct.Struct("<4s28xQQQ")
_EXTRA: Final = struct.Struct("<HH")
#: its length is 16 bits wide, so the end record is at most this far from the end of the file
_LONGEST_COMMENT: Final = 0xFFFF
#: 128 MiB, held in memory at once: about 1.5 million entries, far beyond what torch writes
_LARGEST_DIRECTORY: Final = 1 << 27
_SMALL_ENTRIES: Final = 1 << 12
_ENCRYPTED: Final = 1
_STORED: Final = 0
_DEFLATED: Final = 8
#: kind of the extra field with 64-bit sizes, and the 32-bit value that stands for one of them
_ZIP64: Final = 1
_IN_EXTRA: Final = 0xFFFFFFFF


class Entry(NamedTuple):
    """One file of an archive."""

    #: bytes before its local header in the file
    offset: int
    nbytes: int
    #: bytes that it takes in the file, compressed or not
    packed: int
    #: neither compressed nor encrypted
    stored: bool
    #: compressed in the common way, and not encrypted
    deflated: bool


class Archive:
    """A zip archive by its central directory: every entry within the file, apart from the others, under its own name.

    Args:
        source: the open file.

    Raises:
        CheckpointError: if it is truncated, something precedes it, or a name leads outside of it or is repeated.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        count, start, size = self._locate()
        if size > _LARGEST_DIRECTORY:
            raise self._broken(f"a directory of {size:,} bytes", start)
        #: name → entry
        self.entries: dict[str, Entry] = {}
        # the last entries are small in files of torch: they come along with the directory
        lead = min(start, _SMALL_ENTRIES)
        directory = source.read(start - lead, lead + size)[lead:]
        at = 0
        while at < size:
            name, entry, following = self._read_entry(directory, at, start)
            if name in self.entries:
                raise self._broken(f"two entries named {shown(name)}", start + at)
            self.entries[name] = entry
            at = following
        # torch refuses such an archive too, so the directory alone is not believed
        if len(self.entries) != count:
            raise self._broken(f"its directory has {len(self.entries):,} entries and claims {count:,}", start)
        #: where entries begin, and the directory
        self._starts = self._checked_starts(start)

    def _read_entry(self, directory: bytes, at: int, start: int) -> tuple[str, Entry, int]:
        """Name and entry of one record of the directory, and where the next record begins.

        Args:
            directory: all of it.
            at: where in the directory the record begins.
            start: where in the file the directory begins.
        """
        header = directory[at : at + _CENTRAL.size]
        if len(header) < _CENTRAL.size or not header.startswith(b"PK\x01\x02"):
            raise self._broken("its directory has no entry at a place that must hold one", start + at)
        _, flags, method, packed, nbytes, *lengths, offset = _CENTRAL.unpack(header)
        extra_at = at + _CENTRAL.size + lengths[0]
        following = at + _CENTRAL.size + sum(lengths)
        if following > len(directory):
            raise self._broken("its directory ends within an entry", start + at)
        name = directory[at + _CENTRAL.size : extra_at].decode(errors="replace")
        nbytes, packed, offset = _wide([nbytes, packed, offset], directory[extra_at : extra_at + lengths[1]])
        # nothing is unpacked here, but users go on to tools that unpack what was found sound
        if name.startswith("/") or "\\" in name or "\0" in name or ".." in PurePosixPath(name).parts:
            raise self._broken(f"the entry {shown(name)} leads outside of the archive", start + at)
        plain = not flags & _ENCRYPTED
        stored = plain and method == _STORED and packed == nbytes
        return name, Entry(offset, nbytes, packed, stored, plain and method == _DEFLATED), following

    def _checked_starts(self, directory: int) -> list[int]:
        """Where entries and the directory begin, sorted; no entry may overlap another one or lie behind it."""
        extents = [(entry.offset, entry.offset + _LOCAL.size + entry.packed) for entry in self.entries.values()]
        extents.append((directory, directory))
        extents.sort()
        for (_, end), (following, _) in pairwise(extents):
            if end > following:
                raise self._broken("an entry overlaps what follows it", following)
        if extents[-1][0] > directory:
            raise self._broken("an entry lies after its directory", extents[-1][0])
        return [begin for begin, _ in extents]

    def span(self, name: str) -> tuple[int, int]:
        """Where the bytes of a stored entry begin and end in the file.

        Raises:
            CheckpointError: if it is compressed or encrypted, or its local header is not what the directory says.
        """
        entry = self.entries[name]
        encoded = name.encode()
        local = self.source.read(entry.offset, _LOCAL.size + len(encoded))
        magic, flags, method, name_length, extra_length = _LOCAL.unpack_from(local)
        if magic != MAGIC or not entry.stored or method != _STORED or flags & _ENCRYPTED:
            raise self._broken(f"the entry {shown(name)} is compressed, encrypted or missing", entry.offset)
        if name_length != len(encoded) or local[_LOCAL.size :] != encoded:
            raise self._broken(f"the entry {shown(name)} has another name in its own header", entry.offset)
        start = entry.offset + _LOCAL.size + name_length + extra_length
        end = start + entry.nbytes
        # checked again: only the local header tells how long its own extra field is
        following = self._starts[bisect_right(self._starts, entry.offset)]
        if end > following:
            raise self._broken(f"the entry {shown(name)} overlaps what follows it", following)
        return start, end

    def packed(self, name: str, most: int) -> bytes:
        """The first bytes of a deflated entry as they stand in the file, ``most`` or fewer.

        Raises:
            CheckpointError: if it is encrypted, packed in another way, or not there.
        """
        entry = self.entries[name]
        magic, _, method, name_length, extra_length = _LOCAL.unpack(self.source.read(entry.offset, _LOCAL.size))
        if magic != MAGIC or not entry.deflated or method != _DEFLATED:
            raise self._broken(f"the entry {shown(name)} is encrypted, packed otherwise or missing", entry.offset)
        start = entry.offset + _LOCAL.size + name_length + extra_length
        return self.source.read(start, min(most, entry.packed))

    def _locate(self) -> tuple[int, int, int]:
        """Number of entries, start and size of the central directory."""
        size = self.source.size
        tail_at = max(size - _LOCATOR64.size - _END.size - _LONGEST_COMMENT, 0)
        tail = self.source.read(tail_at, size - tail_at)
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) - at < _END.size:
            raise TruncatedError(self.source.path, "truncated: a zip archive without the end of its directory", size)
        end = tail_at + at
        _, count, nbytes, start, comment_length = _END.unpack_from(tail, at)
        # an end record inside a comment would be found first by some readers and not by others
        if end + _END.size + comment_length != size:
            raise self._broken("bytes follow the end of the archive", end)
        # torch writes the 64-bit end, whether it is needed or not
        at -= _LOCATOR64.size
        if at >= 0 and tail[at : at + 4] == b"PK\x06\x07":
            _, end64 = _LOCATOR64.unpack_from(tail, at)
            end -= _LOCATOR64.size + _END64.size
            magic, count, nbytes, start = _END64.unpack(self.source.read(end, _END64.size))
            if magic != b"PK\x06\x06" or end64 != end:
                raise self._broken("its 64-bit end record is not at the offset it gives", end)
        if start + nbytes != end:
            raise self._broken("its directory is not at the offset its end record gives", end)
        return count, start, nbytes

    def _broken(self, reason: str, offset: int) -> CheckpointError:
        return CheckpointError(self.source.path, f"is not a valid zip archive: {reason}", offset)


def _wide(narrow: list[int], extra: bytes) -> list[int]:
    """Sizes and offset, those that do not fit in 32 bits from the ZIP64 extra field."""
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if kind == _ZIP64:
            end = min(at + length, len(extra))
            values = (int.from_bytes(extra[i : i + 8], "little") for i in range(at, end - 7, 8))
            # the field holds only the values that do not fit, in the order of the directory
            return [next(values, value) if value == _IN_EXTRA else value for value in narrow]
        at += length
    return narrow
