"""What has to go for a person to be forgotten: found by lineage from the deliveries that hold their records, and by a
search through everything else for what is known of them.

Found from the outside in, and to be erased from the inside out: the deliveries, by which all the rest is found, go
last, so that whoever was interrupted finds the rest again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.snapshot import Snapshot, folder_of, load_snapshot
from mlratchet.models.erasure.deliveries import AS_THEY_SAY, CannotPartError, Parted, TableReading, Wanted, part
from mlratchet.models.erasure.places import Place, keys_of, place_of
from mlratchet.models.erasure.traces import LEAST_TELLING, LEAST_WORDS, Traces
from mlratchet.models.errors import SecurityError
from mlratchet.models.garbage.kinds import words_in
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.signed_records import bare
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.ports.versions import VersionedStore
from mlratchet.models.registration.record import Registration

OF_ROWS = ("rows/", "requests/", "attributions/", "quarantine/", "profiles/", "nodes/")  # made of a dataset's rows
NO_TEXT = re.compile(r"(\.pt2|\.pt|/weights-[0-9a-f]{64}\.[a-z]+)$|^work/[^/]+/e\d+/checkpoints/|^(raw|log)/|^weights/")
DECIDES = (
    "ledger/", "decisions/", "signatures/", "approvals/", "deployments/", "pipelines/", "policies/", "evidence/",
    "manifests/", "registrations/", "versions/", "canary/", "holds/", "answers/", "retrains/", "columns/", "adoptions/",
    "erasures/", "gates/", "holdout/", "aside/",
)  # fmt: skip
ARTIFACT = re.compile(r"^(?P<folder>[^/]+/models/[^/]+/artifacts)/")
READINGS = ("kept/", "pieces/")
MOST_BYTES = 256 << 20  # of an object that is searched; a larger one is told


@dataclass(frozen=True, kw_only=True)
class Touch:
    """One object that goes, or is written anew."""

    bucket: str
    key: str
    place: Place
    before: str  # SHA-256 hex
    after: bytes | None = None  # what lies there then; None: nothing
    records: int = 0  # of the person's
    etag: str = ""
    named: bool = False  # whether the name itself tells of the person


@dataclass(kw_only=True)
class ErasurePlan:
    """Everything, in the order in which it is to go."""

    touches: list[Touch] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)  # that were trained on their records
    waiting: list[str] = field(default_factory=list)  # `bucket/key` of what the champion needs
    traces: Traces = field(default_factory=Traces.of)  # what is known of them
    left: list[str] = field(default_factory=list)  # what a person has to look at, a line each
    waits_for: int | None = None  # the champion, when it was trained on them: what it needs goes once another serves

    def counts(self) -> dict[str, int]:
        """Objects by place."""
        found: dict[str, int] = {}
        for one in self.touches:
            found[one.place] = found.get(one.place, 0) + 1
        return found


@dataclass(frozen=True, kw_only=True)
class ErasureBuckets:
    """Where a pipeline's things lie."""

    store: ObjectStore  # a `RecordStore`
    raw: ObjectStore  # of its source
    uploads: ObjectStore  # of MLflow's artifacts


@dataclass(frozen=True, kw_only=True)
class ErasureDemand:
    """Who is to be forgotten, of which pipeline."""

    pipeline: str
    prefix: str  # of its source
    wanted: Wanted
    request_ids: tuple[str, ...]  # of their requests in the inference log
    reading: TableReading = AS_THEY_SAY  # of its tables
    labels: str | None = None  # the prefix below which labels are brought, in the bucket of the source
    labels_by: str = "request_id"  # the column there that names a request


