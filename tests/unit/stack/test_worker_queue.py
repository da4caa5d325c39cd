"""One run for the ticks of a downtime; a run that a dead worker had taken goes back to the queue."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import socket
import subprocess
import sys
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import psutil
import pytest
from mlratchet.infra.stack import worker_queue
from mlratchet.infra.stack.worker_queue import (
    STUCK_S,
    OneForMissedTicks,
    runs_with_a_process,
    stuck,
    superseded,
    without_a_process,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling, Pending, Running, State
from prefect.workers.process import ProcessWorker

NOW = dt.datetime(2026, 11, 26, 3, 10, tzinfo=dt.UTC)
NIGHTLY, HOURLY = uuid4(), uuid4()


def tick(deployment: UUID, minutes_ago: float, *, scheduled: bool = True) -> FlowRun:
    """A run that was to begin then."""
    when = NOW - dt.timedelta(minutes=minutes_ago)
    return FlowRun(flow_id=uuid4(), deployment_id=deployment, expected_start_time=when, auto_scheduled=scheduled)


def test_the_newest_missed_tick_of_each_schedule_stands_for_the_others() -> None:
    missed = [tick(NIGHTLY, minutes) for minutes in (3, 1, 5, 2, 4)]
    other, coming = tick(HOURLY, 70), tick(NIGHTLY, -1)
    found = superseded([*missed, other, coming], NOW)
    assert set(found) == {run.id for run in missed if run is not missed[1]}
    assert set(found.values()) == {missed[1].expected_start_time}


def test_a_run_that_waits_for_its_retry_began_and_is_no_missed_tick() -> None:
    began, missed, due = (tick(NIGHTLY, minutes) for minutes in (3, 2, 1))
    began.run_count = 1
    assert set(superseded([began, missed, due], NOW)) == {missed.id}
    due.run_count = 1  # what began may be long past its first steps: it does not stand for a tick that nobody ran
    assert superseded([missed, due], NOW) == {}


def test_a_run_that_somebody_asked_for_is_never_dropped() -> None:
    asked = [tick(NIGHTLY, minutes, scheduled=False) for minutes in (3, 2, 1)]
    assert superseded([*asked, tick(NIGHTLY, 0.5)], NOW) == {}


def pending(age_s: float) -> FlowRun:
    state: State[Any] = Pending(name="Submitting")
    state.timestamp = NOW - dt.timedelta(seconds=age_s)
    return FlowRun(flow_id=uuid4(), name="r", state=state, state_type=StateType.PENDING)


def test_a_run_is_stuck_when_nobody_starts_it_any_more() -> None:
    old, fresh, mine, living = pending(STUCK_S + 1), pending(STUCK_S - 1), pending(900), pending(900)
    found = stuck([old, fresh, mine, living], NOW, {str(living.id)}, {mine.id})
    assert [run.id for run in found] == [old.id]


def running(infrastructure: str | None = None) -> FlowRun:
    return FlowRun(
        flow_id=uuid4(), name="r", state=Running(), state_type=StateType.RUNNING, infrastructure_pid=infrastructure
    )


def test_a_run_is_without_a_process_when_it_ran_here_and_nobody_starts_it() -> None:
    gone, here, living, mine = running(), running(f"{socket.gethostname()}:4"), running("7"), running()
    runs = [gone, here, living, mine, running("another-host:7")]
    assert without_a_process(runs, {str(living.id)}, {mine.id}) == {gone.id, here.id}


def test_a_process_of_a_run_is_found_by_its_environment() -> None:
    identity = str(uuid4())
    waits = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(
        waits, env={**os.environ, worker_queue.RUN_ID: identity}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert identity in runs_with_a_process()
        process.communicate(b"\n")
    assert identity not in runs_with_a_process()


def test_a_run_that_hides_its_environment_is_found_by_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a warm process the worker's child is the run itself, and nobody but root reads the environment of one
    that may hold a key: it would be declared crashed while it runs."""

    def hidden(_process: psutil.Process) -> dict[str, str]:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "environ", hidden)
    identity = str(uuid4())
    waits = [sys.executable, "-c", "print(flush=True); input()", "mlratchet.flows.runs.engine", identity]
    with subprocess.Popen(waits, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert runs_with_a_process() >= {identity}
        process.communicate(b"\n")
    assert identity not in runs_with_a_process()


class Server:
    """Prefect's API as the worker asks it."""

    def __init__(self, waiting: list[FlowRun], taken: list[FlowRun], suspended: list[FlowRun]) -> None:
        self.waiting, self.taken, self.suspended = waiting, taken, suspended
        self.running: list[FlowRun] = []
        self.cancelling: list[FlowRun] = []
        self.deleted: UUID | None = None
        self.ended: dict[UUID, State[Any]] = {}

    async def read_flow_runs(self, *, flow_run_filter: Any, **_filters: Any) -> list[FlowRun]:
        state = flow_run_filter.state
        if state.type.any_ == [StateType.PENDING]:
            return self.taken
        if state.type.any_ == [StateType.RUNNING]:
            return [run for run in self.running if run.id not in self.ended]
        if state.type.any_ == [StateType.CANCELLING]:
            return [run for run in self.cancelling if run.id not in self.ended]
        assert (state.type.any_, state.name.any_) == ([StateType.PAUSED], ["Suspended"])
        return self.suspended

    async def set_flow_run_state(self, identity: UUID, state: State[Any], *, force: bool) -> None:
        assert force
        if identity == self.deleted:
            raise ObjectNotFound(LookupError("deleted meanwhile"))
        self.ended[identity] = state
        self.waiting = [run for run in self.waiting if run.id != identity]


def test_the_worker_cancels_missed_ticks_and_takes_up_the_stuck_and_the_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = [tick(NIGHTLY, minutes) for minutes in range(1, 6)]
    for run in ticks:
        run.expected_start_time = dt.datetime.now(dt.UTC) - (NOW - (run.expected_start_time or NOW))
    left = pending(0)
    assert left.state is not None
    left.state.timestamp = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=STUCK_S + 5)
    answered, waits = tick(NIGHTLY, 0), tick(NIGHTLY, 0)
    server = Server(ticks, [left], [answered, waits])
    seen: list[int] = []

    async def page(_worker: ProcessWorker) -> list[Any]:
        seen.append(len(server.waiting))
        return [SimpleNamespace(flow_run=run) for run in server.waiting[-3:]]  # the server answers with pages

    monkeypatch.setattr(ProcessWorker, "_get_scheduled_flow_runs", page)
    worker = OneForMissedTicks(work_pool_name="ratchet", name="local")
    worker._client = server  # type: ignore[assignment]
    known = SimpleNamespace(due=lambda runs: {run.id: "the answer is there" for run in runs if run is answered})
    monkeypatch.setattr(OneForMissedTicks, "waiting", known)
    found = asyncio.run(worker._get_scheduled_flow_runs())
    assert [entry.flow_run.id for entry in found] == [ticks[0].id]
    assert {identity for identity, state in server.ended.items() if state.is_cancelled()} == {r.id for r in ticks[1:]}
    assert server.ended[left.id].is_scheduled()
    assert (server.ended[answered.id].name, server.ended[answered.id].message) == ("Resuming", "the answer is there")
    assert server.ended[answered.id].is_scheduled()
    assert waits.id not in server.ended
    assert len(seen) > 2
    assert "missed" in (server.ended[ticks[-1].id].message or "")


