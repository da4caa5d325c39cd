"""The quarantine: every record of a delivery that was set aside, as Parquet: key, row, field, rule, value, reason.

`quarantine/<sha256>.parquet` is named by the decision of the data gate; `rejects/<pipeline>.json` leads to the newest
of a pipeline. Earlier ones are JSON, and stay readable.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.stored import store_once, stored_document
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.sources.record import Reject, place_of

HELD_BYTES = 32 << 20  # of a file that is sent at once
PART_BYTES = 16 << 20  # of a larger one, that are
PIECE = 50_000  # rows that are in memory at once
ABOUT = b"ratchet"  # key of the words about the whole, in the file's metadata
SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),  # of the object, below the source prefix
        pa.field("row", pa.int64()),  # null: the object as a whole
        pa.field("field", pa.string(), nullable=False),  # empty: the record as a whole
        pa.field("rule", pa.string(), nullable=False),
        pa.field("value", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("records", pa.int64(), nullable=False),  # that are lost with it
    ]
)


def write_quarantine(store: ObjectStore, about: Mapping[str, Any], rejects: Iterable[Reject]) -> str:
    """Returns its digest. The same rejects are the same bytes."""
    schema = SCHEMA.with_metadata({ABOUT: canonical_json(dict(about))})
    rows = iter(rejects)
    with tempfile.TemporaryFile() as held:
        with pq.ParquetWriter(held, schema, compression="zstd") as writer:
            while piece := [_row(one) for one in islice(rows, PIECE)]:
                writer.write_table(pa.Table.from_pylist(piece, schema=schema))
        held.seek(0)
        found = hashlib.file_digest(held, "sha256").hexdigest()
        size, key = held.seek(0, os.SEEK_END), f"quarantine/{found}.parquet"
        held.seek(0)
        if size <= HELD_BYTES:
            store_once(store, key, held.read())
        else:
            store.put_stream(key, iter(lambda: held.read(PART_BYTES), b""))
    return found


def quarantine_table(rejects: Iterable[Reject]) -> pa.Table:
    """The rows of a quarantine."""
    return pa.Table.from_pylist([_row(one) for one in rejects], schema=SCHEMA)


def _row(one: Reject) -> dict[str, Any]:
    key, row = place_of(one.where)
    return {
        "key": _text(key), "row": row, "field": _text(one.field), "rule": one.code, "value": _text(one.value),
        "reason": _text(one.reason), "records": one.records,
    }  # fmt: skip


def _text(value: str) -> str:
    """Half a character (of a name that is no UTF-8) cannot be written."""
    return value.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """Of one delivery."""

    about: Mapping[str, Any]  # dataset, snapshot, line, counts, and the run that read it
    data: bytes  # Parquet

    @property
    def count(self) -> int:
        """Rows of it."""
        return int(pq.ParquetFile(io.BytesIO(self.data)).metadata.num_rows)

    def rejects(self, rule: str | None = None, *, skip: int = 0) -> Iterator[dict[str, Any]]:
        """Its rows, of one rule or of all, in the order in which they were met; `skip` leaves the first ones out."""
        for batch in self._batches(rule):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            yield from batch.slice(skip).to_pylist()
            skip = 0

    def rules(self) -> dict[str, int]:
        """Records by rule, the most frequent first."""
        counts: dict[str, int] = {}
        for batch in self._batches(None, columns=["rule", "records"]):
            for one in batch.to_pylist():
                counts[one["rule"]] = counts.get(one["rule"], 0) + one["records"]
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def _batches(self, rule: str | None, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        for batch in pq.ParquetFile(io.BytesIO(self.data)).iter_batches(PIECE, columns=columns):
            yield batch if rule is None else batch.filter(pc.equal(batch["rule"], rule))


def newest_quarantine(store: ObjectStore, pipeline: str) -> Quarantine | None:
    """Of the newest delivery that was read, its digest verified, with the run that read it; None before the first one,
    and where it was collected. Raises ``SecurityError`` for what is none."""
    key = f"rejects/{pipeline}.json"
    try:
        newest = stored_document(store, key, "quarantine", "run")
        name = newest["quarantine"]
        old = store.exists(f"quarantine/{name}.json")
        body = store.get(f"quarantine/{name}.{'json' if old else 'parquet'}", sha256=name)
    except ObjectNotFound:
        return None
    try:
        about, data = _of_before(body) if old else (_about(body), body)
    except (pa.ArrowException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SecurityError(f"{store.bucket}/{key}: leads to no quarantine; it was changed") from error
    return Quarantine(about=about | {"run": newest["run"], "at_s": newest.get("at_s")}, data=data)


def _about(body: bytes) -> dict[str, Any]:
    schema = pq.read_schema(io.BytesIO(body))
    if schema.names != SCHEMA.names:
        raise ValueError("other columns")
    return dict(json.loads(schema.metadata[ABOUT]))


def _of_before(body: bytes) -> tuple[dict[str, Any], bytes]:
    """A JSON document, as this one is."""
    document = dict(json.loads(body))
    rows = [
        {
            "key": one["file"], "row": one["row"], "field": one.get("field", ""), "rule": one["rule"],
            "value": one.get("value", ""), "reason": one["reason"], "records": one["records"],
        }
        for one in document.pop("rejects")
    ]  # fmt: skip
    held = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), held)
    return document, held.getvalue()
