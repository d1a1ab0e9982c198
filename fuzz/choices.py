"""Bytes as a series of choices, for targets that build their input instead of parsing it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, final

T = TypeVar("T")

#: numbers at which arithmetic goes wrong
ODD_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 16, 31, 32, 33, 64, 127, 128, 129, 255, 256, 1024, 4096, 65536, 1 << 31, 1 << 63)


@final
class Choices:
    """Reads a choice from each byte; the first of all where the bytes have run out."""

    def __init__(self, data: bytes) -> None:
        self._bytes = iter(data)

    def number(self, below: int) -> int:
        """A number from 0 to below this one."""
        return next(self._bytes, 0) % below

    def one_of(self, values: Sequence[T]) -> T:
        """One of up to 256 values."""
        return values[self.number(len(values))]
