"""The chain of window records: what was planted, edited or deleted in it is not gone on with."""

from __future__ import annotations

import json

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.monitoring.finding import WindowSpan
from mlratchet.models.monitoring.window import (
    Figure,
    WindowRecord,
    gaps_in,
    load_window,
    newest_window,
    publish_window,
    window_key,
    windows_of,
)
from mlratchet.models.ports.storage import ObjectNotFound


@pytest.fixture
def raw() -> MemoryStore:
    return MemoryStore("b")


@pytest.fixture
def store(raw: MemoryStore) -> RecordStore:
    return RecordStore(raw, MemoryKeys(), now=lambda: 5000.0)


def chain(store: RecordStore, count: int) -> list[WindowRecord]:
    made: list[WindowRecord] = []
    for number in range(1, count + 1):
        record = WindowRecord(
            pipeline="shop", number=number, before=made[-1].digest() if made else "", version=7, generation=3,
            window=WindowSpan(from_s=100.0 * number, to_s=100.0 * (number + 1), rows=5), labels_to_s=50.0,
            figures={"accuracy": Figure(value=0.9, low=0.8, high=0.95, n=5)}, policy="c" * 64,
        )  # fmt: skip
        publish_window(store, record)
        made.append(record)
    return made


def test_the_newest_is_gone_on_with(store: RecordStore) -> None:
    made = chain(store, 3)
    assert newest_window(store, "shop") == made[-1]
    assert windows_of(store, "shop") == tuple(made)
    assert windows_of(store, "shop", since_s=300.0) == tuple(made[2:])
    assert windows_of(store, "shop", most=2) == tuple(made[1:])
    assert gaps_in(made) == ()


def test_before_the_first_there_is_none(store: RecordStore) -> None:
    assert newest_window(store, "shop") is None
    assert windows_of(store, "shop") == ()


def test_a_planted_record_is_not_gone_on_with(raw: MemoryStore, store: RecordStore) -> None:
    made = chain(store, 2)
    forged = made[1].model_copy(update={"number": 3, "before": made[1].digest(), "version": 8})
    raw.put(window_key("shop", 3), forged.canonical())
    assert newest_window(store, "shop") == made[1]


def test_an_edited_record_is_not_believed_and_the_one_before_is_gone_on_with(
    raw: MemoryStore, store: RecordStore
) -> None:
    made = chain(store, 2)
    raw.put(made[1].key, canonical_json({**json.loads(raw.get(made[1].key)), "findings": []} | {"version": 9}))
    with pytest.raises(ObjectNotFound, match="changed"):
        load_window(store, "shop", 2)
    assert newest_window(store, "shop") == made[0]


def test_a_record_that_is_copied_to_a_later_number_is_not_believed(raw: MemoryStore, store: RecordStore) -> None:
    made = chain(store, 2)
    raw.put(window_key("shop", 3), raw.get(made[0].key))
    assert newest_window(store, "shop") == made[1]


def test_a_deleted_record_in_the_middle_is_a_gap_and_what_follows_it_is_not_gone_on_with(
    raw: MemoryStore, store: RecordStore
) -> None:
    made = chain(store, 4)
    raw.delete(made[2].key)
    assert newest_window(store, "shop") == made[1]
    assert gaps_in(windows_of(store, "shop")) == ("windows 3 to 3 are missing",)


def test_the_same_record_is_published_twice_without_harm(store: RecordStore) -> None:
    (made,) = chain(store, 1)
    publish_window(store, made)
    assert load_window(store, "shop", 1) == made


def test_a_good_window_is_whole_has_rows_and_nothing_was_found_in_it(store: RecordStore) -> None:
    (made,) = chain(store, 1)
    assert made.is_good
    assert not made.model_copy(update={"findings": ("a" * 64,)}).is_good
    assert not made.model_copy(update={"window": made.window.model_copy(update={"whole": False})}).is_good
