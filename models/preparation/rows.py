"""Examples as Python values: the table that a preparation takes, made of a few rows quickly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from mlratchet.models.schema.fields import Field
from mlratchet.models.schema.kinds import type_of


def table_of(rows: Sequence[Mapping[str, Any]], fields: Mapping[str, Field]) -> pa.Table:
    """A column per field, null where a row lacks it; values are those of their kind (numbers, str, bytes, datetime)."""
    columns = [pa.array([row.get(name) for row in rows], type=type_of(one)) for name, one in fields.items()]
    return pa.Table.from_arrays(columns, names=list(fields))
