"""A level as a scheme stores it: codes in groups, with scales and zero points beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from attrs import field, frozen

from quantlevels.level import BITS_PER_BYTE, QuantizationLevel, axes, positive

if TYPE_CHECKING:
    from fractions import Fraction

    from attrs import Attribute


def natural(instance: object, attribute: Attribute[int], value: int) -> None:
    """Raise TypeError or ValueError for anything but an integer of at least 0."""
    if type(value) is not int:
        raise TypeError(f"{attribute.name} must be an integer, not {value!r}")
    if value < 0:
        raise ValueError(f"{attribute.name} must not be negative, not {value}")


@final
@frozen(order=False)
class Layout:
    """A level as a scheme stores it: codes in groups along each row, a scale and perhaps a zero point a group.

    Args:
        level: the level of the codes.
        group_size: weights that share one scale along a row, at least 1.
        scale_bits: width of a scale.
        zero_point_bits: width of a zero point; 0 where none is stored.

    Raises:
        TypeError, ValueError: for sizes that are not such integers.
    """

    level: QuantizationLevel
    group_size: int = field(validator=positive)
    scale_bits: int = field(default=16, validator=natural)
    zero_point_bits: int = field(default=0, validator=natural)

    @property
    def bits_per_weight(self) -> Fraction:
        """Bits one weight takes in storage: its code and its share of scale and zero point, exact."""
        from fractions import Fraction

        return self.level.bits_per_weight + Fraction(self.scale_bits + self.zero_point_bits, self.group_size)

    def nbytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor of ``shape`` (weights per axis, rows last).

        Codes, scales and zero points are three arrays; each row of each takes whole bytes, and a last group that is
        not full has a scale of its own.

        Raises:
            TypeError, ValueError: for sizes that are no integers, or are negative.
        """
        *outer, row = axes(shape)
        groups = -(-row // self.group_size)
        sides = sum(-(-groups * bits // BITS_PER_BYTE) for bits in (self.scale_bits, self.zero_point_bits))
        return self.level.nbytes(shape) + math.prod(outer) * sides
