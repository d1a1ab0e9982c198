"""The least precision that holds every value of a weight that was read.

Each test makes a statement that is exact for the values read, and one counterexample refutes it. Honest weights are
refuted by the first few values; what is left is tested on all that is read. The statements and the guards against
false alarms were measured on honest and on dequantized weights of every kind.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol, final

import numpy as np
from attrs import evolve, frozen

from quantlevels.values.arrays import magnitudes
from quantlevels.values.encodings import BFLOAT16, F16, F32, Encoding

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantlevels.values.arrays import Bits
    from quantlevels.values.records import PrecisionRule

#: rows and columns of the blocks that share a scale in FP8
BLOCK: Final = 128
#: fewest elements that are tested: A_log of state-space models has log(1) to log(16) in every short row
LEAST_ELEMENTS: Final = 1024
#: most distinct values → the groups in which they are counted; None for whole rows. From 16 values on, groups are at
#: least twice as long, since honest weights fill a shorter group with values that happen to be few. The largest group
#: comes first: what holds in rows holds in their groups too.
_GROUPS: Final[dict[int, tuple[int | None, ...]]] = {
    4: (None, 256, 128, 64, 32, 16),
    8: (None, 256, 128, 64, 32, 16),
    16: (None, 256, 128, 64, 32),
    32: (None, 256, 128, 64),
    64: (None, 256, 128),
    256: (None,),
}
#: rows in which 256 distinct values are counted: at least so long, and longer ones in slices. Measured: a row of 2,048
#: has 802 values at least in BF16, 58 to 198 if it was INT8.
_LEAST_ROW_OF_256: Final = 1024
_SLICE_OF_256: Final = 2048
#: fewest groups that must count, by the most distinct values: a few groups can be poor by chance
_LEAST_GROUPS: Final = {4: 32, 8: 32, 16: 32, 32: 16, 64: 16, 256: 4}
#: fewest normal numbers in a block, for each fraction that is allowed there: 8 fractions among 20 numbers show nothing
_NORMALS_PER_FRACTION: Final = 32
#: the same in a group of 16, which is too short for that; E2M1 has two fractions, of the 128 of BF16
_NORMALS_IN_GROUP: Final = 8
#: fewest nonzero values, and powers of two between them: a tensor of one magnitude has few fractions, and is honest
_LEAST_NONZERO: Final = 256
_LEAST_BINADES: Final = 4
#: the share of zeros that a ternary weight has at least
_TERNARY_ZEROS: Final = 0.05
_BITS: Final = {2: 1, 4: 2, 8: 3, 16: 4, 32: 5, 64: 6, 256: 8}
#: values of a row that are looked at first, and the groups in them
_GLANCE: Final = 512
_GLANCE_SIZES: Final = (16, 32, 64, 128, 256, 512)
#: explicit bits of a fraction that a narrow float has at most
_FEW_BITS: Final = 3
#: what is looked at of columns, and the fewest rows that show something of them
_TILE_ROWS, _TILE_COLUMNS = 256, 64
LEAST_TILE: Final = 64
#: where fractions are counted: rows and columns of a block, None for all
_SCOPES: Final[tuple[tuple[int | None, int | None], ...]] = ((None, None), (BLOCK, BLOCK), (1, None))
#: the groups that share a scale in NVFP4: too short to count values in, but not fractions of one bit
_GROUP_SCOPE: Final = (1, 16)


@final
@frozen(kw_only=True)
class Precision:
    """What a test has shown: the fields of `Effective` that it settles."""

    bits: int
    rule: PrecisionRule
    level: str | None = None
    levels: int | None = None
    group_size: int | None = None
    block: tuple[int, int] | None = None
    by_columns: bool = False


class Test(Protocol):
    """A statement about all values of a weight."""

    @abstractmethod
    def read(self, rows: Bits) -> bool:
        """Take whole rows; whether the statement still holds."""

    @abstractmethod
    def shown(self) -> Precision | None:
        """The precision, if the statement holds and could have been refuted by honest weights."""


def distinct_in_rows(values: Bits) -> npt.NDArray[np.intp]:
    """How many distinct values each row has."""
    ordered = np.sort(values, axis=1)
    changes: npt.NDArray[np.intp] = np.count_nonzero(ordered[:, 1:] != ordered[:, :-1], axis=1)
    return changes + 1


def without_negative_zero(bits: Bits, encoding: Encoding) -> Bits:
    """The bits with +0 in place of -0, in new memory."""
    return np.where(bits == bits.dtype.type(encoding.sign), bits.dtype.type(0), bits)


def _in_groups(rows: Bits, size: int) -> Bits:
    """Groups of so many values along rows, one per row; what is left of a row is dropped."""
    whole = rows.shape[1] // size * size
    return rows[:, :whole].reshape(-1, size)


@final
class Distinct:
    """At most so many distinct values in each group along a row."""

    def __init__(self, encoding: Encoding, limit: int, size: int, *, whole_rows: bool) -> None:
        self._encoding = encoding
        self._limit = limit
        self._size = size
        self._whole_rows = whole_rows
        self._counting = 0
        self._room: list[npt.NDArray[np.int64]] = []
        self._all: Bits | None = None

    def read(self, rows: Bits) -> bool:
        """Take whole rows; whether no group has more distinct values."""
        groups = _in_groups(without_negative_zero(rows, self._encoding), self._size)
        if not groups.size:
            return False
        if int(distinct_in_rows(groups).max()) > self._limit:
            return False
        self._count(groups)
        if self._all is None or self._all.size < 2 * self._limit:
            known = np.unique(groups)
            self._all = known if self._all is None else np.union1d(self._all, known)
        return True

    def _count(self, groups: Bits) -> None:
        """Note which groups could have shown more, and how much more the format could have shown in them."""
        magnitude = magnitudes(groups, self._encoding)
        nonzero = np.count_nonzero(magnitude, axis=1)
        # pruned weights have few values in a group because they have few weights there
        counting = 2 * nonzero >= 3 * self._limit
        self._counting += int(np.count_nonzero(counting))
        if self._counting == 0:
            return
        magnitude, groups = magnitude[counting], groups[counting]
        largest = magnitude.max(axis=1, initial=0)
        smallest = np.where(magnitude == 0, np.iinfo(magnitude.dtype).max, magnitude).min(axis=1)
        negative = np.count_nonzero(groups >= groups.dtype.type(self._encoding.sign), axis=1)
        both = (negative > 0) & (negative < nonzero[counting])
        # one magnitude with both signs and zero: the format could have shown all that lies between
        ternary = (smallest == largest) & both & (nonzero[counting] < groups.shape[1])
        least = np.where(ternary, 0, smallest.astype(np.int64))
        self._room.append((largest.astype(np.int64) - least) * (1 + both))

    def shown(self) -> Precision | None:
        """The precision, if enough groups counted and the format could have shown more in them."""
        # a mask, a one-hot table or a Hadamard matrix has few values in the whole weight, not only in each group
        if self._counting < _LEAST_GROUPS[self._limit] or self._all is None or self._all.size < 2 * self._limit:
            return None
        # weights near one in BF16, or underflowing FP16, have few values because the format has no more there
        if float(np.median(np.concatenate(self._room))) < 4 * self._limit:
            return None
        size = None if self._whole_rows else self._size
        return Precision(bits=_BITS[self._limit], rule="distinct", levels=self._limit, group_size=size)


@final
class OneMagnitude:
    """Three values in the whole weight: one magnitude with both signs, and zero."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._magnitude: int | None = None
        self._zeros = self._negatives = self._elements = 0

    def read(self, rows: Bits) -> bool:
        """Take whole rows; whether there is still one magnitude."""
        magnitude = magnitudes(rows, self._encoding)
        largest = int(magnitude.max())
        if largest and self._magnitude not in (None, largest):
            return False
        zeros = int(np.count_nonzero(magnitude == 0))
        of_one_magnitude = int(np.count_nonzero(magnitude == largest))  # all of them, if the rows are zero
        if largest:
            of_one_magnitude += zeros
        if of_one_magnitude != magnitude.size:
            return False
        self._magnitude = largest or self._magnitude
        self._zeros += zeros
        self._negatives += int(np.count_nonzero(rows > rows.dtype.type(self._encoding.sign)))
        self._elements += rows.size
        return True

    def shown(self) -> Precision | None:
        """Ternary, if there are zeros and both signs."""
        nonzero = self._elements - self._zeros
        if self._zeros < _TERNARY_ZEROS * self._elements or not 0 < self._negatives < nonzero:
            return None
        return Precision(bits=2, rule="distinct", level="Ternary", levels=3)


