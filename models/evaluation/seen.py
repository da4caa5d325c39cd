"""Rows that one of two compared versions was trained or tuned on: a comparison leaves them out.

The candidate is never judged on rows that it has seen. After a change of `data.split` the champion would be, and a good
candidate would look worse than it is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from mlratchet.models.evaluation.slices import take_rows
from mlratchet.models.metrics.rows import RowOutputs

SEEN_COLUMN = "@seen"  # "yes" on a row that the version whose outputs these are was trained or tuned on, else ""


def mark_seen(rows: RowOutputs, seen: Collection[str]) -> RowOutputs:
    """With a column that marks the rows whose id is among `seen`, where there are any."""
    marks = ["yes" if identity in seen else "" for identity in rows.ids]
    columns = {name: values for name, values in rows.columns.items() if name != SEEN_COLUMN}  # a delivery says nothing
    return replace(rows, columns=columns | ({SEEN_COLUMN: marks} if any(marks) else {}))


def saw_every_row(rows: RowOutputs) -> bool:
    """Whether nothing is left to compare on."""
    marks = rows.columns.get(SEEN_COLUMN, [])
    return bool(marks) and all(marks)


def side_by_side(ours: RowOutputs, theirs: RowOutputs | None) -> tuple[RowOutputs, RowOutputs | None]:
    """Both on the rows that neither has seen, for showing; ours alone where there is no other or nothing is left."""
    if theirs is None or saw_every_row(theirs):
        return ours, None
    ours, theirs, _ = unseen(ours, theirs)
    return ours, theirs


def unseen(ours: RowOutputs, theirs: RowOutputs) -> tuple[RowOutputs, RowOutputs, str]:
    """Both without the rows that the other version has seen, and words about those; the two stand row by row."""
    marks = theirs.columns.get(SEEN_COLUMN)
    if not marks:
        return ours, theirs, ""
    kept = np.asarray([not mark for mark in marks])
    words = f", {len(kept) - int(kept.sum())} rows left out that it was trained on"
    return take_rows(ours, kept), take_rows(theirs, kept), words
