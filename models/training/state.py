"""The state of one rank: how it begins, what a checkpoint holds, what is published."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.mapped import MappedSide
from mlratchet.models.data.shards import load_split
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.identity.claim import claim_key
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.ports.local_files import files_of
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import Split
from mlratchet.models.tensors.batch import ByName, aligned, asked_by_name, batch_of
from mlratchet.models.tensors.sharded import ShardedInputs
from mlratchet.models.training.averaging import WeightAverage
from mlratchet.models.training.batches import Plan
from mlratchet.models.training.checkpoint import (
    Position,
    Tensors,
    model_tensors,
    newest_checkpoint,
)
from mlratchet.models.training.configured_loss import build_loss, class_weight
from mlratchet.models.training.engine import Engine
from mlratchet.models.training.exact import ExactEngine
from mlratchet.models.training.fast import FastEngine
from mlratchet.models.training.fitting import check_fits
from mlratchet.models.training.hardware import hardware_kind, prepare_device
from mlratchet.models.training.job import StaleAttemptError, TrainingError, TrainJob
from mlratchet.models.training.named_tensors import column_tensors, head_tensors
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.optim import build_optimizer
from mlratchet.models.training.optimizer_state import optimizer_document, optimizer_tensors, restore_optimizer
from mlratchet.models.training.packing import refuse_unpackable
from mlratchet.models.training.pieces import least_rows
from mlratchet.models.training.queries import queries_of, query_target
from mlratchet.models.training.stopping import StoppingState
from mlratchet.models.training.validation import score_rows
from mlratchet.models.training.warm_start import Axis, WarmStartReport, warm_start
from mlratchet.models.training.windows import AHEAD, hold_for_training
from mlratchet.models.workloads.base import MEAN, SCALE, CarriedOver, Workload
from mlratchet.models.workloads.loading import load_workload


class TrainingState:
    """State of one rank."""

    def __init__(
        self,
        job: TrainJob,
        store: ObjectStore,
        *,
        rank: int,
        world: int,
        device: torch.device,
        around: Surroundings | None = None,
    ) -> None:
        self.job, self.store, self.rank, self.world, self.device = job, store, rank, world, device
        self.config, self.around = job.train, around or Surroundings()
        prepare_device(device, self.config)
        manifest = load_dataset(store, job.dataset_id)
        self.manifest = manifest
        self.train_rows = load_split(store, manifest, "train", ahead=AHEAD)
        self.validation_rows = load_split(store, manifest, "validation")
        self.workload: Workload = load_workload(job.workload.use, dict(job.workload.parameters))
        check_fits(self.config, self.workload)
        torch.manual_seed(self.config.seed)
        self.module = self.workload.prepared_model()
        refuse_unpackable(self.module.state_dict())
        rows, specs = self.train_rows.x, self.workload.tensors()
        self.model = asked_by_name(self.module, specs)
        self.workload.fit_preparation(self.module, rows.array if rows.is_one else rows, self.train_rows.y)
        self.least_rows = least_rows(self.module, aligned(batch_of(rows.rows(slice(1)))), self.model)
        self.plan = self._plan()
        files = files_of(store)
        if isinstance(rows, ShardedInputs) and isinstance(rows.pieces, MappedSide) and files is not None:
            hold_for_training(rows.pieces, self.config.shuffle_window, room_bytes=files.bound_bytes)
        self.per_epoch = self.plan.order().per_epoch
        if self.per_epoch == 0:
            what = f"{self.plan.shards} {'shards' if self.config.mode == 'exact' else 'processes'}"
            drawn = "queries" if self.workload.objective.by_query else "rows"
            raise DataError(f"{self.plan.rows} training {drawn} are fewer than {what} need; deliver more")
        self.total = self.per_epoch * self.config.epochs
        self.step, self.history, self.sums, self.skipped = 0, list[dict[str, Any]](), [0.0] * 5, 0
        self.stopping, self.best = StoppingState(), Tensors()
        self.warm_start: WarmStartReport | None = None
        self.began_fresh = ""  # why nothing was taken from the parent
        self._begin()
        self.resumed_from_step = self.step

    def _plan(self) -> Plan:
        """Which rows of a step are this rank's."""
        exact = self.config.mode == "exact"
        shards = self.config.shards if exact else self.world
        smallest, by_query = shards * self.least_rows, self.workload.objective.by_query
        if self.config.global_batch_size < smallest:
            raise ConfigurationError(
                f"train.global_batch_size {self.config.global_batch_size} in {shards} "
                f"{'shards' if exact else 'processes'} leaves one with a single {'query' if by_query else 'row'}, and "
                f"this model computes over its rows (BatchNorm) and needs {self.least_rows}; write at least {smallest}"
            )
        if by_query and self.config.shuffle_window is not None:
            raise ConfigurationError("train.shuffle_window: a ranking draws whole queries, of all rows; remove it")
        return Plan(
            rows=len(queries_of(self.train_rows)) if by_query else len(self.train_rows.ids),
            batch=self.config.global_batch_size,
            smallest=smallest,
            seed=self.config.seed,
            shards=shards,
            first=self.rank * (shards // self.world),
            count=shards // self.world,
            window=self.config.shuffle_window,
            sizes=tuple(ref.rows for ref in self.manifest.splits["train"]),
        )

    @property
    def epochs_done(self) -> int:
        """Whole passes over the training rows."""
        return len(self.history)

    def _begin(self) -> None:
        """From the newest checkpoint that verifies, else from the parent, else fresh."""
        checkpoint = newest_checkpoint(self.store, self.job.work_key, up_to_epoch=self.job.epoch)
        if checkpoint is not None:
            self._same_hardware(checkpoint.position.hardware)
            self.module.load_state_dict(checkpoint.groups["model"])
        elif self.job.parent_weights_key is not None:
            key, sha256 = self.job.parent_weights_key, self.job.parent_weights_sha256
            neutral = self.workload.neutral_preparation(self.job.parent_columns or self.workload.input_spec().columns)
            axes = self._named_axes()
            try:
                self.warm_start = warm_start(
                    self.module, self.store, key, sha256, axes, neutral=neutral, carry=self._carry
                )
            except TrainingError as error:
                if not self.job.fresh_if_nothing_fits:
                    raise
                self.began_fresh = str(error).removeprefix("warm start: ").partition("; ")[0]  # without the advice
        self.module.to(self.device)
        if self.config.channels_last:
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its stub
        self.optimizer = build_optimizer(self.config.optimizer, self.module, device=self.device.type)
        self.average = WeightAverage(self.module, self.config.ema_decay) if self.config.ema_decay else None
        weight = class_weight(self.config, self.workload, self.train_rows)
        loss = build_loss(self.config, self.workload, weight.to(self.device) if weight is not None else None)
        plain = self.config.model_copy(update={"label_smoothing": 0.0, "class_weights": None})
        self.validation_loss = build_loss(plain, self.workload, None)
        kind = ExactEngine if self.config.mode == "exact" else FastEngine
        compiled: Any = torch.compile(self.module) if self.config.compile else self.module
        self.engine: Engine = kind(
            compiled,
            loss,
            self.config,
            rank=self.rank,
            world=self.world,
            device=self.device,
            objective=self.workload.objective,
            least_rows=self.least_rows,
            names=self.model.names if isinstance(self.model, ByName) else (),
        )
        if checkpoint is not None:
            self._restore(checkpoint.position, checkpoint.groups)

    def _carry(self, parent: Mapping[str, torch.Tensor]) -> CarriedOver | None:
        """Over another fitted preparation. Raises ``TrainingError`` as `Workload.carried_over` does."""
        if not self.job.parent_example:
            return None
        try:
            return self.workload.carried_over(self.module, parent, self.job.parent_example)
        except DataError as error:
            raise TrainingError(f"warm start: {error}; write train.warm_start: none") from error

    def _named_axes(self) -> list[Axis]:
        """Where the parent lists other classes or columns, or in another order: which tensors are about them."""
        classes, columns = self.workload.class_names(), self.workload.input_spec().columns
        theirs, their_columns = self.job.parent_classes or classes, self.job.parent_columns or columns
        buffers = dict(self.module.named_buffers())
        x, axes = batch_of(self.train_rows.x.rows(slice(16))), []
        if theirs != classes:
            heads = head_tensors(self.module, x, len(classes), self.model)
            axes.append(Axis(ours=classes, theirs=theirs, dim=0, tensors=frozenset(heads)))
        if their_columns != columns:
            assert isinstance(x, torch.Tensor), "a table is one tensor"
            first = column_tensors(self.module, x, len(columns), base=buffers.get(MEAN))
            axes.append(Axis(ours=columns, theirs=their_columns, dim=1, tensors=frozenset(first)))
            axes.append(
                Axis(ours=columns, theirs=their_columns, dim=0, tensors=frozenset({MEAN, SCALE} & set(buffers)))
            )
        return axes

    def _same_hardware(self, wrote: str) -> None:
        mine = hardware_kind(self.device, self.config)
        if self.config.mode == "exact" and wrote and wrote != mine:
            raise TrainingError(
                f"the checkpoint was written on {wrote} and this machine is {mine}: mode exact cannot go on with the "
                "same bits; run where it began, change train.seed to begin anew, or write mode: fast"
            )

    def _restore(self, position: Position, groups: dict[str, Tensors]) -> None:
        restore_optimizer(self.optimizer, groups["optimizer"], position.optimizer)
        self.step, self.history, self.skipped = position.step, list(position.history), position.skipped
        if self.engine.reduces_facts or self.rank == 0:
            self.sums = list(position.sums)
        self.began_fresh = position.began_fresh
        if position.scaler:
            self.engine.scaler.load_state_dict(position.scaler)
        if position.stopping:
            self.stopping = StoppingState(**position.stopping)
        if self.average is not None:
            self.average.restore(groups["ema"])
        self.best = groups.get("best", {})

    def position(self) -> Position:
        """For a checkpoint at this step."""
        return Position(
            step=self.step,
            epochs_done=self.epochs_done,
            history=list(self.history),
            sums=list(self.sums),
            scaler=self.engine.scaler.state_dict(),
            stopping=self.stopping.document() if self.config.early_stopping else {},
            skipped=self.skipped,
            hardware=hardware_kind(self.device, self.config),
            began_fresh=self.began_fresh,
            optimizer=optimizer_document(self.optimizer),
        )

    def tensors(self) -> dict[str, Tensors]:
        """For a checkpoint; not copied."""
        groups = {"model": dict(self.module.state_dict()), "optimizer": optimizer_tensors(self.optimizer)}
        if self.average is not None:
            groups["ema"] = self.average.tensors()
        if self.best:
            groups["best"] = self.best
        return groups

    def refuse_if_stale(self) -> None:
        """Raises ``StaleAttemptError`` when a newer attempt has taken the work key."""
        if self.store.exists(claim_key(self.job.work_key, self.job.epoch + 1)):
            raise StaleAttemptError(
                f"attempt {self.job.epoch} of work {self.job.work_key[:12]} was overtaken by attempt "
                f"{self.job.epoch + 1}; nothing of it is read any more"
            )

    def score(self, rows: Split) -> tuple[RowOutputs, float]:
        """Outputs and mean loss of a side, with the weights that would be published now."""
        self.engine.share_buffers()
        by_query = self.workload.objective.by_query
        with self.average.applied() if self.average is not None else nullcontext():
            outputs, loss = score_rows(
                self.module, rows, loss=None if by_query else self.validation_loss, rank=self.rank, world=self.world,
                device=self.device, beat=self.around.beat, ask=self.model,
            )  # fmt: skip
        if by_query:  # a chunk may cut a query: its loss is taken over all rows, which every rank has now
            queries = queries_of(rows)
            order, number = queries.rows(np.arange(len(queries)))
            target = query_target(torch.from_numpy(rows.y[order]), number)
            loss = float(self.validation_loss(torch.from_numpy(outputs.output[order]), target))
        return outputs, loss

    def final_tensors(self) -> Tensors:
        """The weights as they would be published now, copied."""
        with self.average.applied() if self.average is not None else nullcontext():
            return model_tensors(self.module)

    def settle(self) -> Tensors:
        """Training is over: load what is published into the module, and return it."""
        final = self.best or self.final_tensors()
        self.average = None
        self.module.load_state_dict(final)
        return final
