"""The training loop of one rank, over the storage port.

Shape legend: B rows of this rank in a step, N rows of a side.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.shards import Split, load_split
from mlratchet.models.errors import DataError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.claim import claim_key
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.training.checkpoint import (
    Checkpoint,
    model_tensors,
    newest_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    write_checkpoint,
)
from mlratchet.models.training.job import StaleAttemptError, TrainingError, TrainJob
from mlratchet.models.training.optim import build_optimizer, learning_rate
from mlratchet.models.training.order import global_batches, steps_per_epoch
from mlratchet.models.training.result import TrainResult, publish_result
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.loading import load_workload
from safetensors.torch import load, save
from torch import nn
from torch.nn.parallel import DistributedDataParallel

Emit = Callable[[dict[str, Any]], None]


class Trainer:
    """State of one rank."""

    def __init__(self, job: TrainJob, store: ObjectStore, *, rank: int, world: int, device: torch.device) -> None:
        self.job, self.store, self.rank, self.world, self.device = job, store, rank, world, device
        self.config = job.train
        manifest = load_dataset(store, job.dataset_id)
        self.train_rows = load_split(store, manifest, "train")
        self.validation_rows = load_split(store, manifest, "validation")
        rows, batch = len(self.train_rows.ids), self.config.global_batch_size
        self.per_epoch = steps_per_epoch(rows, batch, world)
        if self.per_epoch == 0:
            raise DataError(f"{rows} training rows are fewer than {world} processes; deliver more or use one process")
        self.total = self.per_epoch * self.config.epochs
        self.workload: Workload = load_workload(job.workload.use, dict(job.workload.parameters))
        torch.manual_seed(self.config.seed)
        self.module = self.workload.build_model()
        self.history: list[dict[str, Any]] = []
        self.step = 0
        self.epochs_done = 0
        self._begin()
        self.resumed_from_step = self.step
        self.model: nn.Module = DistributedDataParallel(self.module) if world > 1 else self.module

    def _begin(self) -> None:
        """From the newest checkpoint that verifies, else from the parent, else fresh."""
        checkpoint = newest_checkpoint(self.store, self.job.work_key, up_to_epoch=self.job.epoch)
        if checkpoint is not None:
            self.module.load_state_dict(checkpoint.model)
        elif self.job.parent_weights_key is not None:
            warm_start(self.module, self.store, self.job.parent_weights_key, self.job.parent_weights_sha256)
        self.module.to(self.device)
        self.optimizer = build_optimizer(self.config.optimizer, self.module)
        if checkpoint is not None:
            restore_optimizer(self.optimizer, checkpoint.optimizer)
            self.step, self.epochs_done = checkpoint.step, checkpoint.epochs_done
            self.history = list(checkpoint.history)

    def train_epoch(self) -> dict[str, float]:
        """One pass; returns sums over this rank's rows, reduced over all ranks."""
        epoch = self.epochs_done
        # dropout and the like: the same numbers after a resume at this epoch
        torch.manual_seed((self.config.seed * 1_000_003 + epoch) * 1_009 + self.rank)
        self.model.train()
        sums = torch.zeros(4, dtype=torch.float64)  # loss * rows, correct, rows, gradient norms
        batches = global_batches(
            len(self.train_rows.ids),
            self.config.global_batch_size,
            self.world,
            seed=self.config.seed,
            epoch=epoch,
        )
        for indices in batches:
            mine = indices[self.rank :: self.world]
            loss, correct, norm = self._step(mine, len(indices))
            sums += torch.tensor([loss * len(mine), correct, len(mine), norm], dtype=torch.float64)
            self.step += 1
        reduced = self._reduce(sums)
        rows = reduced[2].item()
        return {
            "train_loss": reduced[0].item() / rows,
            "train_accuracy": reduced[1].item() / rows,
            "gradient_norm": reduced[3].item() / (self.per_epoch * self.world),
        }

    def _step(self, mine: Any, global_rows: int) -> tuple[float, float, float]:
        rate = learning_rate(
            self.config.optimizer.learning_rate,
            self.config.schedule,
            step=self.step,
            total=self.total,
            per_epoch=self.per_epoch,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        x = torch.from_numpy(self.train_rows.x[mine]).to(self.device)
        y = torch.from_numpy(self.train_rows.y[mine]).to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        output = self.model(x)
        loss = self.workload.loss(output, y, label_smoothing=self.config.label_smoothing)
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"loss is {value} at step {self.step} (epoch {self.epochs_done + 1}); "
                "the last good checkpoint is kept; "
                f"lower train.optimizer.learning_rate (now {rate:g}) or look for NaN in the data"
            )
        # DDP averages over ranks: weigh by rows, so that a short last batch counts every row once
        scaled = loss * (len(mine) * self.world / global_rows)
        scaled.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        clip = self.config.clip_norm if self.config.clip_norm is not None else math.inf
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), clip)
        self.optimizer.step()
        return value, self._correct(output, y), float(norm)

    def _correct(self, output: torch.Tensor, y: torch.Tensor) -> float:
        if self.workload.task != "classification":
            return 0.0
        return float((output.argmax(dim=1) == y).sum().item())

    def validate(self) -> dict[str, float]:
        """Loss and accuracy over the validation rows, each counted once whatever the number of ranks."""
        self.module.eval()
        sums = torch.zeros(3, dtype=torch.float64)
        rows: Split = self.validation_rows
        with torch.inference_mode():
            for at in range(0, len(rows.ids), 512 * self.world):
                mine = slice(at + self.rank, min(at + 512 * self.world, len(rows.ids)), self.world)
                x = torch.from_numpy(rows.x[mine]).to(self.device)
                y = torch.from_numpy(rows.y[mine]).to(self.device)
                if len(y) == 0:
                    continue
                output = self.module(x)
                loss = self.workload.loss(output, y, label_smoothing=0.0).item()
                sums += torch.tensor([loss * len(y), self._correct(output, y), len(y)], dtype=torch.float64)
        reduced = self._reduce(sums)
        return {
            "validation_loss": (reduced[0] / reduced[2]).item(),
            "validation_accuracy": (reduced[1] / reduced[2]).item(),
        }

    def _reduce(self, sums: torch.Tensor) -> torch.Tensor:
        if self.world > 1:
            moved = sums.to(self.device) if self.device.type == "cuda" else sums
            dist.all_reduce(moved)
            return moved.cpu()
        return sums

    def finish_epoch(self, facts: dict[str, Any]) -> None:
        """Count it, remember it, publish the checkpoint (rank 0)."""
        self.epochs_done += 1
        if self.workload.task != "classification":
            facts = {k: v for k, v in facts.items() if not k.endswith("_accuracy")}
        self.history.append({"epoch": self.epochs_done, **facts})
        if self.rank == 0:
            self.refuse_if_stale()
            write_checkpoint(
                self.store,
                self.job.work_key,
                self.job.epoch,
                Checkpoint(
                    step=self.step,
                    epochs_done=self.epochs_done,
                    history=self.history,
                    model=model_tensors(self.module),
                    optimizer=optimizer_tensors(self.optimizer),
                ),
            )

    def refuse_if_stale(self) -> None:
        """Raises ``StaleAttemptError`` when a newer attempt has taken the work key."""
        if self.store.exists(claim_key(self.job.work_key, self.job.epoch + 1)):
            raise StaleAttemptError(
                f"attempt {self.job.epoch} of work {self.job.work_key[:12]} was overtaken by attempt "
                f"{self.job.epoch + 1}; "
                "nothing of it is read any more"
            )


