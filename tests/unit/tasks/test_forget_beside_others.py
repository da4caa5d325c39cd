"""Forgetting a person beside others: pipelines that share deliveries, buckets that keep versions, batches, a log that
is being written, runs that go on, and kills at any moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.infra.inference_log.spool import LogSpool
from mlratchet.infra.machine.scratch import is_gone, lease_of
from mlratchet.infra.storage.memory import MemoryStore, VersionedMemoryStore
from mlratchet.models.data.raw_objects import raw_objects
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.garbage.lock import RUNNING, wait_for_collector
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.erasures import erasures_of
from mlratchet.models.identity.lease import HeldError, LeaseKeeper
from mlratchet.models.inference_log.chain import FileFacts
from mlratchet.models.inference_log.rewriting import Rewriter
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.monitoring.finding import publish_finding
from mlratchet.models.ports.storage import StorageError
from mlratchet.tasks.actions.forget import tidy_logs

from tests.unit.monitoring.findings import finding
from tests.unit.tasks.forgetting import CLEAN, DELIVERY, OTHER, PERSON, Shop

Rows = Callable[..., RowOutputs]
DELIVERED = "shop/2026-11-01.csv"


class Killed(BaseException):
    """As kill -9: nothing is tidied."""


class Breakable(MemoryStore):
    """A bucket whose process dies at its n-th change; before a change something may happen."""

    def __init__(self, bucket: str) -> None:
        super().__init__(bucket)
        self.counts: list[int] | None = None  # what is left of all buckets' changes
        self.before: Callable[[str], None] = lambda _key: None

    def _change(self, key: str) -> None:
        self.before(key)
        if self.counts is not None and not key.startswith(("gc/", "hardware/")):
            self.counts[0] -= 1
            if self.counts[0] < 0:
                raise Killed

    def put(self, key: str, data: bytes) -> None:
        self._change(key)
        super().put(key, data)

    def create(self, key: str, data: bytes | bytearray) -> None:
        self._change(key)
        super().create(key, data)

    def replace(self, key: str, data: bytes, *, etag: str) -> None:
        self._change(key)
        super().replace(key, data, etag=etag)

    def delete(self, key: str) -> None:
        self._change(key)
        super().delete(key)


def served_without(shop: Shop) -> Shop:
    """Version 2, which was trained without the person, serves; the person's delivery came once more."""
    shop.promote(2, shop.deliver(CLEAN), input_example=json.dumps({"data": [[OTHER]]}))
    shop.raw.put(DELIVERED, DELIVERY)
    return shop


@pytest.fixture
def shop(classified: Rows, tmp_path: Path) -> Shop:
    return served_without(Shop(classified, tmp_path))


def copy_of(data: bytes) -> str:
    return f"raw/{digest_bytes(data)}"


def test_a_copy_that_another_pipeline_was_made_of_stays_until_it_is_asked_to_forget_too(shop: Shop) -> None:
    other = shop.beside()
    found = shop.forget()
    assert shop.store.exists(copy_of(DELIVERY))
    assert any(copy_of(DELIVERY) in line and "`ratchet forget letters KEY`" in line for line in found.left)
    assert shop.world.audit(replay=True).problems == other.audit(replay=True).problems == []
    other.files = {"signature.json": b"{}"}
    other.promote(2, snapshot_id="s", dataset_id="d")
    assert shop.forget(pipeline="letters").left == ()
    assert shop.holding() == []
    assert shop.world.audit(replay=True).problems == other.audit(replay=True).problems == []


def test_a_version_that_another_pipeline_made_after_it_let_go_keeps_what_it_was_made_of(shop: Shop) -> None:
    other = shop.beside()
    shop.forget(pipeline="letters", now_s=5.0)  # lets go of what digits needs
    assert shop.store.exists(copy_of(DELIVERY))
    other.promote(3, snapshot_id=shop.theirs.snapshot_id, dataset_id=shop.theirs.id, registered_s=6.0)
    shop.forget(now_s=7.0)
    assert shop.store.exists(copy_of(DELIVERY))


def test_a_delivery_that_comes_again_after_it_was_forgotten_is_read_anew(shop: Shop) -> None:
    shop.forget()
    shop.raw.put(DELIVERED, DELIVERY)
    snapshot = take_snapshot(shop.raw, shop.store, prefix="shop/")
    assert raw_objects(shop.store, snapshot)(snapshot.raw_objects()[0]) == DELIVERY


