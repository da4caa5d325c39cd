"""Ranks of one training as forks of the test, which share nothing but their group."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def in_forks(world: int, call: Callable[[int], Any], folder: Path) -> list[Any]:
    """What `call(rank)` gives in a process of its own each, joined by gloo."""
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            try:
                torch.set_num_threads(1)
                store = dist.FileStore(str(folder / "group"), world)  # type: ignore[attr-defined]
                dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
                (folder / f"{rank}.json").write_text(json.dumps(call(rank)))
                dist.destroy_process_group()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * world
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]
