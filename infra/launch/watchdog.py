"""A rank's watchdog: SIGTERM asks it to leave at the next step, and one that makes no step is ended.

The watch is on the progress of steps, not on wall time: a rank may take twenty of its median steps, and never less
than the configured time. A stopped rank cannot watch itself; the others, which wait for it, end it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import statistics
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

PREEMPTED = 75  # exit code: asked to leave, checkpoint saved (EX_TEMPFAIL of sysexits.h)
STALLED = 76  # exit code: no step for too long
LEAVE_S = 25.0  # seconds after SIGTERM in which the checkpoint must be written
STEPS = 20  # median steps without progress that are allowed
BEGIN = 3  # times the allowed time before the first step: loading, compiling


class Watchdog:
    """For one rank; `start` on the main thread."""

    def __init__(self, stall_timeout_s: float, scratch: Path, local_rank: int) -> None:
        self._timeout_s, self._scratch, self._local_rank = stall_timeout_s, scratch, local_rank
        self._durations: deque[float] = deque(maxlen=50)
        self._last_s = time.monotonic()
        self._beats = 0
        self._asked_s: float | None = None

    def start(self) -> None:
        """Install the handler and begin to watch."""
        (self._scratch / f"rank-{self._local_rank}.pid").write_text(str(os.getpid()))
        signal.signal(signal.SIGTERM, self._ask)
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    def _ask(self, _signum: int, _frame: Any) -> None:
        self._asked_s = self._asked_s or time.monotonic()

    def beat(self) -> None:
        """A step was done."""
        now = time.monotonic()
        self._durations.append(now - self._last_s)
        self._last_s = now
        self._beats += 1

    def stop_requested(self) -> bool:
        """Whether SIGTERM has come."""
        return self._asked_s is not None

    def allowed_s(self) -> float:
        """Seconds without a step after which the rank is ended."""
        if not self._beats:
            return BEGIN * self._timeout_s
        return max(self._timeout_s, STEPS * statistics.median(tuple(self._durations)))

    def _watch(self) -> None:
        while True:
            time.sleep(0.25)
            now = time.monotonic()
            if self._asked_s is not None and now - self._asked_s > LEAVE_S:
                os._exit(128 + signal.SIGTERM)
            if now - self._last_s > self.allowed_s():
                silent_s = now - self._last_s
                print(  # noqa: T201 - goes to the attempt's log
                    f"StallError: rank {self._local_rank} made no step for {silent_s:.0f} s after {self._beats} steps; "
                    "every rank is ended and started again from the checkpoint",
                    file=sys.stderr,
                    flush=True,
                )
                faulthandler.dump_traceback(all_threads=True)
                self._end_siblings()
                os._exit(STALLED)

    def _end_siblings(self) -> None:
        """A stopped process does not react to SIGTERM."""
        for file in self._scratch.glob("rank-*.pid"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(file.read_text())
                if pid != os.getpid():
                    os.kill(pid, signal.SIGKILL)
