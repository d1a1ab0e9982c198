"""Damage in one tensor: what no writer means to store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import numpy as np

from quantlevels.values.arrays import (
    Chunk,
    as_bits,
    byte_swapped,
    finite_values,
    has_negative_zero,
    largest_magnitude,
    magnitudes,
)
from quantlevels.values.encodings import F16
from quantlevels.values.ggml import IQ1_M_SCALE
from quantlevels.values.records import Damage

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantlevels.container import ByteOrder
    from quantlevels.values.arrays import Bits
    from quantlevels.values.encodings import Encoding
    from quantlevels.values.subjects import Subject

#: the largest magnitude that real weights come near, as a power of two: a survey of eight models found 1,000 at most
#: (paiml/aprender#2039)
_IMPLAUSIBLE: Final = 14
#: the magnitudes that real weights keep to, as powers of two; FP16 has no larger exponents that would show a mistake
_USUAL: Final = (-47, 13)
_USUAL_F16: Final = (-24, 4)
#: how many may be outside them as stored, and with bytes swapped: far apart, since a wrong order gives random exponents
_MOST_UNUSUAL: Final = 0.30
_MOST_UNUSUAL_SWAPPED: Final = 0.01
_LEAST_NONZERO: Final = 1024
#: scales of zero that are looked at: for each, the codes of its group are read again
_MOST_ZEROS: Final = 64


@final
class NotFinite:
    """QL601: NaN and infinity, counted, with the place of the first."""

    __slots__ = ("first", "infinities", "nans", "subject")

    def __init__(self, subject: Subject) -> None:
        self.subject: Subject = subject
        self.nans: int = 0
        self.infinities: int = 0
        self.first: int | None = None  # byte in the tensor

    @property
    def count(self) -> int:
        """How many values."""
        return self.nans + self.infinities

    def add(self, chunk: Chunk, bits: Bits, encoding: Encoding) -> None:
        """Count in a chunk that is known to hold some."""
        magnitude = magnitudes(bits, encoding)
        if encoding.nan_is_negative_zero:
            bad = bits == bits.dtype.type(encoding.sign)
            nans = bad
        else:
            bad = magnitude >= magnitude.dtype.type(encoding.limit)
            # formats whose limit has a fraction of its own have no infinity
            has_infinity = encoding.limit & encoding.fraction == 0 and encoding.mantissa > 0
            nans = bad
            if has_infinity:
                nans = bad & (magnitude > magnitude.dtype.type(encoding.limit))
        self.count_in(chunk, bad, nans, encoding.nbytes)

    def count_in(self, chunk: Chunk, bad: npt.NDArray[np.bool_], nans: npt.NDArray[np.bool_], step: int) -> None:
        """Count elements, or blocks, of so many bytes each."""
        number = int(np.count_nonzero(nans))
        self.nans += number
        self.infinities += int(np.count_nonzero(bad)) - number
        if self.first is None:
            self.first = chunk.position(int(np.argmax(bad)) * step)

    def damage(self, values_read: int) -> Damage | None:
        """The finding, if there was any."""
        if self.first is None:
            return None
        subject = self.subject
        kinds = [f"{count:,} {kind}" for count, kind in ((self.nans, "NaN"), (self.infinities, "infinite")) if count]
        if subject.blocks or subject.dtype == "IQ1_M":
            block = self.first // subject.block_nbytes
            message = f"scales of {self.count:,} blocks are not finite, first in block {block:,}"
            first: tuple[int, ...] = (block,)
        else:
            first = subject.index(self.first // subject.block_nbytes)
            message = f"{' and '.join(kinds)}, first at {list(first)}"
        return Damage(
            code="QL601",
            tensor=subject.name,
            message=message,
            count=self.count,
            first=first,
            offset=subject.place.offset + self.first,
            values_read=values_read,
        )


@final
class Floats:
    """Checks of the elements of a floating tensor."""

    __slots__ = (
        "_implausible",
        "_tiny",
        "encoding",
        "has_subnormal",
        "is_zero",
        "largest",
        "largest_at",
        "not_finite",
        "subject",
        "zeros",
    )

    def __init__(self, subject: Subject, encoding: Encoding) -> None:
        self.subject: Subject = subject
        self.encoding: Encoding = encoding
        self.not_finite: NotFinite = NotFinite(subject)
        self.largest: int = 0  # magnitude of the largest finite value
        self.largest_at: int | None = None
        self.is_zero: bool = True
        self.zeros: list[int] = []  # the first elements that are zero, of a scale
        self.has_subnormal: bool = False
        self._implausible = encoding.power_of_two(_IMPLAUSIBLE)
        self._tiny = encoding.power_of_two(_USUAL[0])

    def read(self, chunk: Chunk) -> None:
        """Take the next bytes."""
        encoding = self.encoding
        bits = as_bits(chunk.data, encoding.nbytes)
        if encoding.nan_is_negative_zero and has_negative_zero(bits, encoding):
            self.not_finite.add(chunk, bits, encoding)
        largest = largest_magnitude(bits, encoding)
        if largest:
            self.is_zero = False
        if self.subject.role == "scale":
            self._note_zeros(chunk, bits)
        if largest >= encoding.limit:  # rare, so that only then memory is taken to look at each value
            self.not_finite.add(chunk, bits, encoding)
            magnitude = magnitudes(bits, encoding)
            finite = magnitude[magnitude < magnitude.dtype.type(encoding.limit)]
            largest = int(finite.max()) if finite.size else 0
        if largest > self.largest:
            self.largest = largest
            if largest > self._implausible and encoding.nbytes > 1:  # FP8 weights use their whole range, by their scale
                place = int(np.argmax(magnitudes(bits, encoding) == bits.dtype.type(largest)))
                self.largest_at = chunk.position(place * encoding.nbytes)

    @property
    def is_mask(self) -> bool:
        """Whether it holds zeros and infinities alone, which is how attention is masked."""
        return not self.not_finite.nans and not self.largest

    @property
    def is_suspicious(self) -> bool:
        """Whether a value is too large for a weight, or all are too small: reason to look at the order of bytes."""
        too_small = 0 < self.largest < self._tiny and self.encoding is not F16
        return self.largest_at is not None or self.not_finite.first is not None or too_small

    def _note_zeros(self, chunk: Chunk, bits: Bits) -> None:
        magnitude = magnitudes(bits, self.encoding)
        smallest_normal = magnitude.dtype.type(1 << self.encoding.mantissa)
        zero = magnitude == 0
        self.has_subnormal = self.has_subnormal or bool((~zero & (magnitude < smallest_normal)).any())
        wanted = _MOST_ZEROS - len(self.zeros)
        if wanted and bool(zero.any()):
            size = self.encoding.nbytes
            places = np.flatnonzero(zero)[:wanted].tolist()
            self.zeros += [chunk.position(place * size) // size for place in places]

    def implausible(self, sample: Bits, values_read: int) -> Damage | None:
        """QL606, given some values of the tensor."""
        if self.largest_at is None or not self.subject.is_matrix or self.subject.role != "weight":
            return None
        values = finite_values(sample, self.encoding)
        # large values are usual in this tensor, or it holds whole numbers: positions, token counts
        if float(np.median(values)) > 1 or bool((values == np.rint(values)).all()):
            return None
        first = self.subject.index(self.largest_at // self.encoding.nbytes)
        value = self.encoding.value(self.largest)
        return Damage(
            code="QL606",
            tensor=self.subject.name,
            message=(
                f"magnitude {value:.3g} at {list(first)}, while half of the values are below"
                f" {float(np.median(values)):.3g}"
            ),
            count=1,
            first=first,
            offset=self.subject.place.offset + self.largest_at,
            values_read=values_read,
        )


def byte_order(subject: Subject, encoding: Encoding, sample: Chunk, values_read: int) -> Damage | None:
    """QL607: values that make sense only with their bytes swapped, given some values of the tensor."""
    stored = _unusual_share(as_bits(sample.data, encoding.nbytes), encoding)
    if stored is None or stored <= _MOST_UNUSUAL:
        return None
    swapped = _unusual_share(as_bits(byte_swapped(sample.data, encoding.nbytes), encoding.nbytes), encoding)
    if swapped is None or swapped >= _MOST_UNUSUAL_SWAPPED:
        return None
    return Damage(
        code="QL607",
        tensor=subject.name,
        message=(
            f"{stored:.0%} of the values have exponents that no weight has, but only {swapped:.0%} if their bytes"
            " are swapped: the bytes are swapped, or shifted by one"
        ),
        count=values_read,
        values_read=values_read,
    )


def _unusual_share(bits: Bits, encoding: Encoding) -> float | None:
    """The share of nonzero values outside the magnitudes of real weights; None if there are too few."""
    magnitude = magnitudes(bits, encoding)
    nonzero = magnitude[magnitude > 0]
    if nonzero.size < _LEAST_NONZERO:
        return None
    usual = _USUAL_F16 if encoding is F16 else _USUAL
    low, high = (encoding.power_of_two(exponent) for exponent in usual)
    kind = nonzero.dtype.type
    return 1 - float(np.count_nonzero((nonzero >= kind(low)) & (nonzero <= kind(high)))) / nonzero.size


@final
class Blocks:
    """Checks of the scales inside the blocks of a ggml tensor."""

    __slots__ = ("_code", "_order", "codes_vary", "is_zero", "not_finite", "scales_are_zero", "subject")

    def __init__(self, subject: Subject, order: ByteOrder) -> None:
        self.subject: Subject = subject
        self._order = ">" if order == "big" else "<"
        self.not_finite: NotFinite = NotFinite(subject)
        self.is_zero: bool = True
        self.scales_are_zero: bool = True
        self.codes_vary: bool = False
        self._code: int | None = None

    def read(self, chunk: Chunk) -> None:
        """Take the next blocks, whole."""
        size = self.subject.block_nbytes
        count = chunk.data.size // size
        blocks = chunk.data[: count * size].reshape(count, size)
        if self.is_zero and bool(chunk.data.any()):
            self.is_zero = False
        bad = self._bad_blocks(blocks)
        if bad is not None:
            self.not_finite.count_in(chunk, bad, bad, size)
        if self.subject.blocks and not self.codes_vary:
            begin, end = self.subject.blocks.codes
            codes = blocks[:, begin:end]
            if codes.size:  # some types keep their codes among finer scales: then nothing is known of them alone
                low, high = int(codes.min()), int(codes.max())
                self.codes_vary = low != high or self._code not in (None, low)
                self._code = low

    def _bad_blocks(self, blocks: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_] | None:
        if self.subject.dtype == "IQ1_M":
            return self._bad_iq1_m(blocks)
        scales = self.subject.blocks
        if scales is None:
            return None
        bad: npt.NDArray[np.bool_] | None = None
        for offset in scales.offsets:
            # the field of every block, a block's length apart, without copying them
            field = np.ndarray(
                (blocks.shape[0],),
                np.dtype(f"{self._order}u{scales.encoding.nbytes}"),
                blocks.data,
                offset,
                (self.subject.block_nbytes,),
            )
            magnitude = magnitudes(field, scales.encoding)
            largest = int(magnitude.max())
            if largest:
                self.scales_are_zero = False
            if largest >= scales.encoding.limit:
                wrong = magnitude >= magnitude.dtype.type(scales.encoding.limit)
                bad = wrong if bad is None else bad | wrong
        return bad

    def _bad_iq1_m(self, blocks: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_] | None:
        words = np.ascontiguousarray(blocks[:, IQ1_M_SCALE:]).view(np.dtype(f"{self._order}u2"))
        scale = np.zeros(blocks.shape[0], np.uint16)
        for nibble in range(4):
            scale |= (words[:, nibble] >> np.uint16(12)) << np.uint16(4 * nibble)
        if bool((scale & 0x7FFF).any()):
            self.scales_are_zero = False
        bad = (scale & 0x7C00) == 0x7C00  # the exponent of FP16 in NaN and infinity
        return bad if bool(bad.any()) else None


@final
class Words:
    """Checks of packed codes and of integers: whether they vary."""

    __slots__ = ("first", "is_zero", "subject", "varies")

    def __init__(self, subject: Subject) -> None:
        self.subject: Subject = subject
        self.varies: bool = False
        self.is_zero: bool = True
        self.first: int | None = None

    def read(self, chunk: Chunk) -> None:
        """Take the next bytes."""
        if self.varies:
            return
        width = self.subject.block_nbytes
        words = as_bits(chunk.data, width if width in (1, 2, 4, 8) else 1)
        low, high = int(words.min()), int(words.max())
        self.varies = low != high or self.first not in (None, low)
        self.first = low
        if high:
            self.is_zero = False
