"""Whom a browser asks for: names in a request's Host header that are this server's (a page of another site that had its
own name point at this machine, DNS rebinding, asks by that name), and pages whose requests are taken."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

ANY = "*"
USUAL_PORTS = {"http": ":80", "https": ":443"}
KEPT = 64  # headers whose answer is kept: nearly all requests have the same


class AllowedHosts:
    """This machine, every address (a page needs a name to be rebound), and the names that were configured."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._configured = {name.strip().lower() for name in names if name.strip()}
        self._names = self._configured | {"localhost"}
        self._is_ours = lru_cache(KEPT)(self._compared)

    def allows(self, header: str | None) -> bool:
        """Whether a Host header, with or without a port, may ask. A client that sends none is no browser."""
        return header is None or ANY in self._names or self._is_ours(header)

    def allows_page(self, origin: str | None, host: str | None) -> bool:
        """Whether a page of this Origin may have something done: this server's own pages, and those of a name that was
        configured. A form or a request without a type is sent by a browser for whatever page there is, unasked."""
        if origin is None or ANY in self._configured:
            return True
        scheme, _, place = origin.lower().partition("://")
        usual = USUAL_PORTS.get(scheme, "")
        ours = host is not None and place.removesuffix(usual) == host.lower().removesuffix(usual)
        return bool(place) and (ours or host_of(place) in self._configured)

    def _compared(self, header: str) -> bool:
        name = host_of(header).lower().rstrip(".")
        return is_port(behind(header)) and (name in self._names or is_address(name))


def host_of(header: str) -> str:
    """Without the port."""
    if header.startswith("["):
        return header[1:].split("]", 1)[0]
    return header.rsplit(":", 1)[0] if header.count(":") == 1 else header


def behind(header: str) -> str:
    """What stands behind the name: a colon and a port, or nothing; of a bracket that nobody closes, the bracket."""
    if header.startswith("["):
        return header.partition("]")[2] if "]" in header else "["
    return header[header.rindex(":") :] if header.count(":") == 1 else ""


def is_port(text: str) -> bool:
    """Whether it is a colon and ASCII digits, or none of them (RFC 3986), or nothing."""
    return not text or (text[0] == ":" and (text == ":" or (text.isascii() and text[1:].isdigit())))


def is_address(name: str) -> bool:
    """Whether it is one of IPv4 or IPv6."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
