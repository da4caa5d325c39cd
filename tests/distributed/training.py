"""A training under way, to be disturbed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psutil
import torch
from mlratchet.infra.launch.attempt import LOG
from mlratchet.infra.launch.local import LocalLauncher
from mlratchet.infra.machine.processes import WORK_MARK, marked_processes
from mlratchet.infra.machine.temporary import SHARED_MEMORY, is_abandoned
from mlratchet.models.errors import RatchetError
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.training.checkpoint import list_checkpoints
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.result import TrainResult
from mlratchet.models.training.run import run_training

from tests.conftest import Stack, wait_for
from tests.distributed.troubled import go_on_of, held_of


class Training:
    """`LocalLauncher.train` in a thread."""

    def __init__(self, stack: Stack, job: TrainJob, *, timeout_s: float = 400) -> None:
        self.job, self._timeout_s = job, timeout_s
        self.result: TrainResult | None = None
        self.error: Exception | None = None
        self.epochs: list[int] = []
        self.steps = 0
        self._launcher = LocalLauncher(stack.home)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._launcher.train(self.job, on_event=self._hear)
        except Exception as error:
            self.error = error

    def _hear(self, event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            self.epochs.append(event["epoch"])
        elif event["event"] == "step":
            self.steps = event["step"]

    def reaches_the_sixth_epoch(self) -> None:
        """Wait for it; the ranks of a job that is `held` wait there until `go_on`, however late this process is."""
        wait_for("the fifth epoch", lambda: len(self.epochs) >= 5 or not self.alive())
        assert self.alive(), self.error

    def is_in_the_sixth_epoch_with_a_checkpoint(self, store: ObjectStore) -> None:
        """Likewise; the launcher, in this process, may publish a checkpoint later than it tells of an epoch."""
        self.reaches_the_sixth_epoch()
        wait_for("a checkpoint", lambda: self.is_kept(store))

    def is_held(self) -> bool:
        """Whether a rank waits for `go_on`, or did when it was killed."""
        return held_of(go_on_of(self.job.scratch)).exists()

    def go_on(self) -> None:
        """For those that are held."""
        go_on_of(self.job.scratch).touch()

    def is_kept(self, store: ObjectStore) -> bool:
        """Whether another attempt finds a checkpoint."""
        return bool(list_checkpoints(store, self.job.work_key, up_to_epoch=self.job.epoch))

    def alive(self) -> bool:
        """Whether it is still under way."""
        return self._thread.is_alive()

    def log(self) -> str:
        """What agent and ranks printed."""
        return (Path(self.job.scratch) / LOG).read_text()

    def join(self) -> None:
        """Until it has ended; no process may be left, whatever happened."""
        self._thread.join(self._timeout_s)
        assert not self._thread.is_alive()
        wait_for("every process to be gone", lambda: self.processes() == [])
        assert [file for file in SHARED_MEMORY.glob("sem.ratchet-*") if is_abandoned(file.name[4:])] == []

    def failed(self) -> RatchetError:
        """Join; the error of ours that it ended with."""
        self.join()
        assert isinstance(self.error, RatchetError), self.error
        return self.error

    def finished(self) -> TrainResult:
        """Join; the result."""
        self.join()
        assert self.result is not None, self.error
        return self.result

    def processes(self) -> list[psutil.Process]:
        return marked_processes(WORK_MARK, self.job.work_key)

    def agent(self) -> psutil.Process:
        return next(p for p in self.processes() if "mlratchet.infra.launch.agent" in p.cmdline())

    def ranks(self) -> list[psutil.Process]:
        """Children of the forkserver."""
        mine = {p.pid: p for p in self.processes()}
        agents = [p.pid for p in mine.values() if "mlratchet.infra.launch.agent" in p.cmdline()]
        grandchildren = [p for p in mine.values() if p.ppid() in mine and mine[p.ppid()].ppid() in agents]
        return [p for p in grandchildren if "forkserver" in " ".join(p.cmdline())]


def in_this_process(job: TrainJob, store: ObjectStore) -> TrainResult:
    """One rank, nobody disturbs it."""
    threads = torch.get_num_threads()
    try:
        result = run_training(job, store, rank=0, world=1, device=torch.device("cpu"), around=Surroundings())
    finally:
        torch.set_num_threads(threads)
    assert result is not None
    return result
