"""Forget: a person is erased from deliveries and everything made of them, from the inference log, and from caches; and
the log's files are put together and let go in time."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from mlratchet.infra.inference_log.spool import waiting_files
from mlratchet.models.data.first_columns import find_first_columns
from mlratchet.models.erasure.deliveries import TableReading
from mlratchet.models.erasure.parts import ANY, ErasureBuckets, ErasureDemand, KnownBefore, Touch
from mlratchet.models.erasure.plan import MOST_BYTES, Planner
from mlratchet.models.erasure.traces import Traces
from mlratchet.models.erasure.whose import Wanted
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.erasures import ErasedObject, Erasure, all_erasures, publish_erasure
from mlratchet.models.identity.keys import Keys
from mlratchet.models.identity.lease import server_now
from mlratchet.models.identity.signed_records import ASIDE_OF_LOG, bare
from mlratchet.models.inference_log.client_keys import forms_of
from mlratchet.models.inference_log.rewriting import DAY_S, Rewriter
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import deployed_revisions, load_pipeline
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore
from mlratchet.models.registration.record import list_registrations
from mlratchet.models.schema.numbers import Mark
from mlratchet.tasks.support.erasing_alone import erasing_alone
from mlratchet.tasks.support.person_in_log import BOTH, PersonInLog, beside_others

SPOOL = "inference-log/spool"  # of the home: what the log writer has not sent yet
SPOOL_TRIES, SPOOL_S = 30, 1.0  # looks at it, and seconds between two
OURS = ("erasures/", "gc/", "leases/", "hardware/", "raw/")  # what is written meanwhile and holds nothing of anybody


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
    pause: Callable[[float], None] = time.sleep,
) -> Forgotten:
    """Erase a person: what came with this client's key, and what deliveries hold under this id, group or entity.

    Everything that is made of those records goes with them, because nobody can tell which of its numbers are theirs. A
    signed record names what went, by digest. Whatever interrupts it: once more finds and erases the rest. Runs that
    begin meanwhile wait; what others wrote meanwhile is told in `left`, as is a log that is not whole.

    Raises ``ConfigurationError`` for a key that cannot be looked for, ``HeldError`` where somebody else erases or
    collects garbage.
    """
    if not key.strip():
        raise ConfigurationError("got no key; expected the id, group, entity or client's key of a person")
    now, fields = time.time() if now_s is None else now_s, person_fields(spec, field)
    if dry_run:
        return _Erasing(where, spec, key, fields, now_s=now).told(dry_run=True)
    with erasing_alone(where.buckets.store, spec.name) as alone:
        wait_for_spool(where.home, spec.name, Traces.of(forms_of(key)), pause)
        began_s = server_now(bare(where.buckets.store))
        one = _Erasing(where, spec, key, fields, now_s=now)
        one.carry_out()
        one.look_again(began_s)
        one.plan.left += alone.problems()
        return one.told(dry_run=False)


class _Erasing:
    """One demand: what there is, and its end."""

    def __init__(self, where: ForgetIn, spec: PipelineSpec, key: str, fields: tuple[str, ...], *, now_s: float) -> None:
        self._where, self._spec, self._now_s = where, spec, now_s
        buckets = where.buckets
        self._log = PersonInLog(buckets.store, where.keys, spec.name, key, fields, now_s=now_s)
        labels = spec.serving.labels
        marks = marks_of(buckets.store, where.keys, spec)
        asked = ErasureDemand(
            pipeline=spec.name, prefix=spec.source.prefix, decimal_commas="," in marks.values(),
            wanted=Wanted(fields=fields, keys=frozenset([key]), numbers=numbers_among(fields, spec, marks)),
            request_ids=self._log.request_ids, reading=_reading_of(spec),
            labels=labels.prefix if labels else None, labels_by=labels.request if labels else "request_id",
        )  # fmt: skip
        registrations = [one for held in list_registrations(buckets.store).values() for one in held]
        known = known_of(spec.name, all_erasures(buckets.store))
        self.plan = Planner(buckets, asked, replace(known, registrations=registrations, champion=where.champion)).plan()
        self._cached = list(copies_here(where.home, self.plan.touches, self.plan.traces))
        held = spooled(where.home, spec.name, self.plan.traces)
        self.plan.left += [
            f"{path}: waits to be sent to the log, and holds something of theirs: once more" for path in held
        ]
        self.plan.left += hashed_fields(spec, fields)
        self._number: int | None = None

    def told(self, *, dry_run: bool) -> Forgotten:
        """For whoever asked."""
        plan, log = self.plan, self._log
        return Forgotten(
            dry_run=dry_run, objects=plan.counts(), records=sum(one.records for one in plan.touches),
            log_rows=log.rows, labels=log.labels, media=log.media, cached=len(self._cached),
            versions=tuple(plan.versions), waits_for=plan.waits_for, erasure=self._number,
            left=tuple(dict.fromkeys((*plan.left, *log.problems))),
            touched=tuple(f"{one.bucket}/{one.key}" for one in plan.touches),
        )  # fmt: skip

    def carry_out(self) -> None:
        """The signed record, then what it names, deliveries last."""
        plan, buckets = self.plan, self._where.buckets
        if plan.touches or plan.waiting or plan.shared:
            made = publish_erasure(
                buckets.store, self._spec.name, objects=[_recorded(one) for one in plan.touches],
                versions=plan.versions, waiting=plan.waiting, shared=plan.shared, actor=getpass.getuser(),
                at_s=self._now_s,
            )  # fmt: skip
            self._number = made.number
        fault_point("forget.after_record")
        for path in self._cached:
            for file in (path, path.with_name(f"{path.name}.seen")):
                file.unlink(missing_ok=True)
        self._apply(one for one in plan.touches if one.place != "raw")
        self._log.erase()
        self._apply(one for one in plan.touches if one.place == "raw")  # by these all the rest is found: they go last

    def _apply(self, touches: Iterable[Touch]) -> None:
        buckets = self._where.buckets
        by_name = {one.bucket: bare(one) for one in (buckets.raw, buckets.store, buckets.uploads)}
        for one in touches:
            try:
                apply(by_name[one.bucket], one)
            except (ObjectExists, ObjectNotFound):
                self.plan.left.append(f"{one.bucket}/{one.key}: was delivered anew or taken away meanwhile: once more")
            fault_point("forget.after_delivery" if one.place == "raw" else "forget.after_object")

    def look_again(self, began_s: float) -> None:
        """What was written to the store since, as by a run or a monitor that had read it before, is told."""
        store = bare(self._where.buckets.store)
        for info in store.list():
            if info.modified_s < began_s - 1 or info.key.startswith(OURS) or info.size_bytes > MOST_BYTES:
                continue
            if info.key.startswith("log/") and not info.key.startswith(ASIDE_OF_LOG):
                continue
            with suppress(ObjectNotFound):
                if self.plan.traces.in_object(store.get(info.key)):
                    self.plan.left.append(f"{store.bucket}/{info.key}: was written meanwhile: once more")


def known_of(pipeline: str, erasures: Iterable[Erasure]) -> KnownBefore:
    """What the records of all erasures say to a demand of one pipeline: what was to go and may still be there, and what
    other pipelines have let go of."""
    pending: dict[str, set[str]] = {}
    versions: set[int] = set()
    released: dict[tuple[str, str], float] = {}
    for one in erasures:
        if one.name != pipeline:
            for free in one.shared:
                released[one.name, free.place] = max(one.at_s, released.get((one.name, free.place), one.at_s))
            continue
        versions |= set(one.versions)
        for gone in (*one.waiting, *one.shared, *(each for each in one.objects if not each.after)):
            if isinstance(gone, str):
                pending.setdefault(gone, set()).add(ANY)
            elif gone.key:
                pending.setdefault(gone.place, set()).add(gone.before)
    return KnownBefore(registrations=(), champion=None, pending=pending, versions=versions, released=released)


def _recorded(one: Touch) -> ErasedObject:
    return ErasedObject(
        bucket=one.bucket, key="" if one.named else one.key, before=one.before,
        after=digest_bytes(one.after) if one.after is not None else "", said="" if one.named else one.said,
    )  # fmt: skip


def spooled(home: Path, pipeline: str, traces: Traces) -> list[Path]:
    """Files that the log writer of this home has not sent yet and that hold something of the person."""
    found = []
    for path, of in waiting_files(home / SPOOL):
        with suppress(FileNotFoundError):  # sent meanwhile
            if of == pipeline and traces.in_object(path.read_bytes()):
                found.append(path)
    return found


def wait_for_spool(home: Path, pipeline: str, traces: Traces, pause: Callable[[float], None]) -> None:
    """Until what waits there and holds something of the person is in the log, where it is erased; not for ever."""
    for _ in range(SPOOL_TRIES):
        if not spooled(home, pipeline, traces):
            return
        pause(SPOOL_S)


def hashed_fields(spec: PipelineSpec, fields: Iterable[str]) -> list[str]:
    """Columns that name a person and that the log holds as keyed hashes: by those nobody is found."""
    inputs = spec.example_schema.inputs if spec.example_schema is not None else {}
    return [
        f"log/{spec.name}: holds {name} as a keyed hash alone: rows are found by x-client-key, not by {name}"
        for name in fields
        if name in inputs and spec.serving.log.how(name) == "hash"
    ]


def marks_of(store: ObjectStore, keys: Keys, spec: PipelineSpec) -> dict[str, Mark]:
    """Column -> its decimal mark: as the first delivery told, and as the pipeline file says."""
    first = find_first_columns(bare(store), spec.name, keys.trusted())
    found: dict[str, Mark] = dict(first.number_marks) if first is not None else {}
    declared = getattr(spec.source, "decimal", None)
    if isinstance(declared, Mapping):
        found |= declared
    fields = spec.example_schema.fields if spec.example_schema is not None else {}
    for name, one in fields.items():
        if one.kind == "number":
            told = one.decimal or (declared if isinstance(declared, str) else None)
            found[name] = told or found.get(name, "")  # type: ignore[assignment]  # one of the two marks
    return found


def numbers_among(fields: Iterable[str], spec: PipelineSpec, marks: Mapping[str, Mark]) -> dict[str, Mark]:
    """Those of the columns that name a person which hold numbers -> their decimal mark."""
    known = spec.example_schema.fields if spec.example_schema is not None else {}
    return {name: marks.get(name, "") for name in fields if name in known and known[name].kind == "number"}


def _reading_of(spec: PipelineSpec) -> TableReading:
    declared = {name: getattr(spec.source, name, None) for name in ("delimiter", "encoding", "header", "quotes")}
    return TableReading(format=str(getattr(spec.source, "format", None) or "csv"), **declared)


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
    rows that went, files less. Raises ``HeldError`` where somebody erases a person or collects garbage."""
    now = now_s if now_s is not None else time.time()
    found: dict[str, tuple[int, int]] = {}
    with erasing_alone(store, "gc"):
        for pipeline, revision in sorted(deployed_revisions(store).items()):
            before_s = now - load_pipeline(store, revision).serving.log.retention_days * DAY_S
            rewriters = [Rewriter(store, keys, pipeline, holds, now_s=now) for holds in BOTH]
            files = sum(beside_others(one.compact) for one in rewriters)  # few are to be opened then
            found[pipeline] = sum(beside_others(partial(one.expire, before_s)) for one in rewriters), files
    return found
