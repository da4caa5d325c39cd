"""Who a row without an id of its own is, and how numbers are written: recorded at a pipeline's first delivery, asked
for at every later one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mlratchet.models.data.first_columns import FirstColumns, find_first_columns, publish_first_columns
from mlratchet.models.data.preprocess import FirstDelivery
from mlratchet.models.data.raw_objects import raw_objects
from mlratchet.models.data.snapshot import Snapshot
from mlratchet.models.sources.numbers import Mark
from mlratchet.models.workloads.guarded import reading
from mlratchet.tasks.wiring import Run


def first_delivery(run: Run, snapshot: Snapshot) -> FirstDelivery:
    """As recorded; empty where a workload's records are no rows of a table.

    Raises ``SecurityError`` when a record of it was changed, ``DataError`` for a first delivery whose numbers can be
    read in two ways.
    """
    found = find_first_columns(run.adapters.store, run.spec.name, run.adapters.keys.trusted())
    if found is None:
        columns, marks = _look(run, snapshot)
        if not columns and not marks:
            return FirstDelivery()
        found = _publish(run, snapshot, columns, marks, number=1)
    return FirstDelivery(identity_columns=found.columns, number_marks=_completed(run, snapshot, found))


def _completed(run: Run, snapshot: Snapshot, first: FirstColumns) -> dict[str, Mark]:
    """The marks of every number column. Those that the first delivery was not asked for, or whose whole numbers told
    nothing, are recorded when a delivery tells them for the first time. What was told first stands."""
    store, trusted = run.adapters.store, run.adapters.keys.trusted()
    marks, number = dict(first.number_marks), 2
    while open_ := _open(run, marks):
        more = find_first_columns(store, run.spec.name, trusted, number=number)
        if more is None:
            break
        marks |= {name: more.number_marks[name] for name in open_ if name in more.number_marks}
        number += 1
    told: Mapping[str, Mark] | None = None
    while open_ := _open(run, marks):
        lacking = [name for name in open_ if name not in marks]
        if not lacking and snapshot.id == first.snapshot_id:
            break  # it was asked when it was the first
        told = told if told is not None else _look(run, snapshot, marks)[1]
        found = {name: told.get(name, "") for name in open_ if name in lacking or told.get(name)}
        if not found:
            break
        stands = _publish(run, snapshot, (), found, number=number).number_marks  # another run may have come first
        marks |= {name: stands[name] for name in open_ if name in stands}
        number += 1
    return marks


def _open(run: Run, marks: Mapping[str, Mark]) -> list[str]:
    """Number columns of which nothing is known."""
    columns = run.workload.number_columns(run.spec.source.model_dump(mode="json"))
    return [name for name in columns if not marks.get(name)]


def _look(
    run: Run, snapshot: Snapshot, known: Mapping[str, Mark] | None = None
) -> tuple[tuple[str, ...], Mapping[str, Mark]]:
    """Columns and marks as the workload finds them in this delivery; what the file declares is as good as found, and
    what is `known` stands."""
    workload = run.workload
    source: dict[str, Any] = run.spec.source.model_dump(mode="json") | ({"number_marks": dict(known)} if known else {})
    fetch = raw_objects(run.adapters.store, snapshot, run.raw)
    with reading(workload):
        columns = workload.identity_columns(snapshot.raw_objects(), fetch, source)
        return columns, workload.number_marks(snapshot.raw_objects(), fetch, source)


def _publish(
    run: Run, snapshot: Snapshot, columns: tuple[str, ...], marks: Mapping[str, Mark], *, number: int
) -> FirstColumns:
    first = FirstColumns(
        pipeline=run.spec.name, columns=columns, snapshot_id=snapshot.id, at_s=time.time(), number_marks=marks
    )
    keys = run.adapters.keys
    return publish_first_columns(run.adapters.store, first, keys.signer(), keys.trusted(), number=number)
