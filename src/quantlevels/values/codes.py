"""Codes that are in use: packed weights that would fit in fewer bits than their level has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

import numpy as np

from quantlevels.values.arrays import as_bits
from quantlevels.values.records import Effective

if TYPE_CHECKING:
    from quantlevels.values.arrays import Bytes, Chunk
    from quantlevels.values.subjects import Subject

#: fewest codes of a module, and distinct ones, that say something: with one or two it is constant, or a mask
_LEAST_CODES: Final = 4096
_LEAST_DISTINCT: Final = 3
_BYTE: Final = 256
_NONE: Final = np.zeros(0, dtype=bool)
#: bytes of a chunk that are counted at first; nearly always they show that all codes are in use
_GLANCE: Final = 4096

_CodeKind: TypeAlias = Literal["bytes", "nibbles", "e4m3"]


def _kind(subject: Subject) -> _CodeKind | None:
    weight = subject.weight
    level_name = weight.level.name
    if subject.role != "codes" and not (subject.role == "weight" and weight.quantized and subject.is_matrix):
        return None
    if level_name in ("Int8", "UInt8") and subject.dtype in ("Int8", "UInt8"):
        return "bytes"
    if level_name in ("Int4", "UInt4") and weight.code_bits == 4 and subject.block_weights == 1:
        return "nibbles"
    if level_name == subject.dtype == "Float8E4M3FN":
        return "e4m3"
    return None


@final
class CodesInUse:
    """Which codes of one tensor were seen."""

    __slots__ = ("_codes", "_kind", "_open", "_seen", "subject")

    def __init__(self, subject: Subject, kind: _CodeKind) -> None:
        self.subject: Subject = subject
        self._kind = kind
        self._seen = np.zeros(_BYTE, dtype=bool)
        self._codes = 0
        self._open = True

    @classmethod
    def of(cls, subject: Subject) -> CodesInUse | None:
        """The check of a tensor; None if it holds no codes that can be told apart."""
        kind = _kind(subject)
        return cls(subject, kind) if kind else None

    def read(self, chunk: Chunk) -> None:
        """Take the next bytes."""
        if not self._open:
            return
        data = as_bits(chunk.data, 1)
        for part in (data[:_GLANCE], data[_GLANCE:]):
            if part.size and self._open:
                self._count(part)

    def _count(self, data: Bytes) -> None:
        self._seen |= np.bincount(data, minlength=_BYTE) > 0
        codes_per_byte = 2 if self._kind == "nibbles" else 1
        self._codes += data.size * codes_per_byte
        self._open = self._bits() is not None
        if not self._open:
            self._seen = _NONE

    def _distinct(self) -> int:
        return self._nibbles() if self._kind == "nibbles" else int(np.count_nonzero(self._seen))

    def _nibbles(self) -> int:
        """How many of the values that half a byte can have."""
        pairs = np.flatnonzero(self._seen)
        return np.union1d(pairs % 16, pairs // 16).size

    def _bits(self) -> int | None:
        """Bits that hold all codes seen, if the level has more."""
        if self._kind == "nibbles":
            distinct = self._nibbles()
            if distinct > 4:
                return None
            return 2 if distinct > 2 else 1
        codes = np.flatnonzero(self._seen)
        if self._kind == "bytes":
            signed = codes.astype(np.uint8).view(np.int8)
            # torchao and compressed-tensors keep int4 a byte each, signed or from 0 to 15
            if self.subject.dtype == "Int8" and int(signed.min()) >= -8 and int(signed.max()) <= 7:
                return 4
            return 4 if int(codes.max()) <= 15 else None
        # E4M3: four bits of exponent, three of fraction. Only the highest of the fraction in use is an E2M1 number
        # with a scale that is a power of two
        normal = codes[(codes & 0x78) != 0]
        if bool((normal & 0x03).any()):
            return None
        return 4

    def shown(self) -> Effective | None:
        """What the codes would fit in."""
        if not self._open or self._codes < _LEAST_CODES:
            return None
        bits = self._bits()
        if bits is None or self._distinct() < _LEAST_DISTINCT:
            return None
        return Effective(
            stored=self.subject.weight.level.name,
            bits=bits,
            rule="unused-codes",
            levels=self._distinct(),
            parameters=self.subject.weight.parameters,
            values_read=self._codes,
        )
