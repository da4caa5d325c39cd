"""What has to go for a person to be forgotten: found by lineage from the deliveries that hold their records, and by a
search through everything else for what is known of them.

Found from the outside in, and to be erased from the inside out: the deliveries, by which all the rest is found, go
last, so that whoever was interrupted finds the rest again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.snapshot import Snapshot, folder_of, load_snapshot
from mlratchet.models.erasure.batches import Batches
from mlratchet.models.erasure.copies import Copies, content_of
from mlratchet.models.erasure.deliveries import AS_THEY_SAY, CannotPartError, Parted, TableReading, part
from mlratchet.models.erasure.older_versions import OlderVersions, keeps_versions, told_version
from mlratchet.models.erasure.others import OthersNeeds
from mlratchet.models.erasure.parts import ErasureBuckets, ErasureDemand, ErasurePlan, KnownBefore, Touch
from mlratchet.models.erasure.places import keys_of, place_of
from mlratchet.models.erasure.rows_behind import RowsBehind
from mlratchet.models.erasure.traces import LEAST_TELLING, LEAST_WORDS, Traces
from mlratchet.models.erasure.whose import Wanted
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.erasures import ErasedObject, said_by
from mlratchet.models.identity.signed_records import ASIDE_OF_LOG, bare
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore

NO_TEXT = re.compile(
    r"(\.pt2|\.pt|/weights-[0-9a-f]{64}\.[a-z]+)$|^work/[^/]+/e\d+/checkpoints/|^raw/|^log/(?!_aside/)|^weights/"
)
DECIDES = (
    "ledger/", "decisions/", "signatures/", "approvals/", "deployments/", "pipelines/", "policies/", "evidence/",
    "manifests/", "registrations/", "versions/", "canary/", "holds/", "answers/", "retrains/", "columns/", "adoptions/",
    "erasures/", "gates/", "holdout/",
)  # fmt: skip
ARTIFACT = re.compile(r"^(?P<folder>[^/]+/models/[^/]+/artifacts)/")
READINGS = ("kept/", "pieces/")
MOST_BYTES = 256 << 20  # of an object that is searched; a larger one is told


class Planner:
    """Of one demand. Reads, and changes nothing."""

    def __init__(self, buckets: ErasureBuckets, asked: ErasureDemand, known: KnownBefore) -> None:
        self._buckets, self._asked, self._known = buckets, asked, known
        self._store = bare(buckets.store)
        self._records = [one for one in known.registrations if one.name == asked.pipeline]
        foreign = [one for one in known.registrations if one.name != asked.pipeline]
        self._behind = RowsBehind(self._store)
        self._others = OthersNeeds(self._store, foreign, self._behind, known.released)
        self._plan = ErasurePlan()
        self._parted: dict[str, Parted] = {}  # SHA-256 -> of a delivery with their records

    def plan(self) -> ErasurePlan:
        """See the module."""
        plan, asked = self._plan, self._asked
        raw = [*self._deliveries(), *self._labels()]
        everyones = list(self._snapshots())
        snapshots = {one.id: one for one in everyones if folder_of(one.prefix) == folder_of(asked.prefix)}
        copies = self._copies(snapshots.values())
        hit = set(self._parted)
        touched = {identity for identity, one in snapshots.items() if any(item.sha256 in hit for item in one.objects)}
        theirs, others = self._datasets(touched)
        plan.versions = sorted(one.version for one in self._records if one.snapshot_id in touched)
        needed = self._needed(theirs)
        by_lineage = self._by_lineage(theirs, others)
        columns = (*asked.wanted.fields, "id", "@group", "client_key", "request_id")
        plan.traces = traces = Traces.of(
            asked.wanted.keys, asked.request_ids, self._texts(), columns=columns, names=asked.wanted.fields,
            decimal_commas=asked.decimal_commas,
        )  # fmt: skip
        spared = {key for one in others for key in keys_of(one)}
        derived = [*self._derived(by_lineage, traces, needed, spared), *self._readings(traces)]
        copies = [one for one in copies if not self._stays(self._store, one.key, needed, one.before)]
        gone = {one.before for one in copies}
        listings = self._listings({one.id for one in everyones if any(item.sha256 in gone for item in one.objects)})
        planned = {one.key for one in derived}
        plan.touches = [*derived, *(one for one in listings if one.key not in planned), *copies, *raw]
        plan.left += list(
            Batches(self._buckets.store, self._buckets.open_bucket, asked.pipeline, MOST_BYTES).holding(traces)
        )
        plan.left += self._kept_versions()
        if self._known.champion is not None and plan.waiting:
            plan.waits_for = self._known.champion.version
        return plan

    def _kept_versions(self) -> list[str]:
        """Versions of the source were told one by one, where it says that it keeps them."""
        raw = [] if keeps_versions(self._buckets.raw) else [self._buckets.raw]
        return OlderVersions((*raw, self._store, self._buckets.uploads)).of(self._plan.touches)

    def _deliveries(self) -> Iterator[Touch]:
        raw = self._buckets.raw
        yield from self._rewritten(raw, folder_of(self._asked.prefix), self._asked.wanted, self._asked.reading)

    def _labels(self) -> Iterator[Touch]:
        asked = self._asked
        if asked.labels is not None and asked.request_ids:
            wanted = Wanted(fields=(asked.labels_by,), keys=frozenset(asked.request_ids))
            yield from self._rewritten(self._buckets.raw, asked.labels, wanted, None)

    def _rewritten(
        self, bucket: ObjectStore, prefix: str, wanted: Wanted, reading: TableReading | None
    ) -> Iterator[Touch]:
        """Objects below a prefix that hold records of theirs; versions of them that a bucket keeps are told. `reading`:
        of deliveries; None: labels."""
        for info in OlderVersions.listed(bucket, prefix):
            where = told_version(bucket.bucket, info)
            data = content_of(bucket, info)
            try:
                parted = part(info.key, data, wanted, reading or AS_THEY_SAY)
            except CannotPartError as error:
                told = f"{where}: {error}" if not info.latest else f"{bucket.bucket}/{error}"
                self._plan.left.append(told)
                continue
            if parted is None:
                continue
            before = digest_bytes(data)
            if reading is not None:
                self._parted[before] = parted
            if info.version:
                self._plan.left.append(where)
            if info.latest:
                yield Touch(
                    bucket=bucket.bucket, key=info.key, place="raw" if reading is not None else "labels", before=before,
                    after=parted.rest, records=len(parted.theirs), etag=info.etag,
                    named=any(one in info.key for one in wanted.keys),
                )  # fmt: skip

    def _snapshots(self) -> Iterator[Snapshot]:
        for info in self._store.list("snapshots/"):
            try:
                yield load_snapshot(self._store, info.key.removeprefix("snapshots/").removesuffix(".json"))
            except (SecurityError, ObjectNotFound):  # an audit tells of it
                continue

    def _copies(self, snapshots: Iterable[Snapshot]) -> list[Touch]:
        """Copies of deliveries, of those too that are not in the source any more; pinned versions are told."""
        found = []
        for one in Copies(self._store, self._buckets).of(snapshots):
            try:
                parted = part(one.name, one.data, self._asked.wanted, self._asked.reading)
            except CannotPartError as error:  # a run reads none of it either
                self._plan.left.append(f"{one.where}: {error}")
                continue
            theirs = parted is not None or self._known.is_pending(one.place, one.sha256)
            if not theirs and not Traces.of(self._asked.request_ids).in_object(one.data):
                continue
            self._parted[one.sha256] = parted or Parted(theirs=(), others=frozenset(), rest=None)
            if one.is_copy:
                key = f"raw/{one.sha256}"
                found.append(Touch(bucket=self._store.bucket, key=key, place="copies of raw", before=one.sha256))
            elif one.where not in self._plan.left:
                self._plan.left.append(one.where)
        return found

    def _listings(self, snapshots: set[str]) -> Iterator[Touch]:
        """What says that a delivery is one of these snapshots: it would be read from copies that are gone."""
        for info in self._store.list("listings/"):
            data = self._store.get(info.key)
            if any(identity.encode() in data for identity in snapshots):
                before = digest_bytes(data)
                yield Touch(bucket=self._store.bucket, key=info.key, place="snapshots", before=before)

    def _datasets(self, snapshots: set[str]) -> tuple[list[DatasetManifest], list[DatasetManifest]]:
        """Of those snapshots or named by an earlier demand, and all others."""
        found: tuple[list[DatasetManifest], list[DatasetManifest]] = ([], [])
        for info in self._store.list("datasets/"):
            place = f"{self._store.bucket}/{info.key}"
            try:
                one = load_dataset(self._store, info.key.removeprefix("datasets/").removesuffix(".json"))
                pending = place in self._known.pending and self._known.is_pending(
                    place, digest_bytes(self._store.get(info.key))
                )
            except (SecurityError, ObjectNotFound):
                continue
            found[not pending and one.snapshot_id not in snapshots].append(one)
        return found

    def _needed(self, theirs: list[DatasetManifest]) -> set[str]:
        """Keys that the champion cannot be compared or replaced without."""
        if self._known.champion is None:
            return set()
        found: set[str] = set()
        for record in (one for one in self._records if one.version == self._known.champion.version):
            found.add(record.source_uri.removeprefix(f"s3://{self._buckets.uploads.bucket}/").rstrip("/"))
            if record.version in {*self._plan.versions, *self._known.versions}:
                mine = [one for one in theirs if one.id == record.dataset_id]
                found |= {key for one in mine for key in keys_of(one)} | {f"datasets/{record.dataset_id}.json"}
                found |= self._behind.of(record) | {record.rows_key}
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
                found |= {record.rows_key, *self._behind.of(record)}
        return found

    def _texts(self) -> set[str]:
        """Cells that stand in their records alone, and are long enough to say whose they are."""
        others = {text for one in self._parted.values() for text in one.others}
        cells = {str(cell) for one in self._parted.values() for row in one.theirs for cell in row.values()}
        return {cell for cell in cells if len(cell) >= LEAST_WORDS and cell not in others}

    def _stays(
        self, bucket: ObjectStore, key: str, needed: Collection[str], before: str = "", *, folder: str = ""
    ) -> bool:
        """Whether the champion needs it, or another pipeline, which is told: erasing there is a demand of its own."""
        place = f"{bucket.bucket}/{key}"
        if (folder or key) in needed:
            self._plan.waiting.append(self._told(bucket, key, before))
            return True
        name = self._others.need(f"{bucket.bucket}/{folder}" if folder else place)
        if name is not None:
            self._plan.shared.append(self._told(bucket, key, before))
            line = f"{place}: may hold something of theirs and is of pipeline {name}: `ratchet forget {name} KEY`"
            self._plan.left.append(line)
        return name is not None

    @staticmethod
    def _told(bucket: ObjectStore, key: str, before: str) -> ErasedObject:
        return ErasedObject(bucket=bucket.bucket, key=key, before=before or digest_bytes(bucket.get(key)))

    def _derived(self, by_lineage: set[str], traces: Traces, needed: set[str], spared: set[str]) -> Iterator[Touch]:
        """Everything else in the store and among the artifacts that is or holds something of theirs."""
        store = self._store
        for info in store.list():
            key = info.key
            skipped = key.startswith(("raw/", "log/", *READINGS)) and not key.startswith(ASIDE_OF_LOG)
            if skipped or (key in spared and key not in by_lineage):
                continue
            if key in by_lineage or self._holds(store, key, info.size_bytes, traces):
                if self._stays(store, key, needed):
                    continue
                if key.startswith(DECIDES):
                    self._plan.left.append(f"{store.bucket}/{key}: holds something of theirs, and decisions rest on it")
                    continue
                yield from self._gone(store, key, traces)
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
                yield from self._gone(uploads, info.key, traces, page=True)
            elif self._by_chance(folder, info.key, traces):
                continue
            elif not self._stays(
                uploads, info.key, needed, folder=folder
            ):  # a version without one of its files is none
                done.add(folder)
                for one in list(uploads.list(f"{folder}/")):
                    yield from self._gone(uploads, one.key, traces)
            elif folder not in needed:
                done.add(folder)

    def _by_chance(self, folder: str, key: str, traces: Traces) -> bool:
        """Whether a version that was not trained on them holds a short key alone, which is told: it may be a class."""
        uploads = self._buckets.uploads
        place, data = f"{uploads.bucket}/{key}", uploads.get(key)
        trained = [one.source_uri.rstrip("/") for one in self._records if one.version in self._plan.versions]
        if f"s3://{uploads.bucket}/{folder}" in trained or self._known.is_pending(place, digest_bytes(data)):
            return False
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
                yield from self._gone(self._store, info.key, traces)

    def _holds(self, bucket: ObjectStore, key: str, size_bytes: int, traces: Traces) -> bool:
        if traces.in_text(key.encode()):
            return True
        place = f"{bucket.bucket}/{key}"
        if NO_TEXT.search(key) and place not in self._known.pending:
            return False
        if size_bytes > MOST_BYTES and place not in self._known.pending:
            self._plan.left.append(f"{place}: has {size_bytes} bytes and was not searched")
            return False
        try:
            data = bucket.get(key)
        except ObjectNotFound:
            return False
        if place in self._known.pending and self._known.is_pending(place, digest_bytes(data)):
            return True
        return NO_TEXT.search(key) is None and traces.in_object(data)

    @staticmethod
    def _gone(bucket: ObjectStore, key: str, traces: Traces, *, page: bool = False) -> Iterator[Touch]:
        try:
            data = bucket.get(key)
        except ObjectNotFound:  # since it was listed
            return
        kind = "pages" if page else "artifacts" if ARTIFACT.match(key) else place_of(key)
        yield Touch(
            bucket=bucket.bucket, key=key, place=kind, before=digest_bytes(data), said=said_by(key, data),
            named=traces.in_text(key.encode()),
        )  # fmt: skip
