"""Reconcile: what follows the ledger is made to follow it again."""

from __future__ import annotations

import json

from mlratchet.infra.promotion import project
from mlratchet.models.registration.record import Registration
from mlratchet.tasks.wiring import Adapters


def pipelines_with_ledger(adapters: Adapters) -> list[str]:
    """Names that have at least one ledger entry."""
    return sorted({info.key.split("/")[1] for info in adapters.store.list("ledger/")})


def reconcile_all(adapters: Adapters) -> list[str]:
    """Aliases and tags of every pipeline, and runs left open; returns what was repaired."""
    repaired: list[str] = []
    for name in pipelines_with_ledger(adapters):
        repaired += project(adapters.ledger, adapters.registry, name)
    for info in adapters.store.list("registrations/"):
        record = Registration(**json.loads(adapters.store.get(info.key)))
        adapters.tracker.end_run(record.run_id, status="FINISHED")
    return repaired
