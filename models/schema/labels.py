"""Labels that have a column each: whether a record has one, and the names of all that it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.schema.cells import mask
from mlratchet.models.schema.fields import Field
from mlratchet.models.schema.kinds import Column, Fault


def yes_or_no(column: Column, field: Field) -> Column:
    """Its values as truth values; a number that is neither 0 nor 1 is a fault. What is not given stays null."""
    values = column.values
    if field.kind == "category":
        return replace(column, values=pc.equal(values, (field.values or ("", ""))[1]))
    on = mask(pc.equal(values, 1.0))
    neither = ~on & ~mask(pc.equal(values, 0.0)) & np.asarray(values.is_valid())
    fault = Fault(rows=neither, rule="unknown_value", words=lambda row: f"got {values[row].as_py():g}, expected 0 or 1")
    return replace(column, values=pc.equal(values, 1.0), faults=(*column.faults, fault))


def named(columns: Mapping[str, pa.Array]) -> pa.Array:
    """(N,) lists of the names whose column is true."""
    names = list(columns)
    on = np.stack([mask(one) for one in columns.values()], axis=1)
    offsets = np.concatenate([[0], np.cumsum(on.sum(axis=1))])
    flat = pa.array(np.asarray(names, dtype=object)[np.nonzero(on)[1]], type=pa.string())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)
