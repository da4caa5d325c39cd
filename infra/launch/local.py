"""The local launcher: one agent per attempt on this machine."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from mlratchet.infra.child.lent_store import Lender
from mlratchet.infra.child.store_server import StoreServer
from mlratchet.infra.launch.attempt import (
    Room,
    attempt_error,
    end_session,
    error_of,
    meeting_place,
    result_of,
    rights_of,
    start_agent,
    sweep_attempts,
)
from mlratchet.infra.launch.nodes import Invitation
from mlratchet.infra.launch.reports import CHECKPOINT, Reports, signing_store
from mlratchet.infra.machine.temporary import remove_abandoned_semaphores
from mlratchet.infra.settings import load_settings
from mlratchet.models.errors import ConfigurationError, InfrastructureError
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import AbandonedError, TrainJob
from mlratchet.models.training.launcher import never
from mlratchet.models.training.result import TrainResult

POLL_S = 0.1  # seconds between two looks at the agent
NO_EVENT = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)  # of a line that is none
MOST_AUTO = 4  # ranks that `auto` starts on CPUs in fast mode


def resolve_processes(config: TrainConfig) -> int:
    """Ranks per node: `auto` is one per GPU, else min(cores, shards).

    Raises ``ConfigurationError`` for more than there are devices.
    """
    import torch

    gpus = torch.cuda.device_count() if config.device != "cpu" and torch.cuda.is_available() else 0
    cores = len(os.sched_getaffinity(0))
    if config.processes == "auto":
        exact = config.mode == "exact"
        wanted = gpus or min(cores, config.shards if exact else MOST_AUTO)
        while (config.shards if exact else config.global_batch_size) % (wanted * config.nodes):
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

    def processes(self, config: TrainConfig) -> int:
        """Ranks per node. Raises ``ConfigurationError`` for more than there are devices."""
        return resolve_processes(config)

    def train(
        self,
        job: TrainJob,
        *,
        on_event: Callable[[dict[str, Any]], None],
        abandoned: Callable[[], bool] = never,
        environment: Mapping[str, str] | None = None,
    ) -> TrainResult:
        """Train `job` to the end. `on_event` and `abandoned` are called from this thread.

        Args:
            job: What to train.
            on_event: Takes every event of the ranks.
            abandoned: Asked several times a second; once it says yes, every process of the attempt is killed.
            environment: More variables for the ranks, e.g. which GPUs they see.

        Raises the error of a rank as it was raised there, ``InfrastructureError`` when the ranks died,
        ``AbandonedError`` when `abandoned` said so.
        """
        settings, scratch, several = load_settings(self._home), Path(job.scratch), job.train.nodes > 1
        sweep_attempts(job.work_key, settings.home)  # ranks of an earlier attempt: this one has taken the newer epoch
        store = signing_store(settings)
        reports = Reports(store, job, on_event)
        with ExitStack() as opened:
            room = opened.enter_context(Room())
            job = job.model_copy(
                update={
                    "rendezvous": meeting_place(settings, room, several=several),
                    "bucket": store.bucket,
                }
            )
            lender = Lender(store, rights_of(job), hears={CHECKPOINT: reports.checkpoint})
            served = opened.enter_context(StoreServer(lender))
            invitation = opened.enter_context(Invitation(store, job)) if several else None
            events = Tail(scratch / "events.jsonl", reports)
            agent = start_agent(job, settings, room, served.channel, more=environment)
            try:
                while agent.poll() is None and not (invitation and invitation.somebody_failed()):
                    events.read()
                    if abandoned():
                        end_session(agent, at_once=True)
                        raise AbandonedError(f"the attempt at work {job.work_key[:12]} was given up")
                    time.sleep(POLL_S)
            finally:
                end_session(agent)
                remove_abandoned_semaphores()
                events.read()  # also the last checkpoint of who was asked to leave
                reports.close()
            if invitation and invitation.somebody_failed(now=True):
                raise error_of(invitation.said)
        code = agent.poll()
        if code != 0:
            raise attempt_error(job, -signal.SIGKILL if code is None else code)
        if "result" not in lender.reported:
            raise InfrastructureError(
                "the ranks ended well and told no result; running again resumes from the checkpoint"
            )
        return reports.finish(result_of(lender.reported["result"]))


class Tail:
    """Calls a function with each new JSON line of a growing file; what a restart repeats is passed on once."""

    def __init__(self, file: Path, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._file = file
        self._on_event = on_event
        self._at = 0
        self._seen: dict[str, int] = {}  # event -> the last epoch or step

    def read(self) -> None:
        """Everything that is complete by now."""
        if self._file.is_symlink() or not self._file.is_file():  # a rank, which runs the user's code, may write there
            return
        with os.fdopen(os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as source:
            source.seek(self._at)
            for line in source:
                if not line.endswith(b"\n"):
                    return
                self._at += len(line)
                with suppress(*NO_EVENT):
                    self._pass_on(json.loads(line))

    def _pass_on(self, event: dict[str, Any]) -> None:
        at = int(event.get("epoch", event.get("step", 0)))
        if event["event"] == "note" or at > self._seen.get(event["event"], 0):
            self._seen[event["event"]] = at
            self._on_event(event)