class Planner:
    """Of one demand. Reads, and changes nothing."""

    def __init__(
        self,
        buckets: ErasureBuckets,
        asked: ErasureDemand,
        *,
        registrations: Iterable[Registration],
        champion: LedgerEntry | None,
        pending: Collection[str] = (),
    ) -> None:
        """`pending`: `bucket/key` of what earlier records of this pipeline say goes, or goes once another serves."""
        self._pending = frozenset(pending)
        self._buckets, self._asked = buckets, asked
        self._store = bare(buckets.store)
        known = list(registrations)
        self._records = [one for one in known if one.name == asked.pipeline]
        self._foreign = [one for one in known if one.name != asked.pipeline]
        self._champion = champion
        self._plan = ErasurePlan()
        self._parted: dict[str, Parted] = {}  # SHA-256 -> of a delivery with their records

    def plan(self) -> ErasurePlan:
        """See the module."""
        plan, asked = self._plan, self._asked
        raw = [*self._deliveries(), *self._labels()]
        snapshots = {one.id: one for one in self._snapshots()}
        copies = self._copies(snapshots.values())
        hit = set(self._parted)
        touched = {identity for identity, one in snapshots.items() if any(item.sha256 in hit for item in one.objects)}
        theirs, others = self._datasets(touched)
        plan.versions = sorted(one.version for one in self._records if one.snapshot_id in touched)
        needed = self._needed(theirs)
        by_lineage = self._by_lineage(theirs, others)
        columns = (*asked.wanted.fields, "id", "@group", "client_key", "request_id")
        traces = Traces.of(asked.wanted.keys, asked.request_ids, self._texts(), columns=columns)
        plan.traces = traces
        spared = {key for one in others for key in keys_of(one)}
        derived = [*self._derived(by_lineage, traces, needed, spared), *self._readings(traces)]
        kept = {touch.key for touch in copies if touch.key in needed}
        plan.waiting += [f"{self._store.bucket}/{key}" for key in sorted(kept)]
        plan.touches = [*derived, *(one for one in copies if one.key not in kept), *raw]
        plan.left += self._kept_versions()
        if self._champion is not None and plan.waiting:
            plan.waits_for = self._champion.version
        return plan

    def _kept_versions(self) -> list[str]:
        """A bucket that keeps versions keeps what is deleted in it."""
        buckets = (self._buckets.raw, self._store, self._buckets.uploads)
        return [
            f"{one.bucket}: keeps older versions of the objects that go; delete those too "
            f"(`aws s3api list-object-versions --bucket {one.bucket}`, then delete-object with --version-id)"
            for one in buckets
            if any(touch.bucket == one.bucket for touch in self._plan.touches)
            and isinstance(one, VersionedStore)
            and one.keeps_versions()
        ]

    def _deliveries(self) -> Iterator[Touch]:
        raw = self._buckets.raw
        for info in raw.list(folder_of(self._asked.prefix)):
            yield from self._rewritten(raw, info.key, info.etag, "raw", self._asked.wanted, self._asked.reading)

    def _labels(self) -> Iterator[Touch]:
        asked = self._asked
        if asked.labels is None or not asked.request_ids:
            return
        wanted = Wanted(fields=(asked.labels_by,), keys=frozenset(asked.request_ids))
        for info in self._buckets.raw.list(asked.labels):
            yield from self._rewritten(self._buckets.raw, info.key, info.etag, "labels", wanted, AS_THEY_SAY)

    def _rewritten(
        self, bucket: ObjectStore, key: str, etag: str, place: Place, wanted: Wanted, reading: TableReading
    ) -> Iterator[Touch]:
        data = bucket.get(key)
        try:
            parted = part(key, data, wanted, reading)
        except CannotPartError as error:
            self._plan.left.append(f"{bucket.bucket}/{error}")
            return
        if parted is None:
            return
        before = digest_bytes(data)
        if place == "raw":
            self._parted[before] = parted
        yield Touch(
            bucket=bucket.bucket, key=key, place=place, before=before, after=parted.rest, records=len(parted.theirs),
            etag=etag, named=any(one in key for one in wanted.keys),
        )  # fmt: skip

    def _snapshots(self) -> Iterator[Snapshot]:
        for info in self._store.list("snapshots/"):
            try:
                one = load_snapshot(self._store, info.key.removeprefix("snapshots/").removesuffix(".json"))
            except (SecurityError, ObjectNotFound):  # an audit tells of it
                continue
            if folder_of(one.prefix) == folder_of(self._asked.prefix):
                yield one

    def _copies(self, snapshots: Iterable[Snapshot]) -> list[Touch]:
        """Copies of deliveries, of those too that are not in the source any more."""
        found = []
        names = {item.sha256: item.key for one in snapshots for item in one.objects}
        for sha256, name in sorted(names.items()):
            key = f"raw/{sha256}"
            try:
                data = self._store.get(key)
                parted = part(name, data, self._asked.wanted, self._asked.reading)
                theirs = parted is not None or f"{self._store.bucket}/{key}" in self._pending
                theirs = theirs or Traces.of(self._asked.request_ids).in_object(data)
            except ObjectNotFound:
                continue
            except CannotPartError as error:  # a run reads none of it either
                self._plan.left.append(f"{self._store.bucket}/{key}: {error}")
                continue
            if theirs:
                self._parted[sha256] = parted or Parted(theirs=(), others=frozenset(), rest=None)
                found.append(Touch(bucket=self._store.bucket, key=key, place="copies of raw", before=sha256))
        return found

    def _datasets(self, snapshots: set[str]) -> tuple[list[DatasetManifest], list[DatasetManifest]]:
        """Of those snapshots, and all others."""
        found: tuple[list[DatasetManifest], list[DatasetManifest]] = ([], [])
        for info in self._store.list("datasets/"):
            try:
                one = load_dataset(self._store, info.key.removeprefix("datasets/").removesuffix(".json"))
            except (SecurityError, ObjectNotFound):
                continue
            found[one.snapshot_id not in snapshots].append(one)
        return found

    def _needed(self, theirs: list[DatasetManifest]) -> set[str]:
        """Keys that the champion cannot be compared or replaced without."""
        if self._champion is None:
            return set()
        found: set[str] = set()
        for record in (one for one in self._records if one.version == self._champion.version):
            found.add(record.source_uri.removeprefix(f"s3://{self._buckets.uploads.bucket}/").rstrip("/"))
            if record.version in self._plan.versions:
                mine = [one for one in theirs if one.id == record.dataset_id]
                found |= {key for one in mine for key in (*keys_of(one), f"datasets/{one.id}.json")}
                found |= self._behind(record) | {record.rows_key}
                found |= {f"raw/{sha256}" for sha256 in self._of_snapshot(record.snapshot_id)}
        return found

    def _of_snapshot(self, identity: str) -> list[str]:
        try:
            return [item.sha256 for item in load_snapshot(self._store, identity).objects]
        except (ObjectNotFound, SecurityError):
            return []

    def _by_lineage(self, theirs: list[DatasetManifest], others: list[DatasetManifest]) -> set[str]:
        """What is made of rows among which theirs are: nobody can tell which of the numbers are theirs."""
        spared = {key for one in others for key in keys_of(one)}
        found = {key for one in theirs for key in keys_of(one) if not key.startswith("preparations/")} - spared
        found |= {f"datasets/{one.id}.json" for one in theirs}
        for record in self._records:
            if record.version in self._plan.versions:
                found |= {record.rows_key, *self._behind(record)}
        return found

    def _behind(self, record: Registration) -> set[str]:
        """Rows, requests and the like that decisions about a version name."""
        return self._rows_by_work.get(record.work_key, set())

    @cached_property
    def _rows_by_work(self) -> dict[str, set[str]]:
        """Work key -> keys below `OF_ROWS` that its decisions name, or the evidence that those name."""
        there = {
            word: info.key
            for folder in OF_ROWS
            for info in self._store.list(folder)
            for word in words_in(info.key.encode())
        }
        found: dict[str, set[str]] = {}
        for info in self._store.list("decisions/"):
            data = self._store.get(info.key)
            words = words_in(data)
            for word in list(words):
                try:
                    words |= words_in(self._store.get(f"evidence/{word}.json"))
                except ObjectNotFound:
                    continue
            try:
                work_key = str(json.loads(data).get("work_key"))
            except (ValueError, AttributeError):  # an audit tells of it
                continue
            found.setdefault(work_key, set()).update(there[word] for word in words & set(there))
        return found

    def _texts(self) -> set[str]:
        """Cells that stand in their records alone, and are long enough to say whose they are."""
        others = {text for one in self._parted.values() for text in one.others}
        cells = {str(cell) for one in self._parted.values() for row in one.theirs for cell in row.values()}
        return {cell for cell in cells if len(cell) >= LEAST_WORDS and cell not in others}

    @cached_property
    def _of_others(self) -> dict[str, str]:
        """`bucket/key`, or the folder of an artifact, that registrations of other pipelines need -> the pipeline."""
        store, found = self._store, dict[str, str]()
        for record in self._foreign:
            keys = {record.rows_key, f"datasets/{record.dataset_id}.json", record.weights_key, *self._behind(record)}
            with suppress(SecurityError, ObjectNotFound):
                keys |= set(keys_of(load_dataset(store, record.dataset_id)))
            found |= {f"{store.bucket}/{key}": record.name for key in keys}
            found[record.source_uri.removeprefix("s3://").rstrip("/")] = record.name
        return found

    def _is_of_others(self, place: str) -> bool:
        """Whether another pipeline needs it, which is told: erasing there is a demand of its own."""
        name = self._of_others.get(place)
        if name is not None:
            line = f"{place}: may hold something of theirs and is of pipeline {name}: `ratchet forget {name} KEY`"
            self._plan.left.append(line)
        return name is not None

    def _derived(self, by_lineage: set[str], traces: Traces, needed: set[str], spared: set[str]) -> Iterator[Touch]:
        """Everything else in the store and among the artifacts that is or holds something of theirs."""
        store = self._store
        for info in store.list():
            key = info.key
            if key.startswith(("raw/", "log/", *READINGS)) or (key in spared and key not in by_lineage):
                continue
            if key in by_lineage or self._holds(store, key, info.size_bytes, traces):
                if self._is_of_others(f"{store.bucket}/{key}"):
                    continue
                if key in needed:
                    self._plan.waiting.append(f"{store.bucket}/{key}")
                    continue
                if key.startswith(DECIDES):
                    self._plan.left.append(f"{store.bucket}/{key}: holds something of theirs, and decisions rest on it")
                    continue
                yield self._gone(store, key, place_of(key), traces)
        yield from self._artifacts(traces, needed)

    def _artifacts(self, traces: Traces, needed: set[str]) -> Iterator[Touch]:
        uploads = self._buckets.uploads
        done: set[str] = set()  # folders
        for info in uploads.list():
            match = ARTIFACT.match(info.key)
            folder = match["folder"] if match else ""
            if folder in done or not self._holds(uploads, info.key, info.size_bytes, traces):
                continue
            if match is None:
                yield self._gone(uploads, info.key, "pages", traces)
            elif self._is_of_others(f"{uploads.bucket}/{folder}"):
                done.add(folder)
            elif self._by_chance(folder, info.key, traces):
                continue
            elif folder in needed:
                self._plan.waiting.append(f"{uploads.bucket}/{info.key}")
            else:  # a version without one of its files is none
                done.add(folder)
                for one in list(uploads.list(f"{folder}/")):
                    yield self._gone(uploads, one.key, "artifacts", traces)

    def _by_chance(self, folder: str, key: str, traces: Traces) -> bool:
        """Whether a version that was not trained on them holds a short key alone, which is told: it may be a class."""
        place = f"{self._buckets.uploads.bucket}/{key}"
        trained = [one.source_uri.rstrip("/") for one in self._records if one.version in self._plan.versions]
        if f"s3://{self._buckets.uploads.bucket}/{folder}" in trained or place in self._pending:
            return False
        data = self._buckets.uploads.get(key)
        if traces.telling.in_text(key.encode()) or traces.telling.in_object(data):
            return False
        self._plan.left.append(
            f"{place}: holds a key of fewer than {LEAST_TELLING} characters, in a version that was not trained on "
            "them; look whether it is theirs"
        )
        return True

    def _readings(self, traces: Traces) -> Iterator[Touch]:
        """What was read of deliveries and is kept, packed so that no search sees into it: it can be read again."""
        if self._parted:
            for info in (one for folder in READINGS for one in self._store.list(folder)):
                yield self._gone(self._store, info.key, "copies of raw", traces)

    def _holds(self, bucket: ObjectStore, key: str, size_bytes: int, traces: Traces) -> bool:
        if f"{bucket.bucket}/{key}" in self._pending or traces.in_text(key.encode()):
            return True
        if NO_TEXT.search(key):
            return False
        if size_bytes > MOST_BYTES:
            self._plan.left.append(f"{bucket.bucket}/{key}: has {size_bytes} bytes and was not searched")
            return False
        try:
            return traces.in_object(bucket.get(key))
        except ObjectNotFound:
            return False

    @staticmethod
    def _gone(bucket: ObjectStore, key: str, place: Place, traces: Traces) -> Touch:
        named = traces.in_text(key.encode())
        return Touch(bucket=bucket.bucket, key=key, place=place, before=digest_bytes(bucket.get(key)), named=named)
