"""Validate: read every record of the snapshot, set bad ones aside, measure the rest."""

from __future__ import annotations

from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.preprocess import read_dataset_records
from mlratchet.models.data.quality import Names, QualityReport, inspect
from mlratchet.models.data.row_index import input_columns
from mlratchet.models.data.snapshot import Snapshot
from mlratchet.models.evaluation.slices import require_columns
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.needs import demands_of
from mlratchet.models.registration.record import Registration
from mlratchet.models.sources.record import Record, Reject
from mlratchet.tasks.showing.prefect_page import show_table
from mlratchet.tasks.step import step
from mlratchet.tasks.support.open_version import signature_of_version
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run

SHOWN = 50  # rejected records shown in Prefect


class Checked:
    """The records of a run and what was measured of them. Not a dataclass, so that Prefect does not walk it."""

    def __init__(
        self,
        records: list[Record],
        rejects: list[Reject],
        quality: QualityReport,
        previous: DatasetManifest | None,
    ) -> None:
        self.records = records
        self.rejects = rejects
        self.quality = quality
        self.evidence = Evidence(data_measures=quality.measures)
        self.digests = {"previous_dataset": previous.id if previous else "none"}


@step("Validate the delivery", retries=1)
def validate(run: Run, snapshot: Snapshot, work: Work) -> Checked:
    """Measure the delivery, and against the champion's dataset where there is one."""
    store = run.adapters.store
    previous = load_dataset(store, work.incumbent.dataset_id) if work.incumbent else None
    records, rejects = read_dataset_records(
        store, snapshot, run.workload, run.spec.source, identity_columns=work.identity_columns
    )
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
    if rejects:
        show_table(
            "rejected-records",
            [{"where": r.where, "code": r.code, "reason": r.reason} for r in rejects[:SHOWN]],
            f"{len(rejects)} records set aside; the first {SHOWN} are shown",
        )
    return Checked(records, rejects, quality, previous)


def names_of(run: Run, record: Registration) -> Names:
    """What a version calls its classes and columns."""
    entries = run.adapters.ledger.entries(run.spec.name)
    signature = signature_of_version(run.adapters, record, entries)
    return Names(classes=signature.classes, columns=input_columns(signature.input))
