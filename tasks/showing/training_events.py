"""What the ranks report, on its way to the people: MLflow, TensorBoard, Prefect's page."""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
from mlratchet.infra.tracking.spool import MetricSpool, Point
from mlratchet.infra.tracking.tensorboard import TensorBoardLog
from mlratchet.tasks.showing.prefect_page import Progress
from mlratchet.tasks.wiring import Run

logger = logging.getLogger(__name__)
DRAIN_S = 10.0  # seconds at the end in which MLflow may catch up; the rest waits for `ratchet reconcile`
LOSSES = ("loss", "train_loss", "validation_loss")
NOT_METRICS = ("event", "epoch", "step", "of", "at_s")


class Forwarder:
    """Called with every event; never waits for MLflow, never is the reason that training fails."""

    def __init__(self, run: Run, tracking_run: str, board: Path, *, epochs: int) -> None:
        self._epochs = epochs
        tracker = run.adapters.tracker
        self._spool = MetricSpool(tracker, tracking_run, run.adapters.settings.home / "spool")
        self._logged = tracker.logged_steps(tracking_run, "train_loss") | self._spool.waiting_steps("train_loss")
        self._steps = tracker.logged_steps(tracking_run, "training/loss") | self._spool.waiting_steps("training/loss")
        self._board = TensorBoardLog(board)
        self._progress = Progress("training-progress", f"Training {run.spec.name}")
        self._progress.report(0, epochs)
        self._began_s, self._first_done = time.monotonic(), 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._board.close()
        left = self._spool.close(DRAIN_S)
        if left:
            logger.warning("MLflow does not answer: %d metric points wait for `ratchet reconcile`", left)

    def __call__(self, event: dict[str, Any]) -> None:
        """An epoch goes to MLflow under step = epoch, a step event under `training/...` and step = global step."""
        with suppress(OSError):  # a full disk costs pictures, never the training
            self._board(event)
        if event["event"] == "epoch":
            epoch = int(event["epoch"])
            if epoch not in self._logged:  # a resume replays the history
                extra = {
                    "system/cpu_utilization_percentage": psutil.cpu_percent(),
                    "system/system_memory_usage_megabytes": psutil.virtual_memory().used / 1e6,
                }
                self._spool.add(points({**event, **extra}, "", epoch))
            self._show(epoch, event)
        elif event["event"] == "step" and int(event["step"]) not in self._steps:
            self._spool.add(points(event, "training/", int(event["step"])))
            self._show(self._epochs * event["step"] / event["of"], event)
        elif event["event"] == "note":
            logger.info("training: %s", event["text"])

    def _show(self, done: float, event: dict[str, Any]) -> None:
        """How far, the loss, and how long it will take at the pace of this attempt."""
        spent_s = time.monotonic() - self._began_s
        if not self._first_done:  # a resumed training begins in the middle: that part took none of this time
            self._began_s, self._first_done = time.monotonic(), done
        losses = [f"{name.removeprefix('train_')} {event[name]:.4g}" for name in LOSSES if name in event]
        words = [f"epoch {min(int(done) + 1, self._epochs)} of {self._epochs}", *losses]
        if done > self._first_done:
            left_s = spent_s * (self._epochs - done) / (done - self._first_done)
            words.append(f"{left_s:.0f} s left")
        self._progress.report(done, self._epochs, ", ".join(words))


def points(event: dict[str, Any], prefix: str, at: int) -> list[Point]:
    """The finite numbers of an event."""
    at_s = float(event.get("at_s", time.time()))
    return [
        (prefix + name.removeprefix("step_"), float(value), at, at_s)
        for name, value in event.items()
        if name not in NOT_METRICS and isinstance(value, int | float) and math.isfinite(value)
    ]
