"""Clients of the demo of the loop, from a thread of their own, until it is over."""

from __future__ import annotations

import threading
from dataclasses import replace

from mlratchet.models.monitoring.traffic import OwnRows
from mlratchet.tasks.actions.simulate import TrafficPlan, simulate
from mlratchet.tasks.wiring import Adapters

CHUNK_S = 4.0  # of traffic, before it may change


class Traffic:
    """Rows and plan may be changed while it goes on."""

    def __init__(self, adapters: Adapters, pipeline: str, rows: OwnRows, *, seed: int) -> None:
        self._adapters, self._pipeline, self._seed = adapters, pipeline, seed
        self.rows = rows
        self.plan = TrafficPlan(drift="none", rate=40.0, seconds=CHUNK_S, labels_after_s=0.5, share=0.6)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True, name="traffic")
        self.problem = ""

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=30)

    def _send(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            plan = replace(self.plan, seed=1000 * self._seed + number)
            try:
                simulate(self._adapters, self._pipeline, plan, rows=self.rows)
            except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
                self.problem = str(error)
                self._over.wait(1.0)
