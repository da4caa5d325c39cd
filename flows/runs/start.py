"""Start a run as the Prefect UI would, and follow it to its end."""

from __future__ import annotations

import getpass
import json
import logging
import sys
import time
from functools import partial
from typing import Any

from mlratchet.flows.check_file import check_pipeline
from mlratchet.flows.deployments import deploy_named
from mlratchet.flows.parameters import RetrainParameters
from mlratchet.flows.retrain import retrain
from mlratchet.flows.runs.following import Follower
from mlratchet.flows.runs.liveness import SignOfLife
from mlratchet.models.decisions.approval_page import hint
from mlratchet.models.decisions.waiting import waiting_of
from mlratchet.models.errors import InfrastructureError, RatchetError
from mlratchet.models.pipeline.loading import find_pipeline
from mlratchet.models.pipeline.store import publish_order, publish_pipeline
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.tuning.summary import quoted
from mlratchet.tasks.actions.approving import choose
from mlratchet.tasks.showing.prefect_page import run_url
from mlratchet.tasks.wiring import Adapters, open_adapters
from prefect import get_client
from prefect.client.schemas.objects import State


def ask_for(
    adapters: Adapters, pipeline: str, overrides: tuple[str, ...], requested_by: str | None = None
) -> dict[str, Any]:
    """The parameters of a run of the file as it is now. What `overrides` change is a revision of its own, signed for
    this run alone. Fails here, with file and line, rather than minutes later on a worker."""
    spec, _ = check_pipeline(find_pipeline(adapters.settings.pipelines_dir, pipeline), overrides=overrides)
    actor = requested_by or getpass.getuser()
    asked: dict[str, Any] = {"pipeline": pipeline, "parameters": RetrainParameters(requested_by=actor), "order": ""}
    if overrides:
        revision = publish_pipeline(adapters.store, spec)
        asked["order"] = publish_order(adapters.store, pipeline, revision, actor=actor, at_s=time.time())
    return asked


def read_report(adapters: Adapters, run_id: str) -> dict[str, Any] | None:
    """The published report of a run, or None."""
    try:
        report: dict[str, Any] = json.loads(adapters.store.get(f"runs/{run_id}.json"))
    except ObjectNotFound:
        return None
    return report


def report_of(adapters: Adapters, state: State[Any], pipeline: str, *, what: str, then: str = "") -> dict[str, Any]:
    """Of a flow that ran in this process. `what` it is: a `study run`, or the like; `then`: what goes on with it.

    Raises ``InfrastructureError`` where it left none.
    """
    run_id = str(state.state_details.flow_run_id)
    report = read_report(adapters, run_id)
    if report is None:
        raise InfrastructureError(f"{what} {run_id} of {pipeline} ended as {state.name}: {state.message}{then}")
    return report


def run_on_worker(
    pipeline: str, overrides: tuple[str, ...], *, quiet: bool, requested_by: str | None = None
) -> dict[str, Any]:
    """Create a flow run of the deployment and follow it. Ctrl-C leaves it running and says so.

    `requested_by` stands in every decision; the user of this process without it.
    """
    adapters = open_adapters()
    asked = ask_for(adapters, pipeline, overrides, requested_by)
    deployed = deploy_named(pipeline)
    with get_client(sync_client=True) as client:
        created = client.create_flow_run_from_deployment(
            deployed["deployment_id"],
            parameters={**asked, "parameters": asked["parameters"].model_dump(mode="json")},
        )
        url = run_url(adapters.settings, str(created.id))
        follower = Follower(
            client,
            created.id,
            pulse=SignOfLife(adapters.store, str(created.id), command_of(pipeline, overrides)),
            ask=partial(waiting_words, adapters, pipeline, str(created.id), url),
            quiet=quiet,
        )
        try:
            final = follower.follow()
        except KeyboardInterrupt:
            words = (
                follower.question
                or f"the run goes on in the worker; cancel it on its page: `ratchet open prefect --run {created.id}`"
            )
            print(f"\n{words}", file=sys.stderr)  # noqa: T201 - a word to whoever pressed Ctrl-C
            raise
    report = read_report(adapters, str(created.id))
    if report is not None:
        return report | {"prefect_url": url}
    message = final.state.message if final.state else "no state"
    raise InfrastructureError(
        f"run {created.id} of {pipeline} ended as {final.state_name} without a report: {message}; "
        f"`{command_of(pipeline, overrides)}` again resumes it"
    )


def command_of(pipeline: str, overrides: tuple[str, ...]) -> str:
    """That asks for this very run: without its settings it is another training, which resumes nothing of this one."""
    return " ".join([f"ratchet run {pipeline}", *(f"--set {quoted(one)}" for one in overrides)])


def waiting_words(adapters: Adapters, pipeline: str, run_id: str, url: str) -> str:
    """What a paused run waits for, and how to answer it."""
    try:
        waiting = waiting_of(adapters.store, pipeline, run_id, now_s=time.time())
        if waiting is not None and waiting.watch:
            return f"its version is in its canary: `ratchet canary {pipeline}` shows it"
        return hint(choose(adapters, pipeline, None), url)
    except RatchetError as error:  # following goes on; the question is on the run's page all the same
        return f"waiting for approval: Resume on {url} (`ratchet open {url}`; {error})"


def run_here(pipeline: str, overrides: tuple[str, ...], *, quiet: bool) -> dict[str, Any]:
    """The same flow, in this process; its log lines are the progress."""
    if quiet:
        logging.getLogger("prefect").setLevel(logging.ERROR)
    adapters = open_adapters()
    asked = ask_for(adapters, pipeline, overrides)
    deploy_named(pipeline)
    state = retrain(**asked, return_state=True)
    return report_of(adapters, state, pipeline, what="run")
