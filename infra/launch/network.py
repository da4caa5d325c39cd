"""Where ranks listen."""

from __future__ import annotations

import socket

import psutil


def interface_of(address: str) -> str | None:
    """The network interface that has this address; None when no one has."""
    for name, found in psutil.net_if_addrs().items():
        if any(entry.family in (socket.AF_INET, socket.AF_INET6) and entry.address == address for entry in found):
            return name
    return None


def network_environment(address: str) -> dict[str, str]:
    """What makes gloo and NCCL listen at this address alone."""
    name = interface_of(address)
    return {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name} if name else {}
