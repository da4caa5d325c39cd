"""The journal: one conditional create per entry, whoever writes; a tuner that was overtaken is read by nobody."""

from __future__ import annotations

import json
import threading

import pytest
from mlratchet.infra.search.journal import BucketJournal, StudyTakenError
from mlratchet.infra.storage.memory import MemoryStore

STUDY = "a" * 64


def test_what_one_writes_another_reads_in_order(store: MemoryStore) -> None:
    writer = BucketJournal(store, STUDY, epoch=1)
    for number in range(5):
        writer.append_logs([{"n": number}])
    reader = BucketJournal(store, STUDY)
    assert [log["n"] for log in reader.read_logs(0)] == [0, 1, 2, 3, 4]
    writer.append_logs([{"n": 5}])
    assert [log["n"] for log in reader.read_logs(4)] == [4, 5]


def test_threads_that_write_at_once_lose_nothing(store: MemoryStore) -> None:
    journals = [BucketJournal(store, STUDY, epoch=1) for _ in range(4)]  # of one epoch: all may write

    def write(journal: BucketJournal, who: int) -> None:
        for number in range(10):
            journal.append_logs([{"who": who, "n": number}])

    threads = [threading.Thread(target=write, args=(journal, who)) for who, journal in enumerate(journals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logs = list(BucketJournal(store, STUDY).read_logs(0))
    assert len(logs) == 40
    for who in range(4):
        assert [log["n"] for log in logs if log["who"] == who] == list(range(10))


def test_a_tuner_that_was_overtaken_is_refused_and_read_by_nobody(store: MemoryStore) -> None:
    stale = BucketJournal(store, STUDY, epoch=1)
    stale.append_logs([{"by": 1}])
    fresh = BucketJournal(store, STUDY, epoch=2)
    # it slept through the takeover and writes without having seen it
    number = sum(1 for _ in store.list(f"studies/{STUDY}/journal/"))
    store.create(f"studies/{STUDY}/journal/{number:09d}.json", json.dumps({"epoch": 1, "logs": [{"by": 1}]}).encode())
    fresh.append_logs([{"by": 2}])
    with pytest.raises(StudyTakenError, match="overtaken by attempt 2"):
        stale.append_logs([{"by": 1}])
    assert [log["by"] for log in BucketJournal(store, STUDY).read_logs(0)] == [1, 2]
