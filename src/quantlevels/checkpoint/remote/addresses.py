"""Which URLs and network addresses may be used, and how URLs are shown."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

#: addresses and names of services that give secrets to whoever runs on a machine in a cloud
_METADATA_ADDRESSES: Final = frozenset({"169.254.169.254", "fd00:ec2::254", "100.100.100.200"})
_METADATA_HOST: Final = re.compile(r"metadata(\..*)?", re.IGNORECASE)
#: what a name from a file must not hold: it would lead elsewhere, or mean something else in a URL
_UNSAFE: Final = re.compile(r"[\\:%?#\x00-\x1f\x7f]")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def clean(url: str) -> str:
    """A URL as it may be shown: without user information, query and fragment, which may hold secrets."""
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


def is_private(host: str, address: str) -> bool:
    """Whether an address is not of the public internet: private, loopback, link-local, multicast or unspecified.

    Args:
        host: the name that led to the address.
        address: IPv4 or IPv6, as the connected socket has it.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    found = mapped or found
    return not found.is_global or found.is_multicast


def is_metadata(host: str, address: str) -> bool:
    """Whether an address or a name is of a cloud's metadata service, which is never asked."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found) in _METADATA_ADDRESSES or _METADATA_HOST.fullmatch(host) is not None
