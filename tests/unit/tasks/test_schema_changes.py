"""The page on schema changes, row by row: what each change does to comparisons, to rows and to a warm start.

Columns added to and removed from `columns` are in test_joined_by_name, rows and the split in test_row_identity.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.backtest.simulate import Past
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.preprocess import read_dataset_records
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.decisions.stored_evidence import Basis
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.seen import SEEN_COLUMN
from mlratchet.models.gates.judge import judge_gate
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.pipeline.store import publish_pipeline
from mlratchet.models.registration.record import Registration, find_registration
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.state import TrainingState
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.actions.backtest import Court, KeptGate
from mlratchet.tasks.actions.compare import Compared, compare_versions
from mlratchet.tasks.steps import evaluate as evaluating
from mlratchet.tasks.steps.evaluate import Evaluation, evaluate
from mlratchet.tasks.support.beginning import refuse_seen_rows
from mlratchet.tasks.support.seen_rows import seen_rows
from safetensors.torch import save

from .conftest import Road
from .test_row_identity import prepared, sides

COLUMNS, LEVELS, TAGS = ("a", "b", "c"), ("low", "mid", "high"), ("bright", "heavy")
SUBSET = "{kind: non_inferiority, metric: subset_accuracy, margin: 0.05}"
PAIRED = "{kind: non_inferiority, metric: accuracy, margin: 0.05}"
SUMS = {  # what moves the output of a name; the cells of `table` are labelled by the same sums
    "low": {"a": -4.0}, "mid": {}, "high": {"a": 4.0}, "top": {"a": 4.0}, "new": {"c": 20.0},
    "bright": {"a": 4.0}, "heavy": {"b": 4.0}, "round": {"c": 4.0},
}  # fmt: skip
BIAS = {"mid": 2.0, "new": -100.0}  # new is said where c is above 5
WRONG = {**SUMS, "low": {"b": -4.0}, "bright": {"b": 4.0}}  # of a model that reads one name out of the wrong column


def table(*, label: str = "label", classes: dict[str, str] | None = None, new: int = 0) -> list[dict[str, str]]:
    """400 rows: a class by column a, three labels by the signs of a, b, c. `classes` renames some; `new` rows more are
    of a class of that name."""
    rows = []
    for number, (a, b, c) in enumerate(np.random.default_rng(0).normal(size=(400, 3))):
        name = "low" if a < -0.5 else "high" if a > 0.5 else "mid"
        row = {"a": f"{a:.6f}", "b": f"{b:.6f}", "c": f"{c:.6f}", "region": "eu" if number % 3 else "us"}
        tags = {"bright": a > 0, "heavy": b > 0, "round": c > 0}
        row |= {label: (classes or {}).get(name, name)} | {tag: str(int(on)) for tag, on in tags.items()}
        rows.append(row)
    return rows + [rows[number] | {"a": f"{number / 100}", "c": "9", label: "new"} for number in range(new)]


def less(rows: list[dict[str, str]], *names: str) -> list[dict[str, str]]:
    """Without these columns."""
    return [{name: cell for name, cell in row.items() if name not in names} for row in rows]


def answers(
    names: Sequence[str], columns: Sequence[str] = COLUMNS, sums: dict[str, Any] = SUMS, hidden: int = 32
) -> Any:
    """A TableClassifier or TableMultiLabel whose outputs are `sums`, by name."""
    module = torch.nn.Sequential(
        torch.nn.Linear(len(columns), hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, len(names))
    )
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.zero_()
        for place, column in enumerate(columns):  # a column passes through two units: its positive and negative part
            for unit, sign in ((2 * place, 1.0), (2 * place + 1, -1.0)):
                module[0].weight[unit, place] = sign
                for row, name in enumerate(names):
                    module[2].weight[row, unit] = sign * sums[name].get(column, 0.0)
        module[2].bias.copy_(torch.tensor([BIAS.get(name, 0.0) for name in names]))
    return module.eval()


def file_of(
    road: Road, *checks: str, columns: Sequence[str] = COLUMNS, classes: Sequence[str] = LEVELS,
    source: str = "{prefix: t/}",
) -> Any:  # fmt: skip
    """The run of a pipeline file of a classifier."""
    parameters = f"{{columns: [{', '.join(columns)}], classes: [{', '.join(classes)}]}}"
    return road.run(*checks, gate="champion", parameters=parameters, source=source)


def tags_of(road: Road, labels: Sequence[str]) -> Any:
    """The run of a pipeline file of a multi-label."""
    parameters = f"{{columns: [a, b, c], labels: [{', '.join(labels)}]}}"
    return road.run(gate="champion", parameters=parameters, use="TableMultiLabel")


def register(
    road: Road, run: Any, rows: list[dict[str, str]], model: Any, *, champion: bool = True
) -> tuple[Registration, DatasetManifest]:
    """A version that the file of `run` made of these rows."""
    dataset = prepared(road, run, rows)
    revision = publish_pipeline(road.store, run.spec)
    record = road.version(
        model, dataset_id=dataset.id, revision=revision, signature=signature_of(run.workload), champion=champion
    )
    return record, dataset


def measure(
    road: Road, run: Any, rows: list[dict[str, str]], model: Any, champion: Registration
) -> tuple[Evaluation, DatasetManifest]:
    """A candidate that the file of `run` made of these rows, beside the champion."""
    dataset = prepared(road, run, rows)
    found = evaluate.fn(run, road.work(dataset, champion), dataset, road.trained_module(model))
    return found, dataset


def verdict(found: Evaluation, run: Any, check: str = PAIRED) -> CheckResult:
    task, names = run.workload.objective.reference, run.workload.class_names()
    policy: GatePolicy = Road.run_policy(check)
    result = judge_gate(
        policy, "champion", found.evidence(), first_model=False, task=task, class_names=names, now_s=0.0
    )
    return result.checks[0]


def numbers(result: CheckResult) -> tuple[Any, ...]:
    return result.verdict, result.value, result.interval, result.n


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the time, and not about what is asked here."""
    monkeypatch.setattr(evaluating, "show_evaluation", lambda *_: None)


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


