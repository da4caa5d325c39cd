"""The champion is scored through its own signature: classes, columns and labels meet by name, whatever their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.evaluation.seen import SEEN_COLUMN, UNREADABLE
from mlratchet.models.gates.judge import judge_gate
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.pipeline.store import publish_pipeline
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.workloads.tabular import TableClassifier
from mlratchet.tasks.steps.evaluate import Evaluation, evaluate

from .conftest import Road, program

GOOD, COIN = (1.0, 1.0, 0.0), (0.0, 0.0, 1.0)
PAIRED = "{kind: non_inferiority, metric: accuracy, margin: 0.05}"


def layout(
    columns: Sequence[str] = ("a", "b", "c"), classes: Sequence[str] = ("no", "yes"), task: Any = "classification"
) -> Signature:
    spec = InputSpec(kind="table", shape=(len(columns),), dtype="float32", columns=tuple(columns))
    return Signature(task=task, input=spec, classes=tuple(classes))


def relaid(model: Any, columns: Sequence[int], classes: Sequence[int]) -> Any:
    """The same model, taking its columns and giving its classes in another order."""
    back = [list(columns).index(place) for place in range(len(columns))]
    return lambda x: model(x[:, back])[:, list(classes)]


def measure(road: Road, champion: Any, signature: Signature, *, weights: Any = GOOD, more: str = "") -> Evaluation:
    incumbent = road.version(champion, signature=signature)
    run = road.run(PAIRED, gate="champion", more=more)
    dataset = road.dataset(run)
    found = evaluate.fn(run, road.work(dataset, incumbent), dataset, road.trained(weights))
    assert isinstance(found, Evaluation)
    return found


def verdict(found: Evaluation, *checks: str, classes: tuple[str, ...] = ("no", "yes")) -> CheckResult:
    policy = Road.run_policy(*(checks or (PAIRED,)))
    result = judge_gate(
        policy, "champion", found.evidence(), first_model=False, task="classification", class_names=classes, now_s=0.0
    )
    return result.checks[0]


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(("columns", "classes"), [((0, 1, 2), (1, 0)), ((2, 0, 1), (0, 1)), ((1, 2, 0), (1, 0))])
def test_another_order_of_classes_and_columns_changes_no_number(
    road: Road, columns: tuple[int, ...], classes: tuple[int, ...]
) -> None:
    names = layout([("a", "b", "c")[i] for i in columns], [("no", "yes")[i] for i in classes])
    found = measure(road, relaid(program(GOOD), columns, classes), names, weights=COIN)
    evidence = found.evidence()
    assert evidence.champion is not None
    plain = program(GOOD)(torch.from_numpy(np.asarray(road.x_of(evidence.candidate.ids)))).detach().numpy()
    assert np.array_equal(evidence.champion.output, plain)
    assert (evidence.champion.unknown, evidence.champion.beyond) == ((), ())
    result = verdict(found)
    assert result.verdict == "fail"  # a coin against a model that is always right
    assert result.value is not None
    assert -0.65 < result.value < -0.35


def three(model: Any, place: int) -> Any:
    """With a class that it never says, at `place`."""

    def scored(x: torch.Tensor) -> torch.Tensor:
        two = model(x)
        return torch.cat([two[:, :place], torch.full((len(x), 1), -30.0), two[:, place:]], dim=1)

    return scored


def test_a_class_that_only_the_champion_knows_is_no_loss_of_it(road: Road) -> None:
    found = measure(road, three(program(GOOD), 0), layout(classes=("gone", "no", "yes")))
    champion = found.evidence().champion
    assert champion is not None
    assert champion.beyond == ("gone",)
    result = verdict(found)
    assert result.verdict == "pass"
    assert result.value == 0.0
    assert "only the other knows gone" in result.reason


def test_rows_of_a_class_that_only_the_candidate_knows_are_a_slice_of_their_own(road: Road) -> None:
    """Else every one of them is a win for free, which hides losses on the classes that both know."""
    incumbent = road.version(program(GOOD), signature=layout())
    run = road.run(PAIRED, gate="champion", parameters='{columns: [a, b, c], classes: ["maybe", "no", "yes"]}')
    dataset = road.dataset(run, maybe=100)
    worse = road.trained_module(three_class(0.0, 1.0, 1.0))
    found = evaluate.fn(run, road.work(dataset, incumbent), dataset, worse)
    champion = found.evidence().champion
    assert champion.unknown == ("maybe",)
    assert np.isneginf(champion.output[:, 0]).all()
    result = verdict(found, classes=("maybe", "no", "yes"))
    assert result.verdict == "fail"
    maybe = sum(y == 0 for y in found.candidate.y)
    assert result.n == len(found.candidate.ids) - maybe > 0
    assert f"only the candidate knows maybe ({maybe} rows)" in result.reason
    (part,) = result.parts
    assert (part.n, part.verdict, part.value) == (maybe, "not_applicable", 1.0)
    assert "only the candidate knows maybe" in part.label


def three_class(*weights: float) -> torch.nn.Module:
    """Says maybe where c is above 5, else as `program`, with weights of its own."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3)).eval()
    two = program(tuple(weights))  # type: ignore[arg-type]  # three numbers
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.zero_()
        module[0].weight.copy_(two[0].weight)
        module[2].weight[1:].copy_(two[2].weight)
        module[0].weight[5, 2], module[0].bias[5], module[2].weight[0, 5] = 1.0, -5.0, 400.0
    return module


