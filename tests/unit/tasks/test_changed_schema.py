"""A pipeline changes its `schema:`: every version prepares the same raw rows by its own and is compared by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from mlratchet.models.artifact.signature import signature_of
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.prepared_shards import fitted_to, with_fitted
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.networks.trunks import Alone
from mlratchet.models.pipeline.store import load_pipeline, publish_pipeline
from mlratchet.models.registration.record import Registration
from mlratchet.models.tensors.batch import asked_by_name
from mlratchet.models.workloads.fields import SchemaWorkload
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.steps.evaluate import evaluate
from mlratchet.tasks.support.row_identity import first_delivery

from .conftest import Road
from .schema_cases import LEVELS, less, numbers, table, verdict
from .test_named_tensors import trained
from .test_row_identity import deliver, sides

pytestmark = pytest.mark.usefixtures("without_pictures", "by_field")
NUMBERS = {name: {"kind": "number"} for name in ("a", "b", "c")}
SOURCE = "{prefix: t/, format: csv}"
SUMS = {"low": {"a": -4.0}, "mid": {}, "high": {"a": 4.0}, "top": {"a": 4.0}, "new": {"c": 20.0}}
BIAS = {"mid": 2.0, "new": -30.0}  # new is said where c is far above the others
WRONG = {**SUMS, "low": {"b": -4.0}}


class ByField(torch.nn.Module):
    """Weighted sums of named columns of the tensor of numbers."""

    def __init__(self, sums: Sequence[Mapping[str, float]], columns: Sequence[str], bias: Sequence[float]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[one.get(name, 0.0) for name in columns] for one in sums]))
        self.bias = torch.nn.Parameter(torch.tensor(list(bias)))

    def forward(self, numbers: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        return numbers @ self.weight.T + self.bias


@pytest.fixture
def by_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever a workload asks for a network gets weighted sums, to be filled with weights."""

    def build(self: SchemaWorkload, _inputs: Any, outputs: int) -> torch.nn.Module:
        columns = [one.field for one in self.plan.features(self.state) if one.tensor == "numbers"]
        return ByField([{}] * outputs, columns, [0.0] * outputs)

    monkeypatch.setattr(SchemaWorkload, "build_network", build)


def run_of(
    road: Road, fields: Mapping[str, Any] = NUMBERS, classes: Sequence[str] = LEVELS, label: str = "label"
) -> Any:
    schema = {"fields": {**fields, label: {"kind": "category", "values": list(classes)}}, "label": label}
    run = road.run(
        gate="champion", parameters=json.dumps({"schema": schema}), source=SOURCE, use="SchemaWorkload", module="fields"
    )
    run.spec = load_pipeline(road.store, publish_pipeline(road.store, run.spec))  # as a run has it
    run.workload = load_workload(run.spec.workload.use, dict(run.spec.workload.parameters))
    return run


def prepared(road: Road, run: Any, rows: list[dict[str, str]]) -> DatasetManifest:
    """As the steps do it; from then on the run's workload is the fitted one."""
    snapshot = deliver(road, rows)
    first = first_delivery(run, snapshot)
    records, _ = read_dataset_records(road.store, snapshot, run.workload, run.spec.source, first=first)
    dataset = write_dataset(
        road.store, snapshot, records, "w", run.spec.workload, run.spec.data, run.spec.source,
        class_names=run.workload.class_names(), tensors=run.workload.input_spec().tensors, prepared=True, first=first,
    )  # fmt: skip
    made = with_fitted(run.spec.workload, fitted_to(road.store, dataset))
    run.workload = load_workload(made.use, dict(made.parameters))
    return dataset


def answers(run: Any, sums: Mapping[str, Mapping[str, float]] = SUMS) -> Any:
    """A model of the run's workload whose outputs are `sums`, by name."""
    features, found = run.workload.plan.features(run.workload.state), run.workload.class_names()
    columns = [one.field for one in features if one.tensor == "numbers"]
    network = ByField([sums[name] for name in found], columns, [BIAS.get(name, 0.0) for name in found])
    return Alone(network, "numbers").eval() if run.workload.takes_one else network.eval()


def register(road: Road, run: Any, rows: list[dict[str, str]]) -> tuple[Registration, DatasetManifest]:
    dataset = prepared(road, run, rows)
    record = road.version(
        asked_by_name(answers(run), run.workload.tensors()), dataset_id=dataset.id,
        revision=publish_pipeline(road.store, run.spec), signature=signature_of(run.workload),
    )  # fmt: skip
    return record, dataset


def compared(road: Road, run: Any, rows: list[dict[str, str]]) -> tuple[CheckResult, DatasetManifest]:
    """A worse candidate that the file of `run` made of these rows, against the champion of `table()`."""
    champion, _ = register(road, run_of(road), table())
    dataset = prepared(road, run, rows)
    found = evaluate.fn(run, road.work(dataset, champion), dataset, trained(road, answers(run, WRONG)))
    return verdict(found, run), dataset


