"""The process that trains. It imports neither Prefect nor MLflow.

Started by the agent through a forkserver; asks the process that started the attempt for objects, by an inherited
channel, and has no credential of its own.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mlratchet.infra.child.lent_store import BorrowedStore
from mlratchet.infra.child.store_server import borrow
from mlratchet.infra.launch.group import Place, join_group
from mlratchet.infra.launch.same_code import refuse_other_code
from mlratchet.infra.launch.watchdog import PREEMPTED, Watchdog
from mlratchet.infra.machine.lifetime import die_with_parent
from mlratchet.infra.settings import arm_fault
from mlratchet.models.errors import RatchetError
from mlratchet.models.training.job import PreemptedError, TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.run import run_training


def main(job_file: str) -> None:
    """One rank of the job, from rendezvous to result."""
    bound = sys.modules.get("mlratchet.infra.launch.bound")
    assert bound is not None, "the forkserver is not bound to the agent"
    die_with_parent()
    gc.freeze()  # what was preloaded stays
    gc.enable()
    job = TrainJob.model_validate_json(Path(job_file).read_text())
    scratch = Path(job.scratch)
    failed = scratch / "error.json"
    if failed.is_file():  # a restart cannot mend what the user has to
        raise SystemExit(3)
    place, rank = Place.told(os.environ), -1
    device = pick_device(job, place.local)
    watchdog = Watchdog(job.train.stall_timeout_seconds, scratch, place.local)
    watchdog.start()
    arm_fault()
    assert job.bucket is not None, "the launcher lends a store"
    store = borrow(bound.CHANNEL, job.bucket)
    try:
        refuse_other_code(job)
        rank, world = join_group(
            place,
            "nccl" if device.type == "cuda" else "gloo",
            timeout_s=job.train.process_group_timeout_seconds,
            first_node=job.rendezvous is None or job.rendezvous.first,
            folder=scratch if job.train.nodes == 1 else None,
        )
        result = run_training(
            job, store, rank=rank, world=world, device=device,
            around=Surroundings(
                emit=Spool(scratch / "events.jsonl"),
                report_checkpoint=partial(tell_checkpoint, store),
                beat=watchdog.beat,
                stop_requested=watchdog.stop_requested,
                bind_worker=die_with_parent,
                publishes=False,
                profile_file=str(scratch / "trace.json"),
            ),
        )  # fmt: skip
        if result is not None:
            store.report("result", result.model_dump_json().encode())  # signed by who hears it; no disk can be full
    except PreemptedError as left:
        if rank == 0:
            (scratch / "preempted").write_text(str(left))
        raise SystemExit(PREEMPTED) from left
    except RatchetError as error:
        said = json.dumps({"code": error.code, "exit_code": error.exit_code, "message": str(error)})
        failed.write_text(said)
        raise SystemExit(error.exit_code) from error
    finally:
        if dist.is_initialized() and sys.exc_info()[0] is None:
            dist.destroy_process_group()


def tell_checkpoint(store: BorrowedStore, step: int, marker: dict[str, Any]) -> None:
    """As the result is told: the launcher has heard it when this returns, and no disk can be full."""
    store.report("checkpoint", json.dumps({"step": step, "marker": marker}).encode())


def pick_device(job: TrainJob, local_rank: int) -> torch.device:
    """CUDA where there is one, unless the job says cpu."""
    if job.train.device == "cpu" or (job.train.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


class Spool:
    """Events as JSON lines; the launcher reads along. A full disk costs events, never the training."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lost = False
        self._lock = threading.Lock()  # checkpoints are reported from a thread of their own

    def __call__(self, event: dict[str, Any]) -> None:
        """Append one event, whole or not at all."""
        line = json.dumps(event).encode() + b"\n"
        with self._lock, self._file.open("ab", buffering=0) as sink:
            size = sink.tell()
            try:
                if sink.write(line) == len(line):
                    return
                words = "no space left"
            except OSError as error:
                words = str(error)
            sink.truncate(size)
        if not self._lost:
            self._lost = True
            with suppress(OSError):
                print(f"events are lost: {self._file}: {words}", file=sys.stderr, flush=True)  # noqa: T201 - to the log
