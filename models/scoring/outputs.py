"""Scores as Parquet: a row per row that was scored, with what the server would answer to it.

`id`, `prediction`, what else the objective answers by name, `version`, and `file` and `row` of the input.

Shape legend: N rows.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.objectives.base import Objective
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.ports.children import ForeignCodeError
from mlratchet.models.sources.record import place_of

PREDICTION = "prediction"
SAYS = ("class", "labels", "value", "score")  # fields of an answer that are the prediction
OURS = ("id", "version", "file", "row")
AT_ONCE = 1 << 18  # numbers of outputs that are Python objects at once
PLAIN: Mapping[str, pa.DataType] = {
    "number": pa.float64(), "integer": pa.int64(), "string": pa.string(), "boolean": pa.bool_(),
}  # fmt: skip


def scores_schema(signature: Signature) -> pa.Schema:
    """The columns of the scores of one version. Raises ``ConfigurationError`` for an answer with no field."""
    fields = answer_fields(objective_of(signature.task).answer_schema(signature.classes))
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            *(pa.field(name, kind) for name, kind in fields.values()),
            pa.field("version", pa.int64(), nullable=False),
            pa.field("file", pa.string(), nullable=False),
            pa.field("row", pa.int64()),
        ]
    )


def answer_fields(schema: Mapping[str, Any]) -> dict[str, tuple[str, pa.DataType]]:
    """Field of an answer -> the column that holds it, and its type; what is no plain value is JSON."""
    if not schema:
        raise ConfigurationError("the objective answers no field; nothing could be written")
    found = {}
    alone = len(schema) == 1
    for name, one in schema.items():
        says = name in SAYS or alone
        column = PREDICTION if says else f"answer_{name}" if name in (*OURS, PREDICTION) else name
        found[name] = (column, _type(one))
    return found


def _type(schema: Mapping[str, Any]) -> pa.DataType:
    kind = schema.get("type")
    if isinstance(kind, str) and kind in PLAIN:
        return PLAIN[kind]
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return pa.list_(_type(schema["items"]))
    if kind == "object" and schema.get("properties"):
        return pa.struct([(str(name), _type(one)) for name, one in schema["properties"].items()])
    return pa.string()


def scores_table(
    output: np.ndarray[Any, Any], ids: Sequence[str], where: Sequence[str], signature: Signature, version: int
) -> pa.Table:
    """Of the outputs (N, ...) float32 of a version. Raises ``ForeignCodeError`` for answers that are none."""
    objective, schema = objective_of(signature.task), scores_schema(signature)
    fields = answer_fields(objective.answer_schema(signature.classes))
    rows = max(1, AT_ONCE // max(1, math.prod(output.shape[1:])))
    parts = [_part(output[at : at + rows], objective, signature, fields) for at in range(0, len(ids), rows)]
    places = [place_of(one) for one in where]
    columns: dict[str, Any] = {
        "id": pa.array(list(ids), pa.string()),
        "version": pa.array(np.full(len(ids), version), pa.int64()),
        "file": pa.array([file for file, _ in places], pa.string()),
        "row": pa.array([row for _, row in places], pa.int64()),
    }
    for name, kind in fields.values():
        columns[name] = pa.chunked_array([part[name] for part in parts], kind)
    return pa.table([columns[one.name] for one in schema], schema=schema)


def _part(
    output: np.ndarray[Any, Any],
    objective: Objective,
    signature: Signature,
    fields: Mapping[str, tuple[str, pa.DataType]],
) -> dict[str, pa.Array]:
    answers = objective.answers(torch.from_numpy(np.ascontiguousarray(output)), signature.classes)
    if len(answers) != len(output):
        raise ForeignCodeError(f"the objective gave {len(answers)} answers to {len(output)} outputs")
    try:
        return {
            column: pa.array([_cell(one.get(name), kind) for one in answers], kind)
            for name, (column, kind) in fields.items()
        }
    except (pa.ArrowException, AttributeError, TypeError, ValueError) as error:
        raise ForeignCodeError(f"an answer of the objective is not as it says: {error}"[:300]) from error


def _cell(value: Any, kind: pa.DataType) -> Any:
    return json.dumps(value) if pa.types.is_string(kind) and not isinstance(value, str | None) else value


def parquet_bytes(table: pa.Table, about: Mapping[str, str]) -> bytes:
    """The same table is the same bytes."""
    held = io.BytesIO()
    metadata = {**(table.schema.metadata or {}), b"ratchet": json.dumps(dict(about), sort_keys=True).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), held, compression="zstd")
    return held.getvalue()
