"""A drafted file trains a model that its own gates let pass, over the memory stores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.drafting.draft import draft
from mlratchet.models.gates.checks.absolute import AbsoluteCheck
from mlratchet.models.metrics.rows import load_rows
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.run import run_training
from mlratchet.models.workloads.loading import load_workload
from sklearn import datasets


def table(name: str, folder: Path) -> Path:
    bunch = getattr(datasets, f"load_{name}")()
    names = [str(one) for one in getattr(bunch, "target_names", [])]
    lines = [",".join([*map(str, bunch.feature_names), "target"])]
    for values, target in zip(bunch.data.tolist(), bunch.target.tolist(), strict=True):
        lines.append(",".join([*map(repr, values), names[target] if names else repr(target)]))
    file = folder / f"{name}.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_a_drafted_file_trains_what_its_own_gates_let_pass(
    name: str, tmp_path: Path, store: MemoryStore, raw: MemoryStore
) -> None:
    file = table(name, tmp_path)
    spec = parse_pipeline(draft([file]).text, where=f"{name}.yaml")
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    raw.put(f"{spec.source.prefix}rows.csv", file.read_bytes())
    snapshot = take_snapshot(raw, store, prefix=spec.source.prefix)
    records, rejects = read_dataset_records(store, snapshot, workload, spec.source)
    assert rejects == []
    manifest = write_dataset(
        store, snapshot, records, "code", spec.workload, spec.data, spec.source, class_names=workload.class_names()
    )
    job = TrainJob(
        work_key="w",
        epoch=1,
        dataset_id=manifest.id,
        workload=spec.workload,
        train=spec.train,
        processes=1,
        scratch=".",
    )
    result = run_training(
        job, store, rank=0, world=1, device=torch.device("cpu"), around=Surroundings(emit=lambda event: None)
    )
    assert result is not None
    assert result.rows_key is not None
    metrics = metrics_for(workload.objective.reference, workload.class_names())
    rows = load_rows(store, result.rows_key)
    floors = [check for check in spec.gates.candidate if isinstance(check, AbsoluteCheck)]
    assert len(floors) == 1
    for check in floors:
        value = metrics[check.metric].estimate(rows).value
        assert check.minimum is not None
        assert value > check.minimum
