"""Who a row without an id of its own is, and how numbers are written: recorded at a pipeline's first delivery, asked
for at every later one."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.first_columns import FirstColumns, find_first_columns, publish_first_columns
from mlratchet.models.data.preprocess import FirstDelivery
from mlratchet.models.data.raw_objects import raw_objects
from mlratchet.models.data.snapshot import Snapshot, load_snapshot
from mlratchet.models.errors import RatchetError
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.registration.record import Registration
from mlratchet.models.schema.numbers import Mark
from mlratchet.models.sources.csv import Csv
from mlratchet.models.sources.formats import format_read
from mlratchet.models.workloads.guarded import reading
from mlratchet.tasks.wiring import Run


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    """What an earlier run has looked at, and need not be looked at again."""

    objects: frozenset[str] = frozenset()  # SHA-256 hex
    silent: frozenset[str] = frozenset()  # number columns of which they tell no mark


def looked_at(store: ObjectStore, incumbent: Registration | None) -> LookedAt:
    """When the champion was made."""
    if incumbent is None:
        return LookedAt()
    try:
        marks = load_dataset(store, incumbent.dataset_id).number_marks
        objects = load_snapshot(store, incumbent.snapshot_id).objects
    except (ObjectNotFound, RatchetError):  # retired, or of an earlier release: everything is looked at
        return LookedAt()
    silent = frozenset(name for name, mark in marks.items() if not mark)
    return LookedAt(objects=frozenset(one.sha256 for one in objects), silent=silent)


def first_delivery(run: Run, snapshot: Snapshot, before: LookedAt | None = None) -> FirstDelivery:
    """As recorded; empty where a workload's records are no rows of a table. What was looked at `before` is not again.

    Raises ``SecurityError`` when a record of it was changed, ``DataError`` for a first delivery whose numbers can be
    read in two ways.
    """
    found = find_first_columns(run.adapters.store, run.spec.name, run.adapters.keys.trusted())
    if found is None:
        columns, marks = _look(run, snapshot)
        if not columns and not marks:
            return FirstDelivery()
        found = _publish(run, snapshot, columns, marks, number=1)
    return FirstDelivery(
        identity_columns=found.columns, number_marks=_completed(run, snapshot, found, before or LookedAt())
    )


def _completed(run: Run, snapshot: Snapshot, first: FirstColumns, before: LookedAt) -> dict[str, Mark]:
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
        told = told if told is not None else _look(run, snapshot, marks, skip=_known_silent(run, open_, before))[1]
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


def _known_silent(run: Run, columns: Collection[str], before: LookedAt) -> frozenset[str]:
    """Objects that tell nothing of these columns. Of tables alone, each of which is read by itself."""
    alone = format_read(run.spec.source, run.workload.formats) == Csv.name
    return before.objects if alone and before.silent.issuperset(columns) else frozenset()


def _look(
    run: Run,
    snapshot: Snapshot,
    known: Mapping[str, Mark] | None = None,
    *,
    skip: Collection[str] = frozenset(),
) -> tuple[tuple[str, ...], Mapping[str, Mark]]:
    """Columns and marks as the workload finds them in this delivery; what the file declares is as good as found, and
    what is `known` stands. Objects to `skip` are not read; where there is no other, nothing is found."""
    objects = [one for one in snapshot.raw_objects() if one.sha256 not in skip]
    if not objects:
        return (), {}
    workload = run.workload
    source: dict[str, Any] = run.spec.source.model_dump(mode="json") | ({"number_marks": dict(known)} if known else {})
    fetch = raw_objects(run.adapters.store, snapshot, run.raw)
    with reading(workload):
        columns = () if known is not None else workload.identity_columns(objects, fetch, source)
        return columns, workload.number_marks(objects, fetch, source)


def _publish(
    run: Run, snapshot: Snapshot, columns: tuple[str, ...], marks: Mapping[str, Mark], *, number: int
) -> FirstColumns:
    first = FirstColumns(
        pipeline=run.spec.name, columns=columns, snapshot_id=snapshot.id, at_s=time.time(), number_marks=marks
    )
    keys = run.adapters.keys
    return publish_first_columns(run.adapters.store, first, keys.signer(), keys.trusted(), number=number)
