"""What is said of the rows of a table together: which are equal but for their label, and which become equal as float32.

Shape legend: N rows, F columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from mlratchet.models.sources.record import Record, Reject, Remark, target_names


def with_merged(
    found: list[Record | Reject], wide: list[np.ndarray[Any, Any]], columns: tuple[str, ...]
) -> list[Record | Reject]:
    """A remark on each record with a number that another record's different number equals as float32, in which models
    get them: a column of unix times, for example, keeps two minutes apart of it."""
    if not wide:
        return found
    wide_NF = np.stack(wide)
    remarks: dict[int, Remark] = {}
    for place, name in enumerate(columns):
        values, rows_N = np.unique(wide_NF[:, place], return_inverse=True)
        equal = np.flatnonzero(np.diff(values.astype(np.float32)) == 0)
        if not equal.size:
            continue
        merged = np.zeros(len(values), dtype=bool)
        merged[equal] = merged[equal + 1] = True
        words = (
            f"column {name!r}: {values[equal[0]]:.17g} and {values[equal[0] + 1]:.17g} are one number as float32, in "
            "which models get them; subtract a constant, or give the difference as a column"
        )
        for row in np.flatnonzero(merged[rows_N]):
            remarks.setdefault(int(row), Remark(code="float32_merges", words=words))
    if not remarks:
        return found
    places = [place for place, one in enumerate(found) if isinstance(one, Record)]
    changed = list(found)
    for number, remark in remarks.items():
        record = found[places[number]]
        assert isinstance(record, Record), "places are those of records"
        changed[places[number]] = replace(record, remarks=(*record.remarks, remark))
    return changed


def numbered(found: list[Record | Reject], class_names: tuple[str, ...]) -> Iterator[Record | Reject]:
    """Rows that are equal but for their label get numbers, in the order of the names of their labels: neither of the
    files nor of how a pipeline lists its classes."""
    same: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(found):
        if isinstance(one, Record):
            same[one.id].append(place)
    for places in same.values():
        rows = sorted(
            (one for place in places if isinstance(one := found[place], Record)),
            key=lambda one: _by_label(one, class_names),
        )
        for number, (place, row) in enumerate(zip(places, rows, strict=True), 1):
            found[place] = replace(row, id=f"{row.id}-{number}") if number > 1 else row
    yield from found


def _by_label(record: Record, class_names: tuple[str, ...]) -> tuple[list[str], list[tuple[str, str]]]:
    label = sorted(target_names(record.y, class_names)) if class_names else [repr(record.y)]
    return label, sorted(record.columns.items())
