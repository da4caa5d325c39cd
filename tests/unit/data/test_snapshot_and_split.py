"""Snapshots are immutable and named by content; a record never changes side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.config import SplitConfig
from mlratchet.models.data.snapshot import load_snapshot, take_snapshot
from mlratchet.models.data.split import side_of
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.signed_records import RecordStore


def test_equal_content_gives_the_same_snapshot(raw: MemoryStore, store: MemoryStore) -> None:
    raw.put("p/a", b"1")
    raw.put("p/b", b"2")
    first = take_snapshot(raw, store, prefix="p/")
    raw.put("p/a", b"other")
    second = take_snapshot(raw, store, prefix="p/")
    raw.put("p/a", b"1")
    third = take_snapshot(raw, store, prefix="p/")
    assert first.id == third.id != second.id


def test_an_earlier_snapshot_survives_an_overwritten_key(raw: MemoryStore, store: MemoryStore) -> None:
    raw.put("p/a", b"before")
    snapshot = take_snapshot(raw, store, prefix="p/")
    raw.put("p/a", b"after")
    take_snapshot(raw, store, prefix="p/")
    item = load_snapshot(store, snapshot.id).objects[0]
    assert store.get(f"raw/{item.sha256}", sha256=item.sha256) == b"before"


def test_a_changed_snapshot_is_refused(raw: MemoryStore, store: MemoryStore) -> None:
    raw.put("p/a", b"1")
    snapshot = take_snapshot(raw, store, prefix="p/")
    key = f"snapshots/{snapshot.id}.json"
    store.put(key, store.get(key).replace(b'"size_bytes":1', b'"size_bytes":2'))
    with pytest.raises(SecurityError, match="was changed"):
        load_snapshot(store, snapshot.id)


def test_an_unchanged_source_is_not_read_again(raw: MemoryStore, store: MemoryStore) -> None:
    raw.put("p/a", b"1")
    first = take_snapshot(raw, store, prefix="p/")

    def refuse(key: str, *, sha256: str | None = None) -> bytes:
        raise AssertionError(f"read {key}")

    raw.get = refuse  # type: ignore[method-assign]
    assert take_snapshot(raw, store, prefix="p/") == first


@pytest.mark.parametrize("planted", [b"9", b"longer than ours"])
def test_a_planted_object_does_not_keep_its_name_from_the_bytes_it_names(
    raw: MemoryStore, store: MemoryStore, planted: bytes
) -> None:
    records, key = RecordStore(store, MemoryKeys()), f"raw/{digest_bytes(b'1')}"
    store.put(key, planted)
    raw.put("p/a", b"1")
    take_snapshot(raw, records, prefix="p/")
    assert store.get(key) == b"1"
    assert store.get(f"aside/{digest_bytes(planted)}/{key}") == planted


def test_what_is_there_already_is_not_sent_again(raw: MemoryStore, store: MemoryStore) -> None:
    for prefix in ("p/", "q/"):
        raw.put(f"{prefix}a", b"1")
    take_snapshot(raw, store, prefix="p/")
    sent, create = [], store.create
    store.create = lambda key, data: (sent.append(key), create(key, data))[1]  # type: ignore[assignment, method-assign]
    take_snapshot(raw, store, prefix="q/")
    assert not [key for key in sent if key.startswith("raw/")]


@given(st.text(min_size=1, max_size=40), st.sampled_from([0.1, 0.2, 0.35]))
def test_a_larger_test_share_only_adds_to_the_test_side(identity: str, share: float) -> None:
    small = side_of(identity, SplitConfig(test=share, validation=0.1))
    large = side_of(identity, SplitConfig(test=share + 0.1, validation=0.1))
    assert large == "test" or small != "test"


def test_shares_are_met() -> None:
    config = SplitConfig(test=0.3, validation=0.1)
    sides = [side_of(f"id-{i}", config) for i in range(10_000)]
    assert sides.count("test") / 10_000 == pytest.approx(0.3, abs=0.02)
    assert sides.count("validation") / 10_000 == pytest.approx(0.1, abs=0.02)
