"""What was fetched for one checkpoint, over all of its files."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Final, final


@final
class Traffic:
    """Requests and bytes, added by any thread that reads a part of the checkpoint."""

    def __init__(self) -> None:
        self.requests: int = 0
        self.nbytes: int = 0
        self._lock = Lock()

    def add(self, nbytes: int) -> None:
        """Count one request and the bytes that it gave."""
        with self._lock:
            self.requests += 1
            self.nbytes += nbytes


#: where requests are counted, if anywhere; the threads that read the shards of a checkpoint get it with their context
_TRAFFIC: Final[ContextVar[Traffic | None]] = ContextVar("_TRAFFIC", default=None)


def current_traffic() -> Traffic | None:
    """Where the requests of this thread are counted; None if nobody asked."""
    return _TRAFFIC.get()


@contextmanager
def counted_traffic() -> Generator[Traffic]:
    """Count what is fetched meanwhile by this thread and those that it starts for shards."""
    traffic = Traffic()
    token = _TRAFFIC.set(traffic)
    try:
        yield traffic
    finally:
        _TRAFFIC.reset(token)
