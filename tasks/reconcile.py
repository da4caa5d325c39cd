"""Reconcile: what follows the ledger is made to follow it again, and what killed runs left is cleared."""

from __future__ import annotations

import time
from uuid import UUID

from mlratchet.infra.promotion import project
from mlratchet.infra.scratch import orphaned_runs, remove_scratch
from mlratchet.infra.tracking.spool import replay_spools
from mlratchet.models.registration.record import find_registration
from mlratchet.tasks.wiring import Adapters
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed


def pipelines_with_ledger(adapters: Adapters) -> list[str]:
    """Names that have at least one ledger entry."""
    return sorted({info.key.split("/")[1] for info in adapters.store.list("ledger/")})


def reconcile_all(adapters: Adapters) -> list[str]:
    """Aliases, tags, Prefect runs and MLflow runs; returns what was repaired, one line each. Safe to repeat."""
    repaired: list[str] = []
    for name in pipelines_with_ledger(adapters):
        repaired += project(adapters.ledger, adapters.registry, name)
    with get_client(sync_client=True) as client:
        repaired += declare_crashed(adapters, client)
        repaired += end_tracking_runs(adapters, client)
    repaired += replay_spools(adapters.tracker, adapters.settings.home / "spool", now_s=time.time())
    return repaired


def declare_crashed(adapters: Adapters, client: SyncPrefectClient) -> list[str]:
    """Flow runs whose process on this machine is gone become Crashed; their scratch directory goes."""
    repaired = []
    home = adapters.settings.home
    for run_id in orphaned_runs(home):
        if not has_ended(client, run_id):
            client.set_flow_run_state(UUID(run_id), Crashed(message="its process is gone"), force=True)
            repaired.append(f"flow run {run_id}: its process is gone, now Crashed")
        remove_scratch(home, run_id)
    return repaired


def end_tracking_runs(adapters: Adapters, client: SyncPrefectClient) -> list[str]:
    """MLflow runs whose flow run is over: FINISHED if a version came of it, else KILLED."""
    repaired = []
    for run in adapters.tracker.running_runs():
        if has_ended(client, run.flow_run):
            status = "FINISHED" if find_registration(adapters.store, run.work_key) else "KILLED"
            adapters.tracker.end_run(run.run_id, status=status)
            repaired.append(f"MLflow run {run.run_id}: its flow run is over, now {status}")
    return repaired


def has_ended(client: SyncPrefectClient, run_id: str) -> bool:
    """Whether a flow run is in a final state, or unknown to the server."""
    try:
        state = client.read_flow_run(UUID(run_id)).state
    except (ObjectNotFound, ValueError):
        return True
    return state is not None and state.is_final()
