"""The columns of a log file: what is known of each instance of each request, and its fields as the schema has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pyarrow as pa
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.schema.fields import Field, Kind, Schema

FIELD = "field."  # begins the name of a column that holds a field of the example
MOST_PREPARED = 64  # numbers of the projection of a prepared input
Variant = Literal["champion", "canary", "shadow", "previous"]

OF_EVERY_ROW = (
    pa.field("request_id", pa.string(), nullable=False),
    pa.field("row", pa.int32(), nullable=False),  # number of the instance in its request, from 0
    pa.field("received_s", pa.float64(), nullable=False),  # seconds since the epoch
    pa.field("latency_ms", pa.float32(), nullable=False),  # of the whole request
    pa.field("version", pa.int32(), nullable=False),  # 0: none was loaded
    pa.field("generation", pa.int32(), nullable=False),
    pa.field("variant", pa.string(), nullable=False),
    pa.field("status", pa.int16(), nullable=False),  # of HTTP
    pa.field("error", pa.string()),  # which field, and what is wrong with it
    pa.field("client_key", pa.string()),  # what the client said it is (header x-client-key)
    pa.field("replayed", pa.bool_(), nullable=False),  # asked by ourselves, not by a client
    pa.field("confidence", pa.float32()),  # the largest probability of the answer
    pa.field("output", pa.list_(pa.float32())),  # of the model, before it became an answer
    pa.field("answer", pa.string()),  # as the client read it: JSON
    pa.field("prepared", pa.list_(pa.float32())),  # at most MOST_PREPARED numbers: `projection.py`
)

LABELS = pa.schema([
    pa.field("request_id", pa.string(), nullable=False),
    pa.field("row", pa.int32(), nullable=False),
    pa.field("label", pa.string(), nullable=False),  # a number or truth value as JSON writes it, a class as it is
    pa.field("label_s", pa.float64(), nullable=False),  # when it came, seconds since the epoch
    pa.field("writer", pa.string(), nullable=False),  # the token's name; of an object, its key
])  # fmt: skip

_TYPES: Mapping[Kind, pa.DataType] = {
    "number": pa.float64(),
    "time": pa.timestamp("us", tz="UTC"),
}
_BY_DIGEST: tuple[Kind, ...] = ("image", "audio", "tensor")


def is_by_digest(field: Field) -> bool:
    """Whether the log holds the SHA-256 (hex) of what the client sent, and not the value."""
    return field.kind in _BY_DIGEST


def log_schema(schema: Schema | None, config: LogConfig) -> pa.Schema:
    """Of a pipeline's log files. `schema`: None where the pipeline has none; no field is logged then.

    The metadata of a field's column says its `kind`, and `how` it is logged: `whole`, `hash` or `digest`.
    """
    columns = list(OF_EVERY_ROW)
    for name, field in (schema.inputs if schema is not None else {}).items():
        how = config.how(name)
        if how == "drop":
            continue
        whole = how == "whole" and not is_by_digest(field)
        kept = "digest" if how == "whole" and not whole else how
        kind = _TYPES.get(field.kind, pa.string()) if whole else pa.string()
        columns.append(pa.field(FIELD + name, kind, metadata={"kind": field.kind, "how": kept}))
    return pa.schema(columns)


def hashed_columns(columns: pa.Schema) -> list[str]:
    """Those that hold a keyed hash of a field, which is no value of it."""
    return [f"{FIELD}{name}" for name, (_, how) in logged_fields(columns).items() if how == "hash"]


def logged_fields(columns: pa.Schema) -> dict[str, tuple[str, str]]:
    """Name of a logged field -> its kind and how it is logged, from the schema of a log file."""
    found = {}
    for column in columns:
        if column.name.startswith(FIELD):
            said = column.metadata or {}
            kind, how = (said.get(key, b"").decode() for key in (b"kind", b"how"))
            found[column.name.removeprefix(FIELD)] = (kind, how)
    return found