def _fractions(rows: Bits, encoding: Encoding) -> Bits:
    """The fraction of each normal number plus one; 0 for zeros and subnormal numbers, whose fraction says nothing.

    The smallest normal numbers are left out too: subnormal numbers are rounded to them.
    """
    kind = rows.dtype.type
    normal = (rows & kind(encoding.magnitude)) >> kind(encoding.mantissa) > 1
    return np.where(normal, (rows & kind(encoding.fraction)) + kind(1), kind(0))


def _binades(rows: Bits, encoding: Encoding) -> tuple[int, int]:
    """The least and the largest exponent of normal numbers."""
    exponents = magnitudes(rows, encoding) >> rows.dtype.type(encoding.mantissa)
    normal = exponents[exponents > 0]
    if not normal.size:
        return (0, 0)
    return (int(normal.min()), int(normal.max()))


@final
class _Spread:
    """How many values and exponents were read: a guard against weights that have little to show."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._nonzero = 0
        self._least = encoding.limit
        self._most = 0

    def read(self, rows: Bits) -> None:
        self._nonzero += int(np.count_nonzero(magnitudes(rows, self._encoding)))
        least, most = _binades(rows, self._encoding)
        if most:
            self._least, self._most = min(self._least, least), max(self._most, most)

    @property
    def is_wide(self) -> bool:
        return self._nonzero >= _LEAST_NONZERO and self._most - self._least + 1 >= _LEAST_BINADES


@final
class Fractions:
    """At most so many distinct fractions in each block, each row or the whole weight: a narrow float with any scale."""

    def __init__(self, encoding: Encoding, limit: int, scope: tuple[int | None, int | None]) -> None:
        self._encoding = encoding
        self._limit = limit
        self._scope = scope
        self._spread = _Spread(encoding)
        #: the fractions of each block of the rows before that belong to the same block
        self._carried: Bits | None = None
        self._normals: npt.NDArray[np.intp] | None = None
        self._rows = 0
        self._fewest: int | None = None

    def read(self, rows: Bits) -> bool:
        """Take whole rows; whether no block has more distinct fractions."""
        self._spread.read(rows)
        height, width = self._scope
        fractions = _fractions(rows, self._encoding)
        if height == 1:
            if width:
                fractions = _in_groups(fractions, width)
            return self._judge(fractions)
        while fractions.shape[0]:
            take = fractions.shape[0]
            if height is not None:  # only up to the last row of the block that is open
                take = min(height - self._rows % height, take)
            if not self._judge(self._with_carried(_in_blocks(fractions[:take], width))):
                return False
            self._rows += take
            if height is not None and self._rows % height == 0:
                self._carried = None
            fractions = fractions[take:]
        return True

    def _with_carried(self, blocks: Bits) -> Bits:
        if self._carried is None:
            return blocks
        return np.concatenate([self._carried, blocks], axis=1)

    def _judge(self, blocks: Bits) -> bool:
        ordered = np.sort(blocks, axis=1)
        new = np.ones(ordered.shape, dtype=bool)
        new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        new &= ordered != 0
        counts = np.count_nonzero(new, axis=1)
        if int(counts.max(initial=0)) > self._limit:
            return False
        normals = np.count_nonzero(blocks, axis=1)
        least = _NORMALS_PER_FRACTION * self._limit
        if self._scope == _GROUP_SCOPE:
            least = _NORMALS_IN_GROUP
        enough = normals >= least
        if bool(enough.any()):
            most = int(counts[enough].max())
            self._fewest = most if self._fewest is None else max(self._fewest, most)
        # what is carried to the next rows of the same blocks: each fraction once, the blocks filled up with zeros
        carried = np.zeros((blocks.shape[0], self._limit), blocks.dtype)
        places = np.cumsum(new, axis=1) - 1
        block, column = np.nonzero(new)
        carried[block, places[block, column]] = ordered[block, column]
        self._carried = carried
        return True

    def shown(self) -> Precision | None:
        """The precision, if blocks had enough numbers and these differ enough in size."""
        if self._fewest is None or not self._spread.is_wide:
            return None
        level, bits = {8: ("Float8E4M3FN", 8), 4: ("Float8E5M2", 8), 2: (None, 4)}[self._limit]
        height, width = self._scope
        block = (height, width) if height and width and height > 1 else None
        group = width if height == 1 else None
        return Precision(bits=bits, rule="mantissas", level=level, levels=self._limit, block=block, group_size=group)


def _in_blocks(fractions: Bits, width: int | None) -> Bits:
    """Blocks of so many columns over all rows, one per row of the result; the last is filled up with zeros."""
    rows, columns = fractions.shape
    if width is None:
        return fractions.reshape(1, -1)
    if columns % width:
        fractions = np.pad(fractions, ((0, 0), (0, width - columns % width)))
    return fractions.reshape(rows, -1, width).swapaxes(0, 1).reshape(-1, rows * width)


@final
class FewBits:
    """No value has more than four significant bits: a narrow float, with scales that are powers of two if any."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._spread = _Spread(encoding)
        self._union = 0

    def read(self, rows: Bits) -> bool:
        """Take whole rows; whether no normal number has more significant bits."""
        self._spread.read(rows)
        fractions = _fractions(rows, self._encoding)
        fractions -= (fractions != 0).astype(fractions.dtype)
        self._union |= int(np.bitwise_or.reduce(fractions, axis=None))
        return self._union & ((1 << (self._encoding.mantissa - _FEW_BITS)) - 1) == 0

    def shown(self) -> Precision | None:
        """The precision, if the values differ enough in size."""
        if not self._spread.is_wide or not self._union:
            return None
        # the fraction bit that a four-bit float has is the highest
        bits = 4 if self._union == 1 << (self._encoding.mantissa - 1) else 8
        return Precision(bits=bits, rule="significant-bits")


