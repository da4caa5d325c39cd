"""What none of the rows shows of a mean widens its bounds, or makes a gate inconclusive in words that say what would
settle it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from mlratchet.models.evaluation.statistics.choose import confidence_of, confidence_of_difference
from mlratchet.models.evaluation.statistics.unseen import rows_to_see, tail_of
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for

SAMPLES, RESAMPLES = 200, 200
ALLOWED = 0.05 + 0.048  # what a rate of 5 % exceeds once in a thousand times in so many samples
BINARY = metrics_for("classification", ("no", "yes"))
NUMBERS = metrics_for("regression", ())


def numbers(error: np.ndarray, scale: float = 10.0) -> RowOutputs:
    y = np.random.default_rng(0).normal(0, scale, len(error))
    return RowOutputs(ids=[""] * len(error), y=y, output=y + error)


def answers(log_odds_of_label: np.ndarray) -> RowOutputs:
    two = np.stack([np.zeros_like(log_odds_of_label), log_odds_of_label], axis=1)
    return RowOutputs(ids=[""] * len(two), y=np.ones(len(two), dtype=np.int64), output=two)


def wrongly(metric: str, errors: Callable[[np.random.Generator], np.ndarray], truth: float) -> tuple[float, float]:
    """Shares of samples in which the better bound is beyond the truth, and in which there is none."""
    wrong = silent = 0
    for index in range(SAMPLES):
        found = confidence_of(NUMBERS[metric], numbers(errors(np.random.default_rng(index))), resamples=RESAMPLES)
        silent += bool(found.doubt)
        wrong += not found.doubt and found.high(0.05) < truth
    return wrong / SAMPLES, silent / SAMPLES


@pytest.mark.parametrize(("metric", "degrees", "truth"), [("mae", 2.5, 1.2055), ("rmse", 3.0, 3**0.5)])
def test_tails_of_student_are_not_believed(metric: str, degrees: float, truth: float) -> None:
    """Resamples alone were wrong in 10 % (MAE) and 15 % (RMSE)."""
    wrong, _ = wrongly(metric, lambda rng: rng.standard_t(degrees, 200), truth)
    assert wrong <= ALLOWED


def test_normal_errors_are_answered_and_cost_little_where_rows_are_many() -> None:
    wrong, silent = wrongly("rmse", lambda rng: rng.normal(0, 1, 300), 1.0)
    assert wrong <= ALLOWED
    assert silent <= 0.05
    found = confidence_of(NUMBERS["rmse"], numbers(np.random.default_rng(1).normal(0, 1, 4000)), resamples=1000)
    value = NUMBERS["rmse"].value(numbers(np.random.default_rng(1).normal(0, 1, 4000)))
    assert not found.doubt
    assert (found.high(0.05) - value) * np.sqrt(2 * 4000) / value < 1.645 * 1.25


@pytest.mark.parametrize("metric", ["rmse", "r2", "mae"])
def test_rare_outliers_have_no_answer_on_rows_that_may_hold_none_and_the_words_say_how_many_do(metric: str) -> None:
    """Fifty rows that show no outlier were believed, whatever is rarer than they can show."""
    error = np.random.default_rng(0).normal(0, 1, 50)
    alone = confidence_of(NUMBERS[metric], numbers(error), resamples=RESAMPLES)
    pair = confidence_of_difference(NUMBERS[metric], numbers(error), numbers(2 * error[::-1]), resamples=RESAMPLES)
    for found in (alone, pair):
        assert "one row in 20 does is in none of them with probability 8%; 59 rows settle it" in found.doubt
    assert not confidence_of(NUMBERS[metric], numbers(np.tile(error, 4)), resamples=RESAMPLES).doubt


def test_rows_that_settle_it_are_the_fewest_that_do() -> None:
    assert 0.98 ** rows_to_see(0.02) <= 0.05 < 0.98 ** (rows_to_see(0.02) - 1)


@pytest.mark.parametrize(("metric", "rows"), [("rmse", 60), ("r2", 88), ("mae", 60)])
def test_a_retrained_model_with_normal_errors_is_answered_on_as_few_rows_as_there_may_be(
    metric: str, rows: int
) -> None:
    """A tail that so few rows show by chance was doubted in 50 % (60 rows) and 38 % (88)."""
    silent = 0
    for index in range(100):
        shared, ours, theirs = np.random.default_rng(index).normal(0, 1, (3, rows))
        a, b = (numbers(0.9**0.5 * shared + 0.1**0.5 * own, 1.35) for own in (ours, theirs))
        silent += bool(confidence_of_difference(NUMBERS[metric], a, b, resamples=RESAMPLES).doubt)
    assert silent <= 12  # of 3 to 4 %, more in one of a thousand times


def test_a_candidate_with_the_tail_of_student_is_seldom_promoted_on_few_rows() -> None:
    """Beside a champion with normal errors and the same RMSE: resamples alone were wrong in 19 %."""
    wrong = 0
    for index in range(SAMPLES):
        rng = np.random.default_rng(index)
        a, b = numbers(rng.standard_t(3, 88)), numbers(rng.normal(0, 3**0.5, 88))
        found = confidence_of_difference(NUMBERS["rmse"], a, b, resamples=RESAMPLES)
        wrong += not found.doubt and found.high(0.05) < 0
    assert wrong <= (0.08 + 0.059) * SAMPLES  # of 8 %, more in one of a thousand times


def test_a_candidate_that_is_sure_and_wrong_is_not_promoted_by_its_brier_score() -> None:
    """One row in a hundred, of a hundred: resamples promoted it wrongly in 30 %."""

    def pair(rng: np.random.Generator, n: int) -> tuple[RowOutputs, RowOutputs]:
        strength = rng.normal(3, 1, n)
        return answers(np.where(rng.random(n) < 0.01, -14.0, strength + rng.normal(0.15, 0.5, n))), answers(strength)

    brier, wrong, many = BINARY["brier"], 0, pair(np.random.default_rng(0), 500_000)
    truth = brier.value(many[0]) - brier.value(many[1])
    for index in range(SAMPLES):
        found = confidence_of_difference(brier, *pair(np.random.default_rng(index), 100), resamples=RESAMPLES)
        wrong += not found.doubt and found.high(0.05) < truth
    assert wrong <= ALLOWED * SAMPLES


def test_what_a_candidate_does_in_its_tail_does_not_hide_behind_a_champion_of_large_errors() -> None:
    rng = np.random.default_rng(1)
    heavy = numbers(rng.standard_t(1, 1000))
    found = confidence_of_difference(NUMBERS["rmse"], heavy, numbers(rng.normal(0, 40, 1000)), resamples=RESAMPLES)
    assert "tail index" in found.doubt
    assert "no number of rows settles one above 1" in found.doubt


def test_a_tail_index_is_that_of_its_distribution_and_a_loss_of_two_values_has_none() -> None:
    uniform = (np.arange(10_000) + 0.5) / 10_000
    found = tail_of(uniform**-0.6)
    assert found.index == pytest.approx(0.6, rel=0.15)
    assert found.next > found.largest * 1.3
    assert tail_of(np.where(np.arange(400) < 12, 3.0, -0.1)).index == 0
    assert tail_of(np.full(10, -1.0)).largest == 0
    assert found.index < found.most
    assert tail_of(np.array([0.5, -0.5])).largest == 0.5  # of two units


def test_bounds_are_ordered_and_their_p_values_are_their_inverses() -> None:
    found = confidence_of(NUMBERS["mae"], numbers(np.random.default_rng(2).standard_t(4, 400)), resamples=2000)
    assert "with one row more where that is wider" in found.method
    assert found.low(0.01) < found.low(0.1) < found.high(0.1) < found.high(0.01)
    assert found.p_greater(found.low(0.05)) == pytest.approx(0.05, abs=0.01)
    assert found.p_less(found.high(0.05)) == pytest.approx(0.05, abs=0.01)


def test_a_mean_of_f1_over_classes_of_two_rows_says_how_many_rows_it_needs() -> None:
    """Its upper bound was below the truth in 7 to 13 % where ten classes had one or two rows each."""
    names = tuple(f"k{i}" for i in range(10))
    label, one = np.arange(20) % 10, np.eye(10, dtype=np.float32)

    def found(y: np.ndarray) -> str:
        guess = np.where(np.arange(len(y)) < 4, (y + 1) % 10, y)
        side = RowOutputs(ids=[""] * len(y), y=y, output=one[guess])
        return confidence_of(metrics_for("classification", names)["f1_macro"], side, resamples=RESAMPLES).doubt

    assert found(label) == "10 classes have 2.4 rows each in the mean, f1_macro needs 3: 30 rows settle it"
    assert found(np.tile(label, 3)) == ""


@pytest.mark.parametrize("metric", ["mse", "rmse", "mae"])
def test_numbers_whose_fourth_power_no_float_holds_are_judged_as_smaller_ones_are(metric: str) -> None:
    """Of one label of 1e100 an interval was a traceback, or one that had no doubt."""
    error, factor = np.random.default_rng(0).normal(0, 4, 100), 2.0**300
    for outlier in (0.0, 100.0):
        error[3] += outlier
        rows = numbers(error)
        large = RowOutputs(ids=rows.ids, y=rows.y * factor, output=rows.output * factor)
        usual, found = (confidence_of(NUMBERS[metric], one, resamples=RESAMPLES) for one in (rows, large))
        assert found.doubt == usual.doubt
        assert bool(found.doubt) == bool(outlier)
        assert found.low(0.05) / (factor**2 if metric == "mse" else factor) == pytest.approx(usual.low(0.05))
