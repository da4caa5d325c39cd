"""How ranks find each other: the process group of one attempt, over one node or several."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch.distributed as dist
from torch.distributed import FileStore, PrefixStore, TCPStore  # type: ignore[attr-defined]  # exported without __all__

FIRST_NODE = "first node"  # key in the group's store: the agent rank of the node that writes the result


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the agent tells a rank, through its environment."""

    number: int  # among all ranks, in the order in which the agents met
    world: int
    local: int  # on this node
    local_world: int
    node: int  # in the order in which the agents met
    master: tuple[str, int]  # where the rank of number 0 listens, where there are several nodes
    restarts: int  # how often the agent has started the ranks again

    @classmethod
    def told(cls, environment: Mapping[str, str]) -> Place:
        """As torch's agent writes it."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_PORT",
                 "TORCHELASTIC_RESTART_COUNT")  # fmt: skip
        number, world, local, local_world, node, port, restarts = (int(environment[name]) for name in names)
        return cls(
            number=number, world=world, local=local, local_world=local_world, node=node,
            master=(environment["MASTER_ADDR"], port), restarts=restarts,
        )  # fmt: skip


def join_group(
    place: Place, backend: str, *, timeout_s: float, first_node: bool, folder: Path | None
) -> tuple[int, int]:
    """Connect with the others; returns (rank, world). The ranks of the first node come first, in whatever order the
    agents met: rank 0 writes events and the result, and must be where they are read. `folder`: where they find each
    other on one node, by a file and no port; None with several."""
    if place.world == 1:
        return 0, 1
    timeout = dt.timedelta(seconds=timeout_s)
    if folder is not None:
        file = FileStore(str(folder / f"group-{place.restarts}"), place.world)
        file.set_timeout(timeout)
        group = PrefixStore("ranks", file)
        dist.init_process_group(backend, store=group, rank=place.number, world_size=place.world, timeout=timeout)
        return place.number, place.world
    store = TCPStore(*place.master, place.world, is_master=place.number == 0, timeout=timeout)
    if first_node and place.local == 0:
        store.set(FIRST_NODE, str(place.node))
    rank = (place.number - int(store.get(FIRST_NODE)) * place.local_world) % place.world
    group_store = PrefixStore("ranks", store)
    dist.init_process_group(backend, store=group_store, rank=rank, world_size=place.world, timeout=timeout)
    return rank, place.world
