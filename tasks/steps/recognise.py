"""Recognise: has this very training been done before?"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import version

from mlratchet.models.data.dataset import dataset_id
from mlratchet.models.data.snapshot import Snapshot
from mlratchet.models.pipeline.work_key import work_key
from mlratchet.models.ports.registry import RegistryError
from mlratchet.models.promotion.move import refuse_cut_ledger
from mlratchet.models.registration.record import find_registration
from mlratchet.tasks.step import step
from mlratchet.tasks.support.row_identity import identity_columns
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run


@step("Recognise finished work")
def recognise(run: Run, snapshot: Snapshot) -> Work:
    """Compute the work key and look it up.

    Raises ``SecurityError`` for a ledger whose newest entry is gone: its champion is not the one to compare with.
    """
    with suppress(RegistryError):  # without MLflow the promotion asks, which cannot do without
        refuse_cut_ledger(run.adapters.ledger, run.adapters.registry, run.spec.name)
    store = run.adapters.store
    named_by = identity_columns(run, snapshot)
    dataset = dataset_id(
        snapshot.id, run.workload_digest, run.spec.workload, run.spec.data, run.spec.source, identity_columns=named_by
    )
    key = work_key(
        run.spec,
        snapshot_id=snapshot.id,
        dataset_id=dataset,
        workload_digest=run.workload_digest,
        torch_version=version("torch").split("+")[0],
        world=run.adapters.launcher.processes(run.spec.train) * run.spec.train.nodes,
    )
    entries = run.adapters.ledger.entries(run.spec.name)
    champion = entries[-1] if entries else None
    return Work(
        key=key,
        dataset_id=dataset,
        snapshot_id=snapshot.id,
        identity_columns=named_by,
        done=find_registration(store, key),
        champion=champion,
        incumbent=find_registration(store, champion.work_key) if champion else None,
        was_champion=any(entry.work_key == key for entry in entries[:-1]),
    )
