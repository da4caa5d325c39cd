"""What extends the installed package from outside is one file each, as the pages write it: a format, a workload, a
metric, a check, an objective. Each stands alone in its file, in a folder of the user's, named in a pipeline file."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import read_dataset_records
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import Rules, judge
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_over
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.ports.memory import ObjectsInMemory
from mlratchet.models.training.rehearsal import rehearse
from mlratchet.models.workloads.loading import load_workload, workload_source
from mlratchet.tasks.support.check_whole import check_whole

from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "bring-your-own.md").read_text()
BLOCKS = re.findall(r"```python\n# till\.py\n(.*?)```", PAGE, re.DOTALL)
(DOCUMENT,) = re.findall(r"```yaml\n# deployments/pipelines/till\.yaml\n(.*?)```", PAGE, re.DOTALL)
COUNTS = (REPOSITORY / "docs" / "examples" / "counts" / "visits.py").read_text()
GATES = {
    "data": [{"kind": "data", "measure": "rows", "minimum": 1}],
    **{gate: [{"kind": "absolute", "metric": "accuracy", "minimum": 0.1}] for gate in ("candidate", "champion")},
    "staging": [{"kind": "parity", "maximum_difference": 0.1}],
}


def block_with(name: str) -> str:
    (found,) = [block for block in BLOCKS if f"class {name}(" in block]
    return found


class Project:
    """A user's folder: one file of code, and a pipeline file that names it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def with_code(self, text: str, module: str = "till") -> Project:
        (self.folder / f"{module}.py").write_text(text)
        importlib.invalidate_caches()
        return self

    def pipeline(self, **sections: Any) -> PipelineSpec:
        """The page's, with nothing of the user's but what `sections` say, read and held against its workload."""
        given = yaml.safe_load(DOCUMENT)
        given |= {"preparation": {}, "gates": GATES, "source": {"prefix": "till/", "format": "csv"}}
        del given["workload"]
        file = self.folder / "till.yaml"
        file.write_text(yaml.safe_dump(given | sections))
        spec = read_pipeline(file)
        check_whole(spec)
        return spec


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Project(tmp_path)
    for name in ("till", "visits"):
        sys.modules.pop(name, None)


def test_a_format_is_one_file(project: Project) -> None:
    spec = project.with_code(block_with("Till")).pipeline(source={"prefix": "till/", "format": "till:Till"})
    raw, store = MemoryStore(), MemoryStore()
    raw.put("till/may.till", b"r1;1.5 2 3;web;yes\nno receipt\nr2;4 5 6;shop;no\n")
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    records, rejects = read_dataset_records(store, take_snapshot(raw, store, prefix="till/"), workload, spec.source)
    assert [one.id for one in records] == ["r1", "r2"]
    assert [(one.where, one.code) for one in rejects] == [("may.till:2", "not_a_receipt")]


def problem_of(spec: PipelineSpec) -> str:
    """Of a rehearsal: rows are made up, prepared and trained on; it resumes, and is exported."""
    return rehearse(ObjectsInMemory("rehearsal"), spec.workload, spec.train, world=1).problem


def test_a_workload_is_one_file(project: Project) -> None:
    network = block_with("Returns").replace("shares", "prices")  # with no preparation of its own beside it
    spec = project.with_code(network).pipeline(workload={"use": "till:Returns"})
    assert problem_of(spec) == ""
    assert set(workload_source(spec.workload.use).modules) == {"till"}


def told(project: Project, check: dict[str, Any], answers: list[int], y: list[int]) -> tuple[str, float | None]:
    """Verdict and value of a check at the candidate gate, over rows that were answered so."""
    spec = project.pipeline(gates=GATES | {"candidate": [*GATES["candidate"], check]})
    rows = RowOutputs(
        ids=[f"r{number}" for number in range(len(y))], y=np.array(y), output=np.eye(2, dtype=np.float32)[answers]
    )
    result = judge(
        "candidate", spec.gates.checks("candidate"), Evidence(candidate=rows), first_model=False, task="classification",
        class_names=("no", "yes"), rules=Rules(),
    ).checks[-1]  # fmt: skip
    return result.verdict, result.value


def test_a_metric_is_one_file(project: Project) -> None:
    metric = block_with("ReturnsFound").partition("class NotAlwaysYes")[0]
    check = {"kind": "absolute", "metric": "till:ReturnsFound", "minimum": 0.6, "compare": "estimate"}
    project.with_code(metric)
    assert told(project, check, [1, 1, 1, 0] * 25, [1, 1, 1, 1] * 25) == ("pass", 0.75)
    assert told(project, check, [1, 0, 0, 0] * 25, [1, 1, 0, 1] * 25) == ("fail", pytest.approx(1 / 3))


def test_a_check_is_one_file(project: Project) -> None:
    before, _, check = block_with("NotAlwaysYes").partition("class ReturnsFound")
    project.with_code(before + "class NotAlwaysYes" + check.partition("class NotAlwaysYes")[2])
    declared = {"kind": "till:NotAlwaysYes", "maximum_share": 0.5}
    assert told(project, declared, [1, 0, 0, 0] * 25, [1, 1, 0, 0] * 25) == ("pass", 0.25)
    assert told(project, declared, [1, 1, 1, 0] * 25, [1, 1, 0, 0] * 25) == ("fail", 0.75)


def test_an_objective_is_one_file(project: Project) -> None:
    project.with_code(COUNTS, "visits")
    workload = load_workload("visits:VisitCounts", {"columns": ["hour"]})
    objective = workload.objective
    assert objective.reference == "visits:Counts"
    rates, counts = torch.tensor([[2.0], [5.0]]), torch.tensor([3.0, 4.0])
    expected = torch.nn.functional.poisson_nll_loss(rates.log()[:, 0], counts, log_input=True)
    assert torch.allclose(objective.loss(rates.log(), counts, label_smoothing=0.0), expected)
    assert objective.answers(rates.log(), ()) == [{"rate": pytest.approx(2.0)}, {"rate": pytest.approx(5.0)}]
    assert set(metrics_over("visits:Counts", ())) == {"poisson_deviance"}
    assert objective.refusal(1.5, ()) == "got 1.5, expected a count: 0, 1, 2, ..."


def test_the_page_is_one_pipeline(project: Project) -> None:
    """Its classes together, in the file that names them all."""
    spec = project.with_code("\n".join(BLOCKS)).pipeline(**yaml.safe_load(DOCUMENT))
    assert spec.gates.candidate[0].user_code == ("till:ReturnsFound",)
    assert spec.gates.candidate[1].user_code == ("till:NotAlwaysYes",)
    assert problem_of(spec) == ""
