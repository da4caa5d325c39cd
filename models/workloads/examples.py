"""Examples as they are kept and sent: one JSON object by field name, and back to the table that a preparation takes."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
from mlratchet.models.errors import DataError
from mlratchet.models.preparation.base import State
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.preparation.rows import table_of
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.schema.reject import Reject
from mlratchet.models.schema.request import as_json
from mlratchet.models.sources.record import ExampleSpec
from mlratchet.models.sources.stored_examples import documents_of
from mlratchet.models.tensors.named import Inputs


def example_bytes(table: pa.Table, schema: Schema) -> list[bytes]:
    """One per row: the inputs as a client would send them, what is not given left out."""
    fields = schema.inputs
    columns = [(name, field, table[name].to_pylist()) for name, field in fields.items()]
    return [
        orjson.dumps({name: as_json(values[row], field) for name, field, values in columns if values[row] is not None})
        for row in range(table.num_rows)
    ]


def table_of_examples(documents: Sequence[dict[str, Any]], schema: Schema) -> pa.Table:
    """Typed, a column per input; the documents were checked when they were read."""
    fields = schema.inputs
    rows = [{name: _typed(value, fields[name]) for name, value in one.items()} for one in documents]
    return table_of(rows, fields)


def _typed(value: Any, field: Field) -> Any:
    if field.kind in ("image", "audio"):
        return base64.b64decode(value)
    if field.kind == "time":
        return dt.datetime.fromisoformat(value)
    if field.kind == "tensor":
        return np.asarray(value, dtype=np.float32).ravel().tolist()
    return value


class ExamplePreparer(Protocol):
    """How one version prepares what clients send: here, or in a child."""

    schema: Schema

    def prepared(self, table: pa.Table) -> Inputs:
        """Of typed examples. Raises ``DataError`` for one that cannot be prepared."""
        ...

    def refused(self, table: pa.Table) -> list[Reject]:
        """Examples that cannot be prepared, each with the reason, where it is known."""
        ...


class Preparer:
    """Examples become tensors as one version prepares them."""

    def __init__(self, about: ExampleSpec) -> None:
        """Raises ``DataError`` for a preparation that is not fitted."""
        self.schema = Schema.model_validate_json(about.schema)
        self.plan = PreparationPlan(self.schema, PreparationSection.model_validate_json(about.preparation))
        if not about.fitted:
            raise DataError("the preparation of this version is not fitted")
        self.state = State.from_bytes(base64.b64decode(about.fitted))

    def prepared(self, table: pa.Table) -> Inputs:
        """Of typed examples."""
        return self.plan.apply(table, self.state)

    def refused(self, table: pa.Table) -> list[Reject]:
        """Examples that cannot be prepared, each with the reason."""
        return self.plan.refused(table, self.state)

    def prepared_examples(self, rows: Inputs) -> Inputs:
        """Of stored ones."""
        return self.prepared(table_of_examples(documents_of(rows), self.schema))


@lru_cache(maxsize=8)
def preparer_of(about: ExampleSpec) -> Preparer:
    """Made once: a server asks for every request."""
    return Preparer(about)
