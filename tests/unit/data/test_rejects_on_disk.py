"""However much is set aside, little of it is in memory, and it is told in the order in which it was read."""

from __future__ import annotations

import numpy as np
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data import quarantine, rejects
from mlratchet.models.data.quarantine import write_quarantine
from mlratchet.models.data.records import Sorter
from mlratchet.models.data.rejects import Rejects, Without
from mlratchet.models.sources.record import Record, Reject
from mlratchet.models.sources.record_table import RecordPiece, packed


def reject(number: int, code: str = "odd") -> Reject:
    return Reject(
        where=f"f:{number}", code=code, reason=f"got \ud800 \n{number}", records=number + 1, field="ü", value="v"
    )


def read(held_bytes: int) -> tuple[list[str], Rejects]:
    """400 records of 150 ids, some of them with a reject before."""
    rng = np.random.default_rng(3)
    names = [f"r{number:03d}" for number in rng.integers(0, 150, 400)]
    sorter = Sorter(held_bytes=held_bytes)
    for at in range(0, 400, 20):
        rows = [Record(id=names[n], x=np.ones(2), y=0, where=f"t.csv:{n}") for n in range(at, at + 20)]
        aside = tuple((before, reject(at + before)) for before in (0, 3, 3, 20))
        sorter.add(RecordPiece(table=packed(rows), rejects=aside))
    records, found = sorter.sorted()
    return [one.where for one in records], found


def test_runs_on_disk_set_aside_what_memory_does_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, whole = read(1 << 30)
    monkeypatch.setattr(rejects, "HELD", 7)
    kept_in_parts, parts = read(2_000)
    assert kept_in_parts == kept
    assert list(parts) == list(whole)
    assert len(parts) == len(whole) == 80 + 400 - len(kept)
    twice = [one for one in parts if one.code == "duplicate_id"]
    assert len(twice) == 400 - len(kept)
    assert all(one.reason.split("(")[1].split(")")[0] in kept for one in twice)
    assert parts == whole
    assert parts[:30] == list(whole)[:30]
    assert (parts[0], parts[200], parts[-1]) == (whole[0], whole[200], whole[-1])


def test_rows_are_held_as_long_as_what_was_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = read(2_000)  # the records are gone
    assert sum(one.code == "duplicate_id" for one in found) > 100


def test_what_comes_behind_and_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects, "HELD", 4)
    found = Rejects()
    for number in range(11):
        found.add(reject(number, "gap" if number % 2 else "odd"), number)
    found.extend([reject(99)])
    assert [one.records for one in found] == [*range(1, 12), 100]
    assert [one.code for one in Without(found, {"gap"})] == ["odd"] * 7
    assert len(Without(found, {"gap"})) == 7
    with pytest.raises(IndexError):
        found[12]


def test_a_large_quarantine_is_sent_in_parts_under_the_same_name(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [reject(number) for number in range(100)]
    once = write_quarantine(MemoryStore(), {"line": "l"}, told)
    monkeypatch.setattr(quarantine, "HELD_BYTES", 10)
    assert write_quarantine(store, {"line": "l"}, told) == once
    assert len(store.get(f"quarantine/{once}.parquet", sha256=once)) > 10
