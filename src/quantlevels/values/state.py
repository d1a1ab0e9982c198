"""What is known about one tensor while its bytes are read, and the judgement after the last byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import numpy as np

from quantlevels.values.arrays import Chunk, as_bits, byte_swapped
from quantlevels.values.codes import CodesInUse
from quantlevels.values.damage import Blocks, Floats, Words, byte_order
from quantlevels.values.precision import BLOCK, LEAST_ELEMENTS, LEAST_TILE, Precision, Test, column_precision, tests
from quantlevels.values.subjects import LEAST_ROW

if TYPE_CHECKING:
    from quantlevels.container import ByteOrder
    from quantlevels.values.arrays import Bytes
    from quantlevels.values.reading import FileReader
    from quantlevels.values.records import Damage
    from quantlevels.values.subjects import Subject

#: parts of a tensor with a suspicious value that are read to see what its other values are like, and bytes of each:
#: 8 x 8 KiB are 16,384 FP32 values
_USUAL_WINDOWS: Final = 8
_USUAL_WINDOW: Final = 8 << 10


@final
class TensorState:
    """One tensor: takes its bytes, and judges them by the role of the tensor.

    Args:
        subject: the tensor.
        order: byte order of its file.
    """

    # slots: there may be a hundred thousand of them
    __slots__ = (
        "_columns",
        "_swap",
        "_tests",
        "blocks",
        "bytes_read",
        "codes",
        "damage",
        "floats",
        "precision",
        "row_bytes_read",
        "subject",
        "values_tested",
        "words",
    )

    def __init__(self, subject: Subject, order: ByteOrder) -> None:
        self.subject: Subject = subject
        self.bytes_read: int = 0
        self.row_bytes_read: int = 0  # bytes of a sample that only the tests of precision saw
        self.values_tested: int = 0
        self.damage: list[Damage] = []
        self.precision: Precision | None = None
        self._swap = order == "big" and subject.encoding is not None and subject.encoding.nbytes > 1
        self.floats: Floats | None = Floats(subject, subject.encoding) if subject.encoding else None
        self.blocks: Blocks | None = None
        if not subject.encoding and subject.block_weights > 1:
            self.blocks = Blocks(subject, order)
        # FP8 codes are read as words as well: every quantized module is checked for constant codes
        self.words: Words | None = None
        if not self.blocks and not (self.floats and subject.role != "codes"):
            self.words = Words(subject)
        self.codes: CodesInUse | None = CodesInUse.of(subject)
        self._tests: list[Test] | None = None  # None before the first rows; empty once all are refuted
        self._columns: tuple[Precision | None, int] = (None, 0)  # what groups along columns show, in how many values

    @property
    def is_zero(self) -> bool:
        """Whether all that was read is zero."""
        judges = [judge for judge in (self.floats, self.blocks, self.words) if judge]
        return bool(self.bytes_read) and all(judge.is_zero for judge in judges)

    @property
    def wants_rows(self) -> bool:
        """Whether its rows may still show a narrower precision."""
        subject = self.subject
        return (
            subject.is_plain
            and subject.elements >= LEAST_ELEMENTS
            and subject.matrix[1] >= LEAST_ROW
            and subject.row_nbytes > 0
            and self._tests != []
        )

    def step(self, most: int) -> int:
        """Bytes to read at a time, at most ``most``: whole blocks of rows, or whole rows, or blocks of the level."""
        row = self.subject.row_nbytes
        if not row or row > most:
            return most // self.subject.block_nbytes * self.subject.block_nbytes
        rows = most // row
        if rows >= BLOCK:
            return rows // BLOCK * BLOCK * row
        return (1 << (rows.bit_length() - 1)) * row  # a power of two, which divides a block of 128 rows

    def rows_window(self, most: int) -> tuple[int, int]:
        """Offset and number of bytes of whole rows in the middle of the tensor, from the first row of a block of rows.

        At most ``most`` bytes, but at least one row.
        """
        row = self.subject.row_nbytes
        count = max(most // row, 1)
        first = self.subject.matrix[0] // 2 // BLOCK * BLOCK
        return first * row, min(count * row, self.subject.nbytes - first * row)

    def read(self, chunk: Chunk, *, whole_rows: bool) -> None:
        """Take the next bytes."""
        # swapped once, before all checks: they know little-endian numbers only
        if self._swap and self.subject.encoding:
            chunk = Chunk(byte_swapped(chunk.data, self.subject.encoding.nbytes), chunk.starts, chunk.length)
        self.bytes_read += chunk.data.size
        for judge in (self.floats, self.blocks, self.words, self.codes):
            if judge:
                judge.read(chunk)
        if whole_rows and self.wants_rows:
            self._test(chunk.data, whole=True)

    def read_rows(self, data: Bytes) -> None:
        """Take whole rows of a sample, for the tests of precision alone."""
        if self._swap and self.subject.encoding:
            data = byte_swapped(data, self.subject.encoding.nbytes)
        self._test(data, whole=False)

    def _test(self, data: Bytes, *, whole: bool) -> None:
        encoding = self.subject.encoding
        row = self.subject.row_nbytes
        if encoding is None or data.size % row:
            self._tests = []  # a row that does not fit into memory is not tested
            return
        rows = as_bits(data, encoding.nbytes).reshape(-1, self.subject.matrix[1])
        self.values_tested += rows.size
        if not whole:
            self.row_bytes_read += data.size
        if self._tests is None:  # the first rows: they choose the tests, and nearly always refute all of them
            self._tests = tests(encoding, rows, self.subject.matrix[0])
            if rows.shape[0] >= LEAST_TILE and whole:
                self._columns = column_precision(encoding, rows)
        self._tests = [test for test in self._tests if test.read(rows)]

    def finish(self, reader: FileReader) -> None:
        """Settle what needs a second look, once all bytes have come."""
        self._settle_damage(reader)
        if not self.damage:  # with damaged values, the tests would not show how the intact ones were made
            self._settle_precision()
        self._tests = None  # frees their memory: the states of all tensors live until the verdict

    def _settle_damage(self, reader: FileReader) -> None:
        values_read = self.subject.values_in(self.bytes_read)
        floats = self.floats
        if floats and self.subject.role != "codes" and floats.is_suspicious:
            self._look_again(reader, floats, values_read)
        if any(found.code == "QL607" for found in self.damage):  # swapped bytes are why values are not finite
            return
        judges: list[Floats | Blocks] = []
        if floats and not floats.is_mask:
            judges.append(floats)
        if self.blocks:
            judges.append(self.blocks)
        for judge in judges:
            wrong = judge.not_finite.damage(values_read)
            if wrong:
                self.damage.append(wrong)

    def _settle_precision(self) -> None:
        if self._tests:
            self.precision = next(filter(None, (test.shown() for test in self._tests)), None)
        by_columns, tested = self._columns
        # groups along columns decide if the tests found nothing, or if the groups show 4 bits and the tests more
        if by_columns and (self.precision is None or by_columns.bits <= 4 < self.precision.bits):
            self.precision, self.values_tested = by_columns, tested

    def _look_again(self, reader: FileReader, floats: Floats, values_read: int) -> None:
        sample = self._usual(reader, floats.encoding.nbytes)
        found = byte_order(self.subject, floats.encoding, sample, values_read)
        found = found or floats.implausible(as_bits(sample.data, floats.encoding.nbytes), values_read)
        if found:
            self.damage.append(found)

    def _usual(self, reader: FileReader, unit: int) -> Chunk:
        """Values from the whole length of the tensor, evenly spread."""
        subject = self.subject
        if subject.nbytes <= _USUAL_WINDOWS * _USUAL_WINDOW:
            data, length = reader.read(subject.place.offset, subject.nbytes), subject.nbytes
        else:
            length = _USUAL_WINDOW
            last = (subject.nbytes - length) // unit
            starts = [last * window // (_USUAL_WINDOWS - 1) * unit for window in range(_USUAL_WINDOWS)]
            data = np.concatenate([reader.read(subject.place.offset + start, length) for start in starts])
        if self._swap:
            data = byte_swapped(data, unit)
        return Chunk(data, (0,), data.size)
