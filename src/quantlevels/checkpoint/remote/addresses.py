"""Which URLs and network addresses may be used, and how URLs are shown."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

#: addresses and names of services that give secrets to every program on a machine in a cloud
_METADATA_ADDRESSES: Final = frozenset(
    {"169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23", "100.100.100.200"}
)
_METADATA_HOST: Final = re.compile(r"metadata(\..*)?", re.IGNORECASE)
#: what a name from a file must not hold: it would lead elsewhere, or mean something else in a URL
_UNSAFE: Final = re.compile(r"[\\:%?#\x00-\x1f\x7f]")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
#: where a further URL begins in a chain of fsspec, as ``zip://model::s3://bucket/archive.zip``
_CHAINED: Final = re.compile(r"::(?=[A-Za-z][A-Za-z0-9+.-]*://)")
#: IPv6 addresses whose last four bytes are an IPv4 address that a gateway translates to (RFC 6052)
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")


def clean(url: str) -> str:
    """A URL as it may be shown: without user information, query and fragment, which may hold secrets."""
    return "::".join(map(_clean_link, _CHAINED.split(url)))


def _clean_link(url: str) -> str:
    """One URL of a chain, as it may be shown."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", "")) + ("?…" if parts.query else "")
    except ValueError:
        return url.partition("://")[0] + "://…"


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: credentials go to the origin they were meant for, and to no other."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(parts.scheme)


def is_safe_name(name: str) -> bool:
    """Whether a name from a file is a plain relative path below the folder of that file."""
    parts = name.split("/")
    return not _UNSAFE.search(name) and all(part not in ("", ".", "..") for part in parts)


def quoted(name: str) -> str:
    """A relative path as part of a URL."""
    return quote(name, safe="/")


def literal_address(host: str) -> str | None:
    """The address that a host spells out, in decimal or octal numbers too; None for a name."""
    if host.lower() == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def is_private(host: str, address: str) -> bool:
    """Whether an address is not of the public internet: private, loopback, link-local, multicast or unspecified.

    Args:
        host: the name that led to the address.
        address: IPv4 or IPv6, as the connected socket has it.
    """
    found = _reached(address)
    return not found.is_global or found.is_multicast


def is_metadata(host: str, address: str | None) -> bool:
    """Whether an address or a name is of a cloud's metadata service, which is never asked.

    Args:
        host: the name that led to the address.
        address: None if it is not known.
    """
    named = _METADATA_HOST.fullmatch(host) is not None
    return named or (address is not None and str(_reached(address)) in _METADATA_ADDRESSES)


def _reached(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address at which a connection ends: that inside of an IPv6 address which stands for an IPv4 address."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return found
    if found in _TRANSLATED:
        return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found.ipv4_mapped or found.sixtofour or found
