"""Examples as they are kept and sent: one JSON object by field name, and back to the table that a preparation takes."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.errors import DataError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.preparation.base import State
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.preparation.rows import table_of
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.cell_bytes import are_seen, ends_and_bytes, holds_any
from mlratchet.models.schema.cells import one_array
from mlratchet.models.schema.few import FewExamples
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.schema.kinds import type_of
from mlratchet.models.schema.reject import Reject
from mlratchet.models.schema.request import as_json
from mlratchet.models.sources.raw_cells import within_json
from mlratchet.models.sources.record import ExampleSpec
from mlratchet.models.sources.stored_examples import EXAMPLE, documents_of
from mlratchet.models.tensors.named import Inputs, Ragged
from pyarrow import json


def example_cells(table: pa.Table, schema: Schema) -> pa.Array:
    """A JSON object per row: the inputs as a client would send them, what is not given left out."""
    columns = {name: one_array(table[name]) for name in schema.inputs}
    if not columns:
        return pa.array(["{}"] * table.num_rows, pa.string())
    if not any(column.null_count for column in columns.values()):
        parts: list[pa.Array | pa.Scalar] = []
        before = "{"
        for name, column in columns.items():
            told, quote = _within_json_of(column, schema.inputs[name])
            parts += [pa.scalar(f"{before}{orjson.dumps(name).decode()}:{quote}"), told]
            before = f"{quote},"
        return pc.binary_join_element_wise(*parts, pa.scalar(before[:-1] + "}"), pa.scalar(""))
    parts = []
    for name, column in columns.items():
        told, quote = _within_json_of(column, schema.inputs[name])
        begin = pa.scalar(f",{orjson.dumps(name).decode()}:{quote}")
        parts.append(pc.binary_join_element_wise(begin, told, pa.scalar(quote), pa.scalar("")))
    # nulls are not skipped: Arrow 25 then loses the rows in which all are
    listed = pc.binary_join_element_wise(*parts, pa.scalar(""), null_handling="replace", null_replacement="")
    inner = pc.utf8_slice_codeunits(listed, start=1)
    return pc.binary_join_element_wise(pa.scalar("{"), inner, pa.scalar("}"), pa.scalar(""))


def _within_json_of(column: pa.Array, field: Field) -> tuple[pa.Array, str]:
    """Every value as JSON, null where there is none; and the quote that stands on either side of it."""
    if pa.types.is_floating(column.type):
        given = column.drop_null().to_numpy(zero_copy_only=False)
        return _scattered(_parted(orjson.dumps(given, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]), column), ""
    if pa.types.is_string(column.type):
        return within_json(column), '"'
    told = [orjson.dumps(as_json(value, field)).decode() for value in column.drop_null().to_pylist()]
    return _scattered(pa.array(told, pa.string()), column), ""


def _parted(listed: bytes) -> pa.Array:
    """Numbers in JSON with a comma between each two, as texts."""
    commas = np.flatnonzero(np.frombuffer(listed, np.uint8) == ord(","))
    count = len(commas) + 1 if listed else 0
    ends = np.append(commas, len(listed))[:count] - np.arange(count)  # once no comma is among them
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(listed.translate(None, b",")))


def _scattered(found: pa.Array, column: pa.Array) -> pa.Array:
    """Texts of the values of a column, in the places of those."""
    if not column.null_count:
        return found
    given = column.is_valid()
    places = pc.if_else(given, pc.subtract(pc.cumulative_sum(pc.cast(given, pa.int64())), 1), None)
    return found.take(places)


def told_cells(column: pa.Array, field: Field) -> pa.Array:
    """Values as they travel with a row: text; nothing is empty."""
    if pa.types.is_string(column.type):
        return pc.fill_null(column, "")
    return pa.array(["" if value is None else str(as_json(value, field)) for value in column.to_pylist()], pa.string())


OWN = frozenset((0x1C, 0x1D, 0x1E, 0x1F, *range(0x80, 0x100)))  # blanks to Python alone, or more than ASCII


def cells_as_text(column: pa.ChunkedArray) -> pa.Array:
    """Cells as they were delivered, without the blanks around them; of bytes their digest; nothing is empty."""
    cells = one_array(column)
    if pa.types.is_string(cells.type) and not holds_any(cells, OWN):
        given = pc.fill_null(cells, "") if cells.null_count else cells
        return given if are_seen(ends_and_bytes(given)[1]) else pc.ascii_trim_whitespace(given)
    return pa.array([_text(value) for value in cells.to_pylist()], pa.string())


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return digest_bytes(value)
    return "" if value is None else str(value).strip()


def table_of_examples(documents: Sequence[dict[str, Any]], schema: Schema) -> pa.Table:
    """Typed, a column per input; the documents were checked when they were read."""
    fields = schema.inputs
    rows = [{name: _typed(value, fields[name]) for name, value in one.items()} for one in documents]
    return table_of(rows, fields)


PLAIN = ("number", "category", "text", "letters", "entity")  # kinds whose JSON Arrow reads as they are


def table_of_stored(rows: Inputs, schema: Schema) -> pa.Table:
    """The same of examples as a dataset keeps them."""
    fields, held = schema.inputs, rows.columns.get(EXAMPLE)
    if not isinstance(held, Ragged) or any(one.kind not in PLAIN for one in fields.values()):
        return table_of_examples(documents_of(rows), schema)
    data = held.values.tobytes()
    view = memoryview(data)
    if b"\n" in data:  # none of ours
        return table_of_examples(documents_of(rows), schema)
    lines = b"\n".join(view[at:end] for at, end in pairwise(held.offsets.tolist()))
    kinds = pa.schema([(name, type_of(one)) for name, one in fields.items()])
    parsing = json.ParseOptions(explicit_schema=kinds, unexpected_field_behavior="error")
    reading = json.ReadOptions(use_threads=False, block_size=len(lines) + 1)
    try:
        table = json.read_json(pa.BufferReader(lines), reading, parsing).combine_chunks()
    except pa.ArrowInvalid:
        return table_of_examples(documents_of(rows), schema)
    return table if table.num_rows == len(rows) else table_of_examples(documents_of(rows), schema)


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
        self._few = FewExamples(self.schema)

    def few(self, documents: Sequence[Any]) -> Inputs | None:
        """What `prepared` gives for few examples as JSON holds them; None where something is wrong with one, or it
        takes a table to tell."""
        columns = self._few.columns(documents)
        return self.plan.apply_few(columns, self.state) if columns is not None else None

    def prepared(self, table: pa.Table) -> Inputs:
        """Of typed examples."""
        return self.plan.apply(table, self.state)

    def refused(self, table: pa.Table) -> list[Reject]:
        """Examples that cannot be prepared, each with the reason."""
        return self.plan.refused(table, self.state)

    def prepared_examples(self, rows: Inputs) -> Inputs:
        """Of stored ones."""
        return self.prepared(table_of_stored(rows, self.schema))


@lru_cache(maxsize=8)
def preparer_of(about: ExampleSpec) -> Preparer:
    """Made once: a server asks for every request."""
    return Preparer(about)
