"""Processes that read for a survey, and end with it, whatever ends it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import ParamSpec, TypeVar, final

P = ParamSpec("P")
T = TypeVar("T")


@final
class WorkerProcesses(ProcessPoolExecutor):
    """So many processes, which leave Ctrl-C to this one, and end if it is killed.

    A terminal sends Ctrl-C to every process. This one ends the survey; the others would each print a traceback.
    """

    def __init__(self, count: int) -> None:
        # with spawn: a fork of a process that has threads may never wake up
        super().__init__(count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in one of the processes, which is started if it is needed."""
        with _interrupts_blocked():  # a new process inherits that, and is not interrupted before `_begin` runs in it
            return super().submit(fn, *args, **kwargs)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Wait for the processes; after an error, and after Ctrl-C, give up what they read.

        Only for programs that have no other processes of `multiprocessing`.
        """
        if exc_type is None:
            self.shutdown()
            return
        # in this order: a pool that has not cancelled its futures reports processes that end as failures
        self.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


@contextmanager
def _interrupts_blocked() -> Generator[None]:
    """An interrupt is delivered after the block, and processes that are started in it have interrupts blocked."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """What a process does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: nobody would read what it sends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