def worker_of(server: Server, monkeypatch: pytest.MonkeyPatch, *, alive: FlowRun) -> OneForMissedTicks:
    """Of a server that has no run for it; it looks each time, and one run has a process."""

    async def page(_worker: ProcessWorker) -> list[Any]:
        return []

    monkeypatch.setattr(ProcessWorker, "_get_scheduled_flow_runs", page)
    monkeypatch.setattr(OneForMissedTicks, "waiting", None)
    monkeypatch.setattr(worker_queue, "LOOK_S", 0.0)
    monkeypatch.setattr(worker_queue, "runs_with_a_process", lambda: {str(alive.id)})
    worker = OneForMissedTicks(work_pool_name="ratchet", name="local")
    worker._client = server  # type: ignore[assignment]
    return worker


def test_a_run_that_nobody_could_end_has_crashed_when_two_looks_find_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a disk leaves it that was full: `Running`, no heartbeat to miss, and the pipeline's one slot taken."""
    server = Server([], [], [])
    abandoned, ends, lives = running(), running(), running()
    server.running = [abandoned, ends, lives]
    worker = worker_of(server, monkeypatch, alive=lives)
    asyncio.run(worker._get_scheduled_flow_runs())
    assert server.ended == {}
    server.running.remove(ends)  # its last word had been on its way
    asyncio.run(worker._get_scheduled_flow_runs())
    assert set(server.ended) == {abandoned.id}
    assert server.ended[abandoned.id].is_crashed()
    assert server.ended[abandoned.id].message == "its process is gone"


def test_a_run_that_was_cancelled_as_its_process_started_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process ends without a word, and Prefect calls it `Cancelling` for ever: its pipeline's one slot is taken."""
    server = Server([], [], [])
    gone, ends, deleted = (FlowRun(flow_id=uuid4(), name="r", state=Cancelling()) for _ in range(3))
    server.cancelling, server.deleted = [deleted, gone, ends], deleted.id
    worker = worker_of(server, monkeypatch, alive=ends)
    for _ in range(2):
        assert server.ended == {}
        asyncio.run(worker._get_scheduled_flow_runs())
    assert set(server.ended) == {gone.id}
    assert server.ended[gone.id].is_cancelled()
    assert server.ended[gone.id].message == "it was cancelled, and its process is gone"


def answered(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1:1/api/work_pools/ratchet/workers/heartbeat")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "ends"), [(answered(500), False), (httpx.ConnectError("refused"), False), (answered(404), True)]
)
def test_a_server_that_cannot_write_down_that_the_worker_lives_is_told_again_as_soon(
    monkeypatch: pytest.MonkeyPatch, error: Exception, ends: bool
) -> None:
    """Prefect's loop backs off to four minutes after errors, and a worker that was not heard takes no run."""

    async def refused(_worker: ProcessWorker) -> None:
        raise error

    monkeypatch.setattr(ProcessWorker, "sync_with_backend", refused)
    worker = OneForMissedTicks(work_pool_name="ratchet", name="local")
    with pytest.raises(httpx.HTTPStatusError) if ends else contextlib.nullcontext():
        asyncio.run(worker._sync_and_initialize())
    assert not worker._has_successfully_synced
