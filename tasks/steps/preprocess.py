"""Preprocess: records become shards, by split."""

from __future__ import annotations

from contextlib import suppress

from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.row_index import input_columns
from mlratchet.models.data.snapshot import Snapshot
from mlratchet.models.errors import RatchetError
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.tasks.showing.data_page import show_data
from mlratchet.tasks.step import step
from mlratchet.tasks.steps.validate import Checked
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run


def prepared_before(run: Run, work: Work) -> DatasetManifest | None:
    """The champion's dataset, where it differs from this one in what was delivered alone."""
    incumbent = work.incumbent
    if incumbent is None or incumbent.made_of is None or work.made_of is None:
        return None
    theirs, ours = incumbent.made_of.dataset, work.made_of.dataset
    if theirs | {"snapshot": ""} != ours | {"snapshot": ""}:
        return None
    with suppress(ObjectNotFound, RatchetError):  # it was collected: everything is prepared
        return load_dataset(run.adapters.store, incumbent.dataset_id)
    return None


@step("Preprocess into shards")
def preprocess(run: Run, work: Work, snapshot: Snapshot, checked: Checked) -> DatasetManifest:
    """Write the dataset unless it exists."""
    dataset = write_dataset(
        run.adapters.store,
        snapshot,
        checked.records,
        run.data_code,
        run.spec.workload,
        run.spec.data,
        run.spec.source,
        class_names=run.workload.class_names(),
        input_columns=input_columns(run.workload.input_spec()),
        tensors=run.workload.input_spec().tensors,
        prepared=run.workload.input_spec().example is not None,
        first=work.first,
        sides=checked.sides,
        before=prepared_before(run, work),
    )
    run.prepared_by(dataset)
    show_data(run, dataset)
    return dataset
