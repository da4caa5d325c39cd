"""Power: larger changes are found sooner, and what the promise allows never."""

import numpy as np
import pytest
from mlratchet.models.monitoring.power import DriftRule, Setting, power_of_drift, power_of_quality
from mlratchet.models.monitoring.sketches import of

SETTING = Setting(false_alarms_per_year=1, streams=10, rows_per_s=1.0, after_s=600, runs=8, most_rows=16_384)
RULE = DriftRule(window_s=3600.0, minimum_rows=200, minimum_effect=0.1, scores=50)
LOSSES = np.r_[np.ones(50), np.zeros(950)]


def test_a_larger_loss_of_quality_is_found_sooner() -> None:
    found = power_of_quality("accuracy", LOSSES, 0.07, [0.01, 0.05, 0.2], SETTING)
    assert found[0].found == 0.0
    assert found[0].words.startswith("within the promise")
    assert found[1].found == found[2].found == 1.0
    assert found[2].rows_median is not None
    assert found[1].rows_median is not None
    assert found[2].rows_median < 200 < found[1].rows_median
    assert found[2].seconds_median == found[2].rows_median + 600


def test_what_takes_too_many_rows_is_said_to_be_not_found() -> None:
    found = power_of_quality("accuracy", LOSSES, 0.07, [0.022], SETTING)[0]
    assert found.found < 0.5
    assert found.rows_median is None
    assert found.seconds_median is None


@pytest.mark.slow
def test_a_drift_above_the_minimum_effect_is_found() -> None:
    rng = np.random.default_rng(0)
    reference = of(rng.normal(size=1000), "number")
    found = power_of_drift("size", reference, "number", [0.05, 1.0], RULE, SETTING)
    assert found[0].words == "at or below the minimum effect 0.1"
    assert found[1].rows_median == found[1].rows_often == 3600  # in the first window
    assert found[1].seconds_median == found[1].rows_median
    colours = of(rng.choice(["red", "blue", "green"], 2000).tolist(), "category")
    assert power_of_drift("colour", colours, "category", [0.4], RULE, SETTING)[0].found == 1.0


def test_windows_of_few_rows_are_found_over_several_and_few_values_of_a_reference_are_not() -> None:
    reference = of(np.arange(1000.0), "number")
    rule = DriftRule(window_s=60.0, minimum_rows=200, minimum_effect=0.1, scores=50)
    found = power_of_drift("size", reference, "number", [1.0], rule, SETTING)[0]
    assert found.rows_median is not None
    assert 60 < found.rows_median < 600
    few = power_of_drift("size", of(np.arange(60.0), "number"), "number", [1.0], rule, SETTING)[0]
    assert few.words == "60 values in the reference, expected 100"


def test_the_same_seed_finds_the_same() -> None:
    assert power_of_quality("a", LOSSES, 0.07, [0.1], SETTING) == power_of_quality("a", LOSSES, 0.07, [0.1], SETTING)


def test_what_a_reference_says_by_chance_is_in_the_delay() -> None:
    """In some worlds that a small reference may be of, three times the minimum effect takes much longer."""
    rng = np.random.default_rng(1)
    reference = of(rng.normal(size=400), "number")
    rule = DriftRule(window_s=600.0, minimum_rows=200, minimum_effect=0.1, scores=50)
    found = power_of_drift("size", reference, "number", [0.3], rule, SETTING)[0]
    assert found.rows_median is not None
    assert found.rows_often is None or found.rows_often > 2 * found.rows_median
