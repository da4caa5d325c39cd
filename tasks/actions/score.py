"""Score a batch: every row below a place of S3 by one verified version, piece by piece, to another place.

A run that was killed is started again with the same words: it finds what is finished by signed records, and scores the
rest.
"""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from mlratchet.infra.artifact.exported import exported_away
from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.errors import ConfigurationError, DataError, InfrastructureError, RatchetError
from mlratchet.models.evaluation.away import HOURS_6
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import bare
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import deployed_revisions, load_pipeline
from mlratchet.models.ports.children import Rights, children, in_process
from mlratchet.models.ports.storage import DigestMismatch, ObjectExists, ObjectNotFound, ObjectStore
from mlratchet.models.registration.record import Registration
from mlratchet.models.scoring.in_child import piece_rows
from mlratchet.models.scoring.input import listed, with_digest
from mlratchet.models.scoring.job import (
    ASIDE,
    JOB,
    MANIFEST,
    SCORES,
    RowFormat,
    ScoringJob,
    manifest_key,
    piece_key,
    unit_key,
)
from mlratchet.models.scoring.outcome import ScoredBatch, finished_outcome, manifest_document, outcome_of
from mlratchet.models.scoring.pieces import Piece, PublishedPieces, WrittenFile
from mlratchet.models.scoring.places import BucketPlace, place_of_uri, refuse_places
from mlratchet.models.sources.base import SourceOptions
from mlratchet.models.sources.record import RawObject
from mlratchet.tasks.actions.export import refuse_unsigned
from mlratchet.tasks.support.open_version import open_version
from mlratchet.tasks.support.versions import registration_of
from mlratchet.tasks.wiring import Adapters

SCORE_UNIT = "mlratchet.models.scoring.in_child:score_unit"
LENT = Rights(read=("raw/",), create=("out/",))
MOST_AT_ONCE = 8  # children
TELL_S = 1.0  # between two looks at how far it is
USUAL = {"table": "csv", "image": "images", "tensor": "parquet", "named": "parquet"}  # where the file names no format


class Tell(Protocol):
    """Who is told how far it is."""

    def __call__(self, done_bytes: int, total_bytes: int, scored: int, set_aside: int, /) -> None:
        """Bytes of the input, and rows so far."""
        ...


def tell_nobody(_done_bytes: int, _total_bytes: int, _scored: int, _set_aside: int) -> None:
    """Nobody looks."""


def score_batch(
    adapters: Adapters,
    pipeline: str,
    source: str,
    target: str,
    *,
    version: int | None = None,
    form: str | None = None,
    tell: Tell = tell_nobody,
) -> ScoredBatch:
    """Score everything below `source`, and write below `target`.

    Args:
        adapters: Where.
        pipeline: Its name.
        source: `s3://bucket/prefix`.
        target: Likewise, with a prefix.
        version: None: the champion.
        form: Format of the objects; None: that of the pipeline.
        tell: Called now and then, from this thread.

    Raises ``ConfigurationError`` for places that are refused and a version that is not there, ``DataError`` where no
    row can be scored or the input changes meanwhile, ``SecurityError`` for bytes that are not those that were judged.
    """
    entries = adapters.ledger.entries(pipeline)
    if version is None and not entries:
        raise ConfigurationError(f"{pipeline} has no champion; name a version with --version")
    record = registration_of(adapters, pipeline, version if version is not None else entries[-1].version)
    spec = load_pipeline(adapters.store, record.revision)
    from_, to = place_of_uri(source, "input"), place_of_uri(target, "output")
    settings = adapters.settings
    own = (settings.store_bucket, settings.mlflow_bucket)
    refuse_places(from_, to, raw=settings.raw_bucket, own=own, delivered=places_read(adapters, spec))
    refuse_unsigned(adapters, record)
    objects = listed(adapters.bucket(from_.bucket), from_)
    with temporary_folder("score") as folder:
        directory = Path(folder) / "artifact"
        signature = open_version(adapters, record, entries, directory).signature
        job = ScoringJob(
            pipeline=pipeline, version=record.version, manifest=record.manifest_digest, source=str(from_),
            target=str(to), objects=objects, reading=reading_of(adapters, record, spec.source, signature, form),
        )  # fmt: skip
        return Scoring(adapters, job, signature, directory, from_, to, tell).run()


def places_read(adapters: Adapters, trained: PipelineSpec) -> list[BucketPlace]:
    """Where training reads rows or labels: as the version was trained, and as every pipeline is deployed now."""
    deployed = [load_pipeline(adapters.store, one) for one in deployed_revisions(adapters.store).values()]
    found: dict[str, BucketPlace] = {}
    for spec in (trained, *deployed):
        labels = spec.serving.labels
        read = [(spec.source.bucket, spec.source.prefix)]
        read += [(labels.bucket, labels.prefix)] if labels is not None and labels.prefix else []
        for bucket, prefix in read:
            place = BucketPlace(bucket=bucket or adapters.settings.raw_bucket, prefix=prefix)
            found[str(place)] = place
    return list(found.values())


