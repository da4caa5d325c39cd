"""A log that is looked at again and again: the same rows as if all were read, and each file opened once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.inference_log.cursor import LogCursor
from mlratchet.models.inference_log.reading import read_log
from mlratchet.models.inference_log.rewriting import Rewriter
from mlratchet.models.serving.canary_reader import CanaryReader
from mlratchet.models.serving.live_evidence import COLUMNS

from tests.unit.inference_log.logs import Log


class CountingStore(MemoryStore):
    """How often each object was read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        self.reads[key] += 1
        return super().get(key, sha256=sha256)


@pytest.fixture
def log() -> Log:
    return Log(store=CountingStore())


def ids(stretch: Any) -> list[str]:
    return sorted(stretch.table["request_id"].to_pylist())


def whole(log: Log, until_s: float) -> Any:
    return read_log(log.store, log.keys, log.pipeline, since_s=1.0, until_s=until_s)


def test_each_file_is_opened_once_and_the_rows_are_those_of_a_reading_of_all(log: Log) -> None:
    cursor = LogCursor(log.store, log.keys, log.pipeline, since_s=1.0)
    store = log.store
    assert isinstance(store, CountingStore)
    for at in range(1, 8):
        log.write([{"received_s": at + part / 4} for part in range(4)], dropped=at % 2)
        found, expected = cursor.read(at + 1.0), whole(log, at + 1.0)
        assert ids(found) == ids(expected)
        assert (found.digests, found.dropped) == (expected.digests, expected.dropped)
        store.reads.clear()
    log.write([{"received_s": 9.0}])
    assert len(ids(cursor.read(10.0))) == 29
    assert sum(count for key, count in store.reads.items() if key.endswith(".parquet")) <= 2, (
        "the new one, and its neighbour"
    )
    assert not any(key.endswith(("00000002.json", "00000003.json")) for key in store.reads), "nor their records"


def test_rows_of_a_server_whose_log_begins_later_are_found(log: Log) -> None:
    cursor = LogCursor(log.store, log.keys, log.pipeline, since_s=1.0)
    log.write([{"received_s": 2.0}, {"received_s": 6.0}])
    assert len(ids(cursor.read(7.0))) == 2
    other = Log(store=log.store, writer="w2", pipeline_key=log.pipeline_signer)
    other.writer_keys = log.writer_keys
    other.write([{"received_s": 3.0, "request_id": "late"}, {"received_s": 7.0}])
    found = cursor.read(8.0)
    assert ids(found) == ids(whole(log, 8.0))
    assert "late" in ids(found)


def test_what_was_erased_since_is_not_remembered(log: Log) -> None:
    cursor = LogCursor(log.store, log.keys, log.pipeline, since_s=1.0)
    log.write([{"received_s": 2.0, "client_key": "ada"}, {"received_s": 3.0, "client_key": "bob"}])
    log.write([{"received_s": 4.0, "client_key": "bob"}])
    assert len(ids(cursor.read(5.0))) == 3
    Rewriter(log.store, log.keys, log.pipeline, "answers", now_s=5.0).erase("client_key", ["ada"])
    assert cursor.read(6.0).table["client_key"].to_pylist() == ["bob", "bob"]


def test_a_file_that_was_changed_is_told_and_nothing_of_it_is_kept(log: Log) -> None:
    cursor = LogCursor(log.store, log.keys, log.pipeline, since_s=1.0)
    (said,) = log.write([{"received_s": 2.0}])
    data = log.store.get(said.object)
    log.store.put(said.object, b"other")
    assert not cursor.read(3.0).whole
    log.store.put(said.object, data)
    found = cursor.read(3.0)
    assert found.whole
    assert len(ids(found)) == 1


def test_a_canary_counts_labels_that_are_brought_as_objects(log: Log) -> None:
    raw = CountingStore()
    labels = LabelsConfig(prefix="l/", after_hours=0.0)
    entry: Any = type("Entry", (), {"name": log.pipeline, "began_s": 1.0, "generation": 1})
    reader = CanaryReader(log.store, log.keys, lambda _: raw)
    log.write([{"received_s": 2.0, "request_id": "aa", "answer": "{}"}, {"received_s": 2.5, "generation": 2}])
    stretch, none = reader.read(entry, labels, quality=False, now_s=4e9)
    assert none is None
    assert stretch.table.column_names == list(COLUMNS)
    raw.put("l/1.csv", b"request_id,row,label\naa,0,yes\n")
    for _ in range(2):
        stretch, found = reader.read(entry, labels, quality=True, now_s=4e9)
        assert found is not None
        assert found.table["label"].to_pylist() == ["yes"]
    assert ids(stretch) == ["aa"], "of its generation alone"
    assert raw.reads == {"l/1.csv": 1}


def test_a_canary_that_begins_anew_finds_rows_that_came_late(log: Log) -> None:
    entry: Any = type("Entry", (), {"name": log.pipeline, "began_s": 1.0, "generation": 1})
    reader = CanaryReader(log.store, log.keys)

    def read() -> list[str]:
        return ids(reader.read(entry, LabelsConfig(), quality=False, now_s=10.0)[0])

    log.write([{"received_s": 2.0, "request_id": "aa"}, {"received_s": 6.0, "request_id": "bb"}])
    assert read() == ["aa", "bb"]
    log.write([{"received_s": 3.0, "request_id": "late"}, {"received_s": 7.0, "request_id": "cc"}])
    assert "late" not in read(), "as each file is opened once"
    reader.begin_anew()
    assert read() == ["aa", "bb", "cc", "late"]
