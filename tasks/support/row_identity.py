"""Who a row without an id of its own is: recorded at a pipeline's first delivery, asked for at every later one."""

from __future__ import annotations

import time

from mlratchet.models.data.first_columns import FirstColumns, find_first_columns, publish_first_columns
from mlratchet.models.data.snapshot import Snapshot
from mlratchet.models.sources.record import RawObject
from mlratchet.tasks.wiring import Run


def identity_columns(run: Run, snapshot: Snapshot) -> tuple[str, ...]:
    """The columns of the first delivery; empty where a workload's records are no rows of a table.

    Raises ``SecurityError`` when the record of them was changed.
    """
    store, keys = run.adapters.store, run.adapters.keys
    known = find_first_columns(store, run.spec.name, keys.trusted())
    if known is not None:
        return known.columns

    def fetch(item: RawObject) -> bytes:
        return store.get(f"raw/{item.sha256}", sha256=item.sha256)

    found = run.workload.identity_columns(snapshot.raw_objects(), fetch, run.spec.source.model_dump(mode="json"))
    if not found:
        return ()
    first = FirstColumns(pipeline=run.spec.name, columns=found, snapshot_id=snapshot.id, at_s=time.time())
    return publish_first_columns(store, first, keys.signer(), keys.trusted()).columns