def warm(
    store: MemoryStore, run: Any, dataset: DatasetManifest, parent: Any, before: Signature, scratch: Path
) -> TrainingState:
    """A training of the file of `run` that begins from a parent with the names of `before`."""
    data = save(parent.state_dict())
    store.create(f"weights/{digest_bytes(data)}", data)
    use, parameters = run.spec.workload.use, dict(run.spec.workload.parameters)
    job = TrainJob(
        work_key="child", epoch=1, dataset_id=dataset.id, workload=WorkloadRef(use=use, parameters=parameters),
        train=TrainConfig(mode="fast", global_batch_size=16), processes=1, scratch=str(scratch),
        parent_weights_key=f"weights/{digest_bytes(data)}", parent_weights_sha256=digest_bytes(data),
        parent_classes=before.classes, parent_columns=before.input.columns,
    )  # fmt: skip
    return TrainingState(job, store, rank=0, world=1, device=torch.device("cpu"), around=Surroundings())


def accuracy_among(rows: RowOutputs, names: Sequence[str], kept: Sequence[str]) -> float:
    """Accuracy over the rows of the classes `kept`, among their outputs."""
    places = sorted(list(names).index(name) for name in kept)
    of_them = np.isin(rows.y, places)
    said = np.asarray(places)[rows.output[of_them][:, places].argmax(axis=1)]
    return float((said == rows.y[of_them]).mean())


