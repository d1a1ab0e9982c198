"""What was fetched of one remote file, held against the limits of the caller."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Final, final

from quantlevels.checkpoint.traffic import current_traffic
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from quantlevels.container import RemoteLimits

#: a slower line counts as broken
_BYTES_PER_SECOND: Final = 1 << 16
#: requests under way in this process. One checkpoint makes up to 8 at a time; a survey reads 16 checkpoints at a time,
#: and without this bound its host would see 128
_AT_ONCE: Final = BoundedSemaphore(16)


@final
class Spending:
    """Requests, bytes and seconds that one file took so far.

    Args:
        limits: what it may take.
    """

    def __init__(self, limits: RemoteLimits) -> None:
        self.limits: RemoteLimits = limits
        self.requests: int = 0
        self.nbytes: int = 0
        self.seconds: float = 0.0
        #: seconds that the server asked to wait; they are not part of ``seconds``
        self.waited: float = 0.0
        self._traffic = current_traffic()

    @contextmanager
    def request(self, path: str, count: int) -> Generator[None]:
        """Count one request and the time it takes.

        Args:
            path: of the file, for the error.
            count: bytes that it asks for.

        Raises:
            CheckpointError: if that is more than a limit allows; it names the limit.
        """
        limits = self.limits
        self.requests += 1
        problem = ""
        if self.requests > limits.requests:
            problem = f"needs more than {limits.requests:,} requests"
        elif self.nbytes + count > limits.nbytes:
            problem = f"needs more than {limits.nbytes:,} bytes"
        elif self.seconds >= limits.seconds:
            problem = self._too_long()
        if problem:
            raise self._error(path, problem)
        with _AT_ONCE:
            began, before = time.monotonic(), self.nbytes
            try:
                yield
            except CheckpointError:
                if self.seconds + time.monotonic() - began >= limits.seconds:  # the request was ended for that
                    raise self._error(path, self._too_long()) from None
                raise
            finally:
                self.seconds += time.monotonic() - began
                if self._traffic:
                    self._traffic.add(self.nbytes - before)

    def _too_long(self) -> str:
        return f"took longer than {self.limits.seconds:g} seconds"

    def _error(self, path: str, problem: str) -> CheckpointError:
        return CheckpointError(path, f"{problem}, the limit for a remote file; download it first")

    def deadline(self, count: int) -> float:
        """Seconds after which a request for so many bytes has failed, even if a byte arrives now and then."""
        slowest = 2 * self.limits.silence + count / _BYTES_PER_SECOND
        return min(slowest, self.limits.seconds - self.seconds)
