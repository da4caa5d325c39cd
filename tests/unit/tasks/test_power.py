"""`ratchet power` over memory stores: what the stored test rows of a champion say, without a deployment."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from mlratchet.flows.cli.power import in_words, show
from mlratchet.models.data.quality.distributions import publish_profile
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.metrics.rows import RowOutputs, save_rows
from mlratchet.tasks.actions import power as action
from mlratchet.tasks.actions.power import PowerPlan, power


def with_test_rows(road: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A champion with 400 test rows, 5 % of them wrong, and a profile of its dataset."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    said = np.where(np.arange(400) % 20 == 0, 1 - y, y)
    rows = RowOutputs(ids=[f"r{i}" for i in range(400)], y=y, output=np.eye(2)[said] * 4.0, dataset_id="d")
    key, load = save_rows(road.store, rows), action.load_rows
    road.version(None)
    profile = {
        "format": 1, "n": 400, "of": 400,
        "fields": {
            "a": {"kind": "number", "n": 400, "given": 400, "quantiles": np.linspace(-2, 2, 101).tolist()},
            "b": {"kind": "word", "n": 400, "given": 400, "counts": {"red": 300, "blue": 100}},
        },
    }  # fmt: skip
    publish_profile(road.store, "d", profile)
    monkeypatch.setattr(action, "load_rows", lambda store, _key: load(store, key))  # a road's records name none
    return road.run().adapters


@pytest.mark.slow
def test_a_champions_stored_rows_say_what_would_be_found(
    road: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adapters = with_test_rows(road, monkeypatch)
    plan = PowerPlan(rate=10.0, share=0.5, labels_after_s=600, drops=(0.01, 0.2), effects=(0.05, 1.0))
    found = power(adapters, "table", plan)
    assert (found.metric, found.rows, found.false_alarms_per_year) == ("accuracy", 400, 1.0)
    assert found.value == pytest.approx(0.95)
    assert found.promised is not None
    assert 0.9 < found.promised < 0.95
    small, large = found.quality
    assert small.words.startswith("within the promise")
    assert large.found == 1.0
    assert large.rows_median is not None
    assert large.seconds_median == pytest.approx(large.rows_median / 5 + 600)
    assert {(one.subject, one.found) for one in found.drift} == {("a", 0.0), ("a", 1.0), ("b", 0.0), ("b", 1.0)}
    assert json.loads(json.dumps(found.document()))["streams"] == found.streams
    show(found)
    assert "within the promise" in capsys.readouterr().out


def test_without_labels_no_loss_of_quality_is_found(road: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = power(with_test_rows(road, monkeypatch), "table", PowerPlan(share=0.0, effects=()))
    assert found.quality == ()
    assert "without labels no loss of quality is found" in found.notes


def test_a_pipeline_without_a_version_is_refused(road: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action, "require_pipeline", lambda *_arguments: None)
    with pytest.raises(ConfigurationError, match="ratchet run table"):
        power(road.run().adapters, "table", PowerPlan())


@pytest.mark.parametrize(("seconds", "words"), [(None, "-"), (12.0, "12 s"), (5400.0, "1.5 h"), (172_800.0, "2.0 d")])
def test_times_in_words(seconds: float | None, words: str) -> None:
    assert in_words(seconds) == words
