"""Rows that a comparison with a version leaves out, each with its reason, and what is left of the two.

The candidate is never judged on rows that it has seen. After a change of `data.split` the other version would be, and a
good candidate would look worse than it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from mlratchet.models.evaluation.join import Common, common_part
from mlratchet.models.evaluation.slices import take_rows
from mlratchet.models.metrics.rows import RowOutputs

SEEN_COLUMN = "@seen"  # why a row is left out of comparisons with the version whose outputs these are, else ""
SEEN, CHANGED, UNREADABLE = "yes", "changed", "unreadable"
REASONS = {
    SEEN: "that it was trained on",
    CHANGED: "whose raw cells were others when it was trained or judged",
    UNREADABLE: "whose own columns it cannot read",
}
NAMED = 5  # ids that a reason names


def mark_rows(rows: RowOutputs, reasons: Mapping[str, str]) -> RowOutputs:
    """With a column that marks rows by id, where there are any to mark."""
    marks = [reasons.get(identity, "") for identity in rows.ids]
    columns = {name: values for name, values in rows.columns.items() if name != SEEN_COLUMN}  # a delivery says nothing
    return replace(rows, columns=columns | ({SEEN_COLUMN: marks} if any(marks) else {}))


def mark_seen(rows: RowOutputs, seen: Collection[str]) -> RowOutputs:
    """With a column that marks the rows whose id is among `seen`, where there are any."""
    return mark_rows(rows, dict.fromkeys(seen, SEEN))


def leaves_nothing(rows: RowOutputs) -> bool:
    """Whether no row is left to compare on."""
    marks = rows.columns.get(SEEN_COLUMN, [])
    return bool(marks) and all(marks)


def side_by_side(
    ours: RowOutputs, theirs: RowOutputs | None, class_names: Sequence[str]
) -> tuple[RowOutputs, RowOutputs | None, tuple[str, ...]]:
    """Both on the rows that both may be judged on, with the names of their outputs, for showing; ours alone where
    there is no other or nothing is left."""
    if theirs is None or leaves_nothing(theirs):
        return ours, None, tuple(class_names)
    common = comparable(ours, theirs, class_names)
    return common.ours, common.theirs, common.class_names


def comparable(ours: RowOutputs, theirs: RowOutputs, class_names: Sequence[str]) -> Common:
    """Both without the rows that a comparison leaves out, restricted to the names that both know."""
    marks = theirs.columns.get(SEEN_COLUMN)
    if not marks:
        return common_part(ours, theirs, class_names)
    kept = np.asarray([not mark for mark in marks])
    words = ", ".join(_left_out(theirs.ids, marks, reason) for reason in REASONS if reason in marks)
    common = common_part(take_rows(ours, kept), take_rows(theirs, kept), class_names)
    return replace(common, words=f", {words}{common.words}")


def _left_out(ids: Sequence[str], marks: Sequence[str], reason: str) -> str:
    """``3 rows left out that it was trained on``; a changed row is named."""
    found = [identity for identity, mark in zip(ids, marks, strict=True) if mark == reason]
    words = f"{len(found)} rows left out {REASONS[reason]}"
    if reason == SEEN:
        return words
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{words} ({', '.join(found[:NAMED])}{more})"
