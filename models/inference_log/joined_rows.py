"""Joined answers become rows of the log, column by column: the same rows as one by one, at a part of the cost."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.inference_log.frames import Block, told_answer
from mlratchet.models.inference_log.joined import JoinedAnswers, Texts
from mlratchet.models.inference_log.rows import (
    CANNOT_BE_MADE,
    LogPlan,
    LogRows,
    confidence_of,
    field_columns,
    lists,
    rows_of,
)

BEFORE = b'{"predictions":['  # of a body with one prediction, as the server writes it
OK = 200


def rows_of_joined(block: JoinedAnswers, plan: LogPlan) -> LogRows:
    """As `rows_of`, of the same answers one by one; that is asked where something is odd about one of them."""
    try:
        return _whole(block, plan)
    except CANNOT_BE_MADE:
        return rows_of(one_by_one(block), plan)


def one_by_one(block: JoinedAnswers) -> Block:
    """The same answers as a server tells them one by one. Raises ``ValueError`` for bodies that are no JSON."""
    told = zip(
        block.request_ids, block.received_s.tolist(), block.latency_ms.tolist(), block.said,
        block.counts.tolist(), block.client_keys or [None] * len(block), block.replayed or [False] * len(block),
        block.written if block.written is not None else [None] * len(block),
        strict=True,
    )  # fmt: skip
    answers = [
        told_answer(
            request_id.decode(), received_s, latency_ms, block.version, block.generation, block.variant, OK, None, key,
            replayed, count, None if written is None else orjson.loads(written), orjson.loads(said),
        )
        for request_id, received_s, latency_ms, said, count, key, replayed, written in told
    ]  # fmt: skip
    return Block(answers=answers, output=block.output, prepared=block.prepared)


def _whole(block: JoinedAnswers, plan: LogPlan) -> LogRows:
    count, total = len(block), int(block.counts.sum())
    texts, predictions = _predictions(block)
    columns: dict[str, Any] = {
        "request_id": _strings(block.request_ids),
        "received_s": pa.array(block.received_s),
        "latency_ms": pa.array(block.latency_ms.astype(np.float32)),
        "client_key": pa.array(block.client_keys or [None] * count, pa.string()),
        "replayed": pa.array(block.replayed or [False] * count, pa.bool_()),
    }
    if total != count:
        repeat = pa.array(np.repeat(np.arange(count), block.counts))
        columns = {name: column.take(repeat) for name, column in columns.items()}
    alike = {"version": block.version, "generation": block.generation, "variant": block.variant, "status": OK}
    for name, value in alike.items():
        columns[name] = pa.repeat(pa.scalar(value, plan.columns.field(name).type), total)
    columns["error"] = pa.nulls(total, pa.string())
    columns["row"] = pa.array(np.arange(total) - np.repeat(np.cumsum(block.counts) - block.counts, block.counts)).cast(
        pa.int32()
    )
    columns["answer"] = texts
    columns["confidence"] = pa.array([confidence_of(one) for one in predictions], pa.float32())
    columns["output"], columns["prepared"] = lists(block.output, total), lists(block.prepared, total)
    media: dict[str, bytes] = {}
    columns |= field_columns(_instances(block), plan, media)
    return LogRows(table=pa.table([columns[name] for name in plan.columns.names], schema=plan.columns), media=media)


def _strings(texts: Texts) -> pa.Array:
    """Raises ``ArrowInvalid`` for what is not UTF-8."""
    offsets = pa.py_buffer(texts.ends.astype(np.int32))
    found = pa.StringArray.from_buffers(len(texts.lengths), offsets, pa.py_buffer(texts.data))
    found.validate(full=True)
    return found


def _predictions(block: JoinedAnswers) -> tuple[pa.Array, list[Any]]:
    """Of each row: its answer as JSON, and as it reads."""
    after = b'],"version":%d}' % block.version
    if block.counts.max() == 1:
        bodies = _strings(block.said)
        as_usual = pc.and_(pc.starts_with(bodies, BEFORE.decode()), pc.ends_with(bodies, after.decode()))
        if pc.all(as_usual).as_py():
            held, ends = block.said.data, block.said.ends.tolist()
            parts = [held[start + len(BEFORE) : end - len(after)] for start, end in pairwise(ends)]
            found = orjson.loads(b"[%b]" % b",".join(parts))
            if len(found) == len(block):
                return pc.utf8_slice_codeunits(bodies, len(BEFORE), -len(after)), found
    each = [orjson.loads(said)["predictions"] for said in block.said]
    found = [*chain.from_iterable(_as_many(one, count) for one, count in zip(each, block.counts.tolist(), strict=True))]
    return pa.array([None if one is None else orjson.dumps(one).decode() for one in found], pa.string()), found


def _instances(block: JoinedAnswers) -> list[Any]:
    """Of each row."""
    if block.written is None:
        return [None] * int(block.counts.sum())
    told = orjson.loads(b"[%b]" % b",".join(block.written))
    each = [one["instances"] if isinstance(one, dict) else one for one in told]
    return [*chain.from_iterable(_as_many(one, count) for one, count in zip(each, block.counts.tolist(), strict=True))]


def _as_many(values: Any, count: int) -> list[Any]:
    """The values of a request, one a row; none where they are not as many."""
    return values if isinstance(values, list) and len(values) == count else [None] * count
