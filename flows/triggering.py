"""Start a run as the Prefect UI would, and follow it to its end."""

from __future__ import annotations

import getpass
import json
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from mlratchet.flows.asking import run_url
from mlratchet.flows.checking import check_pipeline
from mlratchet.flows.deployments import deploy_pipelines
from mlratchet.flows.parameters import RetrainParameters
from mlratchet.flows.retrain import retrain
from mlratchet.models.approval.page import hint
from mlratchet.models.errors import InfrastructureError, RatchetError
from mlratchet.models.pipeline.loading import find_pipeline
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.tasks.approving import choose
from mlratchet.tasks.wiring import Adapters, open_adapters
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, TaskRun
from rich.console import Console
from rich.markup import escape

POLL_S = 0.5  # seconds between two looks at a run
MARKS = {
    "Completed": "[green]✓[/]",
    "Retrying": "[yellow]↻[/]",
    "AwaitingRetry": "[yellow]↻[/]",
    "Failed": "[red]✗[/]",
    "Crashed": "[red]✗[/]",
}


def _parameters(overrides: tuple[str, ...], requested_by: str | None = None) -> RetrainParameters:
    return RetrainParameters(set=list(overrides), requested_by=requested_by or getpass.getuser())


def _check_overrides(adapters: Adapters, pipeline: str, overrides: tuple[str, ...]) -> None:
    """Fail here, with file and line, rather than minutes later on a worker."""
    check_pipeline(find_pipeline(adapters.settings.pipelines_dir, pipeline), overrides=overrides)


def read_report(adapters: Adapters, run_id: str) -> dict[str, Any] | None:
    """The published report of a run, or None."""
    try:
        report: dict[str, Any] = json.loads(adapters.store.get(f"runs/{run_id}.json"))
    except ObjectNotFound:
        return None
    return report


def run_on_worker(
    pipeline: str, overrides: tuple[str, ...], *, quiet: bool, requested_by: str | None = None
) -> dict[str, Any]:
    """Create a flow run of the deployment and follow it. Ctrl-C leaves it running and says so.

    `requested_by` stands in every decision; the user of this process without it.
    """
    adapters = open_adapters()
    _check_overrides(adapters, pipeline, overrides)
    deployed = deploy_pipelines(pipeline)[0]
    with get_client(sync_client=True) as client:
        created = client.create_flow_run_from_deployment(
            deployed["deployment_id"],
            parameters={
                "pipeline": pipeline,
                "revision": deployed["revision"],
                "parameters": _parameters(overrides, requested_by).model_dump(mode="json"),
            },
        )
        url = run_url(adapters.settings, str(created.id))
        follower = Follower(client, created.id, ask=partial(waiting_words, adapters, pipeline, url), quiet=quiet)
        try:
            final = follower.follow()
        except KeyboardInterrupt:
            words = follower.question or f"the run goes on in the worker: {url} (cancel it there)"
            print(f"\n{words}", file=sys.stderr)  # noqa: T201 - a word to whoever pressed Ctrl-C
            raise
    report = read_report(adapters, str(created.id))
    if report is not None:
        return report
    message = final.state.message if final.state else "no state"
    raise InfrastructureError(
        f"run {created.id} of {pipeline} ended as {final.state_name} without a report: {message}; "
        f"`ratchet run {pipeline}` again resumes it"
    )


def _began(task: TaskRun) -> float:
    moment = task.expected_start_time or task.created
    return moment.timestamp() if moment is not None else 0.0


def waiting_words(adapters: Adapters, pipeline: str, url: str) -> str:
    """How to answer a paused run."""
    try:
        return hint(choose(adapters, pipeline, None), url)
    except RatchetError as error:  # following goes on; the question is on the run's page all the same
        return f"waiting for approval: Resume on {url} ({error})"


class Follower:
    """Prints each step as it ends and names the one under way, until the run is over.

    `ask` says how to answer the run when it is paused; `question` is what it said while the run is.
    """

    def __init__(self, client: SyncPrefectClient, run_id: UUID, *, ask: Callable[[], str], quiet: bool) -> None:
        self._client, self._run_id, self._ask = client, run_id, ask
        self.question = ""
        self._console = Console(file=sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)
        self._shown: set[tuple[str, str]] = set()
        self._began = time.monotonic()

    def follow(self) -> FlowRun:
        """The flow run in its final state."""
        with self._console.status("waiting for the worker") as status:
            while True:
                flow_run: FlowRun = self._client.read_flow_run(self._run_id)
                waiting = f"{(flow_run.state_name or 'pending').lower()}: waiting for the worker"
                status.update(self.look() or self.ask(flow_run) or waiting)
                if flow_run.state is not None and flow_run.state.is_final():
                    return flow_run
                time.sleep(POLL_S)

    def look(self) -> str:
        """Print what ended since the last look; returns what is under way, with its percentage."""
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[self._run_id]))
        running = ""
        for task in sorted(self._client.read_task_runs(flow_run_filter=mine), key=_began):
            state = task.state_name or "Pending"
            if state in MARKS and (str(task.id), state) not in self._shown:
                self._shown.add((str(task.id), state))
                elapsed = time.monotonic() - self._began
                self._console.print(f"  {MARKS[state]} {task.name}  [dim]{elapsed:5.1f} s[/]")
            if state == "Running":
                running = task.name
        return running and f"{running}{self.percent() if running.startswith('Train') else ''}"

    def ask(self, flow_run: FlowRun) -> str:
        """Whom a paused run waits for, and where to answer; printed once a pause. Empty for any other run."""
        if flow_run.state is None or not flow_run.state.is_paused():
            self.question = ""
        elif not self.question:
            self.question = self._ask()
            self._console.print(f"  [yellow]‖[/] {escape(self.question)}")
        return escape(self.question)

    def percent(self) -> str:
        """Of the training, as its progress artifact says."""
        found = self._client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[self._run_id]),
                key=ArtifactFilterKey(any_=["training-progress"]),
            )
        )
        return f"  {float(str(found[0].data)):.0f} %" if found else ""


def run_here(pipeline: str, overrides: tuple[str, ...], *, quiet: bool) -> dict[str, Any]:
    """The same flow, in this process; its log lines are the progress."""
    if quiet:
        logging.getLogger("prefect").setLevel(logging.ERROR)
    adapters = open_adapters()
    _check_overrides(adapters, pipeline, overrides)
    deployed = deploy_pipelines(pipeline)[0]
    state = retrain(pipeline, deployed["revision"], _parameters(overrides), return_state=True)
    run_id = str(state.state_details.flow_run_id)
    report = read_report(adapters, run_id)
    if report is None:
        raise InfrastructureError(f"run {run_id} of {pipeline} ended as {state.name}: {state.message}")
    return report
