"""Validate: read every record of the snapshot, set bad ones aside, measure the rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import partial

import numpy as np
from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.kept_pieces import KeptPieces, reading_identity
from mlratchet.models.data.logged_rows import BEYOND_SHARE, logged_by_side, within_share
from mlratchet.models.data.near_duplicates import clusters_of
from mlratchet.models.data.preprocess import EmptyDatasetError, read_dataset_records
from mlratchet.models.data.quality import Names, QualityReport, inspect
from mlratchet.models.data.quality.distributions import profile_of_dataset, publish_profile
from mlratchet.models.data.quality.inspect import Inspection
from mlratchet.models.data.quality.measures import AGE, NOISE
from mlratchet.models.data.quality.noise import Outputs
from mlratchet.models.data.quality.page import quality_page
from mlratchet.models.data.reading import publish_reading, reading_of
from mlratchet.models.data.records import NO_RECORDS, Records
from mlratchet.models.data.rejects import Rejects, Without
from mlratchet.models.data.row_index import input_columns
from mlratchet.models.data.rules import follow, refuse_errors
from mlratchet.models.data.snapshot import Snapshot, folder_of, load_snapshot
from mlratchet.models.data.split import IN_GAP, Sides, divided
from mlratchet.models.errors import DataError, RatchetError
from mlratchet.models.evaluation.slices import require_columns
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.needs import demands_of
from mlratchet.models.metrics.rows import load_rows
from mlratchet.models.pipeline.checking import carried
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.registration.record import Registration
from mlratchet.models.sources.log_rows import weighed
from mlratchet.tasks.showing.prefect_page import show_markdown, show_table
from mlratchet.tasks.step import step
from mlratchet.tasks.support.open_version import signature_of_version
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run

logger = logging.getLogger(__name__)
SHOWN = 50  # rejected records shown in Prefect


class Checked:
    """The records of a run and what was measured of them. Not a dataclass, so that Prefect does not walk it."""

    def __init__(
        self,
        records: Records,
        rejects: Rejects,
        quality: QualityReport,
        previous: DatasetManifest | None,
        quarantine: str,
        sides: Sides,
    ) -> None:
        self.records = records
        self.rejects = rejects
        self.quality = quality
        self.sides = sides
        self.evidence = Evidence(data_measures=quality.measures)
        self.digests = {"previous_dataset": previous.id if previous else "none", "quarantine": quarantine}


@step("Validate the delivery", retries=1)
def validate(run: Run, snapshot: Snapshot, work: Work) -> Checked:
    """Measure the delivery, and against the champion's dataset where there is one.

    Raises ``RuleBrokenError`` where a rule is broken that is an error; the quarantine is kept first.
    """
    store = run.adapters.store
    kept = KeptPieces(
        store,
        reading_identity(run.data_code, run.spec.workload, run.spec.source, work.first.settings()),
        snapshot.id,
    )
    previous = load_dataset(store, work.incumbent.dataset_id) if work.incumbent else None
    try:
        records, rejects = read_dataset_records(
            store,
            snapshot,
            run.workload,
            run.spec.source,
            first=work.first,
            delivered=run.raw,
            rules=run.spec.quality,
            scratch=run.scratch,
            kept=kept,
        )
    except EmptyDatasetError as error:
        keep_reading(run, work, NO_RECORDS, error.rejects)
        raise
    try:
        alike = partial(clusters_of, config=run.spec.quality.near, schema=run.spec.example_schema)
        records, aside, sides = divided(records, run.spec.data.split, alike)
        wanted = run.spec.source.inference_log
        records, beyond = within_share(records, sides, wanted.most_share if wanted is not None else None)
    except DataError:
        keep_reading(run, work, records, rejects)
        raise
    rejects.extend(aside)
    rejects.extend(beyond)
    if sides.words:
        logger.info("divided %s", sides.words)
    logged = logged_by_side(records, sides) if wanted is not None else {}
    quarantine = keep_reading(run, work, records, rejects, kept.line(), logged=logged)
    faulty = Without(rejects, {IN_GAP, BEYOND_SHARE})  # nothing is wrong with those
    refuse_errors(faulty, run.spec.quality, run.spec.name)
    columns = sorted(records.column_names() | {*(carried(run.spec) or ())})
    demands = demands_of(run.spec.gates)
    for column, where in demands.columns.items():
        require_columns([column], columns, where)  # before anything trains
    quality = inspect(
        store,
        records,
        faulty,
        previous,
        run.spec.data,
        run.workload.class_names(),
        columns=input_columns(run.workload.input_spec()),
        before=names_of(run, work.incumbent) if work.incumbent else None,
        asked=asked_of(run, work, demands.measures),
        sides=sides,
    )
    publish_profile(store, work.dataset_id, quality.profile)
    show_quality(run, work, quality)
    for rule, words in quality.broken.items():
        follow(rule, words, run.spec.quality)
    return Checked(records, rejects, quality, previous, quarantine, sides)


def keep_reading(
    run: Run,
    work: Work,
    records: Records,
    rejects: Rejects,
    before: str = "",
    *,
    logged: Mapping[str, int] | None = None,
) -> str:
    """Publish everything that was set aside, and say what was read in Prefect and, once there is a run, in MLflow.
    `before`: how much of it had been read before; `logged`: rows of the log by side. Returns the digest of
    the quarantine."""
    first = work.first
    reading = reading_of(records, rejects, first.number_marks, time_formats=first.time_formats, logged=logged)
    line = weighed(reading.line(), run.spec.source.inference_log)
    run.reading = "; ".join(part for part in (line, before) if part)
    quarantine = publish_reading(
        run.adapters.store,
        run.spec.name,
        reading,
        rejects,
        dataset_id=work.dataset_id,
        snapshot_id=work.snapshot_id,
        run_id=run.run_id,
        at_s=time.time(),
    )
    logger.info("%s", run.reading)
    show_markdown("reading", run.reading, "What was read of the delivery")
    if rejects:
        show_table(
            "rejected-records",
            [{"where": r.where, "code": r.code, "reason": r.reason} for r in rejects[:SHOWN]],
            f"{reading.set_aside:,} records set aside; the first {SHOWN} are shown, `ratchet rejects {run.spec.name}` "
            "prints all",
        )
    return quarantine


def names_of(run: Run, record: Registration) -> Names:
    """What a version calls its classes and columns."""
    entries = run.adapters.ledger.entries(run.spec.name)
    signature = signature_of_version(run.adapters, record, entries)
    return Names(classes=signature.classes, columns=input_columns(signature.input))


def show_quality(run: Run, work: Work, quality: QualityReport) -> None:
    """In Prefect a table, in MLflow, once there is a run, a page."""
    page = quality_page(run.spec.name, run.reading, quality, run.spec.quality, snapshot_id=work.snapshot_id)
    run.pages["quality.html"] = page.encode()
    rows = [
        {"measure": name, "value": f"{one.value:.6g}" if one.n else "", "n": one.n, "detail": one.detail}
        for name, one in quality.measures.items()
    ]
    show_table("quality", rows, "What was measured of the delivery; MLflow has it as quality.html, with every field")


def asked_of(run: Run, work: Work, measures: frozenset[str]) -> Inspection:
    """What is measured beside what always is."""
    store, incumbent = run.adapters.store, work.incumbent
    return Inspection(
        measures=measures,
        quality=run.spec.quality,
        schema=run.spec.example_schema,
        batch=run.spec.train.global_batch_size,
        now_s=time.time(),
        delivered_s=newest_object_s(run, work.snapshot_id) if AGE in measures else None,
        reference=profile_of_dataset(store, incumbent.dataset_id) if incumbent else None,
        outputs=unseen_outputs(run, incumbent) if incumbent and NOISE in measures else None,
    )


def newest_object_s(run: Run, snapshot_id: str, *, unreplaced: bool = False) -> float | None:
    """When the newest object of a snapshot was delivered, by the store's clock: one listing. What came since is in no
    snapshot yet, and nobody has looked at it.

    `unreplaced`: nor has anybody looked at what came in the place of one, with as many bytes. None where the store
    knows none by its etag: all were replaced, or the snapshot was taken of another server.
    """
    folder = folder_of(run.spec.source.prefix)
    objects = load_snapshot(run.adapters.store, snapshot_id).objects
    taken = {(folder + one.key, one.size_bytes): one.etag for one in objects}
    there = [info for info in run.raw.list(folder) if (info.key, info.size_bytes) in taken]
    seen = [info for info in there if not unreplaced or taken[info.key, info.size_bytes] == info.etag]
    return max((info.modified_s for info in seen), default=None)


def unseen_outputs(run: Run, champion: Registration) -> Outputs | None:
    """What the champion said of its test rows; None of a task without classes, and where the rows were collected."""
    classes = run.workload.class_names()
    try:
        rows = load_rows(run.adapters.store, champion.rows_key)
    except (ObjectNotFound, RatchetError):  # without them a linear model looks at the labels
        return None
    theirs = names_of(run, champion).classes
    if rows.output.ndim != 2 or rows.y.ndim != 1 or rows.output.shape[1] != len(theirs):
        return None
    logits = np.full((len(rows.ids), len(classes)), -np.inf)
    for place, name in enumerate(classes):
        if name in theirs:
            logits[:, place] = rows.output[:, theirs.index(name)]
    known = np.isfinite(logits).any(axis=1)
    shifted = np.exp(logits[known] - logits[known].max(axis=1, keepdims=True))
    return Outputs(
        ids=[one for one, kept in zip(rows.ids, known, strict=True) if kept],
        probabilities=shifted / shifted.sum(axis=1, keepdims=True),
        by=f"version {champion.version} on its test rows",
    )
