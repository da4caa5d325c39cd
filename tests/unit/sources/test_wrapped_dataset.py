"""A `torch.utils.data.Dataset` as the source of a pipeline, as docs/examples/wrapped has it: read, split, trained."""

from __future__ import annotations

import importlib.util
import io
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.pipeline.checking import check_gates, check_source
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.workloads.loading import load_workload

from tests.conftest import REPOSITORY
from tests.training import trained_rows

EXAMPLE = REPOSITORY / "docs" / "examples" / "wrapped"


def module_of(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def delivery(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Two objects of the dataset, one that is none, and one row of a kind that there is not."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLE), *sys.path])
    files = {"broken.npz": b"PK\x03\x04 of no archive"}
    for seed, rows in ((0, 250), (1, 150)):
        arrays: dict[str, Any] = module_of("make_rows").curves(rows, seed)
        arrays["kinds"][0] = seed * 7  # of the second object
        sink = io.BytesIO()
        np.savez(sink, **arrays)
        files[f"part-{seed}.npz"] = sink.getvalue()
    return files


def test_a_dataset_is_read_set_aside_and_trained_as_any_source(
    delivery: dict[str, bytes], store: MemoryStore, raw: MemoryStore
) -> None:
    spec = read_pipeline(EXAMPLE / "curves.yaml")
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    check_gates(spec, workload)
    check_source(spec, workload)
    for key, data in delivery.items():
        raw.put(f"curves/{key}", data)
    snapshot = take_snapshot(raw, store, prefix="curves/")
    records, rejects = read_dataset_records(store, snapshot, workload, spec.source)
    assert sorted((one.code, one.where) for one in rejects) == [
        ("not_curves", "broken.npz"),
        ("unknown_label", "part-1.npz:0"),
    ]
    manifest = write_dataset(
        store, snapshot, records, "code", spec.workload, spec.data, spec.source,
        class_names=workload.class_names(), tensors=workload.tensors(), prepared=True,
    )  # fmt: skip
    assert sum(manifest.rows.values()) == 399
    rows = trained_rows(store, manifest, spec.workload, spec.train)
    assert all(one.startswith("part-") for one in rows.ids)
    assert metrics_for(workload.task, workload.class_names())["accuracy"].estimate(rows).value > 0.85
