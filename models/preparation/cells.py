"""Columns of a table of examples as arrays, and what a message says of one cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from mlratchet.models.errors import DataError
from mlratchet.models.schema.fields import Field

WHERE = "@where"  # the column that says where an example was read

Array = np.ndarray[Any, Any]


def column_of(examples: pa.Table, field: str) -> pa.ChunkedArray:
    """Raises ``DataError`` where the table lacks it."""
    try:
        return examples.column(field)
    except KeyError:
        names = ", ".join(examples.column_names)
        raise DataError(
            f"preparation: examples have no column {field!r}, got {names}; read them by the schema"
        ) from None


def place(examples: pa.Table, row: int) -> str:
    """Where a row was read, or which one it is."""
    if WHERE in examples.column_names:
        return str(examples.column(WHERE)[row])
    return f"example {row}"


def not_given(examples: pa.Table, field: str, row: int) -> DataError:
    """A row lacks what the schema says that every row has."""
    return DataError(
        f"{place(examples, row)}: field {field!r} is not given; give it, or declare it nullable: true in the schema"
    )


def floats_of(examples: pa.Table, field: str) -> Array:
    """(N,) float64, NaN where nothing is given."""
    column = column_of(examples, field)
    if column.type != pa.float64():
        column = column.cast(pa.float64())
    found: Array = column.to_numpy()
    return found


def values_of(examples: pa.Table, field: str, kind: Field) -> list[Any]:
    """N Python values, None where nothing is given. Raises ``DataError`` where one has to be."""
    column = column_of(examples, field)
    found: list[Any] = column.to_pylist()
    if column.null_count and not kind.nullable:
        raise not_given(examples, field, found.index(None))
    return found