@pytest.mark.usefixtures("without_pictures")
def test_a_renamed_label_is_a_class_removed_and_one_added(road: Road) -> None:
    found = measure(road, three(program(GOOD), 2), layout(classes=("no", "yes", "other")))
    assert found.evidence().champion is not None
    apart = measure(road, program(GOOD), layout(classes=("nein", "ja")))
    assert apart.evidence().champion is None
    assert "it knows nein, ja, here are no, yes: nothing in common" in apart.missing["champion"]
    assert verdict(apart).verdict == "inconclusive"
    one = measure(road, program(GOOD), layout(classes=("no", "ja")))
    assert "only 'no' in common" in one.missing["champion"]


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("signature", "words"),
    [
        (layout(task="regression", classes=()), "its task is regression, here it is classification"),
        (
            Signature(
                task="classification",
                input=InputSpec(kind="image", shape=(1, 8, 8), dtype="float32"),
                classes=("no", "yes"),
            ),
            "its input's kind is image, here it is table",
        ),
        (layout(columns=("a", "b", "lost")), "takes lost, which this delivery does not give: .*'lost' is missing"),
    ],
)
def test_what_cannot_be_joined_is_inconclusive_and_says_what_differs(
    road: Road, signature: Signature, words: str
) -> None:
    import re

    found = measure(road, program(GOOD), signature)
    assert found.evidence().champion is None
    assert re.search(words, found.missing["champion"])
    result = verdict(found)
    assert result.verdict == "inconclusive"
    assert re.search(words, result.reason)


@pytest.mark.usefixtures("without_pictures")
def test_a_column_that_the_candidate_does_not_take_is_read_from_the_same_raw_rows(road: Road) -> None:
    champion = road.version(lambda x: program(GOOD)(torch.cat([x[:, 1:], x[:, :1]], dim=1)), signature=layout("cab"))
    run = road.run(PAIRED, gate="champion", parameters='{columns: [b, a], classes: ["no", "yes"]}')
    dataset = road.dataset(run)
    module = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2)).eval()
    with torch.no_grad():
        module[0].weight.copy_(program(GOOD)[0].weight[:, :2])
        module[0].bias.zero_()
        module[2].load_state_dict(program(GOOD)[2].state_dict())
    found = evaluate.fn(run, road.work(dataset, champion), dataset, road.trained_module(module))
    evidence = found.evidence()
    assert evidence.champion is not None
    assert (evidence.champion.output.argmax(axis=1) == evidence.champion.y).mean() > 0.99
    assert verdict(found).verdict == "pass"


@pytest.mark.usefixtures("without_pictures")
def test_rows_whose_own_column_the_champion_cannot_read_are_left_out_counted_and_named(road: Road) -> None:
    champion = road.version(lambda x: program(GOOD)(torch.cat([x[:, 1:], x[:, :1]], dim=1)), signature=layout("cab"))
    run = road.run(PAIRED, gate="champion", parameters='{columns: [a, b], classes: ["no", "yes"]}')
    dataset = road.dataset(run, empty_c=4)
    module = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2)).eval()
    found = evaluate.fn(run, road.work(dataset, champion), dataset, road.trained_module(module))
    marks = found.evidence().champion.columns[SEEN_COLUMN]
    count = marks.count(UNREADABLE)
    assert 0 < count < len(marks)
    result = verdict(found)
    assert f"{count} rows left out whose own columns it cannot read (" in result.reason
    assert result.n == len(marks) - count


@pytest.mark.usefixtures("without_pictures")
def test_attributions_meet_by_column(road: Road) -> None:
    incumbent = road.version(relaid(program(GOOD), (2, 0, 1), (1, 0)), signature=layout("cab", ("yes", "no")))
    run = road.run("{kind: attribution, maximum_shift: 0.5}")
    dataset = road.dataset(run)
    shift = evaluate.fn(run, road.work(dataset, incumbent), dataset, road.trained(GOOD)).attribution_shift
    assert shift is not None
    assert shift.value < 1e-6


class Stubborn(TableClassifier):
    """Reads a, b and d, whatever `columns` says."""

    def __init__(self, *, columns: list[str], classes: list[str]) -> None:
        super().__init__(columns=["a", "b", "d"], classes=classes)


@pytest.mark.usefixtures("without_pictures")
def test_a_workload_that_reads_its_own_columns_whatever_it_is_asked_for_compares_with_nobody_who_takes_others(
    road: Road,
) -> None:
    run = road.run(PAIRED, gate="champion", source="{prefix: t/, id_column: id}")
    incumbent = road.version(program(COIN), signature=layout(), revision=publish_pipeline(road.store, run.spec))
    mine = run.spec.workload.model_copy(update={"use": f"{__name__}:Stubborn"})
    run.spec, run.workload = run.spec.model_copy(update={"workload": mine}), Stubborn(columns=[], classes=["no", "yes"])
    rng = np.random.default_rng(0)
    lines = [
        f"{n},{a:.6f},{b:.6f},1,{n},{'yes' if a + b > 0 else 'no'}"
        for n, (a, b) in enumerate(rng.normal(size=(400, 2)))
    ]
    road.raw.put("t/rows.csv", "\n".join(["id,a,b,c,d,label", *lines]).encode())
    snapshot = take_snapshot(road.raw, road.store, prefix="t/")
    records, _ = read_dataset_records(road.store, snapshot, run.workload, run.spec.source)
    dataset = write_dataset(
        road.store, snapshot, records, "w", run.spec.workload, run.spec.data, run.spec.source,
        class_names=("no", "yes"), input_columns=("a", "b", "d"),
    )  # fmt: skip
    found = evaluate.fn(run, road.work(dataset, incumbent), dataset, road.trained(GOOD)).evidence()
    assert found.champion is None
    assert "takes c" in found.missing["champion"]
    assert "reads a, b, d, whatever" in found.missing["champion"]