@pytest.fixture(scope="module")
def known() -> list[tuple[Any, ...]]:
    """Where `unchanged` keeps what it found."""
    return []


@pytest.fixture
def unchanged(known: list[tuple[Any, ...]], make_road: Any) -> tuple[Any, ...]:
    """What the check says of a worse model where nothing changed."""
    if not known:
        road = make_road()
        known.append(numbers(compared(road, run_of(road), table())[0]))
    return known[0]


REORDERED = {name: NUMBERS[name] for name in ("c", "a", "b")}


@pytest.mark.parametrize(
    ("fields", "classes"),
    [(NUMBERS, ("high", "low", "mid")), (REORDERED, LEVELS), (REORDERED, ("mid", "high", "low"))],
    ids=["classes", "fields", "both"],
)
def test_another_order_changes_no_verdict_and_no_number(
    road: Road, unchanged: Any, fields: Any, classes: Sequence[str]
) -> None:
    result, _ = compared(road, run_of(road, fields, classes), table())
    assert numbers(result) == unchanged
    assert unchanged[0] == "fail"


@pytest.mark.parametrize("classes", [("low", "mid", "high", "new"), ("new", "high", "low", "mid")])
def test_a_class_added_is_a_slice_of_its_own_and_its_rows_are_counted(
    road: Road, unchanged: Any, classes: Sequence[str]
) -> None:
    run = run_of(road, classes=classes)
    result, dataset = compared(road, run, table(new=60))
    rows = dataset.rows["test"]
    assert (result.verdict, result.value) == (unchanged[0], pytest.approx(unchanged[1], abs=0.02))
    (part,) = result.parts
    assert result.n == rows - part.n
    assert (part.label, part.value) == ("only the candidate knows new (recall)", 1.0)
    assert f", only the candidate knows new ({part.n} rows)" in result.reason
    assert part.n > 0
    assert "left out" not in result.reason


def test_a_class_renamed_is_one_removed_and_one_added(road: Road) -> None:
    run = run_of(road, classes=("low", "mid", "top"))
    result, dataset = compared(road, run, table(classes={"high": "top"}))
    (part,) = result.parts
    assert (result.verdict, result.n) == ("fail", dataset.rows["test"] - part.n)
    assert f"only the candidate knows top ({part.n} rows), only the other knows high" in result.reason
    assert part.n > 0


def test_a_class_removed_is_left_out_of_the_champions_answers(road: Road) -> None:
    result, _ = compared(road, run_of(road, classes=("mid", "low")), table())
    assert result.verdict == "fail"
    assert "only the other knows high" in result.reason
    assert "left out" not in result.reason


@pytest.mark.parametrize("beside", [False, True], ids=["renamed", "beside the old one"])
def test_a_label_renamed_changes_no_number(road: Road, unchanged: Any, beside: bool) -> None:
    rows = [{**row, "grade": row["label"]} for row in table()]
    result, dataset = compared(road, run_of(road, label="grade"), rows if beside else less(rows, "label"))
    assert numbers(result) == unchanged
    assert result.n == dataset.rows["test"]


@pytest.mark.parametrize("delivered_before", [True, False])
def test_a_field_added_is_asked_of_the_candidate_alone(road: Road, unchanged: Any, delivered_before: bool) -> None:
    rows = [{**row, "d": str(number / 100)} for number, row in enumerate(table())]
    run = run_of(road, {**NUMBERS, "d": {"kind": "number"}})
    champion, before = register(road, run_of(road), rows if delivered_before else table())
    dataset = prepared(road, run, rows)
    found = evaluate.fn(run, road.work(dataset, champion), dataset, trained(road, answers(run, WRONG)))
    assert sides(road, dataset) == sides(road, before)
    result = verdict(found, run)
    if not delivered_before:
        assert numbers(result) == unchanged
    assert (result.verdict, result.n) == ("fail", dataset.rows["test"])


def test_a_field_removed_is_still_given_to_the_champion(road: Road, unchanged: Any) -> None:
    result, _ = compared(road, run_of(road, {name: NUMBERS[name] for name in ("a", "b")}), table())
    assert numbers(result) == unchanged


def test_a_field_that_is_lost_is_inconclusive_and_named(road: Road) -> None:
    result, _ = compared(road, run_of(road, {name: NUMBERS[name] for name in ("a", "b")}), less(table(), "c"))
    assert (result.verdict, result.value) == ("inconclusive", None)
    assert "'c'" in result.reason


def test_a_field_of_another_kind_is_read_by_each_as_it_says(road: Road, unchanged: Any) -> None:
    result, _ = compared(road, run_of(road, {**NUMBERS, "c": {"kind": "text"}}), table())
    assert numbers(result) == unchanged
