"""Check a pipeline file whole, before anything trains. Imports no Prefect: `ratchet validate` is quick."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.errors import RatchetError
from mlratchet.models.gates.validation import power_notes, validate_policy
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.registration.record import find_registration
from mlratchet.models.training.losses import check_fits
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.wiring import Adapters


def check_pipeline(
    file: Path, adapters: Adapters | None = None, *, overrides: Sequence[str] = ()
) -> tuple[PipelineSpec, list[str]]:
    """The pipeline of a file, with warnings. Raises ``ConfigurationError`` before anything trains.

    With `adapters` the margins are held against the test rows that the champion was judged on.
    """
    spec = read_pipeline(file, overrides=overrides)
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    check_fits(spec.train, workload)
    warnings = validate_policy(spec.gates, workload.task, workload.class_names())
    test_rows = champion_test_rows(adapters, spec.name) if adapters is not None else None
    return spec, warnings + spec.train.notes() + power_notes(spec.gates, test_rows, test_share=spec.data.split.test)


def champion_test_rows(adapters: Adapters, name: str) -> int | None:
    """Test rows of the champion's dataset; None without a champion or without a stack that answers."""
    try:
        head = adapters.ledger.head(name)
        record = find_registration(adapters.store, head.work_key) if head is not None else None
        return load_dataset(adapters.store, record.dataset_id).rows["test"] if record is not None else None
    except RatchetError:
        return None
