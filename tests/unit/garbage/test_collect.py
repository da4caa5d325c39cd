"""Garbage: whatever the graph of references, nothing reachable goes, and a collector may die at any object."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.machine.scratch import is_gone, lease_of
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models import fault_points
from mlratchet.models.fault_points import InjectedFault
from mlratchet.models.garbage.lock import collecting, wait_for_collector
from mlratchet.models.garbage.reachable import DAY_S, Retention
from mlratchet.models.identity.claim import take_claim
from mlratchet.models.identity.lease import HeldError, LeaseKeeper
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.pipeline.store import ORDER_S, publish_order, take_order
from mlratchet.models.registration.record import Registration, publish_registration
from mlratchet.tasks.actions.collect import collect

KEYS = MemoryKeys()
LATER_S = 2 * DAY_S  # beyond the grace of everything that a test writes


def sha(*words: object) -> str:
    return hashlib.sha256("/".join(map(str, words)).encode()).hexdigest()


@dataclass
class Bucket:
    """A store with works in every state, and an oracle that knows from typed references what each needs."""

    store: MemoryStore = field(default_factory=lambda: MemoryStore("store"))
    uploads: MemoryStore = field(default_factory=lambda: MemoryStore("mlflow"))
    needed: set[str] = field(default_factory=set)
    needed_uploads: set[str] = field(default_factory=set)
    versions: dict[str, int] = field(default_factory=dict)

    def write(self, key: str, document: Any = b"bytes") -> str:
        self.store.put(key, document if isinstance(document, bytes) else json.dumps(document).encode())
        return key

    def data(self, raws: list[int], shards: list[int], name: str) -> tuple[str, str, set[str]]:
        """A snapshot and its dataset, which may share objects with others."""
        objects = [self.write(f"raw/{sha('raw', at)}") for at in raws]
        snapshot = sha("snapshot", name, raws)
        document = {"id": snapshot, "prefix": name, "objects": [{"key": "k", "sha256": sha("raw", at)} for at in raws]}
        keys = {*objects, self.write(f"snapshots/{snapshot}.json", document)}
        keys.add(self.write(f"listings/{sha('l', name)}/{sha('f', snapshot)}.json", {"snapshot": snapshot}))
        dataset, index = sha("dataset", snapshot, shards), sha("index", name)
        refs = [self.write(f"shards/{sha('shard', at)}.safetensors") for at in shards]
        splits = {"train": [{"sha256": sha("shard", at), "rows": 1} for at in shards]}
        manifest = {"id": dataset, "snapshot_id": snapshot, "splits": splits, "index_sha256": index}
        keys |= {*refs, self.write(f"datasets/{dataset}.json", manifest), self.write(f"indexes/{index}.json", {})}
        return snapshot, dataset, keys

    def work(self, at: int, raws: list[int], shards: list[int], name: str, state: str) -> None:
        """`state`: stopped (by the data gate), claimed, registered or promoted."""
        key, weights, rows = sha("work", at), sha("weights", at), sha("rows", at)
        snapshot, dataset, data = self.data(raws, shards, name)
        decision = sha("decision", at)
        evidence = {
            self.write(f"decisions/{decision}.json", {"work_key": key, "digests": {"rows": f"rows/{rows}"}}),
            self.write(f"gates/{key}/{sha('gate', at)}.json", {"decision": decision, "work_key": key}),
            self.write(f"rows/{rows}.safetensors"),
        }
        self.needed |= evidence  # decided of late: kept whatever became of the work
        if state == "stopped":
            return
        claim = take_claim(
            self.store, key, parent_version=None, owner="o", now_s=0.0, run=f"run-{at}", refers=(snapshot, dataset)
        )
        mine = {f"work/{key}/claim-{claim.epoch:06d}.json", self.write(f"work/{key}/e000001/weights-{weights}.st")}
        mine.add(self.write(f"work/{key}/e000001/result.json", {"weights_sha256": weights, "rows_key": rows}))
        parts = {
            self.write(f"work/{key}/e000001/checkpoints/000000001/{sha('part', at)}.safetensors"),
            self.write(f"work/{key}/e000001/checkpoints/000000001/marker.json", {"parts": []}),
        }
        folder = f"1/models/m-{sha('m', at)[:32]}/artifacts"
        self.uploads.put(f"{folder}/model.pt2", b"bytes")
        source = f"s3://mlflow/{folder}"
        self.needed |= mine | data
        self.needed_uploads.add(f"{folder}/model.pt2")
        if state == "claimed":
            self.needed |= parts
            self.needed.add(self.write(f"work/{key}/uploads/{sha('u', at)}.json", {"source_uri": source}))
            return
        self.register(name, key, weights, rows, snapshot, dataset, source, decision, state=state)

    def register(
        self, name: str, key: str, weights: str, rows: str, snapshot: str, dataset: str, source: str, decision: str,
        *, state: str,
    ) -> None:  # fmt: skip
        version = self.versions[name] = self.versions.get(name, 0) + 1
        manifest, revision = sha("manifest", key), sha("revision", name)
        self.needed.add(self.write(f"manifests/{manifest}.json", {"files": {}}))
        self.needed.add(self.write(f"pipelines/{revision}.json", {"name": name}))
        publish_registration(
            self.store,
            Registration(
                name=name, version=version, work_key=key, run_id="r", model_id=None, source_uri=source, manifest={},
                manifest_digest=manifest, weights_key=f"work/{key}/e000001/weights-{weights}.st",
                weights_sha256=weights, snapshot_id=snapshot, dataset_id=dataset, rows_key=f"rows/{rows}.safetensors",
                revision=revision, parent_version=None, registered_s=time.time(),
            ),
        )  # fmt: skip
        self.needed.add(f"registrations/{key}.json")
        if state == "promoted":
            ledger = ObjectLedger(self.store, KEYS)
            entry = ledger.append(
                name, action="promote", version=version, work_key=key, decision=decision, manifest=manifest, actor="a",
                reason="r", now_s=0.0, expected_generation=len(ledger.entries(name)),
            )  # fmt: skip
            self.needed.add(f"ledger/{name}/{entry.generation:08d}.json")

    def litter(self, at: int) -> None:
        """What killed runs leave."""
        self.data([100 + at], [200 + at], f"litter-{at}")
        self.write(f"rows/{sha('litter', at)}.safetensors")
        self.uploads.put(f"1/models/m-{sha('litter', at)[:32]}/artifacts/model.pt2", b"bytes")
        self.needed.add(self.write(f"somebody-elses/{sha('unknown', at)}.json", {"raw": sha("raw", at)}))
        self.needed.add(self.write(f"raw/{sha('raw', at)}"))

    def held(self) -> set[str]:
        return {info.key for info in self.store.list()}

    def collect(self, *, delete: bool = True, **more: Any) -> list[str]:
        found = collect(self.store, self.uploads, delete=delete, now_s=time.time() + LATER_S, **more)
        return [line["key"] for line in found]

    def dangling(self) -> set[str]:
        """Documents whose data is gone, by typed references."""
        held, broken = self.held(), set()
        for key in held:
            if key.startswith("datasets/"):
                document = json.loads(self.store.get(key))
                refs = [f"shards/{ref['sha256']}.safetensors" for ref in document["splits"]["train"]]
                broken |= {key} - ({key} if {*refs, f"indexes/{document['index_sha256']}.json"} <= held else set())
            if key.startswith("snapshots/"):
                refs = [f"raw/{item['sha256']}" for item in json.loads(self.store.get(key))["objects"]]
                broken |= {key} - ({key} if set(refs) <= held else set())
            if key.startswith("listings/"):
                target = f"snapshots/{json.loads(self.store.get(key))['snapshot']}.json"
                broken |= {key} - ({key} if target in held else set())
            if key.endswith("marker.json"):
                folder = key.removesuffix("marker.json")
                broken |= {key} - ({key} if any(k.startswith(folder) and k != key for k in held) else set())
        return broken


few = st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True)
works = st.tuples(
    few, few, st.sampled_from(["digits", "letters"]), st.sampled_from(["stopped", "claimed", "registered", "promoted"])
)
graphs = st.tuples(st.lists(works, max_size=6), st.integers(0, 3))


def build(graph: Any) -> Bucket:
    bucket = Bucket()
    for at, (raws, shards, name, state) in enumerate(graph[0]):
        bucket.work(at, raws, shards, name, state)
    for at in range(graph[1]):
        bucket.litter(at)
    return bucket


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(graph=graphs)
def test_nothing_that_is_needed_goes_and_what_is_not_goes_at_once(graph: Any) -> None:
    bucket = build(graph)
    listed = bucket.collect(delete=False)
    assert bucket.needed <= bucket.held()
    assert not set(listed) & (bucket.needed | bucket.needed_uploads)
    assert bucket.collect() == listed
    assert bucket.needed <= bucket.held()
    assert bucket.needed_uploads == {info.key for info in bucket.uploads.list()}
    assert bucket.dangling() == set()
    assert bucket.collect() == []
    litter = [key for key in bucket.held() if any(sha("raw", 100 + at) in key for at in range(graph[1]))]
    assert litter == []


@settings(max_examples=40, deadline=None)
@given(graph=graphs, at=st.integers(0, 30))
def test_a_collector_that_dies_anywhere_leaves_nothing_dangling_and_the_next_one_ends_its_work(
    graph: Any, at: int
) -> None:
    bucket, whole = build(graph), build(graph)
    whole.collect()
    deleted = 0
    delete = bucket.store.delete

    def counting(key: str) -> None:
        nonlocal deleted
        delete(key)
        if not key.startswith("gc/"):
            deleted += 1
            if deleted == at:
                fault_points.arm("gc.after_delete", "raise")

    bucket.store.delete = counting  # type: ignore[method-assign]
    try:
        bucket.collect()
    except InjectedFault:
        assert deleted == at
        assert bucket.dangling() == set()
        assert bucket.needed <= bucket.held()
    finally:
        fault_points.disarm()
    bucket.store.delete = delete  # type: ignore[method-assign]
    bucket.collect()
    kept = {key for key in bucket.held() if not key.startswith("gc/")}
    assert kept == {key for key in whole.held() if not key.startswith("gc/")}


def promoted_bucket(versions: int) -> Bucket:
    bucket = Bucket()
    for at in range(versions):
        bucket.work(at, [at], [at], "digits", "promoted")
    return bucket


def test_old_versions_retire_but_not_the_newest_champions_and_never_their_evidence() -> None:
    bucket = promoted_bucket(5)
    kept = Retention(champions=2, retire_days=1.0)
    gone = set(bucket.collect(retention=kept))
    for at in range(5):
        retired = at < 3
        assert (f"raw/{sha('raw', at)}" in gone) == retired
        assert (f"shards/{sha('shard', at)}.safetensors" in gone) == retired
        assert any(sha("m", at)[:32] in key for key in gone) == retired
        assert any(f"weights-{sha('weights', at)}" in key for key in gone) == retired
        assert f"rows/{sha('rows', at)}.safetensors" not in gone
        assert f"decisions/{sha('decision', at)}.json" not in gone
    assert len(ObjectLedger(bucket.store, KEYS).entries("digits")) == 5
    assert bucket.collect(retention=kept) == []
    with pytest.raises(ValueError, match="champions must be >= 1"):
        Retention(champions=0)


def test_abandoned_work_goes_after_its_time_unless_its_run_lives() -> None:
    bucket = Bucket()
    bucket.work(1, [1], [1], "digits", "claimed")
    short = Retention(unfinished_days=1.0)
    keeper = LeaseKeeper(bucket.store, lease_of("run-1", "digits", "ada"))
    assert not [key for key in bucket.collect(retention=short) if key.startswith("work/")]
    keeper.close()
    assert [key for key in bucket.collect(retention=short) if key.startswith("work/")]
    assert not list(bucket.store.list(f"work/{sha('work', 1)}/"))


def test_while_a_run_lives_only_what_it_cannot_take_up_again_goes() -> None:
    bucket = promoted_bucket(1)
    bucket.litter(1)
    keeper = LeaseKeeper(bucket.store, lease_of("another", "digits", "ada"))
    gone = bucket.collect()
    assert [key for key in gone if "/checkpoints/" in key]
    assert not [key for key in gone if key.startswith(("raw/", "shards/", "datasets/", "snapshots/"))]
    keeper.close()
    assert [key for key in bucket.collect() if key.startswith("shards/")]


def test_a_run_that_begins_waits_for_the_collector_and_not_for_a_dead_one() -> None:
    store = MemoryStore("store")
    waited: list[float] = []

    class Enough(Exception):
        pass

    def pause(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise Enough

    me = lease_of("c", "gc", "ada")
    with collecting(store, me, is_gone=is_gone) as (busy, _):
        assert not busy
        with pytest.raises(Enough):
            wait_for_collector(store, is_gone=is_gone, pause=pause)
    assert wait_for_collector(store, is_gone=is_gone, pause=pause) == {"gc/started/c.json"}
    dead = {**asdict(me), "pid": 2**22 - 1, "run": "d"}
    store.put("gc/running/d.json", json.dumps(dead).encode())
    assert wait_for_collector(store, is_gone=is_gone, pause=pause) == {"gc/started/c.json"}
    assert len(waited) == 3


def test_a_collector_that_may_have_been_taken_for_dead_deletes_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = promoted_bucket(1)
    bucket.litter(1)
    before = {info.key for info in bucket.store.list()}
    monkeypatch.setattr(LeaseKeeper, "lapsed", property(lambda _: True))
    with pytest.raises(HeldError, match=r"no sign of life for a minute.*: 0 of \d+ objects are deleted"):
        bucket.collect()
    assert before <= {info.key for info in bucket.store.list()}


def test_reports_and_old_decisions_of_stopped_runs_have_their_time() -> None:
    bucket = Bucket()
    bucket.work(1, [1], [1], "digits", "stopped")
    bucket.write("runs/one.json", {"work_key": sha("work", 1)})
    assert not [key for key in bucket.collect() if key.startswith(("runs/", "decisions/", "gates/", "rows/"))]
    gone = bucket.collect(retention=Retention(report_days=1.0))
    assert {key.split("/")[0] for key in gone} == {"runs", "decisions", "gates", "rows", "gc"}


def test_an_order_is_kept_with_its_revision_for_as_long_as_its_run_may_begin() -> None:
    """`ratchet run --set` while the worker is down, or behind a run that asked people."""
    bucket = Bucket()
    store, revision, weights = RecordStore(bucket.store, KEYS), sha("revision"), sha("weights")
    bucket.write(f"pipelines/{revision}.json", {"train": {"initial_weights": weights}})
    bucket.write(f"weights/{weights}.safetensors")
    at_s = time.time()
    order = publish_order(store, "p", revision, actor="me", at_s=at_s)
    collect(store, bucket.uploads, delete=True, now_s=at_s + ORDER_S - 60)
    assert take_order(store, "p", order, run_id="r", now_s=at_s + ORDER_S - 30).revision == revision
    assert bucket.store.exists(f"pipelines/{revision}.json")
    assert bucket.store.exists(f"weights/{weights}.safetensors")
    collect(store, bucket.uploads, delete=True, now_s=time.time() + ORDER_S + 60)
    assert not list(bucket.store.list("orders/")) + list(bucket.store.list("pipelines/"))
