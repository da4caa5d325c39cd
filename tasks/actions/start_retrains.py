"""Start the retrains that monitoring asked for: by an event, which an automation of Prefect turns into a run, and where
that was lost by a look at what is wanted."""

from __future__ import annotations

import json
import logging
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
from mlratchet.infra.machine.scratch import is_gone
from mlratchet.models.decisions.waiting import WAITS
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.identity.lease import live_leases
from mlratchet.models.monitoring.finding import Finding, load_finding
from mlratchet.models.monitoring.retraining import (
    TRIES,
    RetrainRequest,
    answered_by,
    request_retrain,
    requests,
    runs_of,
    take_request,
)
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.tasks.wiring import Adapters
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound as NotInPrefect

WANTED = "ratchet.retrain.wanted"  # the event
PATIENCE_S = 20.0  # an event becomes a run within it, or is taken for lost
FORGOTTEN_S = 7 * 86_400.0  # a request that is older starts nothing any more

logger = logging.getLogger(__name__)


def resource_of(pipeline: str) -> str:
    """What an event is about, in Prefect."""
    return f"ratchet.pipeline.{pipeline}"


def announce(adapters: Adapters, request: RetrainRequest) -> None:
    """Emit the event unless a run took the request; one that is lost is caught by `start_wanted`."""
    if runs_of(adapters.store, request.finding):
        return
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[event_of(request)])
    except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: no API is configured
        logger.warning("retrain of %s: no event was taken: %s", request.pipeline, error)


def event_of(request: RetrainRequest) -> dict[str, Any]:
    """Prefect's API. Its id follows from the request: an event that is sent twice is one."""
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, request.finding)),
        "occurred": datetime.now(UTC).isoformat(),
        "event": WANTED,
        "resource": {
            "prefect.resource.id": resource_of(request.pipeline),
            "prefect.resource.name": request.pipeline,
        },
        "payload": {"finding": request.finding},
    }


def start_wanted(adapters: Adapters, *, now_s: float | None = None, patience_s: float = PATIENCE_S) -> list[str]:
    """A run for every request that has none after `patience_s`; what was started, one line each."""
    now, lines = time.time() if now_s is None else now_s, []
    wanted = [
        one for one in requests(adapters.store) if patience_s <= now - one.at_s < FORGOTTEN_S and is_open(adapters, one)
    ]
    if not wanted:
        return []
    try:
        with get_client(sync_client=True) as client:
            for request in wanted:
                if not is_queued(client, request):
                    run_id = start(client, request, tries=len(runs_of(adapters.store, request.finding)))
                    if run_id:
                        lines.append(f"{request.pipeline}: run {run_id} was started because of {request.finding[:12]}")
    except (httpx.HTTPError, RuntimeError) as error:  # as in `announce`: the next look starts what this one could not
        logger.warning("%d retrain(s) are wanted, and Prefect takes no run: %s", len(wanted), error)
    return lines


def is_open(adapters: Adapters, request: RetrainRequest) -> bool:
    """Whether a request has still to be answered by a run of its own."""
    store = adapters.store
    try:
        mine = answered_by(store, request)
    except ObjectNotFound:  # whoever asked was killed in between
        try:
            finding = load_finding(store, request.pipeline, request.finding)
        except ObjectNotFound:
            return False
        _, mine = request_retrain(store, finding, champion=request.champion, actor=request.actor, at_s=request.at_s)
    if mine != request.finding:
        return False
    head = adapters.ledger.head(request.pipeline)
    if head is None or head.generation != request.champion:
        return False
    runs = runs_of(store, request.finding)
    if len(runs) >= TRIES:
        return False
    return not any(has_ended(store, run) or lives(store, request.pipeline, run) for run in runs)


def has_ended(store: ObjectStore, run_id: str) -> bool:
    """Whether a run has left its report."""
    return store.exists(f"runs/{run_id}.json")


def lives(store: ObjectStore, pipeline: str, run_id: str) -> bool:
    """Whether a run renews its lease, or waits for people without a process."""
    waits = store.exists(f"{WAITS}{pipeline}/{run_id}.json")
    return waits or any(held.lease.run == run_id for held in live_leases(store, is_gone=is_gone))


