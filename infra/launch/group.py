"""How ranks find each other: the process group of one attempt, over one node or several."""

from __future__ import annotations

import datetime as dt
import os
import socket

import psutil
import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # exported without __all__

FIRST_NODE = "first node"  # key in the group's store: the agent rank of the node that writes the result


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


def join_group(backend: str, *, timeout_s: float, first_node: bool) -> tuple[int, int]:
    """Connect with the others; returns (rank, world). The ranks of the first node come first, in whatever order the
    agents met: rank 0 writes events and the result, and must be where they are read."""
    number, world, local, local_world, node = (
        int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
    )
    if world == 1:
        return 0, 1
    timeout = dt.timedelta(seconds=timeout_s)
    store = TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), world, is_master=number == 0, timeout=timeout
    )
    if first_node and local == 0:
        store.set(FIRST_NODE, str(node))
    rank = (number - int(store.get(FIRST_NODE)) * local_world) % world
    dist.init_process_group(backend, store=PrefixStore("ranks", store), rank=rank, world_size=world, timeout=timeout)
    return rank, world
