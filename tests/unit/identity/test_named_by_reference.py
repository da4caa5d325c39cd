"""What a workload names without importing it counts all the same: its objective by reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlratchet.models.workloads.loading import load_workload, workload_source

OBJECTIVE = (
    "from mlratchet.models.objectives.regression import Regression\nclass Paces(Regression):\n    name = 'pace'\n"
)
WORKLOAD = (
    "from mlratchet.models.workloads.tabular import TableRegressor\n"
    "class Runs(TableRegressor):\n    task = 'paces_{n}:Paces'\n"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def source_with(project: Path, number: int, objective: str) -> str:
    (project / f"paces_{number}.py").write_text(objective)
    (project / f"runs_{number}.py").write_text(WORKLOAD.format(n=number))
    return workload_source(f"runs_{number}:Runs").modules[f"paces_{number}"]


def test_an_objective_that_is_named_by_reference_is_part_of_the_workload(project: Path) -> None:
    before = source_with(project, 1, OBJECTIVE)
    assert source_with(project, 2, f"{OBJECTIVE}# a comment\n") == before
    assert source_with(project, 3, f"{OBJECTIVE}    badness_unit = 's'\n") != before


def test_so_is_one_that_an_instance_names(project: Path) -> None:
    """As a parameter of the pipeline file, for one."""
    (project / "late_paces.py").write_text("import late_steps\n" + OBJECTIVE)
    (project / "late_steps.py").write_text("")
    (project / "late_runs.py").write_text(
        "from mlratchet.models.workloads.tabular import TableRegressor\n"
        "class Runs(TableRegressor):\n"
        "    def __init__(self, *, columns, task):\n"
        "        super().__init__(columns=columns)\n"
        "        self.task = task\n"
    )
    workload = load_workload("late_runs:Runs", {"columns": ["a"], "task": "late_paces:Paces"})
    assert {"late_runs", "late_paces", "late_steps"} == set(workload_source("late_runs:Runs", workload.task).modules)
    assert {"late_runs"} == set(workload_source("late_runs:Runs", "regression").modules)
