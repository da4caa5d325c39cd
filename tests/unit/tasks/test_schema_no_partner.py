"""The page on schema changes, row by row: what only one of two versions knows, and what cannot be joined."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.data.preprocess import read_dataset_records
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.seen import SEEN_COLUMN
from mlratchet.models.sources.record import InputSpec
from mlratchet.tasks.actions.compare import compare_versions
from mlratchet.tasks.support.beginning import refuse_seen_rows
from mlratchet.tasks.support.seen_rows import seen_rows

from .conftest import Road
from .schema_cases import (
    COLUMNS,
    LEVELS,
    SUBSET,
    TAGS,
    WRONG,
    accuracy_among,
    answers,
    file_of,
    less,
    measure,
    refused,
    register,
    registration,
    renamed_label,
    table,
    tags_of,
    verdict,
    warm,
)
from .test_row_identity import sides

pytestmark = pytest.mark.usefixtures("without_pictures")


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
