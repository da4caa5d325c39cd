"""Recognise: has this very training been done before?"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import version

from mlratchet.models.data.dataset import dataset_parts
from mlratchet.models.data.reading import line_of_dataset
from mlratchet.models.data.snapshot import Snapshot
from mlratchet.models.identity.canonical import digest
from mlratchet.models.pipeline.work_key import work_key, work_parts
from mlratchet.models.ports.registry import RegistryError
from mlratchet.models.promotion.move import refuse_cut_ledger
from mlratchet.models.promotion.registered import promoted_registration
from mlratchet.models.registration.record import MadeOf, find_registration
from mlratchet.models.registration.why_anew import why_anew
from mlratchet.models.sources.log_rows import weighed
from mlratchet.models.training.result import find_result
from mlratchet.tasks.step import step
from mlratchet.tasks.support.row_identity import first_delivery, looked_at
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
    entries = run.adapters.ledger.entries(run.spec.name)
    champion = entries[-1] if entries else None
    incumbent = promoted_registration(store, champion, entries) if champion else None
    first = first_delivery(run, snapshot, looked_at(store, incumbent))
    rows = dataset_parts(
        snapshot.id,
        run.data_code,
        run.spec.workload,
        run.spec.data,
        run.spec.source,
        identity_columns=first.identity_columns,
        number_marks=first.number_marks,
        time_formats=first.time_formats,
    )
    parts = work_parts(
        run.spec,
        snapshot_id=snapshot.id,
        dataset_id=digest(rows),
        code=run.training_code,
        torch_version=version("torch").split("+")[0],
        world=run.adapters.launcher.processes(run.spec.train) * run.spec.train.nodes,
    )
    key = work_key(parts)
    made_of = MadeOf(work=parts, dataset=rows)
    done = find_registration(store, key)
    line = line_of_dataset(store, digest(rows))  # a run that finds its rows prepared reads nothing
    run.reading = weighed(line, run.spec.source.inference_log)
    return Work(
        key=key,
        dataset_id=digest(rows),
        snapshot_id=snapshot.id,
        first=first,
        made_of=made_of,
        why="" if done is not None or find_result(store, key) is not None else why_anew(incumbent, made_of),
        done=done,
        champion=champion,
        incumbent=incumbent,
        was_champion=any(entry.work_key == key for entry in entries[:-1]),
    )
