"""Which scheduled runs the worker takes: one for the ticks that nobody was there for, those a dead worker held,
those that waited for people who have answered, and those that a run without a process kept out."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import socket
from collections.abc import Collection, Iterable, Sequence
from http import HTTPStatus
from typing import Any, ClassVar
from uuid import UUID

import anyio
import httpx
import psutil
from mlratchet.infra.stack.suspended_runs import SUSPENDED, SuspendedRuns
from mlratchet.infra.warm.hand_over import ENGINE, RUN_ID
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed, Scheduled
from prefect.workers.process import ProcessWorker

STUCK_S = 60.0  # a run that was taken and has neither begun nor a process after so long was taken by a dead worker
LOOK_S = 20.0  # seconds between two looks for such runs, and for those that run without a process
ANSWERS_S = 3.0  # seconds between two looks for answers that suspended runs wait for

logger = logging.getLogger(__name__)


def superseded(runs: Iterable[FlowRun], now: dt.datetime) -> dict[UUID, dt.datetime]:
    """Runs whose tick was missed and that a later, also due tick of the same deployment stands for -> that tick.

    Runs that a person or a program asked for stand for themselves, and so do those that began and wait for a retry.
    """
    due: dict[UUID, list[FlowRun]] = {}
    for run in runs:
        if run.auto_scheduled and run.run_count == 0 and run.deployment_id is not None and tick_of(run) <= now:
            due.setdefault(run.deployment_id, []).append(run)
    found: dict[UUID, dt.datetime] = {}
    for ticks in due.values():
        newest = max(ticks, key=tick_of)
        found |= {run.id: tick_of(newest) for run in ticks if run.id != newest.id}
    return found


def tick_of(run: FlowRun) -> dt.datetime:
    """When it was to begin; one without a time has been due for ever."""
    return run.expected_start_time or dt.datetime.min.replace(tzinfo=dt.UTC)


def stuck(runs: Iterable[FlowRun], now: dt.datetime, alive: Collection[str], mine: Collection[UUID]) -> list[FlowRun]:
    """Runs that were taken and never began: not by this worker, and no process is theirs.

    Args:
        runs: In a pending state.
        now: Of the clock that the states were written by.
        alive: Ids of runs that have a process here.
        mine: Ids of runs that this worker is starting.
    """
    return [
        run
        for run in runs
        if run.state is not None
        and (now - run.state.timestamp).total_seconds() >= STUCK_S
        and str(run.id) not in alive
        and run.id not in mine
    ]


def without_a_process(runs: Iterable[FlowRun], alive: Collection[str], mine: Collection[UUID]) -> set[UUID]:
    """Runs that began here and have no process any more.

    Args:
        runs: In the running state.
        alive: Ids of runs that have a process here, looked up after `runs` were read.
        mine: Ids of runs that this worker is starting.
    """
    return {run.id for run in runs if str(run.id) not in alive and run.id not in mine and not is_elsewhere(run)}


def is_elsewhere(run: FlowRun) -> bool:
    """Whether its process is on another machine (`host:pid`, as workers of Prefect's own write it)."""
    host, told, _ = (run.infrastructure_pid or "").rpartition(":")
    return bool(told) and host != socket.gethostname()


def runs_with_a_process() -> set[str]:
    """Ids of the flow runs whose processes live on this machine, under this account."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if (identity := _run_of(process)) is not None:
                found.add(identity)
    return found


def _run_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(RUN_ID)
    except psutil.AccessDenied:  # one that may hold a key hides its environment, from its own account too
        command = process.cmdline()
        own = process.uids().real == os.getuid() and ENGINE in command[:-1]
        return command[-1] if own else None


class OneForMissedTicks(ProcessWorker):
    """Prefect's process worker, with five rules more.

    After a downtime the newest missed tick of a schedule runs and no other: Prefect would start every one of them, in
    no order. A run that a killed worker left `Submitting` goes back to the queue: nobody else looks at it again. One
    that is suspended until people answer goes there when they have; `waiting` knows which. And one that is `Running`
    without a process has crashed: where Prefect could write neither its end nor its heartbeats, as on a full disk, it
    would hold its pipeline's one slot for ever, and the next run would wait for it. One that is `Cancelling` without a
    process is cancelled: a process that had just been started when somebody cancelled it ends without a word.
    """

    type = ProcessWorker.type
    waiting: ClassVar[SuspendedRuns | None] = None
    _looked: dt.datetime | None = None
    _asked: dt.datetime | None = None
    _gone: frozenset[UUID] = frozenset()  # ran without a process at the last look

    async def _sync_and_initialize(self) -> None:
        """Say that this worker lives. A server that cannot write it down is told again at the same interval: Prefect
        waits for longer and longer, and takes no run before the first word is written down."""
        try:
            await super()._sync_and_initialize()
        except httpx.TransportError as error:
            logger.warning("Prefect does not hear of this worker: %s", error)
        except httpx.HTTPStatusError as error:
            if error.response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            logger.warning("Prefect does not write down that this worker lives: %s", error)

    async def _get_scheduled_flow_runs(self) -> list[Any]:
        await self._look_for_abandoned()
        await self._take_up_answered()
        while True:
            found: Sequence[Any] = await super()._get_scheduled_flow_runs()
            late = superseded((entry.flow_run for entry in found), dt.datetime.now(dt.UTC))
            if not late:
                return list(found)
            for identity, tick in late.items():
                words = f"missed: the tick of {tick:%Y-%m-%d %H:%M} UTC stands for it"
                await self._set_run(identity, Cancelled(message=words))
            logger.info("%d missed ticks are not run", len(late))

    async def _look_for_abandoned(self) -> None:
        now = dt.datetime.now(dt.UTC)
        if self._looked is not None and (now - self._looked).total_seconds() < LOOK_S:
            return
        self._looked = now
        pending = await runs_of(self.client, self._work_pool_name, StateType.PENDING)
        running = await runs_of(self.client, self._work_pool_name, StateType.RUNNING)
        cancelling = await runs_of(self.client, self._work_pool_name, StateType.CANCELLING)
        alive = runs_with_a_process() if pending or running or cancelling else set()
        for run in stuck(pending, now, alive, self._submitting_flow_run_ids):
            words = "its worker died before it began; taken up again"
            logger.warning("run %s: %s", run.name, words)
            await self._set_run(run.id, Scheduled(message=words))
        gone = without_a_process([*running, *cancelling], alive, self._submitting_flow_run_ids)
        for identity in gone & self._gone:  # for two looks: at one, its end may be on its way
            asked = identity in {run.id for run in cancelling}
            words = "it was cancelled, and its process is gone" if asked else "its process is gone"
            logger.warning("run %s: %s", identity, words)
            await self._set_run(identity, Cancelled(message=words) if asked else Crashed(message=words))
        self._gone = frozenset(gone)

    async def _set_run(self, run: UUID, state: State[Any]) -> None:
        """Whatever Prefect's rules say."""
        with contextlib.suppress(ObjectNotFound):  # somebody deleted it meanwhile
            await self.client.set_flow_run_state(run, state, force=True)

    async def _take_up_answered(self) -> None:
        now = dt.datetime.now(dt.UTC)
        if self.waiting is None or (self._asked is not None and (now - self._asked).total_seconds() < ANSWERS_S):
            return
        self._asked = now
        suspended = await runs_of(self.client, self._work_pool_name, StateType.PAUSED, SUSPENDED)
        if not suspended:
            return
        for identity, why in (await anyio.to_thread.run_sync(self.waiting.due, suspended)).items():
            logger.info("run %s is taken up again: %s", identity, why)
            await self._set_run(identity, Scheduled(name="Resuming", message=why))


async def runs_of(client: PrefectClient, pool: str, kind: StateType, *names: str) -> list[FlowRun]:
    """Runs of a pool in a state of this type, and of one of the names where there are any."""
    state = FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[kind]), name=FlowRunFilterStateName(any_=[*names]) if names else None
    )
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=state),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
    )