def renamed_label(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The old column stays in the delivery."""
    return [{**row, "target": row["label"]} for row in rows]


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


def test_a_label_column_that_said_who_a_row_was_divides_rows_anew_and_hides_none_that_was_trained_on(
    road: Road,
) -> None:
    champion, before = register(road, file_of(road), renamed_label(table()), answers(LEVELS))
    run = file_of(road, source="{prefix: t/, label_column: target}")
    found, now = measure(road, run, renamed_label(table()), answers(LEVELS, sums=WRONG), champion)
    assert "target" in before.identity_columns
    assert "target" not in now.identity_columns
    theirs = found.evidence().champion
    assert theirs is not None
    marks = theirs.columns[SEEN_COLUMN]
    result = verdict(found, run)
    assert result.n == marks.count("") < len(marks)
    assert f"{marks.count('yes')} rows left out that it was trained on" in result.reason
    with pytest.raises(ConfigurationError, match=rf"version 1 was trained on {marks.count('yes')} of the {len(marks)}"):
        refuse_seen_rows(run, road.work(now), champion)


def test_compare_finds_rows_by_who_they_are_after_rows_were_divided_anew(road: Road) -> None:
    register(road, file_of(road), renamed_label(table()), answers(LEVELS))
    run = file_of(road, source="{prefix: t/, label_column: target}")
    _, now = register(road, run, renamed_label(table()), answers(LEVELS, sums=WRONG))
    before = seen_rows(road.store, run.spec, now.id, registration(road, 1), lambda _version: None)
    assert 0 < len(before) < len(sides(road, now)["test"])
    found = compare_versions(run.adapters, "table", 1, 2)
    assert found.comparison.n == len(sides(road, now)["test"]) - len(before)
    assert f"{len(before)} rows left out that it was trained on" in found.rows_from


def test_a_label_that_said_who_a_row_was_divides_rows_anew(road: Road) -> None:
    """It was delivered from the start, as no label."""
    champion, before = register(road, tags_of(road, TAGS), table(), answers(TAGS))
    names = (*TAGS, "round")
    run = tags_of(road, names)
    found, now = measure(road, run, table(), answers(names, sums=WRONG), champion)
    assert set(before.identity_columns) - set(now.identity_columns) == {"round"}
    theirs = found.evidence().champion
    assert theirs is not None
    marks = theirs.columns[SEEN_COLUMN]
    assert 0 < marks.count("yes") < len(marks)
    assert verdict(found, run, SUBSET).n == marks.count("")


def registration(road: Road, version: int) -> Registration:
    found = find_registration(road.store, f"w{version}")
    assert found is not None
    return found


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


LABEL_CHANGES = [
    (TAGS, (*TAGS, "round"), ("round",)),
    (TAGS, ("round", "heavy", "bright"), ("round",)),
    (("round", *TAGS), TAGS, ()),
]


@pytest.mark.parametrize(("before", "now", "undelivered"), LABEL_CHANGES, ids=["added", "added first", "removed"])
def test_a_label_added_or_removed_is_left_out_of_the_comparison_over_all_rows(
    road: Road, tmp_path: Path, before: tuple[str, ...], now: tuple[str, ...], undelivered: tuple[str, ...]
) -> None:
    old, new = tags_of(road, before), tags_of(road, now)
    parent = answers(before)
    champion, first = register(road, old, less(table(), *undelivered), parent)
    found, second = measure(road, new, table(), answers(now, sums=WRONG), champion)
    assert sides(road, second) == sides(road, first)
    theirs = found.evidence().champion
    assert theirs is not None
    assert theirs.unknown == tuple(name for name in now if name not in before)
    assert theirs.beyond == tuple(name for name in before if name not in now)
    result = verdict(found, new, SUBSET)
    common = [now.index(name) for name in now if name in before]
    right = ((found.candidate.output > 0) == (found.candidate.y > 0))[:, common].all(axis=1)
    assert result.n == len(right) == len(sides(road, second)["test"])
    assert (result.verdict, result.value) == ("fail", pytest.approx(right.mean() - 1.0))
    parts = [(part.label, part.value) for part in result.parts]
    assert parts == [(f"only the candidate knows {name} (recall)", 1.0) for name in now if name not in before]
    begun = warm(road.store, new, second, parent, signature_of(old.workload), tmp_path)
    heads, theirs_ = begun.module.state_dict()["2.weight"], parent.state_dict()["2.weight"]
    for name in now:
        assert (
            torch.equal(heads[now.index(name)], theirs_[before.index(name)])
            if name in before
            else bool(heads[now.index(name)].abs().sum() > 0)
        )


def test_another_task_is_inconclusive_in_those_words(road: Road) -> None:
    """A regressor of one of the columns served before."""
    parameters, source = "{columns: [a, b, c]}", "{prefix: t/, label_column: heavy}"
    before = road.run(gate="champion", parameters=parameters, source=source, use="TableRegressor")
    champion, _ = register(road, before, table(), answers(["heavy"]))
    run = file_of(road)
    found, _ = measure(road, run, table(), answers(LEVELS), champion)
    refused(found, run, "its task is regression, here it is classification")


@pytest.mark.parametrize(
    ("task", "kind", "words"),
    [
        ("multi_label", "table", "its task is multi_label, here it is classification"),
        ("classification", "image", "its input's kind is image, here it is table"),
    ],
)
def test_the_words_say_what_differs_though_its_rows_are_not_known_any_more(
    road: Road, task: str, kind: Any, words: str
) -> None:
    columns = COLUMNS if kind == "table" else ()
    spec = InputSpec(kind=kind, shape=(3,) if columns else (1, 8, 8), dtype="float32", columns=columns)
    champion = road.version(answers(LEVELS), signature=Signature(task=task, input=spec, classes=LEVELS))
    run = file_of(road)
    found, _ = measure(road, run, table(), answers(LEVELS), champion)
    refused(found, run, words)


def refused(found: Evaluation, run: Any, words: str) -> None:
    assert found.evidence().champion is None
    assert found.missing["champion"] == f"version 1 cannot be compared with: {words}"
    result = verdict(found, run)
    assert (result.verdict, result.value) == ("inconclusive", None)
    assert words in result.reason


@pytest.mark.parametrize("renamed", [False, True])
def test_a_column_that_is_lost_or_renamed_is_inconclusive_and_named(road: Road, renamed: bool) -> None:
    champion, before = register(road, file_of(road), table(), answers(LEVELS))
    rows = [{**row, "d": row["c"]} for row in table()] if renamed else table()
    columns = ("a", "b", "d") if renamed else ("a", "b")
    run = file_of(road, columns=columns)
    found, now = measure(road, run, less(rows, "c"), answers(LEVELS, columns), champion)
    assert found.evidence().champion is None
    result = verdict(found, run)
    assert (result.verdict, result.value) == ("inconclusive", None)
    assert re.search("version 1 takes c, which this delivery does not give: .*'c' is missing", result.reason)
    assert now.identity_columns == tuple(name for name in before.identity_columns if name != "c")
    with pytest.raises(ConfigurationError, match=r"version 1 was trained on \d+ of the \d+ test rows"):
        refuse_seen_rows(run, road.work(now), champion)


def test_a_renamed_class_is_one_removed_and_one_added(road: Road, tmp_path: Path) -> None:
    names, parent = ("low", "mid", "top"), answers(LEVELS)
    champion, before = register(road, file_of(road), table(), parent)
    run = file_of(road, classes=names)
    found, now = measure(road, run, table(classes={"high": "top"}), answers(names, sums=WRONG), champion)
    assert sides(road, now) == sides(road, before)
    ours, theirs = found.candidate, found.evidence().champion
    assert theirs is not None
    assert (theirs.unknown, theirs.beyond) == (("top",), ("high",))
    result, top = verdict(found, run), int((ours.y == 2).sum())
    gain = accuracy_among(ours, names, ("low", "mid")) - accuracy_among(theirs, names, ("low", "mid"))
    assert (result.n, result.verdict, result.value) == (len(ours.ids) - top, "fail", pytest.approx(gain))
    assert f"only the candidate knows top ({top} rows), only the other knows high" in result.reason
    (part,) = result.parts
    recall = float((ours.output.argmax(axis=1) == 2)[ours.y == 2].mean())
    assert (part.n, part.value) == (top, pytest.approx(recall))
    begun = warm(road.store, run, now, parent, signature_of(file_of(road).workload), tmp_path)
    heads = begun.module.state_dict()["2.weight"]
    assert torch.equal(heads[:2], parent.state_dict()["2.weight"][:2])
    assert not torch.equal(heads[2], parent.state_dict()["2.weight"][2])


def test_a_removed_class_is_a_reject_of_the_delivery_and_left_out_of_the_champions_answers(
    road: Road, tmp_path: Path
) -> None:
    parent = answers(LEVELS)
    champion, _ = register(road, file_of(road), table(), parent)
    run = file_of(road, classes=("mid", "low"))
    found, now = measure(road, run, table(), answers(("mid", "low"), sums=WRONG), champion)
    snapshot = take_snapshot(road.raw, road.store, prefix="t/")
    _, rejects = read_dataset_records(road.store, snapshot, run.workload, run.spec.source)
    assert {one.code for one in rejects} == {"unknown_label"}
    assert len(rejects) == sum(row["label"] == "high" for row in table())
    ours, theirs = found.candidate, found.evidence().champion
    assert theirs is not None
    assert (theirs.unknown, theirs.beyond) == ((), ("high",))
    result = verdict(found, run)
    gain = accuracy_among(ours, ("mid", "low"), ("mid", "low")) - 1.0
    assert (result.n, result.verdict, result.value) == (len(ours.ids), "fail", pytest.approx(gain))
    assert "only the other knows high" in result.reason
    begun = warm(road.store, run, now, parent, signature_of(file_of(road).workload), tmp_path)
    assert torch.equal(begun.module.state_dict()["2.weight"], parent.state_dict()["2.weight"][[1, 0]])


def test_one_class_in_common_after_renaming_is_inconclusive(road: Road) -> None:
    champion, _ = register(road, file_of(road), table(), answers(LEVELS))
    run = file_of(road, classes=("mid", "new", "top"))
    rows = table(classes={"high": "top", "low": "new"})
    found, _ = measure(road, run, rows, answers(("mid", "new", "top")), champion)
    result = verdict(found, run)
    assert result.verdict == "inconclusive"
    assert "it knows low, mid, high, here are mid, new, top: only 'mid' in common" in result.reason


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
