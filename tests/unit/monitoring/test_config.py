"""The `monitoring` section: what it says by itself, what it refuses and in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlratchet.models.monitoring.config import MonitoringConfig, WindowRule
from pydantic import ValidationError


def read(section: dict[str, Any]) -> MonitoringConfig:
    return MonitoringConfig.model_validate_json(json.dumps(section))


def test_an_empty_section_looks_every_five_minutes_at_hours() -> None:
    found = read({})
    assert (found.every, found.windows.seconds, found.windows.rows) == (300.0, 3600.0, None)
    assert found.false_alarms_per_year == 1.0
    assert found.quality.at_least == "promise"
    assert found.actions == ()


def test_a_field_has_its_own_effect_where_one_is_said() -> None:
    found = read({"minimum_effect": 0.2, "effects": {"price": 0.5}})
    assert (found.effect_of("price"), found.effect_of("age")) == (0.5, 0.2)


def test_a_policy_of_before_there_was_a_choice_is_the_same_record() -> None:
    """A finding names its policy by digest."""
    assert "quiet_up_to" not in read({"quiet_up_to": 0.25}).model_dump(mode="json")
    assert read({"quiet_up_to": 1}).digest() != read({}).digest() == read({"quiet_up_to": 0.25}).digest()


def test_what_is_written_out_reads_as_the_same() -> None:
    found = read({"windows": {"rows": 500}, "ignore": ["id"], "actions": [{"when": "quality", "do": "retrain"}]})
    assert MonitoringConfig.model_validate(found.model_dump(mode="json")) == found
    assert found.digest() != read({}).digest()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"every": 1}, "greater than or equal to 5"),
        ({"windows": {"seconds": 60, "rows": 500}}, "got both seconds and rows"),
        ({"windows": {"rows": 100}}, "minimum_rows 200 > rows 100"),
        ({"quality": {"at_least": 1.5}}, "got 1.5, expected a number between 0 and 1"),
        ({"quality": {"at_least": "often"}}, "promise"),
        ({"false_alarms_per_year": 0}, "greater than 0"),
        ({"quiet_up_to": 1.5}, "less than or equal to 1"),
        ({"effects": {"price": 0}}, "price: got 0, expected a number above 0"),
        ({"notify": "https://hooks.example.com/secret"}, "match pattern"),
        ({"actions": [{"when": "weather", "do": "retrain"}]}, "match pattern"),
        ({"actions": [{"when": "quality", "do": "panic"}]}, "'retrain', 'hold', 'rollback', 'ask' or 'notify'"),
    ],
)
def test_what_cannot_be_meant_is_refused(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        read(section)


def test_windows_by_rows_have_no_length_in_time() -> None:
    assert WindowRule(rows=500).seconds is None