def reading_of(
    adapters: Adapters, record: Registration, source: SourceOptions, signature: Signature, form: str | None
) -> RowFormat:
    """As the version's own pipeline reads, with the notation of the dataset that it was trained on."""
    dataset = load_dataset(adapters.store, record.dataset_id)
    usual = "csv" if signature.input.example is not None else USUAL[signature.input.kind]
    own = source.format or usual
    options = source.model_dump(mode="json", exclude_none=True) if form in (None, own) else {"prefix": source.prefix}
    return RowFormat(
        format=form or own, options=options, number_marks=dict(dataset.number_marks),
        time_formats=dict(dataset.time_formats),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """A unit that is done."""

    pieces: tuple[Piece, ...]
    objects: tuple[RawObject, ...]
    found: int  # pieces of an earlier run


class Scoring:
    """One batch under way."""

    def __init__(
        self,
        adapters: Adapters,
        job: ScoringJob,
        signature: Signature,
        directory: Path,
        source: BucketPlace,
        target: BucketPlace,
        tell: Tell,
    ) -> None:
        self._records: ObjectStore = adapters.store
        self._raw, self._out = adapters.bucket(source.bucket), adapters.bucket(target.bucket)
        self._job, self._id, self._signature, self._directory = job, job.id, signature, directory
        self._source, self._target, self._tell_whom = source, target, tell
        self._done_bytes, self._rows, self._aside = 0, 0, 0
        self._counting = threading.Lock()
        self._stopped = False  # units end at their next piece

    def run(self) -> ScoredBatch:
        """To its end. Raises as `score_batch`."""
        earlier = self._take_place()
        if earlier is not None:
            return earlier
        done = self._units()
        pieces = [piece for unit in done for piece in unit.pieces]
        outcome = outcome_of(self._job, self._signature, pieces, found=sum(unit.found for unit in done))
        if [(one.key, one.etag) for one in listed(self._raw, self._source)] != [
            (one.key, one.etag) for one in self._job.objects
        ]:
            raise DataError(f"{self._source}: changed while it was scored; run again, to another output")
        if not outcome.scored:
            raise DataError(
                f"{self._source}: no row can be scored: {outcome.line()}; {self._target}{ASIDE} says why of each"
            )
        self._publish(outcome, pieces, [one for unit in done for one in unit.objects])
        return outcome

    def _take_place(self) -> ScoredBatch | None:
        """The output is this batch's alone; what an earlier release finished there of it stands. Raises
        ``ConfigurationError`` for what lies there of others."""
        ours = canonical_json({"job": self._id, **{k: v for k, v in self._job.document().items() if k != "objects"}})
        key = f"{self._target.prefix}{JOB}"
        for info in self._out.list(self._target.prefix):
            name = info.key.removeprefix(self._target.prefix)
            if name not in (JOB, MANIFEST) and not name.startswith((SCORES, ASIDE)) and name:
                raise ConfigurationError(
                    f"output {self._target}: holds {name[:200]!r}, which is no score; name an empty prefix"
                )
        try:
            self._out.create(key, ours)
        except ObjectExists as error:
            earlier = self._finished_earlier()
            if earlier is not None:
                return earlier
            raise ConfigurationError(
                f"output {self._target}: holds the scores of another batch (another version, other rows, a changed "
                "input, or one that an earlier release did not finish, or whose files were changed: "
                f"{self._target}{JOB} says which); name an empty prefix, or remove it"
            ) from error
        return None

    def _finished_earlier(self) -> ScoredBatch | None:
        """This batch, as an earlier release finished it in pieces of its own, if every file is what it signed."""
        for job in self._job.earlier_ids():
            try:
                manifest = json.loads(self._records.get(manifest_key(job)))
                if manifest["target"] == str(self._target):
                    for file in (*manifest["scores"], *manifest["aside"]):
                        self._out.get(f"{self._target.prefix}{file['key']}", sha256=file["sha256"])
                    return finished_outcome(manifest)
            except (ObjectNotFound, DigestMismatch):
                continue
        return None

    def _units(self) -> list[_Unit]:
        units = self._job.units()
        cores = len(os.sched_getaffinity(0))
        at_once = (
            1 if in_process() else max(1, min(MOST_AT_ONCE, cores, len(units)))
        )  # torch loads one program at a time
        threads = max(1, cores // at_once)
        pool = ThreadPoolExecutor(at_once)  # not in a `with`, which would wait for units that nobody began
        try:
            running = [pool.submit(self._unit, number, objects, threads) for number, objects in enumerate(units)]
            waiting: set[Future[_Unit]] = set(running)
            while waiting:
                ended, waiting = wait(waiting, timeout=TELL_S, return_when=FIRST_EXCEPTION)
                failed = next((one.exception() for one in running if one in ended and one.exception()), None)
                if failed is not None:  # its own error: what the others raise once they are stopped tells nothing
                    raise failed
                self._tell_now()  # from here: who is told may be of this thread's flow run
        except BaseException:
            self._stopped = True
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return [one.result() for one in running]

    def _unit(self, number: int, objects: tuple[Any, ...], threads: int) -> _Unit:
        self._refuse_stopped()
        known = self._known_unit(number)
        if known is not None:
            for piece in known.pieces:
                self._tell(piece)
            self._tell(None, sum(one.size_bytes for one in objects))
            return known
        raw = tuple(with_digest(self._raw, self._source, one) for one in objects)
        pieces = self._known_pieces(number)
        for piece in pieces:
            self._tell(piece)
        count, lent = self._ask(number, raw, len(pieces), threads)
        found = len(pieces)
        for at in range(found, count):
            pieces.append(self._piece(number, at, whole=False))
        document = {"pieces": count, "objects": [asdict(one) for one in raw]}
        self._records.put(unit_key(self._id, number), canonical_json(document))
        self._tell(None, sum(one.size_bytes for one in objects))
        del lent
        return _Unit(pieces=tuple(pieces), objects=raw, found=found)

    def _ask(self, number: int, raw: tuple[RawObject, ...], skip: int, threads: int) -> tuple[int, PublishedPieces]:
        by_digest = {one.sha256: (self._raw, f"{self._source.prefix}{one.key}", one) for one in raw}
        lent = PublishedPieces(
            self._job, self._signature, number, raw=by_digest, target=self._out, place=self._target,
            records=self._records, tell=self._tell,
        )  # fmt: skip
        model = exported_away(self._directory)
        request = {
            "signature": self._signature.to_json(), "reading": self._job.reading.document(), "model": model.recipe(),
            "objects": [asdict(one) for one in raw], "skip": skip, "threads": threads,
            "rows": piece_rows(self._signature),
        }  # fmt: skip
        try:
            told = children().call(
                SCORE_UNIT, request, store=lent, rights=LENT, reads=model.reads, time_limit_s=HOURS_6
            )
        except RatchetError as error:
            raise lent.error or error from error
        if not isinstance(told, int) or told < skip:
            raise DataError(f"{self._source}: the reader told of {told} pieces, {skip} are there; run again")
        return told, lent

    def _known_unit(self, number: int) -> _Unit | None:
        """What an earlier run finished, if all of it is still there."""
        try:
            told = json.loads(self._records.get(unit_key(self._id, number)))
        except ObjectNotFound:
            return None
        pieces = self._known_pieces(number)
        if len(pieces) < told["pieces"]:
            return None
        objects = tuple(RawObject(**one | {"pieces": tuple(one["pieces"])}) for one in told["objects"])
        return _Unit(pieces=tuple(pieces[: told["pieces"]]), objects=objects, found=told["pieces"])

    def _known_pieces(self, number: int) -> list[Piece]:
        """From the first on, those whose files are what their records say."""
        found: list[Piece] = []
        while True:
            try:
                found.append(self._piece(number, len(found), whole=True))
            except (ObjectNotFound, DigestMismatch):
                return found

    def _piece(self, unit: int, number: int, *, whole: bool) -> Piece:
        """By its record; `whole`: its files are read and held against it."""
        piece = Piece.of(json.loads(self._records.get(piece_key(self._id, unit, number))))
        for file in (piece.scores, piece.aside) if whole else ():
            if file is not None:
                self._out.get(f"{self._target.prefix}{file.key}", sha256=file.sha256)
        return piece

    def _publish(self, outcome: ScoredBatch, pieces: list[Piece], objects: list[RawObject]) -> None:
        """The manifest, once nothing else lies there than what it names."""
        named: dict[str, WrittenFile] = {}
        for piece in pieces:
            named |= {file.key: file for file in (piece.scores, piece.aside) if file is not None}
        for info in self._out.list(self._target.prefix):
            name = info.key.removeprefix(self._target.prefix)
            if name in (JOB, MANIFEST) or not name:
                continue
            if name not in named or named.pop(name).size_bytes != info.size_bytes:
                raise InfrastructureError(
                    f"{self._target}{name}: is no file of this batch; another run writes to the same place, or it was "
                    "changed: remove it and run again"
                )
        if named:
            raise InfrastructureError(f"{self._target}{next(iter(named))}: is gone; run again, which writes it anew")
        key = manifest_key(self._id)
        self._records.put(key, canonical_json(manifest_document(self._job, outcome, pieces, objects)))
        self._out.put(f"{self._target.prefix}{MANIFEST}", bare(self._records).get(key))

    def _tell(self, piece: Piece | None, done_bytes: int = 0) -> None:
        """From several threads. Raises ``InfrastructureError`` once stopped: what was told of is finished."""
        self._refuse_stopped()
        with self._counting:
            self._done_bytes += done_bytes
            if piece is not None:
                self._rows, self._aside = self._rows + piece.scored, self._aside + piece.set_aside

    def _refuse_stopped(self) -> None:
        if self._stopped:
            raise InfrastructureError(f"{self._target}: stopped; the same command goes on")

    def _tell_now(self) -> None:
        total = sum(one.size_bytes for one in self._job.objects)
        self._tell_whom(self._done_bytes, total, self._rows, self._aside)