@final
class Fits:
    """Every value of an F32 weight is one of BF16, or one of FP16."""

    def __init__(self, narrow: Encoding) -> None:
        self._narrow = narrow
        self._spread = _Spread(F32)

    def read(self, rows: Bits) -> bool:
        """Take whole rows; whether every value still fits."""
        # BF16 is the upper half of FP32, so that one OR of all values decides
        if self._narrow is BFLOAT16 and int(np.bitwise_or.reduce(rows, axis=None)) & 0xFFFF:
            return False
        self._spread.read(rows)
        if self._narrow is BFLOAT16:
            return True
        values = np.ascontiguousarray(rows).view(np.float32)
        with np.errstate(all="ignore"):  # NaN and infinity are values here, and overflow is an answer
            back = values.astype(np.float16).astype(np.float32)
        return np.array_equal(back.view(rows.dtype), rows)

    def shown(self) -> Precision | None:
        """The level, if enough values are not zero and they differ enough in size."""
        if not self._spread.is_wide:
            return None
        level = "BFloat16" if self._narrow is BFLOAT16 else "Float16"
        return Precision(bits=16, rule="significant-bits", level=level)


#: Q8_0: 32 weights share an FP16 scale, and the largest code is 127. Source: ggml-quants.c quantize_row_q8_0_ref
_LATTICE_GROUP: Final = 32
_LATTICE_TOP: Final = 127
#: The scale is among the FP16 numbers so near to the largest magnitude / 127, which rounding to BF16 may have moved.
_LATTICE_STEPS: Final = 12
#: distinct values that a group must have to count, and the whole weight
_LATTICE_DISTINCT: Final = 8
_LATTICE_ALL: Final = 256
#: codes so small, and how far rounding to BF16 moves such a value from a whole multiple of the scale
_SMALL_CODE: Final = 12
_NEAR: Final = 0.1


