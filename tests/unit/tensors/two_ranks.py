"""Two ranks that train one job after the other: what their processes import, which is what trains and no more."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.run import run_training

from tests.unit.tensors.conftest import job_of

Case = tuple[str, str, dict[str, Any]]
"""Workload, id of its dataset, changes of the training."""


def as_rank(rank: int, folder: str, objects: dict[str, bytes], cases: list[Case]) -> None:
    """One of two, with a copy of the store: rank 0 keeps the digest of each job's weights."""
    torch.set_num_threads(1)
    store = MemoryStore("store")
    for key, data in objects.items():
        store.put(key, data)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for number, (use, dataset, changes) in enumerate(cases):
        job = job_of(use, dataset, f"two-{number}", **changes)
        result = run_training(job, store, rank=rank, world=2, device=torch.device("cpu"), around=Surroundings())
        if result is not None:
            (Path(folder) / f"weights-{number}").write_text(result.weights_sha256)
    dist.destroy_process_group()


def trained_by_two(folder: Path, store: MemoryStore, cases: list[Case]) -> list[str]:
    """SHA-256 hex of the weights of each; both processes must end well."""
    objects = {info.key: store.get(info.key) for info in store.list("")}
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=as_rank, args=(rank, str(folder), objects, cases)) for rank in (0, 1)]
    for one in ranks:
        one.start()
    for one in ranks:
        one.join(300)
    assert [one.exitcode for one in ranks] == [0, 0]
    return [(folder / f"weights-{number}").read_text() for number in range(len(cases))]
