"""Reads the weights of a checkpoint, a sample of them or all, and collects what they show."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from itertools import chain
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Final, TypeAlias, final

import numpy as np
from attrs import field, frozen

from quantlevels.values.arrays import CHUNK, Chunk
from quantlevels.values.checksums import Digester, ExpectedDigest, expected_digest
from quantlevels.values.dead import dead_groups
from quantlevels.values.reading import FileReader
from quantlevels.values.records import Checksum, LevelRead, Mode, Values
from quantlevels.values.state import TensorState
from quantlevels.values.subjects import Subject, subjects
from quantlevels.values.verdict import judged
from quantlevels.values.zeros import LEAST_RUN, PAGE, Run, ZeroRuns, blank_regions

if TYPE_CHECKING:
    from quantlevels.container import Checkpoint
    from quantlevels.schemes.folding import FoldedWeight

#: a file up to this size is read whole even for a sample
_SMALL_FILE: Final = 8 << 20
#: a sample of a tensor: so many windows over it, and one of whole rows
_WINDOWS: Final = 8
_WINDOW: Final = 8 << 10
_ROWS_WINDOW: Final = 64 << 10
#: scales up to this size are read whole even for a sample
_WHOLE_SIDES: Final = 256 << 10
#: how far a sample follows a run of zeros on each side
_MOST_FOLLOWED: Final = 8 << 20
_MOST_WORKERS: Final = 4  # more threads than that wait for the disk, and each has buffers of its own

#: called with the number of bytes that were just read
Advance: TypeAlias = Callable[[int], None]


def _ignore(count: int) -> None:
    """Nothing."""


@final
class StoppedError(Exception):
    """Raised in workers once another of them has failed, or the caller has had enough."""


@final
@frozen(eq=False)
class FileResult:
    """What one file gave."""

    name: str
    states: Sequence[TensorState]
    blank: Sequence[tuple[Run, Subject]]
    bytes_read: int
    complete: bool
    checksum: Checksum | None = None


@final
@frozen(kw_only=True, eq=False)
class _Job:
    """One file to read.

    Args:
        checkpoint: whose file it is.
        name: path of the file within the folder.
        subjects: the tensors in it that are judged, in the order in which they lie.
        expected: the digest that it should have, if it is to be compared.
    """

    checkpoint: Checkpoint
    name: str
    subjects: Sequence[Subject]
    expected: ExpectedDigest | None
    advance: Advance
    stop: Event = field(factory=Event)

    def check_stopped(self) -> None:
        if self.stop.is_set():
            raise StoppedError


def examine(
    checkpoint: Checkpoint,
    weights: Iterable[tuple[str, FoldedWeight]],
    mode: Mode,
    *,
    checksums: bool = True,
    started: Callable[[int], Advance] = lambda total: _ignore,
) -> Values:
    """What the weights of a checkpoint show.

    A sample is 8 windows of 8 KiB and 64 KiB of whole rows of each tensor, scales whole up to 256 KiB, and files up to
    8 MiB whole: always the same bytes of the same checkpoint.

    Args:
        checkpoint: with the places of its tensors.
        weights: the name of each module, and what it was folded into.
        mode: ``sample`` or ``all``.
        checksums: whether ``all`` compares digests too.
        started: is called with the bytes that will be read, and gives what is called with the number of those just
            read, from any thread.

    Raises:
        CheckpointError: if a file cannot be read.
    """
    found, unread = subjects(checkpoint, weights)
    digests: dict[str, ExpectedDigest] = {}
    if checksums and mode == "all":  # a digest needs every byte of its file
        digests = _expected_digests(checkpoint)
    results = _read_files(checkpoint, found, digests, mode, started)
    states = list(chain.from_iterable(result.states for result in results))
    return judged(
        states,
        list(chain.from_iterable(result.blank for result in results)),
        [result.checksum for result in results if result.checksum],
        Values(
            mode=mode,
            bytes_read=sum(result.bytes_read for result in results),
            nbytes=checkpoint.tensors.nbytes,
            complete=not unread and all(result.complete for result in results),
            read=tuple(_read_per_level(states)),
            unread=unread,
        ),
        is_adapter="adapter_config.json" in checkpoint.configs,
    )


def _read_files(
    checkpoint: Checkpoint,
    found: Iterable[Subject],
    digests: dict[str, ExpectedDigest],
    mode: Mode,
    started: Callable[[int], Advance],
) -> list[FileResult]:
    """What each file gave that holds a tensor to judge, or has a digest to compare."""
    by_file: dict[str, list[Subject]] = defaultdict(list)
    # in the order of the file: a whole file is read once from its beginning to its end
    for subject in sorted(found, key=lambda subject: subject.place.offset):
        by_file[subject.place.file].append(subject)
    advance = _locked(started(_planned(checkpoint, by_file, digests, mode)))
    jobs = [
        _Job(checkpoint=checkpoint, name=name, subjects=by_file[name], expected=digests.get(name), advance=advance)
        for name in dict.fromkeys((*by_file, *digests))
    ]
    if mode == "all":
        return _run(jobs, _read_all)
    # one after the other: a sample is a few small reads per tensor, for which threads cost more than they save
    return [_sample(job) for job in jobs]


def _locked(advance: Advance) -> Advance:
    lock = Lock()

    def locked(count: int) -> None:
        with lock:
            advance(count)

    return locked


def _planned(
    checkpoint: Checkpoint, by_file: dict[str, list[Subject]], digests: dict[str, ExpectedDigest], mode: Mode
) -> int:
    """Bytes that will be read: exact for all, a bound for a sample."""
    sizes = {file.path: file.nbytes for file in checkpoint.files}
    if mode == "all":
        return sum(sizes.get(name, 0) for name in {*by_file, *digests})
    total = 0
    for name, listed in by_file.items():
        nbytes = sizes.get(name, 0)
        if nbytes > _SMALL_FILE:
            nbytes = sum(min(subject.nbytes, _WINDOWS * _WINDOW + _ROWS_WINDOW) for subject in listed)
        total += nbytes
    return total


def _expected_digests(checkpoint: Checkpoint) -> dict[str, ExpectedDigest]:
    """File → the digest that it should have, for local files of which something says it."""
    folder = checkpoint.folder
    if folder is None or not folder.is_local:
        return {}
    below = Path(folder.path)
    names = dict.fromkeys((*(file.path for file in checkpoint.files), *checkpoint.configs))
    found = {name: expected_digest(below / name) for name in names if (below / name).is_file()}
    return {name: digest for name, digest in found.items() if digest}


def _run(jobs: Sequence[_Job], work: Callable[[_Job], FileResult]) -> list[FileResult]:
    """The results of files that are read side by side, in the order of the jobs."""
    if not jobs:
        return []
    workers = min(len(jobs), os.cpu_count() or 1, _MOST_WORKERS)
    if workers == 1:
        return [work(job) for job in jobs]
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, job) for job in jobs]
        pending: set[Future[FileResult]] = set(futures)
        try:
            _, pending = wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if pending:  # one has failed, or Ctrl-C: the others end at their next chunk
                for job in jobs:
                    job.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
    # the error that stopped the others is raised, not the one that they stopped with
    failed = [future for future in futures if not future.cancelled() and future.exception()]
    for future in sorted(failed, key=lambda future: isinstance(future.exception(), StoppedError)):
        future.result()
    return [future.result() for future in futures]


def _read_all(job: _Job) -> FileResult:
    """One file, every byte once."""
    states = [TensorState(subject, job.checkpoint.byte_order) for subject in job.subjects]
    zeros = ZeroRuns()
    assert job.checkpoint.folder is not None
    with FileReader(job.checkpoint.folder, job.name) as reader, Digester(job.expected, reader.size) as digester:
        for begin, end, state in _stretches(reader.size, states):
            job.check_stopped()
            data = digester.buffer(end - begin)
            reader.read_into(begin, data)
            digester.take(data)
            zeros.read(begin, data)
            if state:
                state.read(Chunk(data, (begin - state.subject.place.offset,), data.size), whole_rows=True)
            job.advance(data.size)
        complete = _read_overlapping(reader, states)
        _finish(reader, states)
        blank = list(blank_regions(zeros.found(), job.subjects))
        return FileResult(
            job.name, states, blank, reader.bytes_read, complete, _checksum(job, digester, reader.modified)
        )


def _read_overlapping(reader: FileReader, states: Iterable[TensorState]) -> bool:
    """Read tensors again whose bytes came with another one that they overlap; whether all of them were read.

    No more bytes are read than the file has: a header may name the same bytes a million times.
    """
    left = reader.size
    for state in states:
        if state.bytes_read or not state.subject.nbytes:
            continue
        left -= state.subject.nbytes
        if left < 0:
            return False
        _read_tensor(reader, state)
    return True


def _read_tensor(reader: FileReader, state: TensorState) -> None:
    """All bytes of one tensor."""
    for low, high in _pieces(0, state.subject.nbytes, state.step(CHUNK)):
        data = reader.read(state.subject.place.offset + low, high - low)
        state.read(Chunk(data, (low,), data.size), whole_rows=True)


def _finish(reader: FileReader, states: Sequence[TensorState]) -> None:
    """Settle what needs a second look at the file."""
    for state in states:
        state.finish(reader)
    for state, damage in dead_groups(reader, states):
        state.damage.append(damage)


def _checksum(job: _Job, digester: Digester, modified: float | None) -> Checksum | None:
    actual, digest = digester.hexdigest(), job.expected
    if digest is None or actual is None:
        return None
    # a file may have been changed on purpose after its download: the finding says whether that is possible
    edited = digest.recorded is not None and modified is not None and modified > digest.recorded
    return Checksum(
        path=job.name,
        algorithm=digest.algorithm,
        expected=digest.digest,
        actual=actual,
        origin=digest.origin,
        edited=edited,
    )


def _stretches(size: int, states: Sequence[TensorState]) -> Iterator[tuple[int, int, TensorState | None]]:
    """The whole file in stretches that fit a buffer: whole rows of a tensor, or what lies between tensors.

    A tensor that overlaps the one before is left out: a digest is made of each byte once and in order.
    """
    at = 0
    for state in states:
        begin, end = state.subject.place.offset, state.subject.end
        if begin < at:
            continue
        yield from ((low, high, None) for low, high in _pieces(at, begin, CHUNK))
        yield from ((low, high, state) for low, high in _pieces(begin, end, state.step(CHUNK)))
        at = end
    yield from ((low, high, None) for low, high in _pieces(at, size, CHUNK))


def _pieces(begin: int, end: int, step: int) -> Iterator[tuple[int, int]]:
    while begin < end:
        yield begin, min(begin + step, end)
        begin += step


def _sample(job: _Job) -> FileResult:
    """Windows of each tensor; a small file whole."""
    assert job.checkpoint.folder is not None
    with FileReader(job.checkpoint.folder, job.name) as reader:
        small = reader.size <= _SMALL_FILE
    if small:
        return _read_all(job)
    states = [TensorState(subject, job.checkpoint.byte_order) for subject in job.subjects]
    with FileReader(job.checkpoint.folder, job.name) as reader:
        runs: list[Run] = [Run(begin, end) for begin, end in reader.holes() if end - begin >= PAGE]
        for state in states:
            before = reader.bytes_read
            runs += _sample_tensor(reader, state)
            job.advance(reader.bytes_read - before)
        _finish(reader, states)
        blank = list(blank_regions(_followed(reader, runs), job.subjects))
        return FileResult(job.name, states, blank, reader.bytes_read, False)


def _sample_tensor(reader: FileReader, state: TensorState) -> list[Run]:
    """Read a sample of one tensor; the windows that were all zero."""
    subject = state.subject
    whole = _WHOLE_SIDES if subject.role not in ("weight", "codes") else _WINDOWS * _WINDOW + _ROWS_WINDOW
    if subject.nbytes <= whole:
        _read_tensor(reader, state)
        return []
    # windows of whole blocks, the first at the beginning and the last at the end, the others evenly between
    unit = subject.block_nbytes
    length = max(_WINDOW // unit, 1) * unit
    last = (subject.nbytes - length) // unit
    starts = tuple(last * window // (_WINDOWS - 1) * unit for window in range(_WINDOWS))
    data = np.empty(length * _WINDOWS, np.uint8)
    for number, start in enumerate(starts):
        reader.read_into(subject.place.offset + start, data[number * length : (number + 1) * length])
    state.read(Chunk(data, starts, length), whole_rows=False)
    if state.wants_rows:
        low, count = state.rows_window(_ROWS_WINDOW)
        rows = reader.read(subject.place.offset + low, count)
        state.read_rows(rows)
    windows = data.reshape(_WINDOWS, length)
    # eight bytes decide for nearly every tensor
    if windows[:, 0].all():
        return []
    return [
        Run(subject.place.offset + start, subject.place.offset + start + length)
        for start, window in zip(starts, windows, strict=True)
        if not window.any()
    ]


def _followed(reader: FileReader, runs: Iterable[Run]) -> list[Run]:
    """Runs of zeros with their true edges, as far as they are near; those of which no edge is found are left out."""
    found: dict[Run, None] = {}
    for run in sorted(runs):
        # several windows may lie in one run of zeros, which is followed only once
        if any(known.begin <= run.begin and run.end <= known.end for known in found):
            continue
        begin, end = _follow(reader, run.begin, -1), _follow(reader, run.end, 1)
        if end - begin >= LEAST_RUN:
            found[Run(begin, end)] = None
    return list(found)


def _follow(reader: FileReader, edge: int, direction: int) -> int:
    """Where zeros end, from an edge of theirs on; where the search was given up if they go on for long."""
    for _ in range(_MOST_FOLLOWED // CHUNK):
        low, high = edge, min(edge + CHUNK, reader.size)
        if direction < 0:
            low, high = max(edge - CHUNK, 0), edge
        if low == high:
            return edge
        nonzero = np.flatnonzero(reader.read(low, high - low))
        if nonzero.size and direction < 0:
            return low + int(nonzero[-1]) + 1
        if nonzero.size:
            return low + int(nonzero[0])
        edge = low if direction < 0 else high
    return edge


def _read_per_level(states: Iterable[TensorState]) -> Iterator[LevelRead]:
    """How much was read of the weights of each level, the largest first."""
    names: dict[str, set[str]] = defaultdict(set)
    nbytes: dict[str, int] = defaultdict(int)
    read: dict[str, int] = defaultdict(int)
    for state in states:
        level = state.subject.weight.level.name
        names[level].add(state.subject.module)
        nbytes[level] += state.subject.nbytes
        read[level] += min(state.bytes_read + state.row_bytes_read, state.subject.nbytes)
    for level in sorted(nbytes, key=lambda level: -nbytes[level]):
        yield LevelRead(level=level, weights=len(names[level]), nbytes=nbytes[level], bytes_read=read[level])
