"""The training loop of one rank, over the storage port."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
import torch.distributed as dist
from mlratchet.models.objectives.naming import compute_metrics, metrics_for
from mlratchet.models.training.batches import Batch, StepRows, batches
from mlratchet.models.training.checkpointer import Checkpointer
from mlratchet.models.training.engine import CORRECT, LOSS, STOP, Stopwatch
from mlratchet.models.training.job import PreemptedError, TrainingError
from mlratchet.models.training.observers import StepReporter, weight_histograms
from mlratchet.models.training.optim import learning_rate, set_learning_rate
from mlratchet.models.training.profiling import profiler
from mlratchet.models.training.rank_times import rank_times
from mlratchet.models.training.state import TrainingState
from mlratchet.models.training.stopping import judge_epoch

MOST_SKIPPED = 10  # steps in a row whose gradient is not finite
HALVINGS = 16  # of fp16's first scale, 65,536, to 1: steps that are left out because the scale is still too large


class Trainer(TrainingState):
    """Takes steps."""

    def run(self) -> None:
        """Train from here to the end, with checkpoints on rank 0."""
        writer, around = None, self.around
        if self.rank == 0:
            writer = Checkpointer(
                self.store, self.job.work_key, self.job.epoch, self.config.checkpoint,
                refuse_if_stale=self.refuse_if_stale, mark=None if around.publishes else around.report_checkpoint,
                step=self.step,
            )  # fmt: skip
        try:
            self._steps(writer)
            if writer is not None:
                writer.wait()
        finally:
            if writer is not None:
                writer.close()
                self.checkpoint_stall_s = writer.stall_s
                self.checkpoint_write_s, self.checkpoints_written = writer.write_s, writer.written

    def _steps(self, writer: Checkpointer | None) -> None:
        self._reporter = StepReporter(self.device)
        self._clock = Stopwatch()  # behind it: parts are never more than the whole
        self._recent: list[tuple[int, int, int, float, torch.Tensor, torch.Tensor]] = []  # see _one_step
        self._stop_seen, self._epoch_began = False, time.monotonic()
        self._interval = [0.0, 0]  # loss x rows, rows since the last report
        self._last_norm, self._last_rate = 0.0, self._rate_of(max(self.step - 1, 0))  # until a step counts
        self.module.train()
        dataset = StepRows(self.train_rows, self.plan, self.workload, logged_weight=self.job.logged_weight)
        first = self.total if self._stopped_early() else self.step
        pin = self.device.type == "cuda"
        source = batches(
            dataset, first, self.total, workers=self.config.loader_workers, pin=pin, bind=self.around.bind_worker
        )
        profile = profiler(self.config.profile, self.around.profile_file if self.rank == 0 else None, first=first)
        with profile as tick:
            for batch in source:
                self._clock.lap("data")
                self._one_step(batch)
                tick()
                scheduled = self.device.type == "cpu" or self.step % self.config.log_every_steps == 0
                at_end = self.step % self.per_epoch == 0
                if scheduled or at_end or self.config.on_nan == "skip":
                    self._read_recent()
                if self.step % self.config.log_every_steps == 0 or at_end:
                    self._report()
                if at_end:
                    self._finish_epoch()
                if self._stop_seen and (scheduled or at_end):
                    self._leave(writer)
                if writer is not None and writer.due(self.step):
                    self._read_recent()
                    writer.save(self.position(), self.tensors())
                self.around.beat()
                self._clock.skip()
                if at_end and self._stopped_early():
                    break

    def _one_step(self, batch: Batch) -> None:
        """Forward, backward, exchange, update."""
        config, engine = self.config, self.engine
        rate = self._rate_of(self.step)
        set_learning_rate(self.optimizer, rate)
        self._count_flops(batch)
        before = self._buffers_before()
        facts = engine.forward_backward(self.step, batch, stop=self.around.stop_requested(), clock=self._clock)
        if engine.scaler.is_enabled():
            engine.scaler.unscale_(self.optimizer)
        norm, scaled = engine.clip(config.clip_norm), engine.scaler.is_enabled()
        keep_if_finite(norm, before)
        if not scaled and config.on_nan == "skip" and not math.isfinite(float(norm)):
            self._skip(rate)
        elif not scaled and self.device.type == "cpu" and not math.isfinite(float(norm)):
            self._refuse(self.step, float(norm), rate)  # before it reaches the weights
        else:
            engine.scaler.step(self.optimizer)
            engine.scaler.update()
            if self.average is not None:
                self.average.update()
            if not scaled:
                self.skipped = 0
        rows = batch[0] if engine.reduces_facts else sum(len(y) for _, y, _ in batch[1])
        self._recent.append((self.step, batch[0], rows, rate, facts.clone(), norm))
        self._reporter.count(batch[0])
        self.step += 1
        self._clock.lap("optimizer")

    def _rate_of(self, step: int) -> float:
        config = self.config
        return learning_rate(
            config.optimizer.learning_rate, config.schedule, step=step, total=self.total, per_epoch=self.per_epoch
        )

    def _buffers_before(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Each buffer with a copy, where this step may be left out."""
        if self.config.on_nan != "skip" and not self.engine.scaler.is_enabled():
            return []
        return [(buffer, buffer.clone()) for buffer in self.module.buffers()]

    def _skip(self, rate: float) -> None:
        self.skipped += 1
        if self.skipped > MOST_SKIPPED:
            self._refuse(self.step, float("nan"), rate)
        if self.rank == 0:
            self.around.emit({"event": "note", "step": self.step, "text": f"step {self.step} skipped: not finite"})

    def _refuse(self, step: int, value: float, rate: float) -> None:
        raise TrainingError(
            f"loss or gradient is {value} at step {step} (epoch {step // self.per_epoch + 1}); "
            f"the last good checkpoint is kept; lower train.optimizer.learning_rate (now {rate:g}), look for NaN in "
            "the data, or write train.on_nan: skip"
        )

    def _count_flops(self, batch: Batch) -> None:
        if not self._reporter.wants_flops:
            return
        from torch.utils.flop_counter import FlopCounterMode

        _, shards = batch
        buffers = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        x, y = self.engine.to_device(*shards[0][:2])
        with FlopCounterMode(display=False) as counter, self.engine.autocast():
            self.engine.loss(self.model(x), y).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._reporter.flops_per_row = counter.get_total_flops() / len(y)
        for parameter in self.module.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()
        for buffer, before in buffers:  # counting must not move BatchNorm's statistics
            buffer.copy_(before)

    def _read_recent(self) -> None:
        """Fetch the numbers of the steps since the last call (a GPU is waited for), and judge them."""
        if not self._recent:
            return
        numbers = torch.stack([torch.cat([f, n.reshape(1).float()]) for *_, f, n in self._recent]).tolist()
        scaled = self.engine.scaler.is_enabled()
        for (step, whole, rows, rate, _, _), (*facts, norm) in zip(self._recent, numbers, strict=True):
            taken, self._last_rate = math.isfinite(norm), rate
            if scaled:
                self._count_scaled(step, norm, rate)
            if not math.isfinite(facts[LOSS]) or not (taken or scaled):
                if self.config.on_nan == "stop":
                    self._refuse(step, facts[LOSS] if not math.isfinite(facts[LOSS]) else norm, rate)
                continue
            for at, value in enumerate((facts[LOSS] * whole, facts[CORRECT], rows, norm if taken else 0.0, taken)):
                self.sums[at] += value
            self._interval[0] += facts[LOSS] * whole
            self._interval[1] += rows
            if self.engine.reduces_facts or self.world == 1:
                self._stop_seen = self._stop_seen or facts[STOP] > 0
            self._last_norm = norm
        self._recent.clear()

    def _count_scaled(self, step: int, norm: float, rate: float) -> None:
        """fp16 leaves a step out and halves its scale where the gradient is not finite: a few times, or for ever."""
        self.skipped = 0 if math.isfinite(norm) else self.skipped + 1
        if self.skipped > MOST_SKIPPED + HALVINGS:
            self._refuse(step, norm, rate)

    def _report(self) -> None:
        """A step event of rank 0; in fast mode the ranks agree here whether to leave."""
        self._read_recent()
        if not self.engine.reduces_facts and self.world > 1:
            flag = torch.tensor([float(self.around.stop_requested())], device=self.device)
            dist.all_reduce(flag)
            self._stop_seen = bool(flag.item() > 0)
        if self.rank != 0 or not self._interval[1]:
            return
        numbers = self._reporter.read(self._clock.read(), world=self.world)
        self.around.emit(
            {
                "event": "step",
                "step": self.step,
                "of": self.total,
                "at_s": time.time(),
                "loss": self._interval[0] / self._interval[1],
                "gradient_norm": self._last_norm,
                "learning_rate": self._last_rate,
                **numbers,
            }
        )
        self._interval = [0.0, 0]

    def _leave(self, writer: Checkpointer | None) -> None:
        """SIGTERM: the checkpoint of this very step, then out, all ranks at the same step."""
        if writer is not None:
            writer.save(self.position(), self.tensors())
            writer.wait()
        if self.world > 1:
            dist.barrier()  # nobody ends, and so breaks the others' connections, before rank 0 has written
        raise PreemptedError(f"stopped at step {self.step} of {self.total}; the checkpoint is saved")

    def _finish_epoch(self) -> None:
        """Validate, remember, judge."""
        sums = torch.tensor(self.sums, dtype=torch.float64)
        if not self.engine.reduces_facts and self.world > 1:
            moved = sums.to(self.device)
            dist.all_reduce(moved)
            sums = moved.cpu()
        loss, correct, rows, norms, steps = sums.tolist()
        if self.config.on_nan == "skip" and not steps and not self.engine.scaler.is_enabled():
            raise TrainingError(
                f"train.on_nan: skip left out all {self.per_epoch} steps of epoch {self.epochs_done + 1}: nothing was "
                f"learnt; lower train.optimizer.learning_rate (now {self.config.optimizer.learning_rate:g}), or look "
                "for NaN in the data and in the loss"
            )
        facts: dict[str, Any] = {"epoch": self.epochs_done + 1}
        facts |= {"train_loss": loss / max(rows, 1), "gradient_norm": norms / max(steps, 1)}
        if self.workload.objective.has_accuracy:
            facts["train_accuracy"] = correct / max(rows, 1)
        trained_s = time.monotonic() - self._epoch_began
        scored, facts["validation_loss"] = self.score(self.validation_rows)
        metrics = compute_metrics(scored, self.workload.task, self.workload.class_names())
        asked = self.config.early_stopping.metric if self.config.early_stopping else ""
        for name, metric in metrics.items():
            if ("_class_" not in name or name == asked) and math.isfinite(metric.value):
                facts[f"validation_{name}"] = metric.value
        facts["learning_rate"] = self._last_rate
        facts["rows_per_second"] = rows / max(trained_s, 1e-9)
        facts["epoch_seconds"] = time.monotonic() - self._epoch_began
        facts |= rank_times(self._busy_s(), world=self.world, device=self.device)
        facts["at_s"] = time.time()
        self.history.append({k: v for k, v in facts.items() if not isinstance(v, float) or math.isfinite(v)})
        self.sums = [0.0] * 5
        self._judge(facts)
        if self.rank == 0:
            self.around.emit({"event": "epoch", **self.history[-1]})
            self.around.emit(weight_histograms(self.module, self.epochs_done))
            shown = self.workload.objective.samples(scored, self.workload.class_names())
            self.around.emit({"event": "predictions", "epoch": self.epochs_done, "rows": shown})
        self._epoch_began = time.monotonic()
        self.module.train()

    def _busy_s(self) -> float:
        """Seconds of this epoch in which this rank worked and waited for no other."""
        parts = self._clock.read_epoch()
        waits = {"communication"} if self.engine.reduces_facts else {"communication", "forward_backward"}
        return sum(seconds for part, seconds in parts.items() if part not in waits)

    def _judge(self, facts: dict[str, Any]) -> None:
        config = self.config.early_stopping
        if config is None:
            return
        known = metrics_for(self.workload.task, self.workload.class_names())
        lower = config.metric == "loss" or known[config.metric].direction == "lower"
        self.stopping = judge_epoch(
            self.stopping,
            facts.get(f"validation_{config.metric}", float("nan")),
            epoch=self.epochs_done,
            lower_is_better=lower,
            minimum_change=config.minimum_change,
        )
        if self.stopping.best_epoch == self.epochs_done:
            self.best = self.final_tensors()

    def _stopped_early(self) -> bool:
        config = self.config.early_stopping
        return config is not None and self.stopping.since_best >= config.patience_epochs


def keep_if_finite(norm: torch.Tensor, buffers: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """A step with another `norm` of its gradient is left out: buffers, as BatchNorm's statistics, become what they were
    before it. No GPU is waited for."""
    finite = torch.isfinite(norm)
    for buffer, before in buffers:
        buffer.copy_(torch.where(finite, buffer, before))
