"""The record of a layout: a level in groups with scales.

A module of its own, as it takes half a millisecond to import, and few programs that use levels need layouts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from attrs import field, frozen

from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel, axes, ceil_div, natural, positive

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["Layout"]


@final
@frozen(order=False)
class Layout:
    """A level as a scheme stores it: codes in groups along each row, one scale and perhaps one zero point per group.

    Args:
        level: the level of the codes.
        group_size: weights that share one scale along a row, at least 1.
        scale_bits: width of a scale.
        zero_point_bits: width of a zero point; 0 if none is stored.

    Raises:
        TypeError, ValueError: for anything but such integers.
    """

    level: QuantizationLevel
    group_size: int = field(validator=positive)
    scale_bits: int = field(default=16, validator=natural)
    zero_point_bits: int = field(default=0, validator=natural)

    @property
    def bits_per_weight(self) -> Fraction:
        """Bits that one weight takes in storage, exact: its code, and its share of the scale and zero point."""
        from fractions import Fraction

        return self.level.bits_per_weight + Fraction(self.scale_bits + self.zero_point_bits, self.group_size)

    def nbytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor of ``shape`` (weights per axis, rows last).

        Codes, scales and zero points are three arrays; each row of each array takes whole bytes, and a last group that
        is not full has a scale of its own.

        Raises:
            TypeError, ValueError: for sizes that are not integers, or are negative.
        """
        *outer, row = axes(shape)
        groups = ceil_div(row, self.group_size)
        # per row, although kernels may pad more: what a tool pads beyond that is its scheme's to say
        scales = ceil_div(groups * self.scale_bits, BITS_PER_BYTE)
        zero_points = ceil_div(groups * self.zero_point_bits, BITS_PER_BYTE)
        return self.level.nbytes(shape) + math.prod(outer) * (scales + zero_points)
