"""A large index is read where it stands, and says what it said when all of it was in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data import row_index, stored_entries
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.name_set import NameSet, pair_of_sets
from mlratchet.models.data.records import Sorter
from mlratchet.models.data.records_by_id import RecordsById, inputs_by_id
from mlratchet.models.data.row_index import IndexDocument, load_index
from mlratchet.models.data.stored_entries import STEP, StoredEntries
from mlratchet.models.errors import SecurityError
from mlratchet.models.sources.record import Record, inputs_of
from mlratchet.models.sources.record_table import RecordPiece, packed

ODD = ['"', "\\", '","', "]}", "ü", "日本", "\x01", "{", "a,b", '\\"]']
NAMES = ("no", 'y"es,"', "]}")


def manifest_of(store: MemoryStore, records: Sequence[Record], classes: Sequence[str] = NAMES) -> DatasetManifest:
    sorter = Sorter()
    sorter.add(RecordPiece(table=packed(records)))
    held, _ = sorter.sorted()
    index = IndexDocument(held, classes, ())
    index.publish(store)
    return DatasetManifest(
        id="d", snapshot_id="s", splits={}, rows={}, target_counts={}, index_sha256=index.sha256
    )  # fmt: skip


def record(number: int) -> Record:
    name = f"{ODD[number % len(ODD)]}{number:04d}"
    return Record(id=name, x=np.asarray([number, 1.0]), y=number % 3, row_digest=f"{number:x}", raw_digest="")


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_index, "ENTRIES_BYTES", 100)


@pytest.mark.parametrize(("count", "places"), [(1, 9), (STEP, 9), (5 * STEP + 1, 9), (9 * STEP + 5, 2)])
def test_every_entry_is_found_in_any_order(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, count: int, places: int
) -> None:
    monkeypatch.setattr(stored_entries, "MOST_PLACES", places)
    manifest = manifest_of(store, [record(number) for number in range(count)])
    whole = load_index(store, manifest, NAMES).entries
    monkeypatch.setattr(row_index, "ENTRIES_BYTES", 10)
    found = load_index(store, manifest, NAMES).entries
    assert isinstance(found, StoredEntries)
    assert len(found._places) <= places
    assert dict(found.items()) == dict(whole)
    assert list(found) == sorted(whole)
    for order in (sorted(whole), sorted(whole, reverse=True), list(whole)):
        assert [found[name] for name in order] == [whole[name] for name in order]
    for name in ("", "nobody", "0", "\uffff", *(f"{one}x" for one in whole)):
        assert name not in found


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize(("of", "by"), [(b'"1"', b"1"), (b"}}", b"}"), (b"}}", b"}} "), (b'":[', b'":{')])
def test_a_document_that_is_none_is_refused(store: MemoryStore, of: bytes, by: bytes) -> None:
    manifest = manifest_of(store, [record(number) for number in range(9)])
    changed = store.get(f"indexes/{manifest.index_sha256}.json").replace(of, by, 1)
    named = manifest.model_copy(update={"index_sha256": hashlib.sha256(changed).hexdigest()})
    store.put(f"indexes/{named.index_sha256}.json", changed)
    with pytest.raises(SecurityError, match="is not the index of a dataset; it was changed"):
        load_index(store, named, NAMES)


@pytest.mark.usefixtures("streamed")
def test_numbers_and_lists_are_labels_too(store: MemoryStore) -> None:
    numbers = [Record(id="a", x=np.ones(1), y=-1.5e-7), Record(id="b", x=np.ones(1), y=2.0)]
    found = load_index(store, manifest_of(store, numbers, ()), ()).entries
    assert [one.label for one in found.values()] == [-1.5e-7, 2.0]
    several = [Record(id="a", x=np.ones(1), y=(0, 0, 0)), Record(id="b", x=np.ones(1), y=(1, 0, 1))]
    found = load_index(store, manifest_of(store, several), NAMES).entries
    assert [one.label for one in found.values()] == [(), ("]}", "no")]


def test_records_are_found_by_id_in_any_order_and_none_that_is_not_there() -> None:
    sorter = Sorter(held_bytes=3000)
    for at in range(0, 400, 20):
        sorter.add(RecordPiece(table=packed([record(number) for number in range(at, at + 20)])))
    records, _ = sorter.sorted()
    assert len(list(records.tables())) > 3
    found = RecordsById(records, lambda one: float(one.x[0]))  # type: ignore[call-overload]  # an array
    names = {record(number).id: float(number) for number in range(400)}
    for order in (sorted(names), sorted(names, reverse=True), list(names)):
        assert [found[name] for name in order] == [names[name] for name in order]
    assert not [name for name in ("", "x", "\uffff", *(f"{one}x" for one in names)) if name in found]
    whole = RecordsById(records, lambda one: one)
    ids = ["gone", *names][:300]
    assert inputs_by_id(whole, ids, inputs_of).array[1:, 0].tolist() == [names[name] for name in ids[1:]]


def test_inputs_of_many_ids_are_read_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlratchet.models.data.records_by_id.BLOCK_ROWS", 7)
    sorter = Sorter()
    sorter.add(RecordPiece(table=packed([record(number) for number in range(50)])))
    records = RecordsById(sorter.sorted()[0], lambda one: one)
    asked: list[int] = []

    def stacked(some: Sequence[Record]) -> object:
        asked.append(len(some))
        return inputs_of(some)

    found = inputs_by_id(records, list(records), stacked)  # type: ignore[arg-type]  # counts
    assert found.rows(slice(0, 50)).array[:, 0].tolist() == [float(one.x[0]) for one in records.values()]  # type: ignore[index]  # an array
    assert max(asked) == 7


def test_a_set_of_names_says_which_are_in_it() -> None:
    ours, theirs = NameSet(f"n{number}" for number in range(1000)), NameSet(["n3", "m", ""])
    assert ("n999" in ours, "n1000" in ours, len(ours)) == (True, False, 1000)
    assert ("n3" in ours - theirs, "n4" in ours - theirs, "n3" in (ours & theirs)) == (False, True, True)
    assert (len(ours & theirs), len(NameSet()), "a" in NameSet()) == (1, 0, False)
    first, second = pair_of_sets([("a", "1"), ("b", "1")])
    assert (len(first), len(second), "b" in first, "1" in second) == (2, 1, True, True)
