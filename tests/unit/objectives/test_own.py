"""A user's own objective: found by its reference, refused with the reason, trained, answered and drawn."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.comparison.compare import compare
from mlratchet.models.data.config import SourceConfig
from mlratchet.models.data.preprocess import read_dataset_records
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.checks.base import PolicyContext
from mlratchet.models.gates.checks.robustness import RobustnessCheck
from mlratchet.models.gates.validation import validate_policy
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.base import Objective
from mlratchet.models.objectives.naming import BUILT_IN, metrics_for, objective_of
from mlratchet.models.serving.openapi import prediction
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.fitting import check_fits
from mlratchet.models.workloads.loading import load_workload

from tests.conftest import REPOSITORY

PARAMETERS = {"columns": ["hour", "price", "rain"]}


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/examples/counts/visits.py, as a user's module beside the pipelines."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "docs" / "examples" / "counts"))
    import visits  # type: ignore[import-not-found]  # not a package of ours

    return visits  # type: ignore[no-any-return]


def rows_of(y: Any, output: Any) -> RowOutputs:
    y, output = np.asarray(y, np.float32), np.asarray(output, np.float32)
    return RowOutputs(ids=[f"r{i}" for i in range(len(y))], y=y, output=output)


@pytest.mark.parametrize("task", sorted(BUILT_IN))
def test_a_built_in_one_is_stored_by_its_name(task: str) -> None:
    assert objective_of(task).reference == task


def test_a_users_own_is_stored_by_its_reference_and_found_by_it(visits: ModuleType) -> None:
    workload = load_workload("visits:VisitCounts", PARAMETERS)
    stored = signature_of(workload).to_json()
    assert '"task": "visits:Counts"' in stored
    found = objective_of(Signature.from_json(stored).task)
    assert type(found) is visits.Counts
    assert workload.objective.name == "count"


class Lacking(Objective):
    name = "half"

    def loss(self, output: Any, target: Any, *, label_smoothing: float) -> Any:
        return output.sum()


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("clasification", r"unknown task 'clasification'; did you mean 'classification'\?"),
        ("survival", r"there are classification, multi_label, regression, ranking, or package\.module:Class"),
        ("no_such_module:Counts", "cannot import no_such_module"),
        ("visits:Count", r"no subclass of Objective with this name; did you mean 'Counts'\?"),
        ("visits:VisitCounts", "no subclass of Objective with this name"),
        (Lacking, "objective Lacking lacks answer_schema, answers, metrics"),
        (type("Nested", (BUILT_IN["regression"],), {"__qualname__": "f.Nested"}), "write it at the top of a module"),
    ],
)
def test_what_is_no_objective_is_refused_with_the_reason(visits: ModuleType, task: Any, words: str) -> None:
    assert visits.Counts.name == "count"
    with pytest.raises(ConfigurationError, match=words):
        objective_of(task)


def test_its_metrics_stand_in_gates_and_early_stopping(visits: ModuleType, digits_spec: Any) -> None:
    workload = visits.VisitCounts(**PARAMETERS)
    check_fits(TrainConfig.model_validate({"early_stopping": {"metric": "poisson_deviance"}}), workload)
    with pytest.raises(ConfigurationError, match="there are: loss, poisson_deviance"):
        check_fits(TrainConfig.model_validate({"early_stopping": {"metric": "mse"}}), workload)
    with pytest.raises(ConfigurationError, match="mse does not fit a count; there are: task"):
        check_fits(TrainConfig(loss="mse"), workload)
    with pytest.raises(ConfigurationError, match=r"unknown metric 'accuracy'; .*poisson_deviance"):
        validate_policy(digits_spec.gates, workload.objective.reference, ())


def test_the_deviance_is_that_of_scikit_learn(visits: ModuleType) -> None:
    from sklearn.metrics import mean_poisson_deviance

    rng = np.random.default_rng(0)
    log_rate = rng.normal(size=200).astype(np.float32)
    y = rng.poisson(np.exp(log_rate)).astype(np.float32)
    (metric,) = visits.Counts().metrics(())
    found = metric.estimate(rows_of(y, log_rate)).value
    assert found == pytest.approx(mean_poisson_deviance(y, np.exp(log_rate)), rel=1e-5)


def test_a_target_that_it_cannot_learn_from_is_set_aside_with_its_place(visits: ModuleType) -> None:
    raw, store = MemoryStore(), MemoryStore()
    raw.put("v/a.csv", b"hour,price,rain,label\n1,2,3,4\n1,2,3,-4\n1,2,3,0.5\n")
    source, workload = SourceConfig(prefix="v/"), visits.VisitCounts(**PARAMETERS)
    records, rejects = read_dataset_records(store, take_snapshot(raw, store, prefix="v/"), workload, source)
    assert [record.y for record in records] == [4.0]
    assert [reject.where for reject in rejects] == ["a.csv:3", "a.csv:4"]
    assert "got -4, expected a count" in rejects[0].reason


def test_a_client_reads_its_answer_and_a_person_its_unit(visits: ModuleType) -> None:
    workload = visits.VisitCounts(**PARAMETERS)
    signature = signature_of(workload)
    model = torch.nn.Linear(3, 1).eval()
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.constant_(model.bias, float(np.log(3.0)))
    (answer,) = Predictor(version=1, generation=1, signature=signature, model=model).predict(
        Inputs({"x": np.ones((1, 3), "f4")})
    )
    assert answer == {"rate": pytest.approx(3.0)}
    assert prediction(signature)["properties"] == {"rate": {"type": "number", "minimum": 0}}
    said = rows_of([3, 5], np.log([3.0, 4.0]))
    assert workload.objective.samples(said, ()) == [["r0", "3", "3"], ["r1", "5", "4"]]
    assert workload.objective.badness(said).tolist() == pytest.approx([0, 1], abs=1e-5)
    assert workload.objective.pictures(said, ())["residuals.png"].startswith(b"\x89PNG")
    found = compare(said, rows_of([3, 5], np.log([3.0, 5.0])), task=signature.task, class_names=())
    assert found.disagreeing_rows == 1


class Paced(BUILT_IN["regression"]):  # type: ignore[misc]  # a class from a mapping
    name = "pace"
    unfit_perturbations: ClassVar = {"missing_input": "a row without its clock has no pace"}


def test_a_perturbation_that_changes_the_target_is_refused() -> None:
    perturbation = {"kind": "missing_input", "fraction": 0.1}
    check = RobustnessCheck.model_validate(
        {"kind": "robustness", "metric": "mae", "perturbation": perturbation, "maximum_drop": 0.1}
    )
    known = metrics_for(Paced, ())
    context: Any = PolicyContext(metrics=known, task=Paced, class_names=(), columns=None, input_spec=None)
    with pytest.raises(ConfigurationError, match=r"gates\.candidate\.0: missing_input does not fit a pace: a row"):
        check.validate_in(context, "gates.candidate.0")


def test_the_branches_on_a_task_stand_with_the_objectives() -> None:
    """A new task is one class: whoever compares names of tasks would have to be found and changed too."""
    names = "|".join(BUILT_IN)
    found = []
    for room in ("flows", "tasks", "models", "infra"):
        for path in (REPOSITORY / room).rglob("*.py"):
            inside = path.relative_to(REPOSITORY)
            if inside.parts[:2] == ("models", "objectives"):
                continue
            found += [f"{inside}: {line}" for line in path.read_text().splitlines() if _branches(line, names)]
    assert found == []


def _branches(line: str, names: str) -> bool:
    named = rf"(==|!=|\bin\b|\bcase\b|get\()\s*\(?\[?\{{?\"({names})\""
    constant = r"\btask\s*(==|!=|(not )?in)\s*[(\[{]?(?!BUILT_IN)[A-Z]"  # a name of a task by another name
    return re.search(f"{named}|{constant}", line) is not None
