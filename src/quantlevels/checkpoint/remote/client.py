"""Requests over HTTP: redirects followed by hand, addresses checked at the socket, a deadline for each request."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util.ssltransport import SSLTransport

from quantlevels.checkpoint.remote.addresses import clean, is_metadata, is_private, literal_address, origin
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

#: (host, address) → whether the address is not of the public internet
AddressCheck: TypeAlias = Callable[[str, str], bool]

_REDIRECTS: Final = (301, 302, 303, 307, 308)
#: the Hub takes two; a loop would never end
_MOST_REDIRECTS: Final = 5
#: requests to one host at a time
PARALLEL: Final = 8
_CONNECT_SECONDS: Final = 10.0


class RefusedAddressError(HTTPError):
    """An address that must not be connected to."""


class _Request(threading.local):
    """What the connections of this thread need to know of the request under way.

    urllib3 makes connections itself and passes nothing on to them, hence by way of the thread.
    """

    client: Client | None = None
    deadline: _Deadline | None = None


_REQUEST: Final = _Request()


class _Deadline:
    """Ends a request that takes too long: a server that sends a byte now and then never lets a socket time out."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.expired = False

    def check(self, url: str, seconds: float) -> None:
        """Raise CheckpointError if the request took too long."""
        if self.expired:
            raise CheckpointError(clean(url), f"a request took longer than {seconds:.3g} seconds") from None

    def expire(self) -> None:
        """Shut the socket down, whatever waits for it."""
        self.expired = True
        if self.socket is not None:
            try:
                self.socket.shutdown(socket.SHUT_RDWR)
            except OSError:  # closed already
                return


class _Guarded(HTTPConnection):
    """A connection that checks the address at its other end before it sends anything."""

    def _new_conn(self) -> socket.socket:
        return _checked(self, super()._new_conn())

    def request(self, *arguments: Any, **options: Any) -> None:  # Any: as urllib3 has them
        _watch(self.sock)  # one that is kept from the request before
        super().request(*arguments, **options)


class _GuardedTLS(HTTPSConnection):
    """As `_Guarded`, over TLS."""

    def _new_conn(self) -> socket.socket:
        return _checked(self, super()._new_conn())

    def request(self, *arguments: Any, **options: Any) -> None:  # Any: as urllib3 has them
        _watch(self.sock)
        super().request(*arguments, **options)
        _watch(self.sock)  # TLS wraps the socket


def _checked(connection: HTTPConnection, sock: socket.socket) -> socket.socket:
    """A new socket, if the address at its other end may be used.

    Raises:
        RefusedAddressError: if not.
    """
    client = _REQUEST.client
    _watch(sock)
    # behind a proxy the socket's other end is the proxy, and only it resolves the name
    if client is not None and connection.proxy is None:
        # the address that is really connected to: a second look at the name can give another one (DNS rebinding)
        address = str(sock.getpeername()[0])
        if not client.may_connect(connection.host, address):
            sock.close()
            raise RefusedAddressError(_refusal(connection.host))
    return sock


def _refusal(host: str) -> str:
    return f"leads to {host}, in a private network"


def _watch(sock: object) -> None:
    """Have the deadline of the request under way end this socket."""
    if isinstance(sock, SSLTransport):  # TLS to a server within TLS to a proxy
        sock = sock.socket
    deadline = _REQUEST.deadline
    if deadline is not None and isinstance(sock, socket.socket):
        deadline.socket = sock
        if deadline.expired:  # while the connection was made
            deadline.expire()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Guarded  # type: ignore[mutable-override]  # ty: ignore[invalid-assignment]


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _GuardedTLS  # type: ignore[mutable-override]  # ty: ignore[invalid-assignment]


