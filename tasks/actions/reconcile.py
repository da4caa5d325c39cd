"""Reconcile: what follows the ledger is made to follow it again, and what killed runs left is cleared."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
from mlratchet.infra.machine.scratch import is_gone, orphaned_runs, remove_scratch
from mlratchet.infra.machine.temporary import remove_abandoned_folders, remove_abandoned_workplaces
from mlratchet.infra.reasons import server_error
from mlratchet.infra.tracking.spool import replay_spools
from mlratchet.models.decisions.waiting import WAITS
from mlratchet.models.errors import ConfigurationError, RatchetError
from mlratchet.models.identity.lease import LEASE_S, lease_key, read_leases
from mlratchet.models.identity.signed_records import bare
from mlratchet.models.ledger.chain import ledger_names
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.promotion.canary.chain import canary_names
from mlratchet.models.promotion.follow import project_versions
from mlratchet.models.promotion.move import project, refuse_cut_ledger
from mlratchet.models.promotion.registered import known_registrations
from mlratchet.models.registration.record import Registration, find_registration, readable_registrations
from mlratchet.tasks.actions.canary import end_orphan
from mlratchet.tasks.actions.keep_watch import keep_watch
from mlratchet.tasks.actions.rebuild import restore
from mlratchet.tasks.wiring import Adapters
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed


@dataclass
class Reconciled:
    """What was done, and what could not be."""

    repaired: list[str] = field(default_factory=list)  # one line each
    problems: list[RatchetError] = field(default_factory=list)

    def attempt(self, repair: Callable[[], list[str]]) -> None:
        """One repair; its failure does not keep the others from being made."""
        try:
            self.repaired += repair()
        except (RatchetError, httpx.HTTPError) as error:
            problem = error if isinstance(error, RatchetError) else server_error(error)
            if problem is not None and str(problem) not in [str(known) for known in self.problems]:
                self.problems.append(problem)

    def raise_worst(self) -> None:
        """The problem with the highest exit code, with every other one in its line."""
        if self.problems:
            worst, *others = sorted(self.problems, key=lambda error: -error.exit_code)
            error = type(worst)("; ".join(str(one) for one in (worst, *others)))
            error.code, error.exit_code = worst.code, worst.exit_code
            raise error


def reconcile_all(adapters: Adapters) -> Reconciled:
    """Aliases, tags, servers, Prefect runs and MLflow runs follow what the bucket says. Safe to repeat."""
    done = Reconciled()
    records, damaged = readable_registrations(adapters.store)
    done.problems += damaged  # they stop their own pipeline at most
    for name in sorted(ledger_names(adapters.store) | set(records)):
        done.attempt(partial(reconcile_pipeline, adapters, name, records.get(name, [])))
    with get_client(sync_client=True) as client:
        done.attempt(lambda: declare_crashed(adapters, client))
        done.attempt(lambda: end_tracking_runs(adapters, client))
        done.attempt(lambda: forget_ended_waits(adapters, client))
    for name in sorted(canary_names(adapters.store)):
        done.attempt(partial(end_orphan, adapters, name))
    done.attempt(lambda: keep_watch(adapters))
    done.attempt(lambda: remove_dead_leases(adapters))
    remove_abandoned_folders(adapters.settings.home)
    remove_abandoned_workplaces(adapters.settings.home)
    done.attempt(lambda: replay_spools(adapters.tracker, adapters.settings.home / "spool", now_s=time.time()))
    return done


def reconcile_pipeline(adapters: Adapters, name: str, records: list[Registration]) -> list[str]:
    """One pipeline's projections. Raises ``SecurityError`` for a ledger that was changed; nothing follows that."""
    refuse_cut_ledger(adapters.ledger, adapters.registry, name)
    entries = adapters.ledger.entries(name)
    records = known_registrations(adapters.store, name, records, entries)
    repaired = project_versions(
        adapters.store,
        adapters.registry,
        name,
        records,
        entries,
        named=readable_registrations(bare(adapters.store))[0].get(name, []),
        restore=partial(restore, adapters),
    )
    repaired += project(adapters.ledger, adapters.registry, name)  # by numbers, which were put right first
    champion = next((one for one in records if entries and one.work_key == entries[-1].work_key), None)
    repaired += serve(adapters, champion) if champion is not None else []
    return repaired


def serve(adapters: Adapters, champion: Registration) -> list[str]:
    """Ask for a server of the champion where there is none, as a crash right after the promotion leaves it."""
    if adapters.servers.withdrawn(champion.name):
        return []  # a person stopped it
    if adapters.servers.requested(champion.name) or not (adapters.settings.home / "serving").is_dir():
        return []
    try:
        spec = load_pipeline(adapters.store, champion.revision)
    except ConfigurationError:
        return []
    adapters.servers.request(champion.name, spec.serving)
    return [f"{champion.name}: a server was asked for"]


def remove_dead_leases(adapters: Adapters) -> list[str]:
    """Of runs that nobody gave back. Not worth a line: they hold nothing any more."""
    for held in read_leases(adapters.store):
        if held.age_s > 2 * LEASE_S or is_gone(held.lease):
            adapters.store.delete(lease_key(held.lease.run))
    return []


def declare_crashed(adapters: Adapters, client: SyncPrefectClient) -> list[str]:
    """Flow runs whose process on this machine is gone become Crashed; their scratch directory goes."""
    repaired = []
    home = adapters.settings.home
    for run_id in orphaned_runs(home):
        if not has_ended(client, run_id):
            client.set_flow_run_state(UUID(run_id), Crashed(message="its process is gone"), force=True)
            repaired.append(f"flow run {run_id}: its process is gone, now Crashed")
        adapters.store.delete(lease_key(run_id))
        remove_scratch(home, run_id)
    return repaired


def forget_ended_waits(adapters: Adapters, client: SyncPrefectClient) -> list[str]:
    """What runs that waited would go on with, once they are over: somebody cancelled them. Not worth a
    line."""
    for info in list(adapters.store.list(WAITS)):
        if has_ended(client, Path(info.key).stem):
            adapters.store.delete(info.key)
    return []


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
