"""Which names in a request's Host header are this server's: a page of another site that had its own name point at this
machine (DNS rebinding) asks by that name."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

ANY = "*"
KEPT = 64  # headers whose answer is kept: nearly all requests have the same


class AllowedHosts:
    """This machine, every address (a page needs a name to be rebound), and the names that were configured."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = {name.strip().lower() for name in names if name.strip()} | {"localhost"}
        self._is_ours = lru_cache(KEPT)(self._compared)

    def allows(self, header: str | None) -> bool:
        """Whether a Host header, with or without a port, may ask. A client that sends none is no browser."""
        return header is None or ANY in self._names or self._is_ours(header)

    def _compared(self, header: str) -> bool:
        name = host_of(header).lower().rstrip(".")
        return name in self._names or is_address(name)


def host_of(header: str) -> str:
    """Without the port."""
    if header.startswith("["):
        return header[1:].split("]", 1)[0]
    return header.rsplit(":", 1)[0] if header.count(":") == 1 else header


def is_address(name: str) -> bool:
    """Whether it is one of IPv4 or IPv6."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
