"""Mutations of bytes: what a file may suffer, and the numbers that break parsers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random

_NUMBERS = (0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0xFFFF, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, 1 << 62, (1 << 64) - 1)
_WORDS = (b"null", b"[]", b"{}", b"-1", b"1e400", b"NaN", b"true", b'""', b"18446744073709551616", b"\x00", b"\xff\xfe")
_LONGEST = 1 << 16


def mutated(random: Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, changed in a few places."""
    data = bytearray(random.choice(seeds))
    for _ in range(1 << random.randrange(5)):
        at = random.randrange(len(data) + 1)
        end = min(len(data), at + (1 << random.randrange(7)))
        match random.randrange(8):
            case 0 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 1 if at < len(data):
                data[at] = random.randrange(256)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * (1 << random.randrange(4))
            case 4:
                number, width = random.choice(_NUMBERS), random.choice("BHIQ")
                packed = struct.pack(random.choice("<>") + width, number % (1 << 8 * struct.calcsize(width)))
                data[at : at + len(packed)] = packed
            case 5:
                data[at:at] = random.choice(_WORDS)
            case 6:
                other = random.choice(seeds)
                start = random.randrange(len(other) + 1)
                data[at:end] = other[start : start + 64]
            case 7 if not random.randrange(4):
                del data[at:]
            case _:
                pass
    return bytes(data[:_LONGEST])
