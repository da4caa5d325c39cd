"""Who a row without an id of its own is, and how numbers and times are written: recorded at a pipeline's first
delivery, asked for at every later one."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.first_columns import MARKS, FirstColumns, find_first_columns, publish_first_columns
from mlratchet.models.data.preprocess import FirstDelivery
from mlratchet.models.data.raw_objects import raw_objects
from mlratchet.models.data.snapshot import Snapshot, load_snapshot
from mlratchet.models.errors import RatchetError
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.registration.record import Registration
from mlratchet.models.schema.numbers import Mark
from mlratchet.models.sources.formats import format_read
from mlratchet.models.workloads.guarded import reading
from mlratchet.tasks.wiring import Run

ALONE = ("csv", "parquet", "jsonl")  # formats of which each object is read by itself


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    """What an earlier run has looked at, and need not be looked at again."""

    objects: frozenset[str] = frozenset()  # SHA-256 hex
    silent: frozenset[str] = frozenset()  # columns of numbers and times of which they tell no mark and no format


def looked_at(store: ObjectStore, incumbent: Registration | None) -> LookedAt:
    """When the champion was made."""
    if incumbent is None:
        return LookedAt()
    try:
        dataset = load_dataset(store, incumbent.dataset_id)
        objects = load_snapshot(store, incumbent.snapshot_id).objects
    except (ObjectNotFound, RatchetError):  # retired, or of an earlier release: everything is looked at
        return LookedAt()
    written = {**dataset.number_marks, **dataset.time_formats}
    silent = frozenset(name for name, notation in written.items() if not notation)
    return LookedAt(objects=frozenset(one.sha256 for one in objects), silent=silent)


def first_delivery(run: Run, snapshot: Snapshot, before: LookedAt | None = None) -> FirstDelivery:
    """As recorded; empty where a workload's records are no rows of a table. What was looked at `before` is not again.

    Raises ``SecurityError`` when a record of it was changed, ``DataError`` for a first delivery whose numbers or times
    can be read in two ways.
    """
    found = find_first_columns(run.adapters.store, run.spec.name, run.adapters.keys.trusted())
    if found is None:
        columns, written = _look(run, snapshot)
        if not columns and not written:
            return FirstDelivery()
        found = _publish(run, snapshot, columns, written, number=1)
    written = _completed(run, snapshot, found, before or LookedAt())
    marks, formats = _parted(run, written)
    return FirstDelivery(identity_columns=found.columns, number_marks=marks, time_formats=formats)


def _completed(run: Run, snapshot: Snapshot, first: FirstColumns, before: LookedAt) -> dict[str, str]:
    """How every column of numbers or times is written. Those that the first delivery was not asked for, or whose cells
    told nothing, are recorded when a delivery tells them for the first time. What was told first stands."""
    store, trusted = run.adapters.store, run.adapters.keys.trusted()
    known, number = _written(first), 2
    while open_ := _open(run, known):
        more = find_first_columns(store, run.spec.name, trusted, number=number)
        if more is None:
            break
        known |= {name: notation for name, notation in _written(more).items() if name in open_}
        number += 1
    told: Mapping[str, str] | None = None
    while open_ := _open(run, known):
        lacking = [name for name in open_ if name not in known]
        if not lacking and snapshot.id == first.snapshot_id:
            break  # it was asked when it was the first
        told = told if told is not None else _look(run, snapshot, known, skip=_known_silent(run, open_, before))[1]
        found = {name: told.get(name, "") for name in open_ if name in lacking or told.get(name)}
        if not found:
            break
        stands = _written(_publish(run, snapshot, (), found, number=number))  # another run may have come first
        known |= {name: stands[name] for name in open_ if name in stands}
        number += 1
    return known


def _written(recorded: FirstColumns) -> dict[str, str]:
    """Decimal mark, or format of times, by column."""
    return {**recorded.number_marks, **recorded.time_formats}


def _parted(run: Run, written: Mapping[str, str]) -> tuple[dict[str, Mark], dict[str, str]]:
    """Decimal marks, and formats of times."""
    times = set(run.workload.time_columns())
    marks = {name: MARKS[notation] for name, notation in written.items() if name not in times and notation in MARKS}
    return marks, {name: notation for name, notation in written.items() if name in times}


def _open(run: Run, written: Mapping[str, str]) -> list[str]:
    """Columns of numbers or times of which nothing is known."""
    numbers = run.workload.number_columns(run.spec.source.model_dump(mode="json"))
    return [name for name in (*numbers, *run.workload.time_columns()) if not written.get(name)]


def _known_silent(run: Run, columns: Collection[str], before: LookedAt) -> frozenset[str]:
    """Objects that tell nothing of these columns. Of tables alone, each of which is read by itself."""
    alone = format_read(run.spec.source, run.workload.formats) in ALONE
    return before.objects if alone and before.silent.issuperset(columns) else frozenset()


def _look(
    run: Run,
    snapshot: Snapshot,
    known: Mapping[str, str] | None = None,
    *,
    skip: Collection[str] = frozenset(),
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Columns, and how they are written, as the workload finds them in this delivery; what the file declares is as good
    as found, and what is `known` stands. Objects to `skip` are not read; where there is no other, nothing is found."""
    objects = [one for one in snapshot.raw_objects() if one.sha256 not in skip]
    if not objects:
        return (), {}
    workload, declared = run.workload, run.spec.source.model_dump(mode="json")
    marks, formats = _parted(run, known or {})
    source: dict[str, Any] = declared | FirstDelivery(number_marks=marks, time_formats=formats).settings()
    fetch = raw_objects(run.adapters.store, snapshot, run.raw)
    with reading(workload):
        columns = () if known is not None else workload.identity_columns(objects, fetch, source)
        numbers = workload.number_marks(objects, fetch, source)
        times = workload.time_formats(objects, fetch, source) if workload.time_columns() else {}
    asked = dict.fromkeys((*workload.number_columns(source), *workload.time_columns()), "") if numbers or times else {}
    return columns, {**asked, **numbers, **times}


def _publish(
    run: Run, snapshot: Snapshot, columns: tuple[str, ...], written: Mapping[str, str], *, number: int
) -> FirstColumns:
    marks, formats = _parted(run, written)
    first = FirstColumns(
        pipeline=run.spec.name, columns=columns, snapshot_id=snapshot.id, at_s=time.time(), number_marks=marks,
        time_formats=formats,
    )  # fmt: skip
    keys = run.adapters.keys
    return publish_first_columns(run.adapters.store, first, keys.signer(), keys.trusted(), number=number)
