"""Start a run as the Prefect UI would, and follow it to its end."""

from __future__ import annotations

import getpass
import json
import logging
import sys
import time
from typing import Any

from mlratchet.flows.deployments import deploy_pipelines
from mlratchet.flows.parameters import RetrainParameters
from mlratchet.flows.retrain import retrain
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.pipeline.loading import find_pipeline, read_pipeline
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.tasks.wiring import Adapters, open_adapters
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, TaskRun
from rich.console import Console

POLL_S = 0.5  # seconds between two looks at a run


def _parameters(overrides: tuple[str, ...]) -> RetrainParameters:
    return RetrainParameters(set=list(overrides), requested_by=getpass.getuser())


def _check_overrides(adapters: Adapters, pipeline: str, overrides: tuple[str, ...]) -> None:
    """Fail here, with file and line, rather than minutes later on a worker."""
    read_pipeline(find_pipeline(adapters.settings.pipelines_dir, pipeline), overrides=overrides)


def read_report(adapters: Adapters, run_id: str) -> dict[str, Any] | None:
    """The published report of a run, or None."""
    try:
        report: dict[str, Any] = json.loads(adapters.store.get(f"runs/{run_id}.json"))
    except ObjectNotFound:
        return None
    return report


def run_on_worker(pipeline: str, overrides: tuple[str, ...], *, quiet: bool) -> dict[str, Any]:
    """Create a flow run of the deployment and follow it. Ctrl-C leaves it running and says so."""
    adapters = open_adapters()
    _check_overrides(adapters, pipeline, overrides)
    deployed = deploy_pipelines(pipeline)[0]
    with get_client(sync_client=True) as client:
        created = client.create_flow_run_from_deployment(
            deployed["deployment_id"],
            parameters={
                "pipeline": pipeline,
                "revision": deployed["revision"],
                "parameters": _parameters(overrides).model_dump(mode="json"),
            },
        )
        final = _follow(client, created.id, quiet=quiet)
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


def _follow(client: Any, run_id: Any, *, quiet: bool) -> FlowRun:
    """Print each step as it begins and ends, until the run is over."""
    console = Console(file=sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)
    shown: dict[str, str] = {}
    began = time.monotonic()
    with console.status("waiting for the worker"):
        while True:
            flow_run: FlowRun = client.read_flow_run(run_id)
            tasks: list[TaskRun] = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
            )
            for task in sorted(tasks, key=_began):
                state = task.state_name or "Pending"
                name = task.name.rsplit("-", 1)[0] if task.name[-4] == "-" else task.name
                if shown.get(str(task.id)) != state and state in (
                    "Completed",
                    "Failed",
                    "Crashed",
                    "Retrying",
                ):
                    shown[str(task.id)] = state
                    mark = {"Completed": "[green]✓[/]", "Retrying": "[yellow]↻[/]"}.get(state, "[red]✗[/]")
                    console.print(f"  {mark} {name}  [dim]{time.monotonic() - began:5.1f} s[/]")
            if flow_run.state is not None and flow_run.state.is_final():
                return flow_run
            time.sleep(POLL_S)


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
