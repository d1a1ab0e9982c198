"""How the elements of a tensor are read as integers, which is exact and needs no floating type of numpy."""

from __future__ import annotations

from typing import Final, final

from attrs import frozen


@final
@frozen(kw_only=True)
class Encoding:
    """A number format, in terms of the unsigned integers that have the same bits.

    Args:
        nbytes: bytes of an element.
        mantissa: bits of the fraction.
        bias: of the exponent.
        limit: the least magnitude (bits without the sign) that is not finite.
        signed: whether the top bit is a sign.
        nan_is_negative_zero: whether the only NaN has the bits of -0, as in the formats that end in FNUZ.
    """

    nbytes: int
    mantissa: int
    bias: int
    limit: int
    signed: bool = True
    nan_is_negative_zero: bool = False

    @property
    def bits(self) -> int:
        """Bits of an element."""
        return 8 * self.nbytes

    @property
    def sign(self) -> int:
        """The bit of the sign; 0 for a format without a sign."""
        return 1 << (self.bits - 1) if self.signed else 0

    @property
    def magnitude(self) -> int:
        """All bits but the sign."""
        return (1 << self.bits) - 1 - self.sign

    @property
    def fraction(self) -> int:
        """The bits of the mantissa."""
        return (1 << self.mantissa) - 1

    def power_of_two(self, exponent: int) -> int:
        """The bits of 2 to a power, at least those of the smallest number and at most the limit."""
        field = min(exponent + self.bias, self.limit >> self.mantissa)
        if field > 0:
            return field << self.mantissa
        return 1 << max(self.mantissa + field - 1, 0)  # subnormal: one bit of the fraction, at least the lowest

    def value(self, magnitude: int) -> float:
        """The number that has these bits."""
        exponent, fraction = magnitude >> self.mantissa, magnitude & self.fraction
        if exponent == 0:
            return fraction * 2.0 ** (1 - self.bias - self.mantissa)
        return (1 + fraction / (1 << self.mantissa)) * 2.0 ** (exponent - self.bias)


F32: Final = Encoding(nbytes=4, mantissa=23, bias=127, limit=0x7F80_0000)
F16: Final = Encoding(nbytes=2, mantissa=10, bias=15, limit=0x7C00)
BFLOAT16: Final = Encoding(nbytes=2, mantissa=7, bias=127, limit=0x7F80)
E8M0: Final = Encoding(nbytes=1, mantissa=0, bias=127, limit=0xFF, signed=False)
E4M3: Final = Encoding(nbytes=1, mantissa=3, bias=7, limit=0x7F)

#: Name of a level whose elements are floating numbers of whole bytes → how they are read.
#: Sources: IEEE 754-2019; OCP 8-bit Floating Point Specification 1.0; OCP Microscaling Formats 1.0; ml_dtypes 0.5.
ENCODINGS: Final[dict[str, Encoding]] = {
    "None": F32,
    "Float16": F16,
    "BFloat16": BFLOAT16,
    "Float64": Encoding(nbytes=8, mantissa=52, bias=1023, limit=0x7FF0_0000_0000_0000),
    "Float8E4M3FN": E4M3,
    "Float8E4M3FNUZ": Encoding(nbytes=1, mantissa=3, bias=8, limit=0x80, nan_is_negative_zero=True),
    "Float8E4M3B11FNUZ": Encoding(nbytes=1, mantissa=3, bias=11, limit=0x80, nan_is_negative_zero=True),
    "Float8E5M2": Encoding(nbytes=1, mantissa=2, bias=15, limit=0x7C),
    "Float8E5M2FNUZ": Encoding(nbytes=1, mantissa=2, bias=16, limit=0x80, nan_is_negative_zero=True),
    "Float8E8M0FNU": E8M0,
}
#: The types of plain weights: wide enough that something narrower can be inside.
WIDE: Final = ("Float64", "None", "Float16", "BFloat16")
