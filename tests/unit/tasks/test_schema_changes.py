"""The page on schema changes, row by row: what changes no number, whatever order and names a file has.

What only one of two versions knows is in test_schema_no_partner, columns added to and removed from `columns` in
test_joined_by_name, rows and the split in test_row_identity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mlratchet.models.artifact.signature import signature_of
from mlratchet.models.backtest.simulate import Past
from mlratchet.models.decisions.stored_evidence import Basis
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.actions.backtest import Court, KeptGate
from mlratchet.tasks.actions.compare import Compared, compare_versions
from mlratchet.tasks.steps.evaluate import evaluate
from mlratchet.tasks.support.beginning import refuse_seen_rows

from .conftest import Road
from .schema_cases import (
    LEVELS,
    PAIRED,
    WRONG,
    answers,
    file_of,
    measure,
    numbers,
    register,
    registration,
    renamed_label,
    table,
    verdict,
    warm,
)
from .test_row_identity import prepared, sides

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def known() -> list[tuple[Any, ...]]:
    """Where `unchanged` keeps what it found."""
    return []


@pytest.fixture
def unchanged(known: list[tuple[Any, ...]], make_road: Any) -> tuple[Any, ...]:
    """What the check says of a worse model where nothing changed."""
    if not known:
        road = make_road()
        run = file_of(road)
        champion, _ = register(road, run, table(), answers(LEVELS))
        found, _ = measure(road, run, table(), answers(LEVELS, sums=WRONG), champion)
        known.append(numbers(verdict(found, run)))
    return known[0]


@pytest.mark.parametrize("rows", [table(label="target"), renamed_label(table())], ids=["renamed", "beside the old one"])
def test_a_renamed_label_column_changes_no_row_and_no_number(
    road: Road, unchanged: Any, tmp_path: Path, rows: list[dict[str, str]]
) -> None:
    champion, before = register(road, file_of(road), table(), answers(LEVELS))
    run = file_of(road, source="{prefix: t/, label_column: target}")
    found, now = measure(road, run, rows, answers(LEVELS, sums=WRONG), champion)
    assert before.id != now.id
    assert sides(road, now) == sides(road, before)
    assert numbers(verdict(found, run)) == unchanged
    assert unchanged[0] == "fail"
    refuse_seen_rows(run, road.work(now), champion)
    begun = warm(road.store, run, now, answers(LEVELS), signature_of(run.workload), tmp_path).warm_start
    assert begun is not None
    assert (len(begun.taken), begun.reshaped, begun.new, begun.left) == (4, (), (), ())


@pytest.mark.parametrize("hidden", [16, 64])
def test_another_architecture_compares_as_before_and_starts_warm_by_name_and_shape(
    road: Road, unchanged: Any, tmp_path: Path, hidden: int
) -> None:
    champion, dataset = register(road, file_of(road), table(), answers(LEVELS, hidden=hidden))
    run = file_of(road)
    found, _ = measure(road, run, table(), answers(LEVELS, sums=WRONG), champion)
    assert numbers(verdict(found, run)) == unchanged
    deeper = road.run(
        gate="champion", parameters=f"{{columns: [a, b, c], classes: [{', '.join(LEVELS)}], hidden: [32, 8]}}"
    )
    parent = load_workload(run.spec.workload.use, dict(run.spec.workload.parameters)).build_model()
    begun = warm(road.store, deeper, dataset, parent, signature_of(run.workload), tmp_path)
    assert begun.warm_start is not None
    assert begun.warm_start.taken == ("0.weight", "0.bias")
    assert begun.warm_start.new == ("4.weight", "4.bias")
    assert torch.equal(begun.module.state_dict()["0.weight"], parent.state_dict()["0.weight"])


def test_columns_reordered_in_the_delivery_alone_change_no_row_and_no_number(road: Road, unchanged: Any) -> None:
    run = file_of(road)
    champion, before = register(road, run, table(), answers(LEVELS))
    turned = [dict(sorted(row.items(), reverse=True)) for row in table()]
    found, now = measure(road, run, turned, answers(LEVELS, sums=WRONG), champion)
    assert before.snapshot_id != now.snapshot_id
    assert sides(road, now) == sides(road, before)
    assert numbers(verdict(found, run)) == unchanged


CLASS_CHANGES = [(("high", "low", "mid"), 0), (("new", "low", "mid", "high"), 60), (("high", "new", "mid", "low"), 60)]
classes_change = pytest.mark.parametrize(("classes", "new"), CLASS_CHANGES, ids=["reordered", "added", "both"])


@classes_change
@pytest.mark.parametrize(
    ("check", "whom"),
    [
        ("{kind: anchor, metric: accuracy, maximum_loss: 0.05}", "version 1"),
        ("{kind: relative, metric: accuracy, version: previous, margin: 0.05}", "version 1"),
        ("{kind: relative, metric: accuracy, version: 3, margin: 0.05}", "version 3"),
    ],
    ids=["anchor", "previous", "by number"],
)
def test_a_named_version_is_compared_by_name_too(
    road: Road, unchanged: Any, classes: tuple[str, ...], new: int, check: str, whom: str
) -> None:
    for promoted in (True, True, False):
        register(road, file_of(road), table(), answers(LEVELS), champion=promoted)
    run = file_of(road, check, classes=classes)
    dataset = prepared(road, run, table(new=new))
    found = evaluate.fn(run, road.work(dataset), dataset, road.trained_module(answers(classes, sums=WRONG)))
    result = verdict(found, run, check)
    assert whom in result.reason
    assert numbers(result) == unchanged
    ours = found.candidate
    of_new = int((ours.y == classes.index("new")).sum()) if new else 0
    assert result.n == len(ours.ids) - of_new
    assert [(part.n, part.value) for part in result.parts] == ([(of_new, 1.0)] if new else [])


@classes_change
def test_compare_brings_two_versions_to_common_names(
    road: Road, unchanged: Any, classes: tuple[str, ...], new: int
) -> None:
    _, gain, _, n = unchanged
    register(road, file_of(road), table(), answers(LEVELS))
    run = file_of(road, classes=classes)
    register(road, run, table(new=new), answers(classes, sums=WRONG))
    found: Compared = compare_versions(run.adapters, "table", 1, 2)
    accuracy = next(one for one in found.comparison.metrics if one.metric == "accuracy")
    assert (found.comparison.n, accuracy.n) == (n, n)
    assert (accuracy.a, accuracy.difference, accuracy.better) == (1.0, pytest.approx(gain), "a")
    assert ("only the candidate knows new" in found.rows_from) == bool(new)


@classes_change
def test_a_backtest_asks_the_champion_of_its_history_by_name(
    road: Road, unchanged: Any, tmp_path: Path, classes: tuple[str, ...], new: int
) -> None:
    for _ in range(2):
        champion, _ = register(road, file_of(road), table(), answers(LEVELS))
    run = file_of(road, classes=classes)
    model = answers(classes, sums=WRONG)
    record, dataset = register(road, run, table(new=new), model, champion=False)
    found = evaluate.fn(run, road.work(dataset, champion), dataset, road.trained_module(model))
    basis = Basis(gate="champion", first_model=False, task="classification", class_names=classes, now_s=0.0)
    policy: GatePolicy = Road.run_policy(PAIRED)
    records = [registration(road, number) for number in (1, 2)]
    court = Court(run.adapters, policy, [*records, record], tmp_path, lambda _done, _total: None)
    court._kept["w3"] = {"champion": KeptGate(evidence=found.evidence(version=3), basis=basis, champion_version=2)}
    past, first = (Past(version=n, work_key=f"w{n}", registered_s=float(n)) for n in (3, 1))
    result = court.judge("champion", past, [first]).checks[0]
    assert numbers(result) == unchanged
