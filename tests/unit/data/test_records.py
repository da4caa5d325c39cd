"""Records on disk are the ones that were read: by id, each once, and what is set aside in the order it was met."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data import preprocess
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.record_shards import HeldSides, rows_of_a_shard, target_counts, write_shards
from mlratchet.models.data.records import Records, Sorter, records_of
from mlratchet.models.data.row_index import IndexDocument, entry_of
from mlratchet.models.data.shards import write_shard
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.data.split import SIDES, side_of, sides_of
from mlratchet.models.errors import DataError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.sources.record import Record, Reject, Remark, target_names
from mlratchet.models.sources.record_table import (
    RecordPiece,
    joined_tables,
    packed,
    pieces_of_records,
    unpacked_records,
)
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.workloads.loading import load_workload

NAMED = (
    TensorSpec(name="example", shape=(), dtype="uint8", ragged=True),
    TensorSpec(name="size", shape=(2,), dtype="float32"),
)


def record(number: int, identity: str, *, named: bool = False) -> Record:
    plain = np.full((2, 3), number, np.float32)
    return Record(
        id=identity,
        x={"example": np.arange(number % 7, dtype=np.uint8), "size": plain[:, 0]} if named else plain,
        y=number % 3,
        group="é" if number % 5 == 0 else None,
        columns={"region": "eu"} if number % 2 else {},
        row_columns=("a", "b") if number % 2 else ("a",),
        raw_digest=f"{number:032x}",
        where=f"rows.csv:{number}",
        remarks=(Remark(code="odd", words='a "quote"'),) if number == 5 else (),
    )


def delivery(count: int, *, ids: int, named: bool = False) -> Iterator[Record | Reject]:
    chance = random.Random(0)
    for number in range(count):
        if number % 97 == 3:
            yield Reject(where=f"rows.csv:{number}", code="bad", reason=f"{number}")
        yield record(number, f"r{chance.randrange(ids):06x}ü", named=named)


def as_before(found: list[Record | Reject]) -> tuple[list[Record], list[Reject]]:
    """The records by id, in memory."""
    records: dict[str, Record] = {}
    rejects = []
    for one in found:
        if isinstance(one, Reject):
            rejects.append(one)
        elif one.id in records:
            kept = records[one.id].where
            words = f"{one.where}: id {one.id!r} is there twice; the first ({kept}) is kept"
            rejects.append(Reject(where=one.where, code="duplicate_id", reason=words))
        else:
            records[one.id] = one
    return sorted(records.values(), key=lambda one: one.id), rejects


def sorted_with(
    found: list[Record | Reject], held_bytes: int, folder: Path, *, named: bool
) -> tuple[Records, list[Reject]]:
    sorter = Sorter(scratch=folder, held_bytes=held_bytes)
    for piece in pieces_of_records(found, NAMED if named else (), most_bytes=8_000):
        sorter.add(piece)
    return sorter.sorted()


def same(left: Record, right: Record) -> bool:
    for one in fields(Record):
        ours, theirs = getattr(left, one.name), getattr(right, one.name)
        if one.name != "x":
            assert ours == theirs, one.name
            assert type(ours) is type(theirs), one.name
            continue
        pairs = [(ours[n], theirs[n]) for n in ours] if isinstance(ours, dict) else [(ours, theirs)]
        assert all(np.array_equal(a, b) and a.dtype == b.dtype and a.shape == b.shape for a, b in pairs)
    return True


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("held_bytes", [64 << 20, 60_000])
def test_records_come_by_id_each_once_however_many_fit_in_memory(tmp_path: Path, held_bytes: int, named: bool) -> None:
    found = list(delivery(3000, ids=2000, named=named))
    expected, aside = as_before(found)
    records, rejects = sorted_with(found, held_bytes, tmp_path, named=named)
    assert rejects == aside
    assert len(records) == len(expected)
    assert bool(list(tmp_path.iterdir())) == (held_bytes < 1 << 20)
    for _ in range(2):  # every pass gives the same
        assert all(same(ours, theirs) for ours, theirs in zip(records, expected, strict=True))
    assert max(table.num_rows for table in records.tables()) < len(records) / 3 or held_bytes > 1 << 20
    some = records.only(lambda table: table["y"].to_numpy() == 1)
    assert [one.id for one in some] == [one.id for one in expected if one.y == 1]
    assert len(some) == sum(one.y == 1 for one in expected)
    del records, some, rejects
    assert not list(tmp_path.iterdir())


def test_one_id_in_every_row_is_one_record_and_needs_no_memory_for_the_others(tmp_path: Path) -> None:
    found: list[Record | Reject] = [record(number, "same") for number in range(2000)]
    records, rejects = sorted_with(found, 20_000, tmp_path, named=False)
    assert [one.where for one in records] == ["rows.csv:0"]
    assert [one.where for one in rejects] == [f"rows.csv:{number}" for number in range(1, 2000)]
    assert rejects[-1].reason == "rows.csv:1999: id 'same' is there twice; the first (rows.csv:0) is kept"


def test_records_of_other_tensors_in_one_delivery_are_refused() -> None:
    other = Record(id="b", x=np.zeros((4,), np.float32), y=0)
    with pytest.raises(ValueError, match=r"records of x \(float32 \[2, 3\]\) and of x \(float32 \[4\]\)"):
        joined_tables([packed([record(0, "a")]), packed([other])])


def test_targets_keep_their_kind() -> None:
    for target in (3, 2.5, (1.0, 0.0)):
        (found,) = unpacked_records(packed([Record(id="a", x=np.zeros(1, np.float32), y=target)]))
        assert found.y == target
        assert type(found.y) is type(target)


def test_shards_are_those_of_the_records_one_by_one(tmp_path: Path) -> None:
    found = list(delivery(900, ids=10_000, named=True))
    expected, _ = as_before(found)
    records, _ = sorted_with(found, 30_000, tmp_path, named=True)
    store, data = MemoryStore("s"), DataConfig(rows_per_shard=64)
    splits = write_shards(store, HeldSides(records, sides_of(records, data.split)), lambda _side, _number: 64)
    for side in SIDES:
        rows = [one for one in expected if side_of(one.group or one.id, data.split) == side]
        pieces = [rows[at : at + 64] for at in range(0, len(rows), 64)]
        assert splits[side] == tuple(write_shard(store, piece, NAMED) for piece in pieces)


def test_a_dataset_of_very_many_shards_has_larger_ones() -> None:
    records = records_of([record(number, f"{number:06d}") for number in range(600)])
    assert rows_of_a_shard(records, DataConfig(rows_per_shard=3)) == 3
    assert rows_of_a_shard(records, DataConfig(rows_per_shard=2)) > 600
    assert rows_of_a_shard(records, DataConfig(rows_per_shard=2)) % 2 == 0


@pytest.mark.parametrize("named", [False, True])
def test_the_index_is_written_as_it_would_be_whole(tmp_path: Path, named: bool) -> None:
    expected, _ = as_before(list(delivery(500, ids=10_000, named=named)))
    if named:
        expected = [Record(**{**vars(one), "x": {"example": one.x["example"]}}) for one in expected]  # type: ignore[index]  # by name
    names = ("lo", "mid", "hé")
    entries = {one.id: entry_of(one, names, ()) for one in expected}
    whole = {key: [one.label, one.row, one.raw, one.prepared] for key, one in entries.items()}
    store, records = MemoryStore("s"), records_of(expected, NAMED[:1] if named else ())
    document = IndexDocument(records, names, ())
    document.publish(store)
    assert store.get(f"indexes/{document.sha256}.json", sha256=document.sha256) == canonical_json(
        {"format": 2, "records": whole}
    )


def test_a_target_of_other_numbers_than_there_are_names_tells_none_of_them() -> None:
    names = ("a", "b")
    held = records_of([replace(record(n, f"r{n}"), y=(1.0, 0.0, 2.0)) for n in range(3)])
    assert target_counts(held, names) == {}
    assert {target_names(one.y, names) for one in held} == {()}
    assert all(isinstance(entry_of(one, names, ()).label, str) for one in held)
    labels = records_of([replace(record(n, f"r{n}"), y=(1.0, 0.0)) for n in range(3)])
    assert target_counts(labels, names) == {"a": 3}


def test_pieces_that_do_not_fit_together_are_a_fault_of_the_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [packed([replace(record(n, f"r{n}"), y=y)]) for n, y in enumerate((1.0, ((1.0, 2.0),)))]
    found = [RecordPiece(table=one) for one in tables]
    monkeypatch.setattr(preprocess, "raw_pieces", lambda *_, **__: iter(found))
    workload = load_workload("mlratchet.models.workloads.tabular:TableRegressor", {"columns": ["a"]})
    raw, store = MemoryStore("raw"), MemoryStore("store")
    raw.put("t/a", b"1")
    snapshot = take_snapshot(raw, store, prefix="t/")
    with pytest.raises(DataError, match=r"targets of \[\] and \[1, 2\] numbers in one delivery"):
        preprocess.read_dataset_records(store, snapshot, workload, CsvOptions(prefix="t/"))
