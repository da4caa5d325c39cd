"""By time, sides move with a delivery: what a version was trained on is judged by no gate, and is counted and named."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from mlratchet.models.artifact.signature import signature_of
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.quarantine import newest_quarantine
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.data.split import divided
from mlratchet.models.data.split_rules import TimeSplit
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.seen import SEEN_COLUMN
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.store import publish_pipeline
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.steps import validate as step
from mlratchet.tasks.steps.evaluate import evaluate
from mlratchet.tasks.support.beginning import refuse_seen_rows
from mlratchet.tasks.support.row_identity import first_delivery

from .conftest import Road
from .schema_cases import LEVELS, answers, file_of, table, verdict
from .test_reading import work_of
from .test_row_identity import deliver

pytestmark = pytest.mark.usefixtures("without_pictures")
DAY_US = 86_400_000_000
BY_TIME = DataConfig(split=TimeSplit(by="time"))  # 60 % train, 15 % validation, 25 % test


def rows_of(days: range) -> list[dict[str, str]]:
    """A row a day; `region` says which."""
    cells = table() + [row | {"a": row["a"][:-1]} for row in table()]
    return [cells[day % len(cells)] | {"region": str(day), "c": f"{day / 1000:.3f}"} for day in days]


def run_of(road: Road) -> Any:
    run = file_of(road)
    run.spec = run.spec.model_copy(update={"data": BY_TIME})
    return run


def dataset_of(road: Road, run: Any, rows: list[dict[str, str]]) -> DatasetManifest:
    """As the steps do it, with a time for every record."""
    snapshot = deliver(road, rows)
    first = first_delivery(run, snapshot)
    read, _ = read_dataset_records(road.store, snapshot, run.workload, run.spec.source, first=first)
    told = [replace(one, time_us=int(one.columns["region"]) * DAY_US) for one in read]
    records, _, sides = divided(told, run.spec.data.split)
    return write_dataset(
        road.store, snapshot, records, "w", run.spec.workload, run.spec.data, run.spec.source,
        class_names=run.workload.class_names(), input_columns=run.workload.input_spec().columns, first=first,
        sides=sides,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "now", "judged", "seen"),
    [
        (range(200, 600), range(200, 800), range(650, 800), 0),  # grown at the new end: nothing moved into test
        (range(200, 600), range(600), range(450, 600), 50),  # older ones came in: 450 to 499 were validated on
    ],
    ids=["newer rows", "older rows"],
)
def test_rows_that_the_champion_knows_are_left_out_of_the_comparison_counted_and_named(
    road: Road, before: range, now: range, judged: range, seen: int
) -> None:
    run = run_of(road)
    first = dataset_of(road, run, rows_of(before))
    revision = publish_pipeline(road.store, run.spec)
    champion = road.version(
        answers(LEVELS), dataset_id=first.id, revision=revision, signature=signature_of(run.workload)
    )
    second = dataset_of(road, run, rows_of(now))
    found = evaluate.fn(run, road.work(second, champion), second, road.trained_module(answers(LEVELS)))
    theirs = found.evidence().champion
    assert theirs is not None
    assert sorted(map(int, theirs.columns["region"])) == [*judged]
    marks = theirs.columns.get(SEEN_COLUMN, [""] * len(judged))
    assert sorted(int(day) for day, mark in zip(theirs.columns["region"], marks, strict=True) if mark) == [
        *judged[:seen]
    ]
    result = verdict(found, run)
    assert result.n == len(judged) - seen
    assert (f"{seen} rows left out that it was trained on" in result.reason) == bool(seen)
    if seen:
        with pytest.raises(ConfigurationError, match="trained on 50 of the 150 test rows"):
            refuse_seen_rows(run, road.work(second), champion)
    else:
        refuse_seen_rows(run, road.work(second), champion)


SHOP = """
name: shop
schema:
  label: bought
  time: day
  fields:
    size: {kind: number}
    day: {kind: time, format: iso, nullable: true}
    bought: {kind: category, values: ["no", "yes"]}
source: {prefix: t/, format: csv}
data: {split: {by: time, gap_days: 2}}
quality: {rules: {others: error}}
gates:
  data: [{kind: data, measure: rejected_fraction, maximum: 0}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.1}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
"""


def test_a_delivery_is_divided_by_the_time_that_its_schema_names_and_what_is_left_out_is_kept_with_its_reason(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("show_markdown", "show_table"):
        monkeypatch.setattr(step, name, lambda *_: None)
    run = road.run()
    run.spec = parse_pipeline(SHOP, where="shop.yaml")
    run.workload = load_workload(run.spec.workload.use, dict(run.spec.workload.parameters))
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(100)]
    lines = [f"{n},{day},{('no', 'yes')[n % 2]}" for n, day in enumerate(days)]
    road.raw.put("t/rows.csv", "\n".join(["size,day,bought", *lines, ""]).encode())
    snapshot = take_snapshot(road.raw, road.store, prefix="t/")
    checked = step.validate.fn(run, snapshot, work_of(snapshot))
    sides = {r.where: checked.sides(r) for r in checked.records}
    assert [sides[f"rows.csv:{line}"] for line in (2, 59, 62, 74, 77, 101)] == [
        "train", "train", "validation", "validation", "test", "test"
    ]  # fmt: skip
    assert sorted(one.where for one in checked.rejects) == ["rows.csv:60", "rows.csv:61", "rows.csv:75", "rows.csv:76"]
    assert checked.quality.measures["rejected_fraction"].value == 0.0  # nothing is wrong with them
    assert "4 in_split_gap (rows.csv:" in run.reading
    found = newest_quarantine(road.store, "shop")
    assert found is not None
    assert found.rules() == {"in_split_gap": 4}

    road.raw.put("t/rows.csv", "\n".join(["size,day,bought", "7,,no", *lines, ""]).encode())
    snapshot = take_snapshot(road.raw, road.store, prefix="t/")
    checked = step.validate.fn(run, snapshot, work_of(snapshot))
    assert [one.reason for one in checked.rejects if one.code == "missing_time"] == [
        "rows.csv:2: has no time, and data.split is by time; deliver it"
    ]
    assert checked.quality.measures["rejected_fraction"].value == pytest.approx(1 / 97)  # of those not in a gap
