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
            self._progress.report(epoch, self._epochs)
        elif event["event"] == "step" and int(event["step"]) not in self._steps:
            self._spool.add(points(event, "training/", int(event["step"])))
            self._progress.report(self._epochs * event["step"] / event["of"], self._epochs)
        elif event["event"] == "note":
            logger.info("training: %s", event["text"])


def points(event: dict[str, Any], prefix: str, at: int) -> list[Point]:
    """The finite numbers of an event."""
    at_s = float(event.get("at_s", time.time()))
    return [
        (prefix + name.removeprefix("step_"), float(value), at, at_s)
        for name, value in event.items()
        if name not in NOT_METRICS and isinstance(value, int | float) and math.isfinite(value)
    ]
