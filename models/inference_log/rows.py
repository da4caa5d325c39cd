"""Answers become rows of the log: every column typed, fields as the schema and the pipeline's file say."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.inference_log.columns import FIELD, LABELS, log_schema
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.frames import ERROR_CHARACTERS, Block, ToldAnswer
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.schema.nested import as_float
from mlratchet.models.schema.times import TYPE, read_times

DECODED = ("image", "audio")
HASH_CHARACTERS = 32
UNIT = float(1 << 32)
CANNOT_BE_MADE = (pa.ArrowException, AttributeError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, kw_only=True)
class LogPlan:
    """How the answers of one version are logged."""

    schema: Schema | None
    config: LogConfig
    secret: bytes  # of the keyed hash

    @cached_property
    def columns(self) -> pa.Schema:
        """Of its files."""
        return log_schema(self.schema, self.config)


@dataclass(frozen=True, kw_only=True, eq=False)
class LogRows:
    """A stretch of the log that no file holds yet."""

    table: pa.Table
    media: Mapping[str, bytes]  # SHA-256 hex -> picture or sound that is stored whole


def rows_of(block: Block, plan: LogPlan) -> LogRows:
    """A row per instance of each answer, in order. Of an answer that cannot be logged whole, why stands in its error,
    and what was sent and answered is left out; the others are as they are.

    Raises ``TypeError`` or ``ValueError`` where not even what is known of every request makes a row.
    """
    try:
        return _whole_rows(block, plan)
    except CANNOT_BE_MADE as error:
        if len(block.answers) > 1:
            parts = [rows_of(one, plan) for one in _one_by_one(block)]
            media = {digest: data for part in parts for digest, data in part.media.items()}
            return LogRows(table=pa.concat_tables([part.table for part in parts]), media=media)
        why = f"cannot be logged whole: {error}"[:ERROR_CHARACTERS]
        bare = [one._replace(instances=None, predictions=None, error=one.error or why) for one in block.answers]
        return _whole_rows(replace(block, answers=bare), plan)


def _one_by_one(block: Block) -> Iterator[Block]:
    end = 0
    for one in block.answers:
        start, end = end, end + one.rows
        output, prepared = (held[start:end] if held is not None else None for held in (block.output, block.prepared))
        yield Block(answers=[one], output=output, prepared=prepared)


def _whole_rows(block: Block, plan: LogPlan) -> LogRows:
    answers = block.answers
    counts = [one.rows for one in answers]
    total = sum(counts)
    repeat = np.repeat(np.arange(len(answers)), counts)
    columns: dict[str, Any] = {
        name: pa.array([getattr(one, name) for one in answers], plan.columns.field(name).type).take(pa.array(repeat))
        for name in ("request_id", "received_s", "latency_ms", "version", "generation", "variant", "status", "error",
                     "client_key", "replayed")
    }  # fmt: skip
    if plan.config.fields != "all":  # an error repeats what the client sent: which field it is may be told, no more
        columns["error"] = pa.array([one.error and one.error.partition(": ")[0] for one in answers]).take(
            pa.array(repeat)
        )
    columns["row"] = pa.array(np.concatenate([np.arange(count) for count in counts]) if counts else [], pa.int32())
    predictions = list(chain.from_iterable(_per_row(one, one.predictions) for one in answers))
    columns["answer"] = pa.array(
        [None if one is None else orjson.dumps(one).decode() for one in predictions], pa.string()
    )
    columns["confidence"] = pa.array([confidence_of(one) for one in predictions], pa.float32())
    columns["output"] = lists(block.output, total)
    columns["prepared"] = lists(block.prepared, total)
    media: dict[str, bytes] = {}
    instances = list(chain.from_iterable(_per_row(one, one.instances) for one in answers))
    columns |= field_columns(instances, plan, media)
    return LogRows(table=pa.table([columns[name] for name in plan.columns.names], schema=plan.columns), media=media)


def label_rows(labels: Sequence[Sequence[Any]]) -> LogRows:
    """As `columns.LABELS` has them."""
    columns = list(zip(*labels, strict=True))
    return LogRows(table=pa.table([*map(list, columns)], schema=LABELS), media={})


def _per_row(one: ToldAnswer, values: Sequence[Any] | None) -> Iterator[Any]:
    if values is not None and len(values) == one.rows:
        yield from values
    else:
        yield from [None] * one.rows


def confidence_of(prediction: Any) -> float | None:
    """The largest probability of an answer; None where it has none."""
    held = prediction.get("probabilities") if isinstance(prediction, dict) else None
    return max(held.values()) if isinstance(held, dict) and held else None


def lists(numbers: np.ndarray[Any, Any] | None, rows: int) -> pa.Array:
    """(rows, K) as a column of lists."""
    if numbers is None:
        return pa.nulls(rows, pa.list_(pa.float32()))
    offsets = np.arange(rows + 1, dtype=np.int32) * numbers.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(numbers.reshape(-1)))


def field_columns(instances: Sequence[Any], plan: LogPlan, media: dict[str, bytes]) -> dict[str, pa.Array]:
    """A column per logged field. Null where an example lacks it, and for a request that was refused."""
    found: dict[str, pa.Array] = {}
    inputs = plan.schema.inputs if plan.schema is not None else {}
    for column in plan.columns:
        if not column.name.startswith(FIELD):
            continue
        name, how = column.name.removeprefix(FIELD), (column.metadata or {}).get(b"how", b"").decode()
        values = [one.get(name) if isinstance(one, dict) else None for one in instances]
        if how == "hash":
            found[column.name] = pa.array([hashed(value, plan.secret) for value in values], pa.string())
        elif how == "digest":
            keep = media if inputs[name].kind in DECODED else None
            digests = [digest_of(value, inputs[name], plan.config.sample, keep) for value in values]
            found[column.name] = pa.array(digests, pa.string())
        else:
            found[column.name] = _typed(values, inputs[name], column.type)
    return found


def _typed(values: list[Any], field: Field, kind: pa.DataType) -> pa.Array:
    if field.kind == "time":
        return _moments(pa.array(values, pa.string()), field.format or "iso")
    if field.kind == "number":  # as the preparation reads it: Arrow refuses a whole number that no float has exactly
        values = [as_float(one) if isinstance(one, int) else one for one in values]
    return pa.array(values, kind)


def _moments(text: pa.Array, form: str) -> pa.Array:
    """As the preparation reads them: as declared, and ISO 8601 always."""
    read = read_times(text, form)
    return read if form == "iso" else pc.coalesce(read, read_times(text, "iso")).cast(TYPE)


def hashed(value: Any, secret: bytes) -> str | None:
    """A keyed hash of a value as JSON writes it: equal values are equal, and without the key nobody can try values."""
    if value is None:
        return None
    written = orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str)
    return hmac.new(secret, written, hashlib.sha256).hexdigest()[:HASH_CHARACTERS]


def digest_of(value: Any, field: Field, sample: float, media: dict[str, bytes] | None) -> str | None:
    """SHA-256 hex of what a client sent. `media`: where a picture or sound of the sample is put."""
    if value is None:
        return None
    if field.kind not in DECODED:
        return hashlib.sha256(orjson.dumps(value, default=str)).hexdigest()
    try:
        data = base64.b64decode(str(value).partition(";base64,")[2] or str(value))
    except (binascii.Error, ValueError):
        return None
    found = hashlib.sha256(data).hexdigest()
    if media is not None and int(found[:8], 16) / UNIT < sample:
        media[found] = data
    return found