def warm_start(module: nn.Module, store: ObjectStore, key: str, sha256: str | None) -> tuple[list[str], list[str]]:
    """Take the tensors that match by name and shape; returns (taken, left new).

    Raises ``TrainingError`` when none does: a warm start from nothing is a mistake that nobody would see.
    """
    state = module.state_dict()
    parent = load(store.get(key, sha256=sha256))
    taken = {name: value for name, value in parent.items() if name in state and state[name].shape == value.shape}
    if not taken:
        raise TrainingError(
            f"warm start: none of the {len(parent)} tensors of {key} fits this model (got {next(iter(parent), '-')} "
            f"first, expected {next(iter(state), '-')}); set train.warm_start: none, or bring fitting weights"
        )
    module.load_state_dict({**state, **taken})
    return sorted(taken), sorted(set(state) - set(taken))


def run_training(
    job: TrainJob, store: ObjectStore, *, rank: int, world: int, device: torch.device, emit: Emit
) -> TrainResult | None:
    """Train to the end; rank 0 publishes and returns the result, the others return None.

    `emit` gets one event per finished epoch, after its checkpoint. On a resume the earlier epochs are emitted
    again, so that a listener which lost them is whole.
    """
    began = time.monotonic()
    trainer = Trainer(job, store, rank=rank, world=world, device=device)
    if rank == 0:
        for entry in trainer.history:
            emit({"event": "epoch", **entry})
    while trainer.epochs_done < job.train.epochs:
        start = time.monotonic()
        facts: dict[str, Any] = trainer.train_epoch()
        trained_s = time.monotonic() - start
        facts |= trainer.validate()
        facts["learning_rate"] = trainer.optimizer.param_groups[0]["lr"]
        facts["rows_per_second"] = len(trainer.train_rows.ids) / trained_s
        facts["epoch_seconds"] = time.monotonic() - start
        trainer.finish_epoch(facts)
        if rank == 0:
            emit({"event": "epoch", **trainer.history[-1]})
        if world > 1:
            dist.barrier()  # nobody runs an epoch ahead of the checkpoint
    if rank != 0:
        return None
    return publish(trainer, job, store, seconds=time.monotonic() - began)


def publish(trainer: Trainer, job: TrainJob, store: ObjectStore, *, seconds: float) -> TrainResult:
    """Weights by digest, then the result."""
    trainer.refuse_if_stale()
    data = save(model_tensors(trainer.module))
    sha256 = digest_bytes(data)
    key = f"work/{job.work_key}/e{job.epoch:06d}/weights-{sha256}.safetensors"
    store.create(key, data)
    result = TrainResult(
        weights_key=key,
        weights_sha256=sha256,
        history=tuple(trainer.history),
        steps=trainer.step,
        resumed_from_step=trainer.resumed_from_step,
        seconds=seconds,
    )
    return publish_result(store, job.work_key, job.epoch, result)
