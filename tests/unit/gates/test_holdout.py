"""A holdout that is asked again and again wears out: how often is counted by rows, not by datasets."""

from __future__ import annotations

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.gates.holdout import SKETCH, overlap, sketch_of
from mlratchet.models.gates.holdout import record_use as recorded
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.ports.storage import DigestMismatch


def record_use(store: MemoryStore | RecordStore, pipeline: str, work_key: str, ids: list[str]) -> int:
    return recorded(store, pipeline, work_key, ids).uses


def ids(start: int, stop: int) -> list[str]:
    return [f"row-{n}" for n in range(start, stop)]


def test_each_work_key_counts_once_however_often_it_is_judged(store: MemoryStore) -> None:
    rows = ids(0, 500)
    assert record_use(store, "p", "k1", rows) == 0
    assert record_use(store, "p", "k1", rows) == 0
    assert [record_use(store, "p", key, list(reversed(rows))) for key in ("k2", "k2", "k3", "k1")] == [1, 1, 2, 2]
    assert record_use(store, "other", "k9", rows) == 0


def test_a_delivery_that_grew_is_recognised_by_its_rows(store: MemoryStore) -> None:
    record_use(store, "p", "k1", ids(0, 300))
    assert record_use(store, "p", "k2", ids(0, 600)) == 1  # half of these rows gated before
    assert record_use(store, "p", "k3", ids(0, 700)) == 1  # k1 saw less than half of them, k2 most
    assert record_use(store, "p", "k4", ids(5000, 5600)) == 0
    assert record_use(store, "p", "k5", ids(0, 100)) == 3  # all of them were in the three


@pytest.mark.parametrize(("share", "tolerance"), [(1.0, 0.0), (0.7, 0.03), (0.5, 0.03), (0.1, 0.03), (0.0, 0.0)])
def test_the_overlap_of_many_rows_is_found_from_their_sketches(share: float, tolerance: float) -> None:
    n = 20_000
    ours = sketch_of(ids(0, n))
    assert len(ours) == SKETCH
    kept = round(n * share)
    assert overlap(ours, sketch_of(ids(n - kept, 2 * n - kept))) == pytest.approx(share, abs=tolerance)


def test_a_subset_of_far_more_rows_is_recognised() -> None:
    many = sketch_of(ids(0, 60_000))
    assert overlap(sketch_of(ids(0, 6000)), many) == 1.0
    assert overlap(sketch_of(ids(70_000, 76_000)), many) == 0.0
    assert overlap(sketch_of(ids(0, 10)), sketch_of([])) == 0.0


def test_a_use_that_was_removed_shows_and_nothing_is_counted_from_what_is_left(store: MemoryStore) -> None:
    records, rows = RecordStore(store, MemoryKeys()), ids(0, 300)
    seen = (0, "")
    for number, key in enumerate(("k1", "k2", "k3")):
        wear = recorded(records, "p", key, rows, seen=seen)
        assert (wear.uses, wear.number) == (number, number + 1)
        seen = (wear.number, wear.digest)
    store.delete("holdout/p/00000002.json")
    assert recorded(records, "p", "k3", rows, seen=seen).uses == 2  # the newest names every use so far
    assert recorded(records, "p", "k4", rows, seen=seen).uses == 3
    newest = recorded(records, "p", "k4", rows, seen=seen)
    store.delete("holdout/p/00000004.json")
    for seen_then in ((newest.number, newest.digest), seen):
        assert (recorded(records, "p", "k3", rows, seen=seen_then).uses == -1) is (seen_then[0] == 4)
    store.delete("holdout/p/00000003.json")
    assert recorded(records, "p", "k5", rows, seen=seen).uses == -1
    assert recorded(records, "p", "k5", rows, seen=(1, "another entry than it was")).uses != -1


@pytest.mark.parametrize("name", ["00000002.json", "00000009.json"])
def test_a_use_that_somebody_planted_or_edited_is_none(store: MemoryStore, name: str) -> None:
    records, rows = RecordStore(store, MemoryKeys()), ids(0, 300)
    recorded(records, "p", "k1", rows)
    second = recorded(records, "p", "k2", rows)
    fewer = {"number": int(name[:8]), "previous": "", "uses": {}, "sketches": {}}
    store.put(f"holdout/p/{name}", canonical_json(fewer))
    seen = (second.number, second.digest)
    third = recorded(records, "p", "k3", rows, seen=seen)
    assert third.uses == (-1 if name.startswith("00000002") else 2)


def test_a_sketch_that_was_edited_is_not_believed(store: MemoryStore) -> None:
    records = RecordStore(store, MemoryKeys())
    recorded(records, "p", "k1", ids(0, 300))
    (sketch,) = [info.key for info in store.list("holdout/p/") if info.key.endswith("/rows")]
    store.put(sketch, sketch_of(ids(900, 1200)).tobytes())
    with pytest.raises(DigestMismatch):
        recorded(records, "p", "k2", ids(0, 301))


def test_what_somebody_planted_under_the_name_of_a_sketch_gives_way_to_ours(store: MemoryStore) -> None:
    records, rows = RecordStore(store, MemoryKeys()), ids(0, 300)
    recorded(records, "p", "k1", rows)
    (name,) = [info.key for info in store.list("holdout/p/") if info.key.endswith("/rows")]
    store.put(name, b"planted")
    assert recorded(records, "p", "k2", rows).uses == 1
    assert store.get(name) == sketch_of(rows).tobytes()
    assert [store.get(info.key) for info in store.list("aside/")] == [b"planted"]


def test_uses_of_before_they_were_signed_still_count(store: MemoryStore) -> None:
    rows = ids(0, 300)
    records = RecordStore(store, MemoryKeys())
    recorded(records, "p", "k1", rows)
    (sketch,) = [info.key for info in store.list("holdout/p/") if info.key.endswith("/rows")]
    store.put(sketch.replace("/rows", "/" + "a" * 64 + ".json"), b"{}")
    assert recorded(records, "p", "k2", rows).uses == 2
