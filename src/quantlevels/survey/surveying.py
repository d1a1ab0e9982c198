"""Many checkpoints at once: what do I have, what is wrong with it, what could go?"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from os import PathLike, fspath
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import evolve

from quantlevels.errors import SurveyError
from quantlevels.survey.run import run
from quantlevels.survey.stores import default_roots, places

if TYPE_CHECKING:
    from quantlevels.inspection.records import SurveyRow
    from quantlevels.survey.places import Identity, Place

#: root, name and path of a row: what tells it from every other
Key: TypeAlias = tuple[str, str, str]

#: tasks of an executor that does not say its size; too many only wait
_DEFAULT_WORKERS: Final = 16


def survey(
    roots: Iterable[str | PathLike[str]] | str | PathLike[str] | None = None,
    *,
    executor: Executor | None = None,
    workers: int = _DEFAULT_WORKERS,
    earlier: Iterable[SurveyRow] = (),
) -> Iterator[SurveyRow]:
    """One row for each checkpoint below some roots, as they become known; their order is not promised.

    A checkpoint that cannot be read is a row with an ``error``. Rows whose files an earlier row has already counted say
    so in ``same_as``.

    Args:
        roots: folders or files; None for the stores of this user (see `default_roots`).
        executor: where to read the headers: any ``concurrent.futures.Executor``, or ``client.get_executor(pure=False)``
            of Dask. None for this thread. It is not shut down.
        workers: how many tasks the executor runs at once; a few more are kept waiting, whatever the number of
            checkpoints.
        earlier: rows of an earlier survey; those whose files are as they were are given again, and not read.

    Raises:
        SurveyError: if a root cannot be read, or a worker has another version of quantlevels.
    """
    if roots is None:
        roots = default_roots()
    elif isinstance(roots, str | PathLike):  # a string is one root, not its letters
        roots = [roots]
    named = [fspath(root) for root in roots]
    # what could not be read is tried again: the reason may be gone without a change to the files
    known = {key_of(row): row for row in earlier if row["error"] is None}
    return _survey(named, executor, workers, known)


def key_of(row: SurveyRow) -> Key:
    """What tells a row from every other row, in every survey of the same roots."""
    return row["root"], row["name"], row["path"]


def _survey(
    roots: list[str], executor: Executor | None, workers: int, known: Mapping[Key, SurveyRow]
) -> Iterator[SurveyRow]:
    unchanged: list[SurveyRow] = []

    def to_read() -> Iterator[Place]:
        for place in _counted_once(_all_places(roots)):
            row = known.get(place.key)
            if row is not None and row["version"] == place.version:
                unchanged.append({**row, "same_as": place.same_as})
            else:
                yield place

    pools: list[ProcessPoolExecutor] = []

    def renew() -> Executor:
        # with spawn: a fork of a process that has threads may never wake up
        pools.append(ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")))
        return pools[-1]

    # a pool of processes runs nothing more once one of them has died; other executors start another worker
    renewal = renew if isinstance(executor, ProcessPoolExecutor) else None
    rows = run(to_read(), executor, workers=workers, renew=renewal)
    try:
        for row in rows:
            yield from unchanged
            unchanged.clear()
            yield row
        yield from unchanged
    finally:
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)


def _all_places(roots: Iterable[str]) -> Iterator[Place]:
    for root in roots:
        if "://" in root:
            reason = "only folders of this machine are surveyed; `quantlevels inspect` reads one remote checkpoint"
            raise SurveyError(f"{root}: {reason}")
        try:
            yield from places(root)
        except OSError as error:
            raise SurveyError(f"{root}: cannot be read: {error.strerror or error}") from error


def _counted_once(found: Iterable[Place]) -> Iterator[Place]:
    """Places, those whose files an earlier one has as well marked as the same as it; the same path comes once."""
    owners: dict[frozenset[Identity], Key] = {}
    seen: set[Key] = set()
    for place in found:
        if place.key in seen:
            continue
        seen.add(place.key)
        owner = place.key
        if place.identities:  # broken places have none, and are not the same as each other
            owner = owners.setdefault(place.identities, place.key)
        if owner != place.key:
            place = evolve(place, same_as=owner[2])
        yield place
