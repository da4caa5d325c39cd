"""What the step makes of the quality of a delivery: a page, a table, a profile; and who looks at the labels."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mlratchet.flows.cli import rejects as command
from mlratchet.models.data.quality import Names
from mlratchet.models.data.quality.distributions import profile_of_dataset
from mlratchet.models.data.quality.measures import MEASURES, ON_DEMAND
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.metrics.rows import RowOutputs, save_rows
from mlratchet.tasks import wiring
from mlratchet.tasks.steps import validate as step

from tests.unit.tasks.conftest import Road
from tests.unit.tasks.test_reading import deliver, table, work_of


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    monkeypatch.setattr(step, "show_markdown", lambda key, text, _: found.update({key: text}))
    monkeypatch.setattr(step, "show_table", lambda key, rows, words: found.update({key: rows}))
    return found


def test_a_delivery_has_a_page_a_table_and_a_profile(road: Road, shown: dict[str, Any]) -> None:
    run = road.run()
    snapshot = deliver(road, table(200))
    checked = step.validate.fn(run, snapshot, work_of(snapshot))
    assert b"quality of a delivery" in run.pages["quality.html"]
    assert [one["measure"] for one in shown["quality"]] == list(checked.quality.measures)
    assert set(checked.quality.measures) == set(MEASURES) - set(ON_DEMAND)
    profile = profile_of_dataset(road.store, "d" * 64)
    assert profile is not None
    assert set(profile["fields"]) == {"a", "b", "c", "region"}
    assert profile["fields"]["region"]["counts"] == {"eu": 200}


def test_what_is_taken_on_demand_is_taken_where_a_check_asks(road: Road, shown: dict[str, Any]) -> None:
    checks = [f"{{kind: data, measure: {name}, maximum: 0.9}}" for name in ON_DEMAND]
    run = road.run(*checks, gate="data")
    snapshot = deliver(road, table(200))
    checked = step.validate.fn(run, snapshot, work_of(snapshot))
    assert set(checked.quality.measures) == set(MEASURES)
    assert checked.quality.noise is not None
    assert "linear model" in checked.quality.noise.by


def test_without_a_time_the_age_is_that_of_the_newest_object(road: Road, shown: dict[str, Any]) -> None:
    snapshot = deliver(road, table(200))
    assert step.validate.fn(road.run(), snapshot, work_of(snapshot)).quality.measures["newest_age_days"].n == 0
    run = road.run("{kind: data, measure: newest_age_days, maximum: 7}", gate="data")
    measure = step.validate.fn(run, snapshot, work_of(snapshot)).quality.measures["newest_age_days"]
    assert measure.n == 200
    assert measure.detail.startswith("the objects: the newest is of ")


def test_a_rule_that_there_is_not_is_refused_with_its_line(road: Road) -> None:
    with pytest.raises(ConfigurationError, match=r"test:\d+: quality\.rules: .*did you mean 'ragged_row'\?"):
        road.run(more="quality: {rules: {raged_row: error}}\n")


def test_the_champion_s_outputs_are_joined_by_the_names_of_classes(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    run = road.run()  # no, yes
    logits = np.log(np.asarray([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], dtype=np.float32))
    key = save_rows(road.store, RowOutputs(ids=["r1", "r2"], y=np.asarray([0, 2]), output=logits))
    champion: Any = SimpleNamespace(rows_key=key, version=3)
    monkeypatch.setattr(step, "names_of", lambda *_: Names(classes=("yes", "maybe", "no")))
    found = step.unseen_outputs(run, champion)
    assert found is not None
    assert found.ids == ["r1", "r2"]
    assert found.probabilities == pytest.approx(np.asarray([[0.125, 0.875], [8 / 9, 1 / 9]]))
    assert found.by == "version 3 on its test rows"
    monkeypatch.setattr(step, "names_of", lambda *_: Names(classes=("yes", "no")))  # others than the outputs have
    assert step.unseen_outputs(run, champion) is None
    assert step.unseen_outputs(run, SimpleNamespace(rows_key="rows/" + "0" * 64 + ".safetensors", version=3)) is None  # type: ignore[arg-type]


def test_rejects_are_printed_page_by_page_and_by_rule(
    road: Road, shown: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = deliver(road, table(100, bad=5) + "1,2\n")
    step.validate.fn(road.run(), snapshot, work_of(snapshot))
    monkeypatch.setattr(wiring, "open_adapters", lambda: SimpleNamespace(store=road.store))
    monkeypatch.setattr(command, "PAGE", 4)

    def printed(**asked: Any) -> str:
        command.rejects("table", **{"rule": None, "page": 1, "retry": False, "as_json": False} | asked)
        return capsys.readouterr().out

    first = printed().splitlines()
    assert first[0].startswith("table, run r: 106 read, 100 used, 6 set aside")
    assert [line.split(":")[0].strip() for line in first[1:]] == ["unknown_label"] * 4 + ["more"]
    assert first[-1] == "  more: --page 2"
    document = json.loads(printed(page=2, as_json=True))
    assert [one["rule"] for one in document["rejects"]] == ["unknown_label", "ragged_row"]
    assert (document["more"], document["counts"]) == (False, {"unknown_label": 5, "ragged_row": 1})
    assert [one["row"] for one in json.loads(printed(rule="ragged_row", as_json=True))["rejects"]] == [107]
    with pytest.raises(
        ConfigurationError, match=r"nothing was set aside by rule 'raged_row'; did you mean 'ragged_row'"
    ):
        printed(rule="raged_row")