@final
class Lattice:
    """Every group of 32 is whole numbers times one FP16 scale, the largest of them 127: Q8_0."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._groups = 0
        self._all: Bits | None = None

    def read(self, rows: Bits) -> bool:
        """Take whole rows; whether every group is such a lattice."""
        if rows.shape[1] % _LATTICE_GROUP:
            return False
        groups = np.ascontiguousarray(rows).reshape(-1, _LATTICE_GROUP)
        # each group is compared with twenty-five candidates: 256 groups are 800 KiB of floats, which a cache holds
        return all(self._holds(groups[begin : begin + 256]) for begin in range(0, groups.shape[0], 256))

    def _holds(self, groups: Bits) -> bool:
        groups = without_negative_zero(groups, self._encoding)
        values = _as_float32(groups, self._encoding)
        largest = np.abs(values).max(axis=1)
        values, groups, largest = values[largest > 0], groups[largest > 0], largest[largest > 0]
        with np.errstate(all="ignore"):
            near = (largest / _LATTICE_TOP).astype(np.float16).view(np.uint16).astype(np.int64)
            steps = np.clip(near[:, None] + np.arange(-_LATTICE_STEPS, _LATTICE_STEPS + 1), 1, F16.limit - 1)
            scales = steps.astype(np.uint16).view(np.float16).astype(np.float32)[:, :, None]
            codes = np.rint(values[:, None, :] / scales)
            back = _rounded(codes * scales, self._encoding)
        exact = (back == groups[:, None, :]).all(axis=2) & (np.abs(codes).max(axis=2) == _LATTICE_TOP)
        if not exact.any(axis=1).all():
            return False
        self._groups += int(np.count_nonzero(distinct_in_rows(groups) >= _LATTICE_DISTINCT))
        if self._all is None or self._all.size < _LATTICE_ALL:
            known = np.unique(groups)
            self._all = known if self._all is None else np.union1d(self._all, known)
        return True

    def shown(self) -> Precision | None:
        """Q8_0, if enough groups have values to show."""
        if self._groups < _LEAST_GROUPS[16] or self._all is None or self._all.size < _LATTICE_ALL:
            return None
        return Precision(bits=8, rule="lattice", level="Q8_0", group_size=_LATTICE_GROUP)


def _as_float32(bits: Bits, encoding: Encoding) -> npt.NDArray[np.float32]:
    if encoding is BFLOAT16:
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if encoding is F16:
        return bits.view(np.float16).astype(np.float32)
    return bits.view(np.float32)


def _rounded(values: npt.NDArray[np.float32], encoding: Encoding) -> npt.NDArray[Any]:  # Any: the width of the format
    """Values rounded to a format, ties to even, as its bits with +0 in place of -0."""
    values = values + np.float32(0)  # turns -0 into +0
    if encoding is F16:
        return values.astype(np.float16).view(np.uint16)
    bits = values.view(np.uint32)
    if encoding is BFLOAT16:
        return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(
            np.uint16
        )
    return bits


def _size_of(group: int | None, columns: int, limit: int) -> int | None:
    """The size of groups of a row, None if rows are too short or give no groups of their own."""
    if group is not None:
        return group if group <= columns else None
    if limit == 256:
        return None if columns < _LEAST_ROW_OF_256 else min(columns, _SLICE_OF_256)
    return columns if columns > 256 else None  # a row up to 256 is one of the groups in `_GROUPS`


@final
class _Glance:
    """The first values of one row as whole numbers: enough to refute every statement about nearly every honest weight.

    Args:
        encoding: of the values.
        row: one row of the weight.
    """

    def __init__(self, encoding: Encoding, row: Bits) -> None:
        first: list[int] = row[:_GLANCE].tolist()
        #: size of a group → the distinct values in the first group of that size
        self.distinct = {size: self._count(encoding, first[:size]) for size in _GLANCE_SIZES if size <= len(first)}
        self._encoding = encoding
        mask, fraction, normal = encoding.magnitude, encoding.fraction, 2 << encoding.mantissa
        self._magnitudes = [value & mask for value in first[:BLOCK]]
        self.is_ternary = len(set(self._magnitudes) - {0}) <= 1
        fractions = [value & fraction for value in self._magnitudes if value >= normal]
        #: distinct fractions in a block, and the bits that any of them has
        self.fractions = len(set(fractions))
        self.fractions_in_group = len(
            {value & fraction for value in self._magnitudes[: _GROUP_SCOPE[1]] if value >= normal}
        )
        self.union = 0
        for value in fractions:
            self.union |= value

    @staticmethod
    def _count(encoding: Encoding, values: list[int]) -> int:
        distinct = set(values)
        return len(distinct) - (encoding.sign in distinct and 0 in distinct)  # +0 and -0 are one value

    @property
    def may_be_lattice(self) -> bool:
        """Whether small values are near whole multiples of a 127th of the largest."""
        for begin in range(0, len(self._magnitudes) - _LATTICE_GROUP + 1, _LATTICE_GROUP):
            group = [self._encoding.value(value) for value in self._magnitudes[begin : begin + _LATTICE_GROUP]]
            scale = max(group) / _LATTICE_TOP
            multiples = [value / scale for value in group if value < _SMALL_CODE * scale]
            if any(abs(multiple - round(multiple)) > _NEAR for multiple in multiples):
                return False
        return True


def tests(encoding: Encoding, rows: Bits, height: int) -> list[Test]:
    """The tests that a few values do not refute, in the order in which they name a precision.

    Args:
        encoding: of the values.
        rows: some rows of the weight, whole.
        height: rows of the whole weight.
    """
    columns = rows.shape[1]
    # a weight that is not larger than a block is reported as a block, not as a whole weight
    scopes = _SCOPES[1:] if max(height, columns) <= BLOCK else _SCOPES
    # the middle row: the first and the last rows of embeddings may be padding
    glance = _Glance(encoding, rows[rows.shape[0] // 2])
    few: list[Test] = [OneMagnitude(encoding)] if glance.is_ternary else []
    few += _distinct(encoding, columns, glance.distinct, (4, 8, 16))
    if glance.union & ((1 << (encoding.mantissa - _FEW_BITS)) - 1) == 0:
        few.append(FewBits(encoding))
    for limit in (2, 4, 8):
        if glance.fractions <= limit:
            few += [Fractions(encoding, limit, scope) for scope in scopes]
        if limit == 2 and glance.fractions_in_group <= limit and columns >= _GROUP_SCOPE[1]:
            few.append(Fractions(encoding, limit, _GROUP_SCOPE))
    few += _distinct(encoding, columns, glance.distinct, (32, 64, 256))
    if encoding in (F32, F16, BFLOAT16) and glance.may_be_lattice:
        few.append(Lattice(encoding))
    if encoding is F32:
        few += [Fits(narrow) for narrow in (BFLOAT16, F16) if glance.union & ((1 << (23 - narrow.mantissa)) - 1) == 0]
    return few


def column_precision(encoding: Encoding, rows: Bits) -> tuple[Precision | None, int]:
    """The precision of groups that run along columns, as matrices stored by inputs have them, and the values read.

    Only a tile is looked at, and only what groups show: the other tests ask nothing of the direction.
    """
    tile = np.ascontiguousarray(rows[:_TILE_ROWS, :_TILE_COLUMNS].T)
    grouped = [test for test in tests(encoding, tile, tile.shape[0]) if isinstance(test, Distinct | Lattice)]
    for test in grouped:
        if not test.read(tile):
            continue
        shown = test.shown()
        if shown and shown.group_size:
            return evolve(shown, by_columns=True), tile.size
    return None, 0


def _distinct(encoding: Encoding, columns: int, counts: dict[int, int], limits: tuple[int, ...]) -> Iterator[Distinct]:
    for limit in limits:
        # a larger group has at least as many distinct values as one inside it
        smallest = _GROUPS[limit][-1] or _GLANCE
        if counts.get(smallest, 0) > limit:
            continue
        for group in _GROUPS[limit]:
            size = _size_of(group, columns, limit)
            if size and not any(count > limit for smaller, count in counts.items() if smaller <= size):
                yield Distinct(encoding, limit, size, whole_rows=group is None)
