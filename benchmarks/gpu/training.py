"""Trainings of the digits on one device: a store in a folder, a process per rank, no launcher and no services."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from mlratchet.infra.storage.folder import FolderStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.sources.record import Record
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import PreemptedError, TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.result import TrainResult
from mlratchet.models.training.run import run_training

CLASSES = tuple(str(digit) for digit in range(10))
WORKLOAD = WorkloadRef(
    use="mlratchet.models.workloads.vision:ImageClassifier",
    parameters={"height": 8, "width": 8, "channels": 1, "classes": list(CLASSES), "base_width": 16},
)
Rank = Callable[..., None]


def write_digits(folder: Path, file: Path) -> str:
    """The dataset's id, in the store `folder`/store."""
    raw, store = FolderStore(folder / "raw"), FolderStore(folder / "store")
    raw.put("digits/all", b"see the file")
    rows = np.load(file)
    records = [
        Record(id=f"{number:04d}", x=x, y=int(y), content_sha256=f"{number:04d}")
        for number, (x, y) in enumerate(zip(rows["x"], rows["y"], strict=True))
    ]
    data = DataConfig.model_validate({"split": {"validation": 0.1, "test": 0.35}})
    snapshot = take_snapshot(raw, store, prefix="digits/")
    source = SourceConfig(prefix="digits/")
    return write_dataset(store, snapshot, records, "digits", WORKLOAD, data, source, class_names=CLASSES).id


def job_of(dataset: str, work_key: str, *, epoch: int, device: str, processes: int, **train: Any) -> TrainJob:
    """One attempt at a work key."""
    config = {"mode": "exact", "shards": 4, "epochs": 10, "global_batch_size": 256, "device": device, **train}
    return TrainJob(
        work_key=work_key, epoch=epoch, dataset_id=dataset, workload=WORKLOAD, scratch=".", processes=processes,
        train=TrainConfig.model_validate(config),
    )  # fmt: skip


def place(device: str, rank: int, world: int, meet: Path) -> torch.device:
    """The device of this rank, after it has met the others."""
    found = torch.device("cuda", rank) if device == "cuda" else torch.device("cpu")
    if device == "cuda":
        torch.cuda.set_device(found)
    if world > 1:
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=f"file://{meet}", rank=rank, world_size=world)
    return found


def _rank(rank: int, world: int, folder: str, job_json: str, leave_at: int | None, pipe: Any) -> None:
    job, steps = TrainJob.model_validate_json(job_json), [0]

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            steps[0] = int(event["step"])

    device = place(job.train.device, rank, world, Path(folder) / f"meet-{job.work_key}-{job.epoch}")
    around = Surroundings(emit=hear, stop_requested=lambda: leave_at is not None and steps[0] >= leave_at)
    try:
        result = run_training(
            job, FolderStore(Path(folder) / "store"), rank=rank, world=world, device=device, around=around
        )
        if rank == 0 and result is not None:
            pipe.send(result.model_dump_json())
    except PreemptedError as left:
        if rank == 0:
            pipe.send(str(left))
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def train(folder: Path, job: TrainJob, *, leave_at: int | None = None) -> TrainResult | None:
    """The result; None when it left at step `leave_at` with its checkpoint written. Raises ``RuntimeError``."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    os.environ.update(MASTER_ADDR="127.0.0.1")
    ranks = [
        context.Process(target=_rank, args=(rank, job.processes, str(folder), job.model_dump_json(), leave_at, theirs))
        for rank in range(job.processes)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    if any(rank.exitcode for rank in ranks) or not ours.poll(1):
        raise RuntimeError(f"ranks ended with {[rank.exitcode for rank in ranks]}")
    said = ours.recv()
    return TrainResult.model_validate_json(said) if said.startswith("{") else None
