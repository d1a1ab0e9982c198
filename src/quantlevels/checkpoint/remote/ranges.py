"""One file over HTTP, read by ranges of which every answer is checked: the server is not trusted."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Final, final

from urllib3.exceptions import HTTPError

from quantlevels.checkpoint.remote.addresses import clean, origin
from quantlevels.checkpoint.remote.client import Answer, Client, RefusedAddressError, has_bad_head, wait
from quantlevels.checkpoint.remote.spending import Spending
from quantlevels.container import TruncatedError
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from quantlevels.container import RemoteLimits

_LOG: Final = logging.getLogger("quantlevels")

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,20})-(\d{1,20})/(\d{1,20})")
_UNSATISFIED: Final = re.compile(r"bytes \*/(\d{1,20})")
#: a whole file that is taken if a server has no ranges
_LARGEST_WHOLE: Final = 1 << 20
_RETRIED: Final = frozenset({429, 500, 502, 503, 504})
_MOST_RETRIES: Final = 3
#: seconds before the first retry, doubled for each further one
_FIRST_PAUSE: Final = 0.2
#: seconds, whatever the server asks for: the Hub counts requests in windows of five minutes
_LONGEST_PAUSE: Final = 60.0
#: seconds that a server may ask to wait for one file in all: without a bound it could hold the reader for hours
_LONGEST_WAIT: Final = 180.0
#: a pause that a person notices
_NOTICED: Final = 2.0
_RATE_LIMIT: Final = re.compile(r"\bt\s*=\s*(\d{1,5})\b")
_TOO_MANY: Final = 429
#: answers to a signed URL that has expired
_EXPIRED: Final = frozenset({401, 403, 410})
#: answers for a file that is not there; some stores hide what is missing behind 403
_ABSENT: Final = frozenset({403, 404, 410})
_NO_RANGES: Final = "the server has no range requests; download the file first"
#: status → what the error says
_REASONS: Final[Mapping[int, str]] = {
    401: "the server wants a login (401)",
    403: "access is forbidden (403)",
    404: "does not exist (404)",
    410: "no longer exists (410)",
    412: "changed while it was read",
    416: "the server refuses the range that was asked for (416); download the file first",
}

#: Makes the error for an answer that is not a file; None to use the general one.
Explain = Callable[[str, int, Mapping[str, str]], CheckpointError | None]


@final
class NotThereError(CheckpointError):
    """A URL at which the server has no file, or shows none."""


class _TryAgain(Exception):  # noqa: N818  # not an error: a pause and another request
    """The request may succeed if it is sent again.

    Args:
        reason: why it did not.
        pause: seconds that the server asks to wait.
    """

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pause = pause


@final
class HttpFile:
    """A file behind a URL.

    Args:
        client: sends the requests.
        url: of the file.
        limits: of requests, bytes and time.
        size: bytes in it, if a listing gave them; otherwise the first answer does.
        explain: words for answers of a particular host.
    """

    def __init__(
        self,
        client: Client,
        url: str,
        limits: RemoteLimits,
        size: int | None = None,
        explain: Explain | None = None,
    ) -> None:
        self.path: str = clean(url)
        self.client = client
        self.spending: Spending = Spending(limits)
        self.version: str | None = None
        self._url = url
        #: where a redirect led: signed storage, asked directly for further ranges
        self._storage: str | None = None
        self._size = size
        self._modified: str | None = None
        #: sha256 of the file, as the Hub says it beside the address of its storage
        self._linked: str | None = None
        self._explain = explain
        self._conditional = True

    @property
    def size(self) -> int | None:
        """Bytes in the file; None before the first answer."""
        return self._size

    def fetch(self, offset: int, count: int) -> bytes:
        """The bytes from an offset, fewer only at the end of the file.

        Raises:
            CheckpointError: if the server does not give them, or gives something else.
        """
        parts: list[bytes] = []
        while count > 0 and (self._size is None or offset < self._size):
            if self._size is not None:
                count = min(count, self._size - offset)
            part = self._with_retries(partial(self._request, offset, count))
            if not part:
                break
            parts.append(part)
            offset += len(part)
            count -= len(part)
            if self._size is not None and offset >= self._size:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def get_json(self, most: int) -> bytes:
        """The whole answer of an API, which has no ranges.

        Raises:
            CheckpointError: if it is longer than ``most`` bytes, or there is none.
        """
        return self._with_retries(lambda: self._document(most))

    def _document(self, most: int) -> bytes:
        spending = self.spending
        with spending.request(self.path, 0), self.client.get(self._url, {}, spending.deadline(most)) as answer:
            self._check_status(answer)
            body = answer.body(most + 1)
            if len(body) > most:
                raise CheckpointError(self.path, f"the answer has more than {most:,} bytes")
            spending.nbytes += len(body)
            return body

    def check_unchanged(self) -> None:
        """Nothing: each answer was compared with those before."""

    def _with_retries(self, request: Callable[[], bytes]) -> bytes:
        """The answer to a request, sent again if the server is busy or the line breaks."""
        pause = _FIRST_PAUSE
        for attempt in range(_MOST_RETRIES + 1):
            try:
                return request()
            except RefusedAddressError as error:
                # no cause: the errors of libraries hold URLs with their signatures
                raise CheckpointError(self.path, str(error)) from None
            except (HTTPError, _TryAgain) as error:
                # at random, so that eight threads that failed together do not come back together
                seconds = pause * random.uniform(1, 1.5)
                if isinstance(error, _TryAgain):
                    reason, is_final = error.reason, False
                    if error.pause is not None:
                        seconds = error.pause
                else:
                    reason, is_final = _words(error), has_bad_head(error)
                if attempt == _MOST_RETRIES or is_final:
                    raise CheckpointError(self.path, f"cannot be read: {reason}") from None
                self._wait(seconds, reason)
                pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, seconds: float, reason: str) -> None:
        """Wait before another request, as long as the server asks, but not for ever."""
        seconds = min(_LONGEST_PAUSE, seconds)
        self.spending.waited += seconds
        if self.spending.waited > _LONGEST_WAIT:
            problem = f"cannot be read now: {reason}; the request failed several times, try again later"
            raise CheckpointError(self.path, problem)
        if seconds >= _NOTICED:  # on stderr, unless the program has a handler of its own
            _LOG.warning("%s: %s; waiting %.0f seconds", self.path, reason, seconds)
        wait(seconds)

    def _request(self, offset: int, count: int) -> bytes:
        spending = self.spending
        headers = {"Range": f"bytes={offset}-{offset + count - 1}"}  # the end is inclusive
        if self.version and self._conditional:
            headers["If-Match"] = self.version
        url = self._storage or self._url
        with spending.request(self.path, count), self.client.get(url, headers, spending.deadline(count)) as answer:
            status = answer.response.status
            if self._storage and status in _EXPIRED:
                self._storage = None  # resolve once more
                raise _TryAgain("its signed address has expired", 0)
            if status in (400, 501) and "If-Match" in headers:
                self._conditional = False  # some stores refuse the header; versions are still compared
                raise _TryAgain("the server refuses If-Match", 0)
            self._check_status(answer)
            self._check_linked(answer)
            if answer.redirects and origin(answer.url) != self.client.origin:
                self._storage = answer.url
            if status == 200:
                body = self._whole(answer, offset, count)
            else:
                body = self._range(answer, offset, count)
            spending.nbytes += len(body)
            return body

    def _check_linked(self, answer: Answer) -> None:
        """Raise CheckpointError if a redirect speaks of another content or size than the one before."""
        for headers in answer.redirects:
            linked, size = headers.get("X-Linked-ETag"), headers.get("X-Linked-Size")
            if (self._linked or linked) != (linked or self._linked) or (size and size != str(self._size or size)):
                raise CheckpointError(self.path, "changed while it was read")
            self._linked = self._linked or linked

    def _check_status(self, answer: Answer) -> None:
        """Raise unless an answer has the bytes that were asked for."""
        response = answer.response
        if response.status == _TOO_MANY:
            self.client.slow_down()
        if response.status in _RETRIED:
            raise _TryAgain(f"the server answers {response.status}", _retry_after(response.headers))
        # an empty file has no range to give: 416, with its size of 0
        unsatisfied = _UNSATISFIED.fullmatch(response.headers.get("Content-Range", ""))
        if response.status == 416 and unsatisfied and int(unsatisfied[1]) == 0:
            self._size = 0
            raise TruncatedError(self.path, "is empty")
        if response.status not in (200, 206):
            explained = None
            if self._explain:
                explained = self._explain(self.path, response.status, response.headers)
            if explained:
                raise explained
            reason = _REASONS.get(response.status, f"cannot be read: the server answers {response.status}")
            if response.status in _ABSENT:
                raise NotThereError(self.path, reason)
            raise CheckpointError(self.path, reason)
        # identity was asked for; what a server compresses all the same may unpack to a thousand times its size
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise CheckpointError(self.path, "the server compresses ranges; download the file first")

    def _whole(self, answer: Answer, offset: int, count: int) -> bytes:
        """A whole file in the place of a range, if it is small."""
        length = answer.response.headers.get("Content-Length", "")
        if offset or not length.isdecimal() or int(length) > max(count, _LARGEST_WHOLE):
            raise CheckpointError(self.path, _NO_RANGES)
        kind = answer.response.headers.get("Content-Type", "")
        if kind.startswith("text/html"):
            raise NotThereError(self.path, "is a web page, not a file; the server may want a login")
        self._check_version(answer, int(length))
        return self._body(answer, int(length))

    def _range(self, answer: Answer, offset: int, count: int) -> bytes:
        """The bytes of a range that begins where it was asked for, and is not longer."""
        found = _CONTENT_RANGE.fullmatch(answer.response.headers.get("Content-Range", ""))
        if found is None:
            raise CheckpointError(self.path, "the server does not say which range it sends")
        start, end, total = int(found[1]), int(found[2]), int(found[3])
        if start != offset or not start <= end < min(offset + count, total):
            raise CheckpointError(self.path, f"the server sends bytes {start:,} to {end:,} for {offset:,}")
        self._check_version(answer, total)
        return self._body(answer, end - start + 1)

    def _body(self, answer: Answer, count: int) -> bytes:
        """A body of exactly so many bytes."""
        body = answer.body(count)
        if len(body) < count:
            raise _TryAgain("the connection closed too early")
        if answer.body(1):
            raise CheckpointError(self.path, f"the server sends more than the {count:,} bytes that it promised")
        return body

    def _check_version(self, answer: Answer, total: int) -> None:
        """Raise CheckpointError if the file is not the one of the answers before."""
        tag = answer.response.headers.get("ETag", "")
        # a weak tag (W/"...") stays the same through changes of bytes
        strong = tag if tag.startswith('"') else None
        modified = answer.response.headers.get("Last-Modified")
        first = self.version is None and self._modified is None
        changed = self._size not in (None, total)
        if not first:
            changed = changed or (self.version or strong) != strong or (self._modified or modified) != modified
        if changed:
            raise CheckpointError(self.path, "changed while it was read")
        self._size = total
        self.version = self.version or strong
        self._modified = self._modified or modified


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; None if it does not say."""
    text = headers.get("Retry-After", "")
    if text.isdecimal() and len(text) < 6:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        limit = _RATE_LIMIT.search(headers.get("RateLimit", ""))
        return float(limit[1]) if limit else None


def _words(error: HTTPError) -> str:
    """What a failed connection means, without the addresses that libraries put into their messages."""
    if has_bad_head(error):
        return "the head of its answer is too long"
    name = type(error).__name__
    return {
        "ConnectTimeoutError": "the server cannot be reached in time",
        "ReadTimeoutError": "the server stopped sending",
        "NameResolutionError": "its host is not known",
        "NewConnectionError": "the server cannot be reached",
        "ProtocolError": "the connection broke",
        "IncompleteRead": "the connection closed too early",
        "SSLError": "its certificate is not valid",
        "ProxyError": "the proxy cannot be reached",
    }.get(name, name)
