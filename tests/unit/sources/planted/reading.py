"""Deliveries of a schema, read as a run reads them; the small counts that all of these tests share."""

from __future__ import annotations

from typing import Any

from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import read_dataset_records
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.sources.record import Record, Reject
from mlratchet.models.workloads.loading import load_workload

GATES = """
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.1}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
"""
COUNT, PLACE = 20, 6  # good examples of a delivery; the one that is spoilt
Files = dict[str, bytes]
Cells = dict[str, Any]


def read(files: Files, schema: str, source: str) -> tuple[list[Record], list[Reject]]:
    raw, store = MemoryStore("raw"), MemoryStore("store")
    for key, data in files.items():
        raw.put(f"d/{key}", data)
    spec = parse_pipeline(f"name: t\nschema: {schema}\nsource: {{prefix: d/, {source}}}\n{GATES}", where="test")
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    records, rejects = read_dataset_records(store, take_snapshot(raw, store, prefix="d/"), workload, spec.source)
    return list(records), rejects