def asked_by_monitoring(adapters: Adapters, pipeline: str, finding: str, *, run_id: str) -> Finding:
    """What a run is about that was told a finding. Raises as `take_request`."""
    head = adapters.ledger.head(pipeline)
    return take_request(
        adapters.store,
        pipeline,
        finding,
        run_id=run_id,
        generation=head.generation if head is not None else 0,
        has_ended=lambda run: has_ended(adapters.store, run),
        lives=lambda run: lives(adapters.store, pipeline, run),
    )


def is_queued(client: SyncPrefectClient, request: RetrainRequest) -> bool:
    """Whether Prefect holds a run because of this finding that is not over."""
    body = {
        "flow_runs": {
            "state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]}},
            "tags": {"all_": ["ratchet"]},
        },
        "sort": "START_TIME_DESC",
        "limit": 200,
    }
    found = client.request("POST", "/flow_runs/filter", json=body).json()
    return any(one.get("parameters", {}).get("finding") == request.finding for one in found)


def start(client: SyncPrefectClient, request: RetrainRequest, *, tries: int) -> str:
    """The id of a run of the pipeline's deployment; empty where it has none any more, where a person cancelled the last
    one, and where as many as may be killed have ended before they took the request. The same try twice is one run, as
    long as that has not ended."""
    with suppress(NotInPrefect):
        deployment = client.read_deployment_by_name(f"retrain/{request.pipeline}")
        for again in range(TRIES):
            created = client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"finding": request.finding},
                idempotency_key=f"{WANTED}-{request.finding}-{tries}{f'-{again}' if again else ''}",
            )
            if created.state is None or not created.state.is_final():
                return str(created.id)
            if created.state.is_cancelled():
                break
    return ""


def follow_requests(deployment_id: str, pipeline: str, *, wanted: bool) -> None:
    """Make the automation that turns events of a pipeline into runs, or bring it up to date, or remove it.

    Raises ``InfrastructureError`` when Prefect refuses it.
    """
    automation = automation_of(deployment_id, pipeline)
    try:
        with get_client(sync_client=True) as client:
            found = client.request("POST", "/automations/filter", json={}).json()
            held = [one for one in found if one["name"] == automation["name"]]
            for one in held[1:] if wanted else held:
                client.request("DELETE", "/automations/{id}", path_params={"id": one["id"]})
            if wanted and not held:
                client.request("POST", "/automations/", json=automation)
            elif wanted and not is_as(held[0], automation):
                client.request("PUT", "/automations/{id}", path_params={"id": held[0]["id"]}, json=automation)
    except httpx.HTTPError as error:
        raise InfrastructureError(f"{pipeline}: Prefect takes no automation ({error}); `ratchet status`") from error


def automation_of(deployment_id: str, pipeline: str) -> dict[str, Any]:
    """Prefect's API. The finding is all that a run is told; everything else of the event is not read."""
    return {
        "name": f"ratchet: {pipeline} is retrained when monitoring asks",
        "description": "Starts `retrain` with the finding; the run verifies it and takes its reason from there.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "match": {"prefect.resource.id": resource_of(pipeline)},
            "expect": [WANTED],
            "threshold": 1,
            "within": 0,
        },
        "actions": [
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": deployment_id,
                "parameters": {
                    "finding": {"__prefect_kind": "jinja", "template": "{{ event.payload.finding }}"},
                },
            }
        ],
    }


def is_as(held: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether the automation in Prefect does what is wanted: somebody may have edited it."""
    same = [
        held.get("enabled") is True,
        held["trigger"].get("match") == wanted["trigger"]["match"],
        held["trigger"].get("expect") == wanted["trigger"]["expect"],
        len(held["actions"]) == 1,
    ]
    if not all(same):
        return False
    action, ours = held["actions"][0], wanted["actions"][0]
    said = json.dumps(action.get("parameters")) == json.dumps(ours["parameters"])
    return said and str(action.get("deployment_id")) == ours["deployment_id"] and action.get("type") == ours["type"]
