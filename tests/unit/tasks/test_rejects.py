"""What a rule set aside ends a run where the file says so, is shown page by page, and is read again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.models.data.quarantine import newest_quarantine
from mlratchet.models.data.rules import QualityConfig, RuleBrokenError
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.actions.retry_rejects import retry_rejects
from mlratchet.tasks.steps import validate as step

from tests.unit.tasks.conftest import PIPELINE, Road
from tests.unit.tasks.test_reading import deliver, table, work_of

SHOP = """
name: shop
schema:
  fields:
    price: {kind: number, minimum: 0}
    colour: {kind: category, values: [red, blue]}
    bought: {kind: category, values: ["no", "yes"]}
  label: bought
source: {prefix: t/, format: csv}
data: {split: {test: 0.5}}
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.1}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
"""


@pytest.fixture(autouse=True)
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "show_markdown", lambda *_: None)
    monkeypatch.setattr(step, "show_table", lambda *_: None)


def adapters_of(run: Any, folder: Path) -> Any:
    return SimpleNamespace(**vars(run.adapters), raw=run.raw, settings=SimpleNamespace(pipelines_dir=folder))


def objects(road: Road) -> list[str]:
    return sorted({info.key.split("/")[0] for info in road.store.list()})


def test_a_rule_that_is_an_error_ends_the_run_and_the_quarantine_is_whole(road: Road) -> None:
    run = road.run(more="quality: {rules: {unknown_label: error}}\n")
    snapshot = deliver(road, table(100, bad=2))
    before = objects(road)
    with pytest.raises(RuleBrokenError, match=r"rows\.csv:102: label 'maybe'.*rule unknown_label .* 2 records") as told:
        step.validate.fn(run, snapshot, work_of(snapshot))
    assert told.value.exit_code == 3
    assert "\n" not in str(told.value)
    found = newest_quarantine(road.store, "table")
    assert found is not None
    assert [one["row"] for one in found.rejects()] == [102, 103]
    assert objects(road) == sorted({*before, "quarantine", "readings", "rejects"})  # nothing half-published


def test_what_does_not_count_leaves_the_limit_alone(road: Road) -> None:
    snapshot = deliver(road, table(100, bad=40))
    for rules, share in (("{}", 40 / 140), ("{unknown_label: warn}", 0.0), ("{unknown_label: ignore}", 0.0)):
        checked = step.validate.fn(road.run(more=f"quality: {{rules: {rules}}}\n"), snapshot, work_of(snapshot))
        assert checked.quality.measures["rejected_fraction"].value == pytest.approx(share)
        assert len(checked.records) == 100


def test_a_single_class_is_an_error_unless_declared(road: Road) -> None:
    rows = [f"{n},{n % 7},{n % 5},yes,eu" for n in range(100)]
    snapshot = deliver(road, "\n".join(["a,b,c,label,region", *rows, ""]))
    with pytest.raises(RuleBrokenError, match=r"every one of 100 records is of class 'yes'"):
        step.validate.fn(road.run(), snapshot, work_of(snapshot))
    step.validate.fn(road.run(more="quality: {rules: {single_class: warn}}\n"), snapshot, work_of(snapshot))


def test_the_rows_have_another_identity_where_a_rule_sets_them_aside() -> None:
    plain = parse_pipeline(PIPELINE, where="t")
    told = parse_pipeline(PIPELINE + "quality: {rules: {ragged_row: error, converted: ignore}}\n", where="t")
    aside = parse_pipeline(PIPELINE + "quality: {rules: {converted: quarantine}}\n", where="t")
    assert plain.quality == QualityConfig()
    assert "quality" not in plain.model_dump(mode="json")
    assert plain.data.model_dump(mode="json") == told.data.model_dump(mode="json")
    assert aside.data.set_aside == ("converted",)
    again = type(aside).model_validate_json(aside.model_dump_json())
    assert (again, again.revision()) == (aside, aside.revision())


def test_after_a_schema_was_changed_what_was_set_aside_is_read_again(road: Road, tmp_path: Path) -> None:
    run = road.run()
    run.spec = parse_pipeline(SHOP, where="t")
    run.workload = load_workload(run.spec.workload.use, dict(run.spec.workload.parameters))
    rows = [f"{n},{('red', 'blue')[n % 2]},{('no', 'yes')[n % 2]}" for n in range(60)]
    road.raw.put("t/good.csv", "\n".join(["price,colour,bought", *rows, ""]).encode())
    bad = ["-1,red,no", "7,green,yes", "8,red,maybe", "9,red,yes", "1,2"]
    snapshot = deliver(road, "\n".join(["price,colour,bought", *bad, ""]), name="bad.csv")
    step.validate.fn(run, snapshot, work_of(snapshot))
    found = newest_quarantine(road.store, "shop")
    assert found is not None
    assert found.rules() == {"below_minimum": 1, "ragged_row": 1, "unknown_label": 1, "unknown_value": 1}
    (tmp_path / "shop.yaml").write_text(SHOP.replace(", minimum: 0}", "}").replace("[red, blue]", "[red, blue, green]"))
    before = {info.key for info in road.store.list()}
    adapters = adapters_of(run, tmp_path)
    again = retry_rejects(adapters, "shop", found)
    assert (again.used, again.still, again.objects) == (2, {"ragged_row": 1, "unknown_label": 1}, 1)
    assert "2 would be used, still set aside: 1 ragged_row, 1 unknown_label" in again.lines()[0]
    assert "`ratchet run shop`" in again.lines()[1]
    one = retry_rejects(adapters, "shop", found, "unknown_value")
    assert (one.before, one.used, one.still) == ({"unknown_value": 1}, 1, {})
    assert {info.key for info in road.store.list()} == before  # it publishes nothing
