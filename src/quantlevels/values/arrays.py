"""Bytes as arrays of unsigned integers, and the few questions that every check asks them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

import numpy as np
from attrs import frozen

from quantlevels.values.encodings import Encoding

if TYPE_CHECKING:
    import numpy.typing as npt

#: elements as the integers that have their bits
Bits: TypeAlias = "npt.NDArray[np.unsignedinteger[Any]]"  # Any: any width
Bytes: TypeAlias = "npt.NDArray[np.uint8]"

#: Bytes of an element → its type without and with a sign. Any: numpy cannot tell a type from its name.
_UNSIGNED: Final[dict[int, np.dtype[Any]]] = {size: np.dtype(f"<u{size}") for size in (1, 2, 4, 8)}
_SIGNED: Final[dict[int, np.dtype[Any]]] = {size: np.dtype(f"<i{size}") for size in (1, 2, 4, 8)}


#: Bytes that are read at a time: of more, less stays in the cache of a core.
CHUNK: Final = 1 << 20


@final
@frozen(eq=False)
class Chunk:
    """Bytes of one tensor that were read together: one stretch, or the windows of a sample one after the other.

    Args:
        data: the bytes, least significant byte of a number first.
        starts: of each stretch the byte in the tensor, in rising order.
        length: bytes of each stretch.
    """

    data: Bytes
    starts: tuple[int, ...]
    length: int

    def position(self, byte: int) -> int:
        """Where a byte of the chunk is in the tensor."""
        stretch, within = divmod(byte, self.length)
        return self.starts[stretch] + within


def as_bits(data: Bytes, nbytes: int) -> Bits:
    """Bytes as unsigned integers of so many bytes each; what is left at the end is dropped."""
    return data[: data.size - data.size % nbytes].view(_UNSIGNED[nbytes])


def largest_magnitude(bits: Bits, encoding: Encoding) -> int:
    """The largest magnitude, sign bits aside; two passes that write nothing."""
    largest = int(bits.max())
    if largest < encoding.sign or not encoding.signed:
        return largest
    # some are negative, of which the largest is the one with the largest magnitude; as signed integers the positive
    # ones come out on top
    positive = int(bits.view(_SIGNED[encoding.nbytes]).max())
    return max(largest & encoding.magnitude, positive)


def has_negative_zero(bits: Bits, encoding: Encoding) -> bool:
    """Whether -0 is among them, which is the least signed integer."""
    return int(bits.view(_SIGNED[encoding.nbytes]).min()) == -encoding.sign


def magnitudes(bits: Bits, encoding: Encoding) -> Bits:
    """The bits without their signs, in new memory."""
    return bits & bits.dtype.type(encoding.magnitude)


def byte_swapped(data: Bytes, nbytes: int) -> Bytes:
    """The bytes of each number in reverse order, in new memory."""
    return data.reshape(-1, nbytes)[:, ::-1].reshape(-1)


def finite_values(bits: Bits, encoding: Encoding) -> npt.NDArray[np.float64]:
    """The magnitudes of elements as numbers; those that are not finite come out as large numbers."""
    magnitude = magnitudes(bits, encoding)
    exponent = (magnitude >> np.uint8(encoding.mantissa)).astype(np.int64)
    fraction = (magnitude & magnitude.dtype.type(encoding.fraction)).astype(np.float64) / (1 << encoding.mantissa)
    normal = exponent > 0  # the others have no leading one, and the exponent of the smallest normal numbers
    exponent = np.where(normal, exponent, 1) - encoding.bias
    return np.ldexp(fraction + normal, exponent)