def test_pinned_versions_lead_to_what_was_made_of_them_and_are_told(classified: Rows, tmp_path: Path) -> None:
    raw = VersionedMemoryStore("raw")
    shop = Shop(classified, tmp_path, raw=raw, pin=True)
    shop.promote(2, shop.deliver(CLEAN), input_example=json.dumps({"data": [[OTHER]]}))
    assert not list(shop.store.list("raw/"))
    found = shop.forget()
    assert found.versions == (1,)
    assert not shop.store.exists(f"datasets/{shop.theirs.id}.json")
    told = [line for line in found.left if line.startswith(f"raw/{DELIVERED} version v1:")]
    assert len(told) == 1
    assert "--version-id v1" in told[0]
    assert any("raw/labels/1.csv version v1:" in line for line in found.left), "what was rewritten stays as a version"
    assert shop.holding() == []
    assert any("version v1" in line for line in shop.forget().left), "as long as it is there"
    raw.delete_version(DELIVERED, "v1")
    raw.delete_version("labels/1.csv", "v1")
    assert shop.forget().left == ()


def test_a_bucket_that_does_not_say_whether_it_keeps_versions_is_told(classified: Rows, tmp_path: Path) -> None:
    class Silent(VersionedMemoryStore):
        def keeps_versions(self) -> bool:
            raise StorageError("look at raw: AccessDenied")

    shop = served_without(Shop(classified, tmp_path, raw=Silent("raw")))
    assert [line.split(":")[0] for line in shop.forget().left] == ["raw"]
    assert shop.raw.get(DELIVERED) == CLEAN


def test_what_the_champion_needs_waits_also_once_the_pinned_version_is_gone(classified: Rows, tmp_path: Path) -> None:
    raw = VersionedMemoryStore("raw")
    shop = Shop(classified, tmp_path, raw=raw, pin=True)
    assert shop.forget().waits_for == 1
    raw.delete_version(DELIVERED, "v1")
    assert shop.forget().waits_for == 1
    assert shop.store.exists(f"datasets/{shop.theirs.id}.json")
    shop.promote(2, shop.deliver(CLEAN), input_example="{}")
    assert shop.forget().waits_for is None
    assert shop.holding() == []


def test_what_was_made_anew_under_the_name_of_what_went_is_not_erased_with_the_next_person(shop: Shop) -> None:
    shop.forget()
    page = "1/run/artifacts/data.html"
    assert not shop.world.uploads.exists(page)
    shop.world.uploads.put(page, b"<li>of somebody else</li>")
    found = shop.forget(key="B-77777")
    assert shop.world.uploads.exists(page)
    assert found.nothing


def write_batch(shop: Shop, bucket: MemoryStore) -> str:
    """A finished scoring; returns its job."""
    job = "e" * 64
    said = {"pipeline": "digits", "source": "s3://mine/in/", "target": "s3://mine/out/", "scores": [], "aside": []}
    shop.store.create(f"scores/{job}/manifest.json", canonical_json(said))
    for name, key in (("0", PERSON), ("1", OTHER)):
        pq.write_table(pa.table({"id": [key], "prediction": ["no"]}), sink := pa.BufferOutputStream())
        bucket.put(f"out/scores/part-00000{name}.parquet", sink.getvalue().to_pybytes())
    bucket.put("in/day.csv", DELIVERY)
    bucket.put("in/other.csv", CLEAN)
    return job


def test_files_of_batches_that_hold_them_are_told_by_their_places(shop: Shop) -> None:
    mine = MemoryStore("mine")
    write_batch(shop, mine)
    found = shop.forget(open_bucket={"mine": mine}.__getitem__)
    assert [line.split(": ")[0] for line in found.left] == [
        "s3://mine/out/scores/part-000000.parquet",
        "s3://mine/in/day.csv",
    ]
    assert mine.exists("out/scores/part-000000.parquet"), "it is the user's"
    mine.delete("out/scores/part-000000.parquet")
    mine.delete("in/day.csv")
    assert shop.forget(open_bucket={"mine": mine}.__getitem__).left == ()
    assert [line.split(": ")[0] for line in shop.forget().left] == [
        "s3://mine/out/scores/", "s3://mine/out/set-aside/", "s3://mine/in/",
    ]  # fmt: skip


def test_what_the_log_writer_has_not_sent_is_waited_for_and_told_where_it_stays(shop: Shop) -> None:
    spool = LogSpool(shop.home / "inference-log" / "spool", most_bytes=1 << 20)
    pq.write_table(pa.table({"client_key": [PERSON]}), sink := pa.BufferOutputStream())
    facts = FileFacts(version=1, rows=1, first_s=1.0, last_s=1.0, settled_s=1.0)
    spool.put("digits", "answers", sink.getvalue().to_pybytes(), facts, "0" * 64)
    spool.put("letters", "answers", sink.getvalue().to_pybytes(), facts, "0" * 64)
    (told,) = shop.forget().left
    assert "spool/000000000001.data: waits to be sent to the log" in told

    def sent(_seconds: float) -> None:
        spool.remove(next(iter(spool.entries())))
        shop.log.write([{"received_s": 4.0, "client_key": PERSON}])

    found = shop.forget(pause=sent)
    assert (found.left, found.log_rows) == ((), 1)
    for entry in spool.entries():
        spool.remove(entry)
    assert shop.holding() == []


