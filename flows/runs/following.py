"""Follow a run on the terminal until it is over."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from uuid import UUID

import httpx
from mlratchet.flows.runs.liveness import SILENT_S, SignOfLife
from mlratchet.infra.reasons import brief
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.printable import plain
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.exceptions import ObjectNotFound
from rich.console import Console
from rich.markup import escape

POLL_S = 0.5  # seconds between two looks at a run
STEPS_S = 1.0  # seconds between two looks at its steps, which cost Prefect and this process most of what a look costs
MARKS = {
    "Completed": "[green]✓[/]",
    "Asking": "[yellow]‖[/]",
    "Retrying": "[yellow]↻[/]",
    "AwaitingRetry": "[yellow]↻[/]",
    "Failed": "[red]✗[/]",
    "Crashed": "[red]✗[/]",
}

WAITS = {
    "Scheduled": "waiting for the worker to take it",
    "Late": "waiting for the worker to take it; it is late: does `ratchet status` show the worker running?",
    "AwaitingConcurrencySlot": "waiting for another run of this pipeline to end",
    "Pending": "the worker has taken it",
    "Submitting": "the worker is starting its process",
    "InfrastructurePending": "the worker is starting its process",
    "AwaitingRetry": "it failed and will be tried again",
    "Paused": "paused in Prefect: Resume it there",
    "Resuming": "answered: waiting for the worker to take it up again",
    "Cancelling": "being cancelled",
    "Running": "between two steps",
}  # state in Prefect -> what a run in it waits for
SAID_AFTER_S = 5.0  # a wait that lasts so long is printed: nobody sees the spinner of a pipe


def wait_in_words(flow_run: FlowRun) -> str:
    """What a run without a step under way waits for."""
    name = flow_run.state_name or "Pending"
    return WAITS.get(name, f"{plain(name.lower())} in Prefect")


def _began(task: TaskRun) -> float:
    moment = task.expected_start_time or task.created
    return moment.timestamp() if moment is not None else 0.0


class Follower:
    """Prints each step as it ends and names the one under way, until the run is over.

    `ask` says how to answer the run when it is paused; `question` is what it said while the run is.
    """

    def __init__(
        self, client: SyncPrefectClient, run_id: UUID, *, pulse: SignOfLife, ask: Callable[[], str], quiet: bool
    ) -> None:
        self._client, self._run_id, self._pulse, self._ask = client, run_id, pulse, ask
        self.question = ""
        self._console = Console(file=sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)
        self._shown: set[tuple[str, str]] = set()
        self._looked, self._line = -math.inf, ""  # when it looked at the steps, and what was under way then
        self._began = self._answered = time.monotonic()
        self._waits = ("", self._began, False)  # what it waits for, since when, whether that was printed

    def follow(self) -> FlowRun:
        """The flow run in its final state. Raises ``InfrastructureError`` when Prefect gives no answer for `SILENT_S`
        or nothing is left that could end the run."""
        with self._console.status("waiting for the worker") as status:
            while True:
                try:
                    flow_run = self._client.read_flow_run(self._run_id)
                    line = self._under_way(flow_run) or self.ask(flow_run)
                    self._answered = time.monotonic()
                except ObjectNotFound:
                    raise InfrastructureError(
                        f"run {self._run_id} was deleted in Prefect while it was followed; its process may go on"
                    ) from None
                except httpx.HTTPError as error:  # its supervisor starts it again
                    self._endure(error)
                    status.update("Prefect does not answer: waiting for it")
                    time.sleep(POLL_S)
                    continue
                if flow_run.state is not None and flow_run.state.is_final():
                    return flow_run
                waits = "" if line else wait_in_words(flow_run)
                self._say_wait(waits)
                status.update(line or waits)
                state = flow_run.state.type.value if flow_run.state is not None else ""
                self._pulse.check(state, (flow_run.state_name, line, len(self._shown)))
                time.sleep(POLL_S)

    def _say_wait(self, waits: str) -> None:
        """Once for each that lasts."""
        now = time.monotonic()
        if waits != self._waits[0]:
            self._waits = (waits, now, False)
        elif waits and not self._waits[2] and now - self._waits[1] >= SAID_AFTER_S:
            self._waits = (waits, now, True)
            self._console.print(f"  [dim]… {waits}[/]")

    def _endure(self, error: httpx.HTTPError) -> None:
        """Unless it went on for too long, or waiting does not help."""
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in (401, 403):
            raise error
        if time.monotonic() - self._answered < SILENT_S:
            return
        raise InfrastructureError(
            f"Prefect has not answered for {SILENT_S:.0f} s ({brief(error)}); run {self._run_id} goes on in the worker "
            "if that lives: see `ratchet status`, and `ratchet run` again, which resumes or finds it"
        ) from error

    def _under_way(self, flow_run: FlowRun) -> str:
        """As `look` says, which is asked once in a while, and when the run is over."""
        over = flow_run.state is not None and flow_run.state.is_final()
        now = time.monotonic()
        if over or now - self._looked >= STEPS_S:
            self._line, self._looked = self.look(), now
        return self._line

    def look(self) -> str:
        """Print what ended since the last look; returns what is under way, with how far it is."""
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[self._run_id]))
        running = ""
        for task in sorted(self._client.read_task_runs(flow_run_filter=mine), key=_began):
            state = task.state_name or "Pending"
            if state in MARKS and (str(task.id), state) not in self._shown:
                self._shown.add((str(task.id), state))
                elapsed = time.monotonic() - self._began
                self._console.print(f"  {MARKS[state]} {escape(plain(task.name))}  [dim]{elapsed:5.1f} s[/]")
            if state == "Running":
                running = plain(task.name)
        return running and f"{running}{self.progress() if running.startswith('Train') else ''}"

    def ask(self, flow_run: FlowRun) -> str:
        """Whom a paused run waits for, and where to answer; printed once a pause. Empty for any other run."""
        if flow_run.state is None or not flow_run.state.is_paused():
            self.question = ""
        elif not self.question:
            self.question = self._ask()
            self._console.print(f"  [yellow]‖[/] {escape(plain(self.question))}")
        return escape(plain(self.question))

    def progress(self) -> str:
        """Of the training, as its progress artifact says: percent, loss, time left."""
        found = self._client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[self._run_id]),
                key=ArtifactFilterKey(any_=["training-progress"]),
            )
        )
        if not found:
            return ""
        _, _, words = (found[0].description or "").partition(": ")
        return escape(plain(f"  {float(str(found[0].data)):.0f} %{f'  {words}' if words else ''}"))
