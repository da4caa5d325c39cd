"""Rows that come from the inference log, among those that were delivered: how they are told, and how many are learnt.

An object of theirs is read beside the delivery; each row says in a column that travels with it where it is from.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.data.records import Records
from mlratchet.models.data.rejects import Rejects
from mlratchet.models.data.split import SIDES, Sides
from mlratchet.models.sources.log_rows import OBJECT
from mlratchet.models.sources.record import LOGGED, LOGGED_COLUMN, Reject
from mlratchet.models.sources.record_table import CELL, RecordPiece

if TYPE_CHECKING:
    import pyarrow as pa

BEYOND_SHARE = "beyond_log_share"  # the rule of records that no fault sets aside
MARK = CELL + LOGGED_COLUMN
Mask = np.ndarray[Any, np.dtype[np.bool_]]


def marked(piece: RecordPiece) -> RecordPiece:
    """The piece, with the mark in those of its rows that the log gave."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if piece.table is None:
        return piece
    ours = pc.starts_with(piece.table["where"], OBJECT)
    if not pc.any(ours).as_py():
        return piece
    cells = pc.if_else(ours, pa.scalar(LOGGED), pa.scalar(None, pa.string()))
    return replace(piece, table=piece.table.append_column(MARK, cells))


def is_logged(table: pa.Table) -> Mask:
    """Of each row of a table, whether the log gave it."""
    if MARK not in table.column_names:
        return np.zeros(table.num_rows, bool)
    return np.asarray(table[MARK].is_valid().to_numpy(zero_copy_only=False), bool)


def within_share(records: Records, sides: Sides, most_share: float | None) -> tuple[Records, Rejects]:
    """The records without the oldest rows of the log, so that at most `most_share` of those that are trained on are of
    the log; and the others, as `BEYOND_SHARE`. Which side a row is on does not change."""
    aside = Rejects()
    if most_share is None:
        return records, aside
    trained = [sides.in_table(table) == SIDES.index("train") for table in records.tables()]
    masks = [mask & is_logged(table) for mask, table in zip(trained, records.tables(), strict=True)]
    numbers = [_numbers(table, mask) for mask, table in zip(masks, records.tables(), strict=True)]
    ours = np.sort(np.concatenate([*numbers, np.zeros(0, np.int64)]))
    others = sum(int(mask.sum()) for mask in trained) - len(ours)
    most = math.floor(most_share * others / (1 - most_share) + 1e-9)  # 0.3 of 10 are 3, not 2.9999...
    if len(ours) <= most:
        return records, aside
    first = ours[len(ours) - most] if most else ours[-1] + 1
    reason = (
        f"{len(ours):,} rows of the log would be trained on beside {others:,} delivered ones, and "
        f"source.inference_log.most_share {most_share:g} admits {most:,}: the newest"
    )
    gone = []
    for mask, some, table in zip(masks, numbers, records.tables(), strict=True):
        mask[mask] = some < first
        gone += table["where"].filter(_as_arrow(mask)).to_pylist()
    for where in sorted(gone, key=_number):
        aside.add(Reject(where=where, code=BEYOND_SHARE, reason=f"{where}: {reason}"))
    keep = iter(masks)
    return records.only(lambda _: ~next(keep)), aside


def _numbers(table: pa.Table, mask: Mask) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.asarray([_number(where) for where in table["where"].filter(_as_arrow(mask)).to_pylist()], np.int64)


def _as_arrow(mask: Mask) -> pa.Array:
    import pyarrow as pa

    return pa.array(mask)


def _number(where: str) -> int:
    """The row of its object, which has the oldest first."""
    return int(where.rpartition(":")[2])


def logged_by_side(records: Records, sides: Sides) -> dict[str, int]:
    """How many rows of the log are on each side; empty where there are none."""
    counts = np.zeros(len(SIDES), np.int64)
    for table in records.tables():
        mask = is_logged(table)
        if mask.any():
            counts += np.bincount(sides.in_table(table.filter(_as_arrow(mask))), minlength=len(SIDES))[: len(SIDES)]
    return dict(zip(SIDES, counts.tolist(), strict=True)) if counts.any() else {}