def test_a_run_that_is_under_way_is_told_and_nobody_erases_beside_another(shop: Shop) -> None:
    run = LeaseKeeper(shop.world.store, lease_of("a-run", "digits", "ada"))
    try:
        assert any("run a-run of digits by ada was under way" in line for line in shop.forget().left)
    finally:
        run.close()
    assert shop.forget().left == ()
    other = LeaseKeeper(shop.world.store, lease_of("a-gc", "gc", "bob"), prefix=RUNNING)
    try:
        with pytest.raises(HeldError, match=r"bob .* erases or collects garbage"):
            shop.forget()
    finally:
        other.close()
    assert list(shop.world.store.list(RUNNING)) == []


def test_logs_are_tidied_by_nobody_beside_an_erasure(shop: Shop) -> None:
    other = LeaseKeeper(shop.world.store, lease_of("an-erasure", "digits", "bob"), prefix=RUNNING)
    try:
        with pytest.raises(HeldError, match=r"bob .* erases or collects garbage"):
            tidy_logs(shop.store, shop.world.keys)
    finally:
        other.close()
    assert tidy_logs(shop.store, shop.world.keys) == {}, "nothing is deployed"
    assert list(shop.world.store.list(RUNNING)) == []


@pytest.mark.parametrize("planted", [b"rubbish", b"[]", b"[" * 100_000, b'{"pipeline":"digits"}', b'{"pipeline":3}'])
def test_a_manifest_of_a_batch_that_is_not_ours_is_told_and_ends_nothing(shop: Shop, planted: bytes) -> None:
    shop.world.store.put("scores/x/manifest.json", planted)
    found = shop.forget()
    assert any(line.startswith("store/scores/x/manifest.json: ") for line in found.left), found.left
    assert shop.raw.get("shop/2026-11-01.csv") == CLEAN


class WaitsError(Exception):
    """What a run does that begins meanwhile."""


def waits(_seconds: float) -> None:
    raise WaitsError


def breakable(classified: Rows, tmp_path: Path) -> Shop:
    shop = Shop(classified, tmp_path, raw=Breakable("raw"), store=Breakable("store"))
    return served_without(shop)


def test_what_a_monitor_and_a_compaction_write_meanwhile_is_told_or_taken_in(classified: Rows, tmp_path: Path) -> None:
    shop = breakable(classified, tmp_path)
    store: Any = shop.world.store

    def meanwhile(key: str) -> None:
        if key.startswith("log/digits/rewrites/"):
            store.before = lambda _key: None
            with pytest.raises(WaitsError):  # a run that begins now
                wait_for_collector(store, is_gone=is_gone, pause=waits)
            publish_finding(shop.store, finding(number=9, words=f"seen: {PERSON}"))
            shop.log.write([{"received_s": 9.0, "client_key": OTHER}])
            Rewriter(store, shop.world.keys, "digits", "answers", now_s=1e9).compact()

    store.before = meanwhile
    found = shop.forget()
    assert [line for line in found.left if "findings/digits/" in line and "was written meanwhile" in line]
    assert shop.forget().left == ()
    assert shop.holding() == []
    assert shop.world.audit(replay=True).problems == []


@pytest.mark.parametrize("at", [0, 1, 2, 5, 9, 12, 15, 17, 18])
def test_killed_at_any_change_and_once_more_ends_the_same(at: int, classified: Rows, tmp_path: Path) -> None:
    """At the record, between objects, within a rewrite of the log, and before the delivery."""
    shop = breakable(classified, tmp_path)
    buckets: list[Any] = [shop.world.store, shop.raw]
    counts = [at]
    for one in buckets:
        one.counts = counts
    with pytest.raises(Killed):
        shop.forget()
    for one in buckets:
        one.counts = None
    for info in list(shop.world.store.list(RUNNING)):  # of a process that is dead
        shop.world.store.delete(info.key)
    assert shop.world.audit(replay=True).problems == [], "whatever is gone is in a record"
    again = shop.forget()
    assert again.left == ()
    assert shop.holding() == []
    assert shop.world.audit(replay=True).problems == []
    records = erasures_of(shop.store, "digits")
    assert [one.number for one in records] == list(range(1, len(records) + 1))
    assert shop.forget().nothing
