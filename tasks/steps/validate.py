"""Validate: read every record of the snapshot, set bad ones aside, measure the rest."""

from __future__ import annotations

import logging
import time

from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.preprocess import EmptyDatasetError, read_dataset_records
from mlratchet.models.data.quality import Names, QualityReport, inspect
from mlratchet.models.data.reading import publish_reading, reading_of
from mlratchet.models.data.records import NO_RECORDS, Records
from mlratchet.models.data.row_index import input_columns
from mlratchet.models.data.snapshot import Snapshot
from mlratchet.models.evaluation.slices import require_columns
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.needs import demands_of
from mlratchet.models.registration.record import Registration
from mlratchet.models.sources.record import Reject
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
        rejects: list[Reject],
        quality: QualityReport,
        previous: DatasetManifest | None,
        quarantine: str,
    ) -> None:
        self.records = records
        self.rejects = rejects
        self.quality = quality
        self.evidence = Evidence(data_measures=quality.measures)
        self.digests = {"previous_dataset": previous.id if previous else "none", "quarantine": quarantine}


@step("Validate the delivery", retries=1)
def validate(run: Run, snapshot: Snapshot, work: Work) -> Checked:
    """Measure the delivery, and against the champion's dataset where there is one."""
    store = run.adapters.store
    previous = load_dataset(store, work.incumbent.dataset_id) if work.incumbent else None
    try:
        records, rejects = read_dataset_records(
            store, snapshot, run.workload, run.spec.source, first=work.first, delivered=run.raw, scratch=run.scratch
        )
    except EmptyDatasetError as error:
        keep_reading(run, work, NO_RECORDS, error.rejects)
        raise
    quarantine = keep_reading(run, work, records, rejects)
    columns = sorted({name for record in records for name in record.columns})
    for column, where in demands_of(run.spec.gates).columns.items():
        require_columns([column], columns, where)  # before anything trains
    quality = inspect(
        store,
        records,
        rejects,
        previous,
        run.spec.data,
        run.workload.class_names(),
        columns=input_columns(run.workload.input_spec()),
        before=names_of(run, work.incumbent) if work.incumbent else None,
    )
    return Checked(records, rejects, quality, previous, quarantine)


def keep_reading(run: Run, work: Work, records: Records, rejects: list[Reject]) -> str:
    """Publish everything that was set aside, and say what was read in Prefect and, once there is a run, in MLflow.
    Returns the digest of the quarantine."""
    reading = reading_of(records, rejects, work.first.number_marks)
    run.reading = reading.line()
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
