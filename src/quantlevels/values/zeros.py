"""Regions of zero bytes in a file, and whether such a region is one that was never written."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from quantlevels.values.arrays import Bytes
    from quantlevels.values.subjects import Subject

#: the shortest run of zero bytes that counts, and what file systems and downloads write at a time
LEAST_RUN: Final = 16 << 10
PAGE: Final = 4096
#: what is looked at together; a run of `LEAST_RUN` holds several blocks whole, so none can hide between two blocks
_BLOCK: Final = 2048
#: good data may begin or end in so many bytes of zeros
_SLACK: Final = 8


class Run(NamedTuple):
    """Zero bytes in a file: the first, and the one behind the last."""

    begin: int
    end: int


@final
class ZeroRuns:
    """Long runs of zero bytes in bytes that come piece by piece, in the order of the file."""

    def __init__(self) -> None:
        self._found: list[Run] = []
        # the zeros that reach to the end of what was read
        self._begin = 0
        self._end = 0

    def read(self, offset: int, data: Bytes) -> None:
        """Take the next bytes, which begin at an offset in the file; a gap ends a run."""
        if offset != self._end:
            self.found()
            self._begin = offset
        stop = self._end = offset + data.size
        runs = _runs(data)
        leading = runs[0].end if runs and runs[0].begin == 0 else _leading(data[:_BLOCK])
        if leading == data.size:
            return
        self._add(self._begin, offset + leading)
        for run in runs:
            if run.begin and run.end < data.size:
                self._add(offset + run.begin, offset + run.end)
        if runs and runs[-1].end == data.size:
            self._begin = offset + runs[-1].begin
        else:  # less than a block of zeros may begin a run that the next bytes continue
            self._begin = stop - _leading(data[: -_BLOCK - 1 : -1])

    def found(self) -> list[Run]:
        """The runs that have ended, and the one that reaches to the end of what was read."""
        self._add(self._begin, self._end)
        self._begin = self._end
        return self._found

    def _add(self, begin: int, end: int) -> None:
        if end - begin >= LEAST_RUN:
            self._found.append(Run(begin, end))


def _leading(data: Bytes) -> int:
    """How many zeros stand at the beginning."""
    nonzero = np.flatnonzero(data)
    if not nonzero.size:
        return data.size
    return int(nonzero[0])


def _runs(data: Bytes) -> list[Run]:
    """All runs of zero bytes with at least one whole block, in order."""
    if data.size < _BLOCK:
        return []
    blocks = data[: data.size - data.size % _BLOCK].reshape(-1, _BLOCK)
    # one word of each block is enough to pass over nearly all of them
    blank = np.flatnonzero(blocks.view(np.uint64)[:, 0] == 0)
    if blank.size:
        blank = blank[~blocks[blank].any(axis=1)]
    if not blank.size:
        return []
    breaks = np.flatnonzero(np.diff(blank) > 1) + 1
    return [_extent(data, int(group[0]) * _BLOCK, (int(group[-1]) + 1) * _BLOCK) for group in np.split(blank, breaks)]


def _extent(data: Bytes, begin: int, end: int) -> Run:
    """How far zeros reach on both sides of whole blocks, which their neighbours end."""
    before = data[max(begin - _BLOCK, 0) : begin]
    after = data[end : end + 2 * _BLOCK]
    return Run(begin - _leading(before[::-1]), end + _leading(after))


def blank_regions(runs: Iterable[Run], subjects: Sequence[Subject]) -> Iterator[tuple[Run, Subject]]:
    """The runs of which an edge is a page boundary inside a row of a weight, and that weight.

    Args:
        runs: in one file.
        subjects: the tensors of that file, in the order in which they lie.
    """
    offsets = [subject.place.offset for subject in subjects]
    # zeros that end where rows end were meant: padding rows of an embedding, pruned rows
    for run in runs:
        for edge, page in ((run.begin, -(-run.begin // PAGE) * PAGE), (run.end, run.end // PAGE * PAGE)):
            at = bisect_right(offsets, page - 1) - 1
            if (
                abs(page - edge) <= _SLACK
                and at >= 0
                and _is_inside_row(subjects[at], min(edge, page), max(edge, page))
            ):
                yield run, subjects[at]
                break


def _is_inside_row(subject: Subject, low: int, high: int) -> bool:
    """Whether no row of a weight begins or ends between two bytes of the file, and both are inside it."""
    row = subject.row_nbytes
    if subject.role not in ("weight", "codes") or not subject.is_matrix or not row:
        return False
    low, high = low - subject.place.offset, high - subject.place.offset
    return low > 0 and high < subject.nbytes and low // row == high // row and bool(low % row)
