"""Metrics on their way to MLflow: written to a file first, sent in batches by a thread, replayed after an outage.

A point keeps the time of its event, so that sending it twice changes nothing: MLflow stores equal points once.
"""

from __future__ import annotations

import json
import logging
import threading
from contextlib import suppress
from pathlib import Path

from mlratchet.models.errors import InfrastructureError
from mlratchet.models.ports.tracker import Tracker, TrackingRunGoneError

logger = logging.getLogger(__name__)
Point = tuple[str, float, int, float]  # name, value, step, seconds since the epoch
BATCH = 900  # points per request; MLflow takes 1000
PAUSE_S = 0.5  # seconds between two requests, and
AGAIN_S = 2.0  # after a failed one
SETTLED_S = 600.0  # a spool untouched for so long has no writer


class MetricSpool:
    """Of one tracking run. `add` never waits for the server."""

    def __init__(self, tracker: Tracker, run_id: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._tracker, self._run_id = tracker, run_id
        self._file = folder / f"{run_id}.jsonl"
        self._waiting = read_points(self._file)  # of a process that was killed
        self._condition = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._send, daemon=True, name="metric-spool")
        self._thread.start()

    def add(self, points: list[Point]) -> None:
        """Keep and send later."""
        with suppress(OSError), self._file.open("a") as sink:  # a full disk: they wait in memory alone
            sink.writelines(json.dumps(point) + "\n" for point in points)
        with self._condition:
            self._waiting.extend(points)
            self._condition.notify()

    def waiting_steps(self, name: str) -> set[int]:
        """Steps of a metric that are not sent yet."""
        with self._condition:
            return {point[2] for point in self._waiting if point[0] == name}

    def close(self, timeout_s: float) -> int:
        """Send what is left for at most so long; returns how many points stay in the file for `reconcile`."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(timeout_s)
        with self._condition:
            left = len(self._waiting)
        if not left:
            self._file.unlink(missing_ok=True)
        return left

    def _send(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._closing:
                    self._condition.wait()
                batch, closing = self._waiting[:BATCH], self._closing
            if not batch:
                return
            try:
                send(self._tracker, self._run_id, batch)
            except TrackingRunGoneError as error:  # no later try will find it
                logger.warning("%d metrics are dropped: %s", len(batch), error)
            except InfrastructureError:
                self._pause(AGAIN_S, closing)
                continue
            with self._condition:
                del self._waiting[: len(batch)]
            if not closing:
                self._pause(PAUSE_S, closing)

    def _pause(self, seconds: float, closing: bool) -> None:
        """Ends where one begins to close: who does waits for the last request, not for what lies between two."""
        with self._condition:
            self._condition.wait_for(lambda: self._closing != closing, seconds)


def send(tracker: Tracker, run_id: str, points: list[Point]) -> None:
    """One request."""
    tracker.log_metrics(run_id, [point[:3] for point in points], times_s=[point[3] for point in points])


def read_points(file: Path) -> list[Point]:
    """The whole lines of a spool."""
    points: list[Point] = []
    if file.is_file():
        for line in file.read_text().splitlines():
            with suppress(ValueError):  # cut off by a kill
                name, value, step, at_s = json.loads(line)
                points.append((name, value, step, at_s))
    return points


def replay_spools(tracker: Tracker, folder: Path, *, now_s: float) -> list[str]:
    """Send what killed or cut off processes left; one line per spool. Raises when MLflow still does not answer."""
    lines = []
    for file in sorted(folder.glob("*.jsonl")):
        if now_s - file.stat().st_mtime < SETTLED_S:
            continue
        points, became = read_points(file), "replayed"
        try:
            for at in range(0, len(points), BATCH):
                send(tracker, file.stem, points[at : at + BATCH])
        except TrackingRunGoneError:
            became = "dropped: the run was deleted there"
        file.unlink(missing_ok=True)
        lines.append(f"MLflow run {file.stem[:12]}: {len(points)} metric points {became}")
    return lines
