"""Rows that wait become files: one per version and hour, each as Parquet with what its record says of it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlratchet.models.inference_log.chain import FileFacts
from mlratchet.models.inference_log.file import Holds

HOUR_S = 3600.0


def as_parquet(table: pa.Table) -> bytes:
    """The bytes of a file. The same rows give the same bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", store_schema=True)
    return sink.getvalue()


def files_of(table: pa.Table, holds: Holds, *, told: FileFacts) -> Iterator[tuple[bytes, FileFacts]]:
    """The files of the rows that wait, and what their records say. `told`: what was lost, and up to where the servers'
    answers are in the log by these files: the last of them says it, so that it counts once all are there.

    Without rows there is one without a file.
    """
    parts = list(_parts(table, holds)) if table.num_rows else []
    if not parts:
        yield b"", replace(told, rows=0, version=0)
        return
    quiet = FileFacts(version=0, rows=0, first_s=0.0, last_s=0.0, settled_s=0.0)
    for place, (version, rows) in enumerate(parts):
        last = place == len(parts) - 1
        moments = rows["received_s" if holds == "answers" else "label_s"]
        first_s, last_s = pc.min(moments).as_py(), pc.max(moments).as_py()
        facts = told if last else quiet
        yield as_parquet(rows), replace(
            facts, version=version, rows=rows.num_rows, first_s=first_s, last_s=last_s,
            statuses=_statuses(rows) if holds == "answers" else {},
        )  # fmt: skip


def _moments(table: pa.Table, holds: Holds) -> pa.ChunkedArray:
    return table["received_s" if holds == "answers" else "label_s"]


def _parts(table: pa.Table, holds: Holds) -> Iterator[tuple[int, pa.Table]]:
    hours = (np.asarray(_moments(table, holds)) // HOUR_S).astype(np.int64)
    versions = np.asarray(table["version"]) if holds == "answers" else np.zeros(len(hours), np.int64)
    for version, hour in sorted({*zip(versions.tolist(), hours.tolist(), strict=True)}):
        yield version, table.filter(pa.array((versions == version) & (hours == hour)))


def _statuses(rows: pa.Table) -> dict[str, int]:
    counted = pc.value_counts(rows["status"].combine_chunks())
    return {str(one["values"].as_py()): one["counts"].as_py() for one in counted}
