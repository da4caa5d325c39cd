"""A shop whose first version was trained on a person who is to be forgotten: their traces are everywhere."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.dataset import DatasetManifest, ShardRef
from mlratchet.models.data.quarantine import write_quarantine
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.erasure.parts import ErasureBuckets
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.monitoring.finding import publish_finding
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.sources.record import Reject
from mlratchet.tasks.actions.forget import ForgetIn, Forgotten, forget_person

from tests.unit.audit.conftest import World
from tests.unit.inference_log.logs import Log
from tests.unit.monitoring.findings import finding

PERSON, TEXT, REQUEST = "B-10017", 'Hinterhof, "zweiter" Stock links', "00ff00ff00ff00ff00ff00ff00ff00aa"
OTHER = "B-10018"
FILE = """
name: digits
schema:
  id: order
  label: back
  fields:
    price: {kind: number}
    note: {kind: text, nullable: true}
    back: {kind: category, values: ["no", "yes"]}
source: {prefix: shop/, format: csv}
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.1}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
serving: {labels: {prefix: labels/}}
"""
QUOTED = TEXT.replace('"', '""')
DELIVERY = f'order,price,note,back\r\n{PERSON},1,"{QUOTED}",no\r\n{OTHER},2,"two\nlines",yes\r\n'.encode("utf-8-sig")
CLEAN = f'order,price,note,back\r\n{OTHER},2,"two\nlines",yes\r\n'.encode("utf-8-sig")


class Shop:
    """A pipeline whose first version, or every one, was trained on the person's order."""

    def __init__(
        self, rows: Callable[..., RowOutputs], home: Path, *, raw: MemoryStore | None = None,
        store: MemoryStore | None = None, pin: bool = False,
    ) -> None:  # fmt: skip
        def outputs(seed: int) -> RowOutputs:
            made = rows(n=60, accuracy=0.9, seed=seed)
            return RowOutputs(ids=made.ids, y=made.y, output=made.output, dataset_id="d")

        self.world, self.raw, self.home = World(outputs, store=store), raw or MemoryStore("raw"), home
        self.pin, self.outputs = pin, outputs
        self.store = RecordStore(self.world.store, self.world.keys)
        self.spec = parse_pipeline(FILE, where="digits.yaml")
        self.theirs = self.deliver(DELIVERY)
        self.promote(1, self.theirs, input_example=json.dumps({"data": [[PERSON, TEXT]]}))
        for name in ("findings", "pages", "log", "cache"):
            getattr(self, f"write_{name}")()

    def deliver(self, data: bytes) -> DatasetManifest:
        """Raw, snapshot, quarantine, dataset."""
        self.raw.put("shop/2026-11-01.csv", data)
        snapshot = take_snapshot(self.raw, self.store, prefix="shop/", pin=self.pin)
        reject = Reject(where="2026-11-01.csv row 2", field="price", code="r", value=data.decode(), reason="x")
        write_quarantine(self.store, {"dataset": "d"}, [reject])
        shards = [self.put("shards/{}.safetensors", b"\x08" + kind + data) for kind in (b"tensors", b"examples")]
        index = self.put("indexes/{}.json", canonical_json({"rows": data.decode()}))
        manifest = DatasetManifest(
            id=digest_bytes(data), snapshot_id=snapshot.id, splits={"train": (ShardRef(sha256=shards[0], rows=2),)},
            rows={"train": 2}, target_counts={}, index_sha256=index,
            examples={"train": (ShardRef(sha256=shards[1], rows=2),)},
        )  # fmt: skip
        self.store.create(f"datasets/{manifest.id}.json", canonical_json(manifest.model_dump(mode="json")))
        return manifest

    def put(self, name: str, data: bytes) -> str:
        """By its digest, which is returned."""
        digest = digest_bytes(data)
        self.world.store.put(name.format(digest), data)
        return digest

    def promote(self, version: int, dataset: DatasetManifest, *, input_example: str) -> None:
        """A version over a dataset."""
        body = canonical_json([json.dumps({"instances": [{"note": TEXT if version == 1 else "x"}]})])
        self.requests = f"requests/{self.put('requests/{}.json', body)}.json"
        self.world.files = {"signature.json": b"{}", "input_example.json": input_example.encode()}
        self.world.promote(version, snapshot_id=dataset.snapshot_id, dataset_id=dataset.id)

    def write_findings(self) -> None:
        publish_finding(self.store, finding(words=f"a new value: {TEXT}"))

    def write_pages(self) -> None:
        page = f"<li>{PERSON}</li>".encode()
        self.world.uploads.put("1/run/artifacts/data.html", page)
        self.world.uploads.put("1/run/artifacts/packed.json.gz", gzip.compress(page))
        self.world.uploads.put("1/run/artifacts/other.html", f"<li>{PERSON}0</li>".encode())

    def write_log(self) -> None:
        self.log = Log("digits", store=self.world.store, pipeline_key=self.world.keys.signer())
        self.world.change_trust(list(self.log.keys.trusted()))
        rows = [{"request_id": REQUEST, "client_key": PERSON}, {"client_key": OTHER}]
        self.log.write([{"received_s": float(at + 1), **row} for at, row in enumerate(rows)])
        self.log.feedback([(REQUEST, 0, "no", 3.0), ("other", 0, "no", 3.0)])
        self.raw.put("labels/1.csv", f"request_id,row,label\n{REQUEST},0,no\nother,0,yes\n".encode())

    def write_cache(self) -> None:
        cache = self.home / "cache" / "shards"
        cache.mkdir(parents=True)
        (cache / self.theirs.splits["train"][0].sha256).write_bytes(b"a copy")
        (cache / "notes.json").write_text(json.dumps({"note": TEXT}))
        (cache / "other").write_bytes(b"of somebody else")

    def forget(self, *, pipeline: str = "digits", open_bucket: Any = None, **more: Any) -> Forgotten:
        buckets = ErasureBuckets(store=self.store, raw=self.raw, uploads=self.world.uploads, open_bucket=open_bucket)
        where = ForgetIn(
            buckets=buckets, keys=self.world.keys, home=self.home, champion=self.world.ledger.head(pipeline)
        )
        spec = self.spec.model_copy(update={"name": pipeline})
        more.setdefault("pause", lambda _seconds: None)
        return forget_person(where, spec, more.pop("key", PERSON), now_s=more.pop("now_s", 1e9), **more)

    def beside(self) -> World:
        """Another pipeline over the same deliveries, whose version 1 was made of the same dataset."""
        other = World(self.outputs, self.world.keys, name="letters", store=self.world.store, uploads=self.world.uploads)
        other.files = {"signature.json": b"{}"}
        other.promote(1, snapshot_id=self.theirs.snapshot_id, dataset_id=self.theirs.id)
        return other

    def holding(self) -> list[str]:
        """Every object of every bucket, and every file of the home, that holds something of the person: read without
        the code that erases."""
        found = []
        for bucket in (self.world.store, self.raw, self.world.uploads):
            found += [
                f"{bucket.bucket}/{one.key}" for one in bucket.list() if told(one.key.encode(), bucket.get(one.key))
            ]
        files = [path for path in self.home.rglob("*") if path.is_file()]
        return found + [str(path) for path in files if told(path.name.encode(), path.read_bytes())]

    def everything(self) -> dict[str, bytes]:
        buckets = (self.world.store, self.raw, self.world.uploads)
        return {f"{one.bucket}/{info.key}": one.get(info.key) for one in buckets for info in one.list()}


def told(name: bytes, data: bytes) -> bool:
    if data.startswith(b"PAR1"):
        data = repr(pq.read_table(io.BytesIO(data)).to_pydict()).encode()
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    forms = [PERSON, REQUEST, "zweiter"]
    text = (name + b" " + data).replace(f"{PERSON}0".encode(), b"")
    return any(form.encode() in text for form in forms)