@final
class _Slots:
    """Bounds the requests that are under way at a time; fewer after the server said that it gets too many."""

    def __init__(self) -> None:
        self._most = PARALLEL
        self._taken = 0
        self._freed = threading.Condition()

    def halve(self) -> None:
        """Allow half as many from now on, but one."""
        with self._freed:
            self._most = max(1, self._most // 2)

    def __enter__(self) -> None:
        with self._freed:
            self._freed.wait_for(lambda: self._taken < self._most)
            self._taken += 1

    def __exit__(self, *error: object) -> None:
        with self._freed:
            self._taken -= 1
            self._freed.notify_all()


@final
class Client:
    """Sends requests for the files of one checkpoint.

    Args:
        url: that the user gave; credentials go to its origin only.
        headers: for that origin, such as Authorization.
        silence: seconds without a byte after which a request fails.
        is_private: which addresses are not public.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        silence: float = 10.0,
        is_private: AddressCheck = is_private,
    ) -> None:
        self.origin: tuple[str, str, int | None] = origin(url)
        self._headers = dict(headers or {})
        self._is_private = is_private
        #: whether the address of the given URL is private; None before it was connected to
        self._private_allowed: bool | None = None
        self._timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=silence)
        #: proxy → what sends requests through it; None: directly
        self._managers: dict[str | None, urllib3.PoolManager] = {}
        self._slots = _Slots()

    def slow_down(self) -> None:
        """Send fewer requests at a time: the server answered 429."""
        self._slots.halve()

    def _manager(self, proxy: str | None) -> urllib3.PoolManager:
        """What sends requests, through a proxy if there is one."""
        if proxy not in self._managers:
            options: dict[str, Any] = {"timeout": self._timeout, "maxsize": PARALLEL, "block": True}  # Any: urllib3's
            if proxy is None:
                manager = urllib3.PoolManager(**options)
            else:
                login = unquote(urlsplit(proxy).netloc.rpartition("@")[0])
                headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
                manager = urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
            guarded: dict[str, type[HTTPConnectionPool] | type[HTTPSConnectionPool]] = {
                "http": _Pool,
                "https": _PoolTLS,
            }
            manager.pool_classes_by_scheme = guarded  # ty: ignore[invalid-assignment]  # its own type is narrower
            self._managers.setdefault(proxy, manager)
        return self._managers[proxy]

    def may_connect(self, host: str, address: str) -> bool:
        """Whether a socket to this address may be used.

        The address of the URL that the user gave may be private; a redirect never leads from the public internet into a
        private network.
        """
        if is_metadata(host, address):  # even if the user named it: it gives the machine's own credentials
            return False
        private = self._is_private(host, address)
        if self._private_allowed is None and host.lower() == self.origin[1]:
            self._private_allowed = private
        return bool(self._private_allowed) or not private

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str], seconds: float) -> Generator[Answer]:
        """The answer to a GET, its body unread; redirects are followed.

        Args:
            url: of the file.
            headers: besides those for the origin.
            seconds: after which the request ends, body included.

        Raises:
            HTTPError: if the connection fails.
            CheckpointError: for a redirect that must not be followed.
        """
        deadline = _Deadline()
        timer = threading.Timer(seconds, deadline.expire)
        timer.daemon = True  # a pending one must not keep the program alive
        _REQUEST.client, _REQUEST.deadline = self, deadline
        answer: Answer | None = None
        with self._slots:
            timer.start()
            try:
                answer = self._follow(url, headers)
                deadline.check(url, seconds)
                yield answer
            except Exception:
                # whatever a socket that was shut down looks like
                deadline.check(url, seconds)
                raise
            finally:
                timer.cancel()
                _REQUEST.client = _REQUEST.deadline = None
                if answer is not None:
                    answer.response.close()
                    # closed alone, it would keep its place in the pool, which is full after 8 bodies left unread
                    answer.response.release_conn()

    def _follow(self, url: str, headers: Mapping[str, str]) -> Answer:
        first = url
        passed: list[Mapping[str, str]] = []
        for _ in range(_MOST_REDIRECTS + 1):
            # a token goes to the host it was meant for: storage that gets a second login answers 400
            credentials = self._headers if origin(url) == self.origin else {}
            proxy = _proxy_of(url)
            if proxy is not None:
                self._check_literal(url)
            response = self._manager(proxy).request(
                "GET",
                url,
                headers={"Accept-Encoding": "identity", **headers, **credentials},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return Answer(url, response, tuple(passed))
            passed.append(response.headers)
            response.drain_conn()
            response.release_conn()
            url = _redirected(first, url, location)
        raise CheckpointError(clean(first), f"redirects more than {_MOST_REDIRECTS} times")

    def _check_literal(self, url: str) -> None:
        """Check the address that a URL spells out; behind a proxy that of a name is not known here.

        Raises:
            RefusedAddressError: if it must not be connected to.
        """
        host = urlsplit(url).hostname or ""
        address = literal_address(host)
        if is_metadata(host, address) or (address is not None and not self.may_connect(host, address)):
            raise RefusedAddressError(_refusal(host))


@final
class Answer:
    """An answer whose body has not been read.

    Args:
        url: that gave it, after redirects.
        response: the answer.
        redirects: the headers of the redirects before.
    """

    def __init__(self, url: str, response: BaseHTTPResponse, redirects: tuple[Mapping[str, str], ...]) -> None:
        self.url = url
        self.response = response
        self.redirects = redirects

    def body(self, count: int) -> bytes:
        """Exactly ``count`` bytes of the body, or fewer if it ends."""
        chunks: list[bytes] = []
        while count > 0:
            chunk = self.response.read(min(count, 1 << 16))
            if not chunk:
                break
            chunks.append(chunk)
            count -= len(chunk)
        return b"".join(chunks)


def _proxy_of(url: str) -> str | None:
    """The proxy that the environment names for a URL."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def _redirected(first: str, url: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        CheckpointError: if it must not be followed.
    """
    try:
        following = urljoin(url, location)
        parts = urlsplit(following)
        origin(following)
    except ValueError:
        raise CheckpointError(clean(first), "redirects to something that is not a URL") from None
    problem = ""
    if parts.scheme not in ("http", "https"):
        problem = f"redirects to {parts.scheme}:, which is not followed"
    elif parts.scheme == "http" and urlsplit(url).scheme == "https":
        problem = "redirects from https to http, which is not followed"
    elif parts.username or parts.password:
        problem = "redirects to a URL with credentials, which is not followed"
    if problem:
        raise CheckpointError(clean(first), problem)
    return following


def has_bad_head(error: HTTPError) -> bool:
    """Whether the head of an answer is too long, or has too many lines: http.client reads 100 of at most 64 KiB."""
    causes = [cause for cause in error.args if isinstance(cause, http.client.HTTPException)]
    return any(type(cause) in (http.client.HTTPException, http.client.LineTooLong) for cause in causes)


def wait(seconds: float) -> None:
    """Wait before a request is tried again; a function of its own, for tests to replace."""
    time.sleep(seconds)
