"""What is named by its digest and can be made again is made again, with one line; what cannot ends with its name."""

from __future__ import annotations

import logging

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.row_index import load_index
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import Snapshot, take_snapshot
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.ports.storage import DigestMismatch, ObjectNotFound, StorageError
from mlratchet.models.workloads.tabular import TableClassifier

LINES = [f"{n / 10},{n / 7:.3f},{'yes' if n % 2 else 'no'}" for n in range(60)]
CSV = "\n".join(["a,b,label", *LINES]).encode()
SOURCE = SourceConfig(prefix="t/")
WORKLOAD = TableClassifier(columns=["a", "b"], classes=["no", "yes"])
REF = WorkloadRef(
    use="mlratchet.models.workloads.tabular:TableClassifier",
    parameters={"columns": ["a", "b"], "classes": ["no", "yes"]},
)


@pytest.fixture
def records(store: MemoryStore, raw: MemoryStore) -> RecordStore:
    raw.put("t/rows.csv", CSV)
    return RecordStore(store, MemoryKeys())


def read(records: RecordStore, raw: MemoryStore) -> tuple[Snapshot, int]:
    """As a run does."""
    snapshot = take_snapshot(raw, records, prefix="t/")
    found, _ = read_dataset_records(records, snapshot, WORKLOAD, SOURCE, delivered=raw)
    return snapshot, len(found)


def spoil(store: MemoryStore, key: str, how: str) -> None:
    if how == "gone":
        store.delete(key)
    else:
        store.put(key, b"other bytes")


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_raw_object_is_copied_again_while_the_source_has_its_bytes(
    records: RecordStore, raw: MemoryStore, store: MemoryStore, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot, rows = read(records, raw)
    key = f"raw/{snapshot.objects[0].sha256}"
    spoil(store, key, how)
    with caplog.at_level(logging.WARNING):
        assert read(records, raw) == (snapshot, rows)
    assert store.get(key) == CSV
    (line,) = [one.message for one in caplog.records if "copied again" in one.message]
    assert key in line
    assert "t/rows.csv" in line
    caplog.clear()
    assert read(records, raw) == (snapshot, rows)
    assert not [one for one in caplog.records if "copied again" in one.message]


@pytest.mark.parametrize(("how", "error"), [("changed", DigestMismatch), ("gone", ObjectNotFound)])
@pytest.mark.parametrize("source", ["other bytes", "empty", "unknown"])
def test_one_that_the_source_has_no_more_ends_with_its_name(
    records: RecordStore, raw: MemoryStore, store: MemoryStore, how: str, error: type[StorageError], source: str
) -> None:
    snapshot, _ = read(records, raw)
    key = f"raw/{snapshot.objects[0].sha256}"
    spoil(store, key, how)
    if source == "empty":
        raw.delete("t/rows.csv")
    elif source == "other bytes":
        raw.put("t/rows.csv", CSV + b"\n9,9,no")
    delivered = None if source == "unknown" else raw
    with pytest.raises(error, match=r"raw/[0-9a-f]{64}.*t/rows.csv.*does not hold it any more") as told:
        read_dataset_records(records, snapshot, WORKLOAD, SOURCE, delivered=delivered)
    assert told.value.exit_code == (6 if how == "changed" else 5)
    if how == "changed":
        assert store.get(key) == b"other bytes"  # nothing was written over without the right bytes at hand


def dataset(records: RecordStore, raw: MemoryStore) -> DatasetManifest:
    snapshot = take_snapshot(raw, records, prefix="t/")
    found, _ = read_dataset_records(records, snapshot, WORKLOAD, SOURCE, delivered=raw)
    return write_dataset(
        records, snapshot, found, "code", REF, DataConfig(), SOURCE, class_names=("no", "yes"), input_columns=("a", "b")
    )


@pytest.mark.parametrize("how", ["changed", "gone"])
@pytest.mark.parametrize("what", ["shard", "index"])
def test_a_dataset_whose_delivery_is_at_hand_is_whole_again(
    records: RecordStore, raw: MemoryStore, store: MemoryStore, how: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = dataset(records, raw)
    ref = made.splits["train"][0]
    key = ref.key if what == "shard" else f"indexes/{made.index_sha256}.json"
    held = store.get(key)
    spoil(store, key, how)
    with caplog.at_level(logging.WARNING):
        assert dataset(records, raw) == made
    assert store.get(key) == held
    assert [one for one in caplog.records if "made again from the delivery" in one.message]
    assert len(load_split(records, made, "train").ids) == made.rows["train"]
    assert load_index(records, made, ()).entries
