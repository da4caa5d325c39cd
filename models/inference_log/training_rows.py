"""Labelled rows of the log as a delivery: a file of the pipeline's own format, read by options of its own.

A row counts when it was answered to a client, has a label, and every input of the schema was logged whole. It goes
through the same schema, quality rules and split as what is delivered: by its id, or by what it holds, it stays on one
side of the split for good.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlratchet.models.inference_log.columns import FIELD, is_by_digest, logged_fields
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.log_rows import OBJECT, LoggedRows

SUFFIXES = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet"}
SHARES = 2**32


def problems_of(schema: Schema | None, format_name: str | None, log: LogConfig) -> list[str]:
    """Why rows of the log could never be trained on, a line each."""
    where = "source.inference_log"
    if schema is None or schema.label is None:
        return [f"{where}: needs a schema with one label: it says what a row of the log is"]
    found = []
    if format_name not in SUFFIXES:
        found.append(f"{where}: rows of the log join a source of format {', '.join(SUFFIXES)}, got {format_name}")
    if not log.enabled:
        found.append(f"{where}: serving.log.enabled is false, and nothing is written down")
    if schema.group is not None:
        found.append(f"{where}: schema.group is {schema.group!r}, and no request says of which group it is")
    for name, field in schema.inputs.items():
        if is_by_digest(field):
            found.append(f"{where}: the log holds the digest of {name}, not its {field.kind}")
        elif log.how(name) != "whole":
            found.append(f"{where}: {name} is not logged whole; add it to serving.log.fields")
    others = set(schema.fields) - set(schema.inputs) - {schema.label, schema.id}
    found += [
        f"{where}: {name} is no input, so no request holds it; let it be nullable"
        for name in sorted(others)
        if not schema.fields[name].nullable
    ]
    return found


def rows_for_training(
    table: pa.Table, labels: pa.Table, schema: Schema, config: LoggedRows
) -> tuple[list[dict[str, Any]], float]:
    """The rows, the oldest first, and when the newest was received; none where there is none.

    Args:
        table: Of the log, with `request_id`, `row`, `received_s`, `status`, `variant`, `replayed` and the fields.
        labels: `request_id`, `row` and `label`; null where none came.
        schema: Of the pipeline.
        config: Which rows.
    """
    told = logged_fields(table.schema)
    if any(told.get(name, ("", ""))[1] != "whole" for name in schema.inputs):
        return [], 0.0  # of before the fields were logged whole
    known = {
        (request, row): label
        for request, row, label in zip(
            *(labels[name].to_pylist() for name in ("request_id", "row", "label")), strict=True
        )
        if label is not None
    }
    mask = pc.and_(pc.equal(table["status"], 200), pc.invert(table["replayed"]))
    mask = pc.and_(mask, pc.is_in(table["variant"], pa.array(["champion", "canary", "previous"])))
    order = [(name, "ascending") for name in ("received_s", "request_id", "row")]
    answered = table.filter(mask).sort_by(order)
    found = [
        (received_s, row)
        for received_s, row in _rows(answered, known, schema)
        if _is_taken(str(row.pop("@request")), config.share)
    ][-config.most_rows :]
    return [row for _, row in found], max((received_s for received_s, _ in found), default=0.0)


def _rows(
    table: pa.Table, known: Mapping[tuple[str, int], str], schema: Schema
) -> Iterator[tuple[float, dict[str, Any]]]:
    """Rows with a label, as the columns of the source."""
    assert schema.label is not None
    names = {name: f"{FIELD}{name}" for name in schema.inputs}
    for one in table.select(["request_id", "row", "received_s", *names.values()]).to_pylist():
        label = known.get((one["request_id"], one["row"]))
        if label is None:
            continue
        row: dict[str, Any] = dict.fromkeys(schema.fields)
        row |= {name: _cell(one[column]) for name, column in names.items()}
        row[schema.label] = label
        if schema.id is not None:
            row[schema.id] = f"{one['request_id']}:{one['row']}"
        yield one["received_s"], {**row, "@request": one["request_id"]}


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


def _is_taken(request_id: str, share: float) -> bool:
    place = int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:4])
    return place < share * SHARES


def as_file(rows: list[dict[str, Any]], format_name: str, newest_s: float) -> tuple[str, bytes]:
    """Name and bytes of a file of that format, written as `AS_WRITTEN` says, numbers with a point and times as ISO: not
    as the deliveries are. The name has the date of its newest row, as theirs have."""
    date = datetime.fromtimestamp(newest_s, UTC).strftime("%Y-%m-%d")
    name = f"{OBJECT}{date}{SUFFIXES[format_name]}"
    if format_name == "jsonl":
        return name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if format_name == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        return name, sink.getvalue()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in rows)
    return name, text.getvalue().encode()
