"""One rank from begin to result."""

from __future__ import annotations

import re
import time
from dataclasses import asdict

import torch
import torch.distributed as dist
from mlratchet.models.data.dataset import load_dataset, refuse_gate_rows
from mlratchet.models.data.shards import load_split
from mlratchet.models.errors import ConfigurationError, RatchetError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.metrics.rows import save_rows
from mlratchet.models.own_line import own_line
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.training.fast import REDUCTION, unused
from mlratchet.models.training.job import TrainingError, TrainJob
from mlratchet.models.training.loop import Trainer
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.result import TrainResult, publish_result, weights_key
from safetensors.torch import save

NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|bad_alloc", re.IGNORECASE)
CUT_OFF = re.compile(r"closed by peer|reset by peer|connection refused|broken pipe|timed out", re.IGNORECASE)
NO_KERNEL = re.compile(r"(\S+) does not have a deterministic implementation")


def run_training(
    job: TrainJob, store: ObjectStore, *, rank: int, world: int, device: torch.device, around: Surroundings
) -> TrainResult | None:
    """Train to the end; rank 0 returns the result, which it also publishes if its surroundings say so, the others None.

    On a resume the earlier epochs are emitted again, so that a listener which lost them is whole.

    Raises:
        TrainingError: The loss is not finite, memory ran out, the hardware cannot keep the promise.
        PreemptedError: It was asked to leave, and the checkpoint is saved.
        StaleAttemptError: A newer attempt has the work key.
        ConfigurationError: The workload's code raised; with the line.
        SecurityError: A trial of a search was given rows that gates judge on.
    """
    began = time.monotonic()
    if job.search:
        refuse_gate_rows(load_dataset(store, job.dataset_id))
    try:
        trainer = Trainer(job, store, rank=rank, world=world, device=device, around=around)
        if rank == 0:
            text = (
                trainer.warm_start.line()
                if trainer.warm_start
                else (f"resumed at step {trainer.step}" if trainer.step else trainer.began_fresh or "began fresh")
            )
            around.emit({"event": "note", "step": trainer.step, "text": text})
            for entry in trainer.history:
                around.emit({"event": "epoch", **entry})
        trainer.run()
        return _publish(trainer, store, began=began)
    except RatchetError:
        raise
    except Exception as error:
        raise _explained(error, job, world) from error


def _publish(trainer: Trainer, store: ObjectStore, *, began: float) -> TrainResult | None:
    """Weights by digest, the outputs of the test rows, then the result, which who holds the key publishes.

    A trial of a search has no test rows and nobody serves it: the outputs of its scoring rows, and the digest of its
    weights, are what is kept.
    """
    job = trainer.job
    final = trainer.settle()
    rows = trainer.validation_rows if job.search else load_split(store, trainer.manifest, "test")
    outputs, _ = trainer.score(rows)
    rows_key = save_rows(store, outputs) if trainer.rank == 0 else None
    if trainer.world > 1:
        dist.barrier()
    if trainer.rank != 0:
        return None
    trainer.refuse_if_stale()
    data = save(final)
    sha256 = digest_bytes(data)
    key = weights_key(job.work_key, job.epoch, sha256)
    if not job.search:
        store.create(key, data)
    result = TrainResult(
        weights_key="" if job.search else key,
        weights_sha256=sha256,
        history=tuple(trainer.history),
        steps=trainer.step,
        resumed_from_step=trainer.resumed_from_step,
        seconds=time.monotonic() - began,
        rows_key=rows_key,
        warm_start=trainer.warm_start.line() if trainer.warm_start else "",
        warm_start_tensors=asdict(trainer.warm_start) if trainer.warm_start else {},
        began_fresh=trainer.began_fresh,
        checkpoint_stall_seconds=trainer.checkpoint_stall_s,
        checkpoint_write_seconds=trainer.checkpoint_write_s,
        checkpoints_written=trainer.checkpoints_written,
        processes=trainer.world,
        device=trainer.device.type,
    )
    return publish_result(store, job.work_key, job.epoch, result) if trainer.around.publishes else result


def _explained(error: BaseException, job: TrainJob, world: int) -> BaseException:
    """An error of ours for what a person can mend; the error itself otherwise."""
    text = str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or NO_MEMORY.search(text):
        train = job.train
        pieces = (train.shards if train.mode == "exact" else world) * train.accumulation
        rows = -(-train.global_batch_size // pieces)
        return TrainingError(
            f"out of memory with train.global_batch_size {train.global_batch_size}, {rows} rows at a time; raise "
            f"train.accumulation (now {train.accumulation}) to {2 * train.accumulation}, which changes no row of a "
            f"step, or lower global_batch_size or the size of the model"
        )
    found = NO_KERNEL.search(text)
    if found:
        return TrainingError(
            f"operator {found[1]} has no deterministic kernel on this GPU: mode exact cannot promise the same bits; "
            "replace it in the model, or write train.mode: fast"
        )
    if REDUCTION in text:
        return unused("a parameter, at some steps,")
    line = own_line(error)
    if line and not isinstance(error, dist.DistError) and not CUT_OFF.search(text):
        return ConfigurationError(f"{line}: {type(error).__name__}: {text[:600]}; mend it there: a retry would not")
    return error
