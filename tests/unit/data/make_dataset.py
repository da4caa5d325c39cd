"""Makes a dataset of a synthetic table, and says how much memory that took: run by `test_bounded_memory.py`.

python make_dataset.py FOLDER ROWS HELD_MB
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from mlratchet.infra.storage.folder import FolderStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data import record_shards
from mlratchet.models.data import records as holding
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.workloads.fields import SchemaWorkload
from pyarrow import csv

COLUMNS = ["c0", "c1", "c2"]
NOTE = 4000  # characters of a text
SCHEMA = {
    "label": "y",
    "fields": {
        **{name: {"kind": "number", "decimal": "."} for name in COLUMNS},
        "note": {"kind": "text"},
        "y": {"kind": "category", "values": ["no", "yes"]},
    },
}
AT_ONCE = 4_000  # rows that are made at once


def deliver(raw: FolderStore, rows: int) -> int:
    """As one CSV file; returns its size in MB."""

    def parts() -> Iterator[bytes]:
        rng = np.random.default_rng(0)
        for at in range(0, rows, AT_ONCE):
            count = min(AT_ONCE, rows - at)
            x = np.round(rng.normal(size=(count, len(COLUMNS))), 5)
            letters = rng.integers(97, 123, count * NOTE, dtype=np.uint8).tobytes().decode()
            notes = [letters[place * NOTE : (place + 1) * NOTE] for place in range(count)]
            columns = {name: x[:, place] for place, name in enumerate(COLUMNS)} | {"note": notes}
            table = pa.table({**columns, "y": pa.array(np.where(x[:, 0] > 0, "yes", "no"))})
            sink = pa.BufferOutputStream()
            csv.write_csv(table, sink, csv.WriteOptions(include_header=at == 0, quoting_style="none"))
            yield sink.getvalue().to_pybytes()

    raw.put_stream("t/rows.csv", parts())
    return raw.head("t/rows.csv").size_bytes >> 20


def peak_mb() -> int:
    """Of this process so far."""
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found >> 20 if sys.platform == "darwin" else found >> 10


def main() -> None:
    folder, rows, held_mb = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    holding.HELD_BYTES = record_shards.SHARD_BYTES = held_mb << 20
    raw, store = FolderStore(folder / "raw"), FolderStore(folder / "store")
    workload = SchemaWorkload(schema=SCHEMA)
    source = CsvOptions(prefix="t/", format="csv", label_column="y")
    run(raw, store, workload, source, folder, 2_000)  # imports whatever is needed
    delivered = deliver(raw, rows)
    before = peak_mb()
    run(raw, store, workload, source, folder, rows)
    print(f"{delivered} MB delivered, above {max(1, peak_mb() - before)} MB")


def run(
    raw: FolderStore, store: FolderStore, workload: SchemaWorkload, source: CsvOptions, folder: Path, rows: int
) -> None:
    """Snapshot, records, shards."""
    if not raw.exists("t/rows.csv"):
        deliver(raw, rows)
    snapshot = take_snapshot(raw, store, prefix="t/")
    records, rejects = read_dataset_records(store, snapshot, workload, source, scratch=folder)
    assert len(records) == rows, rejects[:3]
    made = write_dataset(
        store, snapshot, records, "code", WorkloadRef(use="mlratchet.models.workloads.fields:SchemaWorkload"),
        DataConfig(), source, class_names=workload.class_names(), tensors=workload.tensors(),
    )  # fmt: skip
    assert sum(made.rows.values()) == rows
    print(f"{rows} records in {len(made.splits)} sides, {records.size_bytes >> 20} MB of records on disk")


if __name__ == "__main__":
    main()
