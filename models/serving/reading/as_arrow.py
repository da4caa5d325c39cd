"""A body in Arrow's stream format: a column per field, a row per instance.

Only types that hold what the schema asks for are read, none that makes much of few bytes (compression, dictionaries,
runs, nulls); the table is validated whole before a value of it is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.schema.fields import Kind
from mlratchet.models.serving.reading.arrow_messages import refuse_compressed
from mlratchet.models.serving.reading.content import RequestContent
from mlratchet.models.serving.reading.limits import WORDS, check_number, most_instances
from mlratchet.models.serving.reading.parts import ClientField, client_fields
from mlratchet.models.serving.refusal import BadRequestError

UNREADABLE = (ValueError, OSError, OverflowError, pa.ArrowException)
MOST_NESTED = 8  # dimensions of a tensor


def read_arrow(body: bytes, signature: Signature) -> RequestContent:
    """Raises ``BadRequestError``."""
    fields = client_fields(signature)
    try:
        refuse_compressed(body)
        reader = pa.ipc.open_stream(pa.BufferReader(body))
        columns = [(one.name, one.type) for one in reader.schema]
    except UNREADABLE as error:
        raise _unreadable(error) from error
    names = [name for name, _ in columns]
    for name, held in columns:
        if name not in fields:
            raise BadRequestError(f"instances.{name}"[:WORDS], f"unknown column; {nearest_hint(name, fields)}"[:WORDS])
        if names.count(name) > 1:
            raise BadRequestError(f"instances.{name}"[:WORDS], "the table names this column twice")
        _check_type(held, fields[name])
    table = _table(reader, most_instances(signature))
    check_number(table.num_rows, signature)
    return RequestContent(instances=_instances(table))


def _unreadable(error: Exception) -> BadRequestError:
    return BadRequestError("body", f"not a stream of Arrow: {' '.join(str(error).split())}"[:WORDS], 400)


def _check_type(kind: pa.DataType, field: ClientField) -> None:
    if not TAKEN[field.kind](kind):
        words = f"got the type {kind}, expected {EXPECTED[field.kind]}"
        raise BadRequestError(f"instances.{field.name}"[:WORDS], words[:WORDS])


def _table(reader: pa.RecordBatchStreamReader, most: int) -> pa.Table:
    batches, rows = [], 0
    try:
        for batch in reader:
            rows += batch.num_rows
            if rows > most:
                raise BadRequestError("instances", f"got {rows} or more, expected at most {most}")
            batches.append(batch)
        table = pa.Table.from_batches(batches, reader.schema)
        table.validate(full=True)
    except UNREADABLE as error:
        raise _unreadable(error) from error
    return table


def _instances(table: pa.Table) -> list[dict[str, Any]]:
    """As JSON holds them; a null is a field that is not given."""
    columns = {}
    for name in table.column_names:
        columns[name] = _values(table[name], name)
    names = list(columns)
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*columns.values(), strict=True)
    ]


def _values(column: pa.ChunkedArray, name: str) -> list[Any]:
    try:
        if not pa.types.is_timestamp(column.type):
            return list(column.to_pylist())
        zone = "Z" if column.type.tz is not None else ""  # which one, says nothing of the moment
        moments = column.cast(pa.timestamp("us")).to_pylist()
        return [one.isoformat() + zone if one is not None else None for one in moments]
    except UNREADABLE as error:  # text that is not UTF-8, a moment beyond the year 9999
        raise BadRequestError(f"instances.{name}"[:WORDS], str(error)[:WORDS]) from error


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_time(kind: pa.DataType) -> bool:
    return _is_text(kind) or bool(pa.types.is_timestamp(kind) and kind.unit in ("s", "ms", "us"))


def _is_tensor(kind: pa.DataType) -> bool:
    for _ in range(MOST_NESTED):
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
            break
        kind = kind.value_type
    return _is_number(kind)


TAKEN: Mapping[Kind, Callable[[pa.DataType], bool]] = {
    "number": _is_number, "category": _is_text, "text": _is_text, "letters": _is_text, "entity": _is_text,
    "time": _is_time, "image": _is_bytes, "audio": _is_bytes, "tensor": _is_tensor,
}  # fmt: skip
EXPECTED: Mapping[Kind, str] = {
    "number": "integers or floats", "category": "strings", "text": "strings", "letters": "strings", "entity": "strings",
    "time": "timestamps or strings", "image": "binary", "audio": "binary", "tensor": "numbers, or lists of them",
}  # fmt: skip
