"""A pinned snapshot copies nothing, reads what was delivered whatever came after, and says which version is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore, VersionedMemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.dataset import dataset_id
from mlratchet.models.data.preprocess import raw_records
from mlratchet.models.data.raw_objects import raw_objects
from mlratchet.models.data.snapshot import Snapshot, extended, load_snapshot, take_snapshot
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.workloads.tabular import TableClassifier

LARGE = b"a,b,label\n" + b"1,2,yes\n" * 1_200_000  # more than a piece


class World:
    """A bucket with versions, and the one that keeps what is made of it."""

    def __init__(self) -> None:
        self.raw, self.beneath = VersionedMemoryStore("raw"), MemoryStore("store")
        self.beneath.sources = {"raw": self.raw}.get  # type: ignore[attr-defined]  # as a run's has
        self.store = RecordStore(self.beneath, MemoryKeys())
        self.raw.put("t/a.csv", b"a,b,label\n1,2,yes\n3,4,no\n")
        self.raw.put("t/b.csv", b"a,b,label\n5,6,yes\n")

    def taken(self, *, pin: bool = True) -> Snapshot:
        return take_snapshot(self.raw, self.store, prefix="t/", pin=pin)

    def copies(self) -> int:
        return sum(1 for _ in self.store.list("raw/"))

    def bytes_of(self, snapshot: Snapshot) -> dict[str, bytes]:
        fetch = raw_objects(self.store, snapshot)
        return {one.key: fetch(one) for one in snapshot.raw_objects()}


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_copied_and_what_was_delivered_is_read_whatever_came_after(world: World) -> None:
    pinned = world.taken()
    assert world.copies() == 0
    assert (pinned.bucket, [one.version for one in pinned.objects]) == ("raw", ["v1", "v1"])
    before = world.bytes_of(pinned)
    assert before["b.csv"] == b"a,b,label\n5,6,yes\n"
    world.raw.put("t/a.csv", b"a,b,label\n9,9,no\n")
    world.raw.delete("t/b.csv")
    again = load_snapshot(world.store, pinned.id)
    assert again == pinned
    assert world.bytes_of(again) == before
    workload = TableClassifier(columns=["a", "b"], classes=["no", "yes"])
    read = list(raw_records(world.store, again, workload, CsvOptions(prefix="t/", format="csv")))
    assert [one.where for one in read] == ["a.csv:2", "a.csv:3", "b.csv:2"]


def test_pinned_or_copied_it_is_the_same_snapshot_and_the_same_rows(world: World) -> None:
    other = World()
    assert world.taken().id == other.taken(pin=False).id
    assert other.copies() == 2
    ids = {
        dataset_id("s", "c", WorkloadRef(use="m:W"), DataConfig(), CsvOptions(prefix="t/", snapshot=how))
        for how in ("pin", "copy")
    }  # fmt: skip
    assert len(ids) == 1


@pytest.mark.parametrize("first", [True, False])
def test_who_changes_from_one_to_the_other_reads_the_same(world: World, first: bool) -> None:
    before = world.taken(pin=first)
    after = world.taken(pin=not first)
    assert after.id == before.id
    assert world.copies() == 2
    assert world.bytes_of(load_snapshot(world.store, after.id)) == world.bytes_of(before)


def test_a_large_object_is_verified_piece_by_piece(world: World) -> None:
    world.raw.put("t/large.csv", LARGE)
    pinned = world.taken()
    (large,) = (one for one in pinned.raw_objects() if one.key == "large.csv")
    assert len(large.pieces) == 2
    assert world.copies() == 0
    fetch = raw_objects(world.store, pinned)
    assert fetch.read_range(large, 8 << 20, 10, None) == LARGE[8 << 20 :][:10]
    assert fetch(large) == LARGE


def test_one_changed_object_is_all_that_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.taken()
    read: list[tuple[str, str]] = []
    beneath: Callable[..., bytes] = world.raw.get_version

    def counted(key: str, version: str, *rest: Any, **more: Any) -> bytes:
        read.append((key, version))
        return beneath(key, version, *rest, **more)

    monkeypatch.setattr(world.raw, "get_version", counted)
    world.raw.put("t/b.csv", b"a,b,label\n7,8,no\n")
    second = world.taken()
    assert read == [("t/b.csv", "v2")]
    assert [one.version for one in second.objects] == ["v1", "v2"]
    assert world.taken() == second


def test_a_version_that_was_deleted_is_said_and_delivered_again_it_goes_on(world: World) -> None:
    pinned = world.taken()
    world.raw.put("t/a.csv", b"other")
    world.raw.delete_version("t/a.csv", "v1")
    with pytest.raises(ObjectNotFound, match=r"s3://raw/t/a\.csv: version v1, which the snapshot pins, was deleted"):
        world.bytes_of(pinned)
    world.raw.put("t/a.csv", b"a,b,label\n1,2,yes\n3,4,no\n")
    again = world.taken()
    assert again.id == pinned.id
    assert world.bytes_of(load_snapshot(world.store, pinned.id))["a.csv"].endswith(b"3,4,no\n")


def test_what_joins_a_pinned_delivery_is_copied(world: World) -> None:
    more = extended(world.store, world.taken(), "log.csv", b"a,b,label\n1,1,no\n")
    assert world.copies() == 1
    assert world.bytes_of(load_snapshot(world.store, more.id))["log.csv"] == b"a,b,label\n1,1,no\n"


def test_a_bucket_that_keeps_none_is_refused(world: World) -> None:
    with pytest.raises(ConfigurationError, match=r"bucket plain keeps no versions.*write snapshot: copy"):
        take_snapshot(MemoryStore("plain"), world.store, prefix="t/", pin=True)


def test_who_cannot_open_the_bucket_says_so(world: World) -> None:
    pinned = world.taken()
    del world.beneath.sources  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match="pins version v1 of it, and bucket raw is not opened here"):
        world.bytes_of(pinned)
