"""The local launcher: one agent per attempt on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlratchet.infra.launch.watchdog import PREEMPTED
from mlratchet.infra.processes import WORK_MARK, sweep
from mlratchet.infra.settings import child_environment, load_settings, process_environment, without_private_keys
from mlratchet.models.errors import ConfigurationError, InfrastructureError, RatchetError
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import PreemptedError, StaleAttemptError, TrainingError, TrainJob
from mlratchet.models.training.result import TrainResult

POLL_S = 0.1  # seconds between two looks at the agent
GRACE_S = 30.0  # seconds between SIGTERM and SIGKILL: a checkpoint is written in them
MOST_AUTO = 4  # ranks that `auto` starts on CPUs in fast mode


def resolve_processes(config: TrainConfig) -> int:
    """`auto` is one per GPU, else min(cores, shards). Raises ``ConfigurationError`` for more than there are devices."""
    import torch

    gpus = torch.cuda.device_count() if config.device != "cpu" and torch.cuda.is_available() else 0
    cores = len(os.sched_getaffinity(0))
    if config.processes == "auto":
        exact = config.mode == "exact"
        wanted = gpus or min(cores, config.shards if exact else MOST_AUTO)
        while (config.shards if exact else config.global_batch_size) % wanted:
            wanted -= 1
        return wanted
    most, what = (gpus, "GPUs") if gpus else (max(cores, 2), "CPU cores")
    if config.processes > most:
        raise ConfigurationError(
            f"train.processes: got {config.processes}, but this machine has {most} {what}; lower it or write auto"
        )
    return config.processes


class LocalLauncher:
    """Starts an agent in its own session, follows its events, leaves no process."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def train(self, job: TrainJob, *, on_event: Callable[[dict[str, Any]], None]) -> TrainResult:
        """Train `job` to the end. `on_event` is called from this thread.

        Raises the error of a rank as it was raised there, ``InfrastructureError`` when the ranks died.
        """
        scratch = Path(job.scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        job_file = scratch / "job.json"
        job_file.write_text(job.model_dump_json())
        log = scratch / "ranks.log"
        environment = without_private_keys(process_environment()) | child_environment(load_settings(self._home))
        environment |= {
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
            "OMP_NUM_THREADS": str(job.train.threads_per_process),
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic matrix products on CUDA
            WORK_MARK: job.work_key,
        }
        sweep(WORK_MARK, job.work_key)  # ranks of an earlier attempt: this one has taken the newer epoch
        with log.open("ab") as sink:  # never our stdout: a grandchild holding it hides a crash
            agent = subprocess.Popen(
                [sys.executable, "-m", "mlratchet.infra.launch.agent", str(job_file)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            events = Tail(scratch / "events.jsonl", on_event)
            while agent.poll() is None:
                events.read()
                time.sleep(POLL_S)
            events.read()
        finally:
            end_session(agent)
        if agent.returncode != 0:
            raise rank_error(scratch, log, agent.returncode)
        document = json.loads((scratch / "result.json").read_text())
        return TrainResult(**{**document, "history": tuple(document["history"])})


def end_session(agent: subprocess.Popen[bytes]) -> None:
    """SIGTERM, wait, SIGKILL: the agent and every rank are in its group."""
    for signum, grace_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(agent.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            agent.wait(grace_s)


def rank_error(scratch: Path, log: Path, code: int) -> RatchetError:
    """What a rank said, or the end of its log."""
    preempted = scratch / "preempted"
    if code == PREEMPTED and preempted.is_file():
        return PreemptedError(f"{preempted.read_text()}; running again resumes from it")
    said = scratch / "error.json"
    if said.is_file():
        error = json.loads(said.read_text())
        kinds: dict[str, type[RatchetError]] = {"TRAIN": TrainingError, "STALE": StaleAttemptError}
        made = kinds.get(error["code"], RatchetError)(error["message"])
        made.code, made.exit_code = error["code"], error["exit_code"]
        return made
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.is_file() else []
    last = next(
        (line.strip() for line in reversed(lines) if "Error" in line),
        lines[-1].strip() if lines else "no output",
    )
    return InfrastructureError(
        f"the ranks ended with code {code}: {last[:300]}; running again resumes from the checkpoint"
    )


class Tail:
    """Calls a function with each new JSON line of a growing file; what a restart repeats is passed on once."""

    def __init__(self, file: Path, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._file = file
        self._on_event = on_event
        self._at = 0
        self._seen: dict[str, int] = {}  # event -> the last epoch or step

    def read(self) -> None:
        """Everything that is complete by now."""
        if not self._file.is_file():
            return
        with self._file.open("rb") as source:
            source.seek(self._at)
            for line in source:
                if not line.endswith(b"\n"):
                    return
                self._at += len(line)
                event = json.loads(line)
                at = int(event.get("epoch", event.get("step", 0)))
                if event["event"] == "note" or at > self._seen.get(event["event"], 0):
                    self._seen[event["event"]] = at
                    self._on_event(event)
