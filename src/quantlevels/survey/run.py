"""Places → rows, in this process or in many: batches in a window, and no row lost with a worker that dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from quantlevels import __version__
from quantlevels.errors import SurveyError
from quantlevels.survey.rows import error_row, rows_of
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantlevels.inspection.records import SurveyRow
    from quantlevels.survey.places import CheckpointPlace

#: work in one task, in checkpoints on this machine: fewer cost more in sending than in reading
_BATCH: Final = 32
#: what a checkpoint behind a URL weighs in such a batch: it takes some round trips
_REMOTE_WEIGHT: Final = 8
#: tasks that are waiting or running for each worker: more would only cost memory
_WINDOW_PER_WORKER: Final = 4
_DEFAULT_WORKERS: Final = 16
#: names of the errors that executors raise when a worker died: ours, and Dask's
_DIED: Final = frozenset({"BrokenProcessPool", "BrokenThreadPool", "BrokenExecutor", "KilledWorker"})
_DEATH: Final = "the process that read it died, perhaps because the memory was full"


class BatchRows(NamedTuple):
    """What a worker sends back for one batch."""

    #: quantlevels and its plugins in the worker
    installed: str
    #: each row with the place it is of
    rows: list[SurveyRow]


Batch: TypeAlias = "tuple[CheckpointPlace, ...]"


def read_batch(batch: Batch) -> BatchRows:
    """The rows of one batch; the function that runs in the workers."""
    return BatchRows(installation(), rows_of(batch))


@cache
def installation() -> str:
    """Versions of quantlevels and of the distributions with plugins for it: what rows depend on."""
    plugins = sorted({f"{plugin.distribution} {plugin.version}" for plugin in levels.plugins()})
    return ", ".join([f"quantlevels {__version__}", *plugins])


def batches(places: Iterable[CheckpointPlace], size: int) -> Iterator[Batch]:
    """Places in groups of about as much work as ``size`` places on this machine."""
    group: list[CheckpointPlace] = []
    work = 0
    for place in places:
        group.append(place)
        work += _REMOTE_WEIGHT if place.url else 1
        if work >= size:
            yield tuple(group)
            group, work = [], 0
    if group:
        yield tuple(group)


def run(
    places: Iterable[CheckpointPlace],
    executor: Executor | None,
    *,
    workers: int = _DEFAULT_WORKERS,
    renew: Callable[[], Executor] | None = None,
) -> Iterator[SurveyRow]:
    """The row of each place, as they become known.

    Args:
        places: what to read; taken as they are needed.
        executor: where to read; None for this thread. Only ``submit`` is used, and it is never shut down.
        workers: how many tasks run at once, which bounds how many wait.
        renew: makes a fresh executor after a worker has broken the one before; None if the executor recovers itself,
            as Dask's does.

    Raises:
        SurveyError: if a worker has other versions of quantlevels or its plugins.
    """
    if executor is None:
        for place in places:
            yield from rows_of([place])
        return
    yield from _Window(executor, renew, _WINDOW_PER_WORKER * workers).rows(batches(places, _BATCH))


class _Window:
    """The tasks under way: a bounded number, each with its batch, so that what a dead worker had is not lost."""

    def __init__(self, executor: Executor, renew: Callable[[], Executor] | None, most: int) -> None:
        self.executor = executor
        self.renew = renew
        self.most = most
        self.running: dict[Future[BatchRows], Batch] = {}
        #: batches that a worker died with; each is tried again alone, so that the next death shows the cause
        self.suspects: deque[Batch] = deque()

    def rows(self, coming: Iterator[Batch]) -> Iterator[SurveyRow]:
        try:
            for batch in coming:
                self.submit(batch)
                # what has ended goes out at once, so that the first rows do not wait until the window is full
                if len(self.running) >= self.most or any(future.done() for future in self.running):
                    yield from self.collect()
            while self.running:
                yield from self.collect()
            while self.suspects:
                yield from self.retry(self.suspects.popleft())
        finally:
            for future in self.running:
                future.cancel()

    def submit(self, batch: Batch) -> None:
        try:
            self.running[self.executor.submit(read_batch, batch)] = batch
        except Exception as error:
            if not _is_death(error):
                raise
            self.suspects.append(batch)
            self.replace()

    def collect(self) -> Iterator[SurveyRow]:
        """The rows of the tasks that end next."""
        done, _ = wait(self.running, return_when=FIRST_COMPLETED)
        broken = False
        for future in done:
            batch = self.running.pop(future)
            error = future.exception()
            if error is None:
                yield from _checked(future.result())
            elif _is_death(error):
                broken = True
                self.suspects.append(batch)
            else:
                raise error
        if broken:
            self.replace()

    def replace(self) -> None:
        """Go on with a fresh executor: a pool that lost a process runs nothing more."""
        if self.renew is None:
            return
        # nobody knows which task killed the worker, so all that ran are tried again, one by one, at the end
        self.suspects.extend(self.running.values())
        self.running.clear()
        self.executor = self.renew()

    def retry(self, batch: Batch) -> Iterator[SurveyRow]:
        """The rows of a batch that was lost, one place after the other; an error for those that kill again."""
        for place in batch:
            try:
                yield from _checked(self.executor.submit(read_batch, (place,)).result())
            except Exception as error:
                if not _is_death(error):
                    raise
                yield error_row(place, _DEATH, type(error).__name__)
                if self.renew is not None:
                    self.executor = self.renew()


def _is_death(error: BaseException) -> bool:
    # by name: importing Dask to have its class would take longer than most surveys
    return not _DIED.isdisjoint(cls.__name__ for cls in type(error).__mro__)


def _checked(given: BatchRows) -> Sequence[SurveyRow]:
    if given.installed != installation():
        message = f"a worker has {given.installed}, this process {installation()}; install the same versions everywhere"
        raise SurveyError(message)
    return given.rows
