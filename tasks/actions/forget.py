"""Forget: a person is erased from deliveries and everything made of them, from the inference log, and from caches; and
the log's files are put together and let go in time."""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlratchet.models.erasure.deliveries import TableReading, Wanted
from mlratchet.models.erasure.plan import ErasureBuckets, ErasureDemand, ErasurePlan, Planner, Touch
from mlratchet.models.erasure.traces import Traces
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.erasures import ErasedObject, erasures_of, publish_erasure
from mlratchet.models.identity.keys import Keys
from mlratchet.models.identity.signed_records import bare
from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.inference_log.file import Holds, folder_of
from mlratchet.models.inference_log.rewriting import DAY_S, Rewriter
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import deployed_revisions, load_pipeline
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.registration.record import list_registrations

BOTH: tuple[Holds, Holds] = ("answers", "feedback")


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was erased, or would be."""

    dry_run: bool
    objects: Mapping[str, int]  # by place
    records: int  # of deliveries
    log_rows: int
    labels: int
    media: int
    cached: int  # files of this home
    versions: tuple[int, ...]  # that were trained on it
    waits_for: int | None  # the champion that was: what it needs goes once another serves
    left: tuple[str, ...]  # what a person has to look at
    touched: tuple[str, ...] = field(default=(), repr=False)  # bucket/key
    erasure: int | None = None  # number of the record

    @property
    def nothing(self) -> bool:
        """Whether nothing of the person was found."""
        return not (self.objects or self.log_rows or self.labels or self.cached)


@dataclass(frozen=True, kw_only=True)
class ForgetIn:
    """Where a person is looked for."""

    buckets: ErasureBuckets
    keys: Keys
    home: Path
    champion: LedgerEntry | None


def person_fields(spec: PipelineSpec, wanted: str | None) -> tuple[str, ...]:
    """The columns by which a pipeline names a person. `wanted`: the one that was asked for.

    Raises ``ConfigurationError`` where several entities could be meant, and for a field that there is not.
    """
    schema, source = spec.example_schema, spec.source
    if schema is None:
        named = [name for name in (source.column_of("id"), source.column_of("group")) if name is not None]
        return (wanted,) if wanted else tuple(named)
    if wanted is not None:
        if wanted not in schema.fields and wanted not in (schema.id, schema.group):
            raise ConfigurationError(f"--field {wanted}: expected a field of the schema: {', '.join(schema.fields)}")
        return (wanted,)
    entities = [name for name, one in schema.inputs.items() if one.kind == "entity"]
    if len(entities) > 1:
        raise ConfigurationError(f"say whom the key names: --field {' or --field '.join(entities)}")
    found = [name for name in (schema.id, schema.group, *entities) if name is not None]
    return tuple(dict.fromkeys(found))


def forget_person(
    where: ForgetIn,
    spec: PipelineSpec,
    key: str,
    *,
    field: str | None = None,
    dry_run: bool = False,
    now_s: float | None = None,
) -> Forgotten:
    """Erase a person: what came with this client's key, and what deliveries hold under this id, group or entity.

    Everything that is made of those records goes with them, because nobody can tell which of its numbers are theirs. A
    signed record names what went, by digest. Whatever interrupts it: once more finds and erases the rest.

    Raises ``ConfigurationError`` for a key that cannot be looked for. A log that is not whole is told in `left`.
    """
    if not key.strip():
        raise ConfigurationError("got no key; expected the id, group, entity or client's key of a person")
    now, fields = time.time() if now_s is None else now_s, person_fields(spec, field)
    log = PersonInLog(where, spec, key, fields, now_s=now)
    asked = ErasureDemand(
        pipeline=spec.name, prefix=spec.source.prefix, wanted=Wanted(fields=fields, keys=frozenset([key])),
        request_ids=log.request_ids, reading=_reading_of(spec),
        labels=spec.serving.labels.prefix if spec.serving.labels else None,
        labels_by=spec.serving.labels.request if spec.serving.labels else "request_id",
    )  # fmt: skip
    registrations = [one for held in list_registrations(where.buckets.store).values() for one in held]
    earlier = erasures_of(where.buckets.store, spec.name)  # interrupted, or while the champion needed some of it
    pending = {key for one in earlier for key in one.waiting}
    pending |= {f"{gone.bucket}/{gone.key}" for one in earlier for gone in one.objects if gone.key and not gone.after}
    plan = Planner(where.buckets, asked, registrations=registrations, champion=where.champion, pending=pending).plan()
    cached = list(copies_here(where.home, plan.touches, plan.traces))
    number = None
    if not dry_run:
        number = carry_out(where, spec.name, plan, cached, log, now_s=now)
    return Forgotten(
        dry_run=dry_run, objects=plan.counts(), records=sum(one.records for one in plan.touches), log_rows=log.rows,
        labels=log.labels, media=log.media, cached=len(cached), versions=tuple(plan.versions),
        waits_for=plan.waits_for, left=(*plan.left, *log.problems), erasure=number,
        touched=tuple(f"{one.bucket}/{one.key}" for one in plan.touches),
    )  # fmt: skip


def _reading_of(spec: PipelineSpec) -> TableReading:
    declared = {name: getattr(spec.source, name, None) for name in ("delimiter", "encoding", "header", "quotes")}
    return TableReading(format=str(getattr(spec.source, "format", None) or "csv"), **declared)


class PersonInLog:
    """What the inference log holds of a person: rows that came with their key, or whose fields name them."""

    def __init__(self, where: ForgetIn, spec: PipelineSpec, key: str, fields: Iterable[str], *, now_s: float) -> None:
        self._store, self._keys, self._pipeline, self._now_s = bare(where.buckets.store), where.keys, spec.name, now_s
        self._columns = ["client_key", *(f"{FIELD}{name}" for name in fields)]
        self._key = key
        self.rows = self.labels = self.media = 0
        self.request_ids: tuple[str, ...] = ()
        self.problems: list[str] = []
        if next(iter(self._store.list(folder_of(spec.name, "answers"))), None) is not None:
            found = [self._rewriter("answers").find(column, [key]) for column in self._columns]
            self.rows = sum(one.rows for one in found)
            self.request_ids = tuple(sorted({name for one in found for name in one.request_ids}))
            labels = self._rewriter("feedback").find("request_id", self.request_ids)
            self.labels = labels.rows
            self.problems = list(dict.fromkeys(line for one in (*found, labels) for line in one.problems))

    def _rewriter(self, holds: Holds) -> Rewriter:
        return Rewriter(self._store, self._keys, self._pipeline, holds, now_s=self._now_s)

    def erase(self) -> None:
        """Labels first: by the rows they are found again."""
        if self.request_ids:
            self._erase("feedback", "request_id", self.request_ids)
            fault_point("forget.after_feedback")
            for column in self._columns:
                self.media += self._erase("answers", column, [self._key])

    def _erase(self, holds: Holds, column: str, values: Sequence[str]) -> int:
        """What is wrong with the log was told when it was searched, and keeps nothing from being erased."""
        try:
            return self._rewriter(holds).erase(column, values).media
        except SecurityError:
            if not self.problems:
                raise
            return 0


def carry_out(
    where: ForgetIn, pipeline: str, plan: ErasurePlan, cached: Iterable[Path], log: PersonInLog, *, now_s: float
) -> int | None:
    """The signed record, then what it names, deliveries last. Returns its number; None where nothing was found."""
    number = None
    if plan.touches or plan.waiting:
        objects = [
            ErasedObject(
                bucket=one.bucket, key="" if one.named else one.key, before=one.before,
                after=digest_bytes(one.after) if one.after is not None else "",
            )
            for one in plan.touches
        ]  # fmt: skip
        made = publish_erasure(
            where.buckets.store, pipeline, objects=objects, versions=plan.versions, waiting=plan.waiting,
            actor=getpass.getuser(), at_s=now_s,
        )  # fmt: skip
        number = made.number
    fault_point("forget.after_record")
    for path in cached:
        for file in (path, path.with_name(f"{path.name}.seen")):
            with suppress(FileNotFoundError):
                file.unlink()
    by_name = {one.bucket: bare(one) for one in (where.buckets.raw, where.buckets.store, where.buckets.uploads)}
    for one in plan.touches:
        if one.place != "raw":
            apply(by_name[one.bucket], one)
            fault_point("forget.after_object")
    log.erase()
    for one in plan.touches:  # by these all the rest is found: they go last
        if one.place == "raw":
            apply(by_name[one.bucket], one)
            fault_point("forget.after_delivery")
    return number


def apply(bucket: ObjectStore, one: Touch) -> None:
    """Delete it, or write what stays. Raises ``ObjectExists`` where somebody delivered it anew meanwhile."""
    if one.after is None:
        bucket.delete(one.key)
    else:
        bucket.replace(one.key, one.after, etag=one.etag)


def copies_here(home: Path, touches: Iterable[Touch], traces: Traces) -> Iterable[Path]:
    """Files of this home's cache that are copies of what goes, or hold something of the person."""
    gone = {one.before for one in touches}
    for path in sorted((home / "cache").rglob("*")) if (home / "cache").is_dir() else ():
        if path.is_file() and (path.name in gone or path.stem in gone or traces.in_object(path.read_bytes())):
            yield path


def tidy_logs(store: ObjectStore, keys: Keys, *, now_s: float | None = None) -> Mapping[str, tuple[int, int]]:
    """Let go what is older than each pipeline keeps it, and put the files of days that are over together: pipeline ->
    rows that went, files less."""
    now = now_s if now_s is not None else time.time()
    found: dict[str, tuple[int, int]] = {}
    for pipeline, revision in sorted(deployed_revisions(store).items()):
        before_s = now - load_pipeline(store, revision).serving.log.retention_days * DAY_S
        rewriters = [Rewriter(store, keys, pipeline, holds, now_s=now) for holds in BOTH]
        rows = sum(one.expire(before_s) for one in rewriters)
        found[pipeline] = rows, sum(one.compact() for one in rewriters)
    return found
