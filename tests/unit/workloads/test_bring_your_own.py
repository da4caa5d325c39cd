"""docs/bring-your-own.md as it is read: its files lie in an empty folder, and its pipeline learns and is judged."""

from __future__ import annotations

import importlib
import re
import runpy
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import Rules, judge
from mlratchet.models.pipeline.checking import check_gates, check_source
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.workloads.loading import load_workload

from tests.conftest import REPOSITORY
from tests.training import trained_rows

PAGE = REPOSITORY / "docs" / "bring-your-own.md"
BLOCK = re.compile(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the files of the page, each put together from its blocks."""
    files = defaultdict(list)
    for name, text in BLOCK.findall(PAGE.read_text()):
        files[name].append(text)
    assert set(files) == {"make_till.py", "till.py", "deployments/pipelines/till.yaml"}
    for name, parts in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("\n\n".join(parts))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "till", raising=False)
    importlib.invalidate_caches()
    return tmp_path


def test_the_pipeline_of_the_page_reads_learns_and_passes_its_own_gate(
    folder: Path, store: MemoryStore, raw: MemoryStore
) -> None:
    runpy.run_path("make_till.py", run_name="__main__")
    spec = read_pipeline(folder / "deployments" / "pipelines" / "till.yaml")
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    check_gates(spec, workload)
    check_source(spec, workload)
    raw.put("till/may.till", (folder / "data" / "till" / "may.till").read_bytes())
    raw.put("till/june.till", b"r900;1.0 2.0;web\n")
    snapshot = take_snapshot(raw, store, prefix="till/")
    records, rejects = read_dataset_records(store, snapshot, workload, spec.source)
    assert [(one.where, one.code) for one in rejects] == [("june.till:1", "not_a_receipt")]
    manifest = write_dataset(
        store, snapshot, records, "code", spec.workload, spec.data, spec.source,
        class_names=workload.class_names(), tensors=workload.tensors(), prepared=True,
    )  # fmt: skip
    rows = trained_rows(store, manifest, spec.workload, spec.train)
    evidence = Evidence(candidate=rows, dataset_id=manifest.id)
    found = judge(
        "candidate", spec.gates.checks("candidate"), evidence,
        first_model=True, task=workload.task, class_names=workload.class_names(), rules=Rules(),
    )  # fmt: skip
    assert [(one.kind, one.verdict) for one in found.checks] == [
        ("absolute", "pass"),
        ("till:NotAlwaysYes", "pass"),
    ], found


def test_every_class_that_the_page_names_is_there(folder: Path) -> None:
    text = PAGE.read_text()
    for path, name in (
        ("workloads.fields", "SchemaWorkload"), ("preparation.base", "Preparation"), ("sources.base", "Format"),
        ("metrics", "SumMetric"), ("metrics", "CountMetric"), ("metrics", "Metric"), ("gates.checks.base", "Check"),
        ("objectives.base", "Objective"), ("metrics.detection", "MeanAveragePrecision"),
        ("metrics.edits", "CharacterErrorRate"), ("workloads.base", "Workload"),
    ):  # fmt: skip
        assert f"`{name}" in text or f"[`{name}" in text
        assert hasattr(importlib.import_module(f"mlratchet.models.{path}"), name)
