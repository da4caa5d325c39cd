"""Rows that are equal to one before them: over a schema, without an id of their own, a run keeps the first alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.schema.cells import is_text, one_array
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.notation import WHERE


def repeated_rows(table: pa.Table, schema: Schema, *, ranking: bool = False) -> int:
    """How many rows of raw columns a run takes for one before them: of rows without an id all but label and group
    tell them apart, in a ranking the group, too. Of nested cells their JSON is compared."""
    if schema.id is not None:
        return 0
    aside = {*schema.targets, WHERE, None if ranking else schema.group}
    key = np.zeros(len(table), dtype=np.int64)
    for name in (one for one in table.column_names if one not in aside):
        codes = _codes(one_array(table[name]))
        _, key = np.unique(key * (codes.max(initial=0) + 1) + codes, return_inverse=True)  # below rows squared
        if key.max(initial=-1) + 1 == len(table):
            return 0
    return len(table) - int(key.max(initial=-1)) - 1


def told_of(repeated: int, rows: int) -> list[str]:
    """As a note, where there are some."""
    words = f"{repeated:,} of {rows:,} rows equal one before them but for the label, and are set aside (duplicate_id)"
    return [f"{words}; a column that names each row keeps them"] if repeated else []


def _codes(column: pa.Array) -> np.ndarray[Any, Any]:
    """A whole number from 0 for every cell (N,), the same for equal ones."""
    if pa.types.is_nested(column.type):
        column = pa.array([json.dumps(one, default=str, sort_keys=True) for one in column.to_pylist()], pa.string())
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    if is_text(column.type):
        column = pc.fill_null(column, "")  # as a run has it
    coded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
    codes: np.ndarray[Any, Any] = pc.fill_null(coded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return codes + 1
