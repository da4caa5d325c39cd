"""Take a pipeline out of service: its schedule pauses or its deployment goes; what it was stays in the bucket."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

from mlratchet.models.registration.record import find_registration
from mlratchet.tasks.actions.reconcile import serve
from mlratchet.tasks.support.pipelines import require_pipeline
from mlratchet.tasks.wiring import Adapters
from prefect import get_client
from prefect.exceptions import ObjectNotFound

FLOWS = ("retrain", "tune", "monitor")
ON_DEMAND = ("score",)  # flows without a schedule


def withdraw(adapters: Adapters, name: str, *, how: Literal["stopped", "removed"]) -> dict[str, Any]:
    """End the server and pause the schedules of a pipeline (`stopped`), or take its deployments away too (`removed`).

    Ledger, evidence, versions and data stay; `ratchet deploy` or `ratchet run` brings it back. A run under way goes on.
    Idempotent. Raises ``ConfigurationError`` for a name that nobody has heard of.
    """
    require_pipeline(adapters, name)
    served = adapters.servers.requested(name)
    adapters.servers.withdraw(name, how)
    changed = []
    with get_client(sync_client=True) as client:
        for flow in (*FLOWS, *(ON_DEMAND if how == "removed" else ())):
            try:
                deployment = client.read_deployment_by_name(f"{flow}/{name}")
            except ObjectNotFound:
                continue
            if how == "removed":
                client.delete_deployment(deployment.id)
                changed.append(f"{flow}: deployment removed")
            elif not deployment.paused:
                client.pause_deployment(deployment.id)
                changed.append(f"{flow}: schedule paused")
    return {"pipeline": name, "state": how, "server_ended": served, "changed": changed}


def bring_back(adapters: Adapters, name: str) -> None:
    """After a deployment was made again: a schedule that `ratchet stop` paused goes on, and the champion is served. A
    schedule that somebody paused in Prefect stays as it is."""
    if adapters.servers.withdrawn(name) is None:
        return
    with get_client(sync_client=True) as client:
        for flow in FLOWS:
            with suppress(ObjectNotFound):
                client.resume_deployment(client.read_deployment_by_name(f"{flow}/{name}").id)
    adapters.servers.resume(name)
    head = adapters.ledger.head(name)
    record = find_registration(adapters.store, head.work_key) if head is not None else None
    if record is not None:
        serve(adapters, record)
