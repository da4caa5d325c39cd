"""Few labels stand for all rows, when we drew them ourselves."""

import numpy as np
import pytest
from mlratchet.models.monitoring.bound import Bound
from mlratchet.models.monitoring.powered import powered_values
from mlratchet.models.monitoring.sequential import YEAR_S, Alarm


def test_values_of_few_labels_have_the_mean_of_all_losses() -> None:
    rng, n = np.random.default_rng(31), 40_000
    losses = (rng.random(n) < 0.2).astype(float)
    probabilities = np.where(losses > 0, 0.3, 0.1)  # harder rows were drawn more often
    drawn = rng.random(n) < probabilities
    known = np.where(drawn, losses, np.nan)
    found = powered_values(np.clip(losses * 0.6 + 0.1, 0, 1), drawn, probabilities, known, least_probability=0.1)
    assert found.values.mean() == pytest.approx(losses.mean(), abs=0.01)
    assert (found.lowest, found.highest) == (-9, 10)
    low, high = Bound(lowest=found.lowest, highest=found.highest).update(found.values)
    assert low < losses.mean() < high


def test_a_drawn_row_that_nobody_labelled_counts_as_a_loss() -> None:
    found = powered_values([0.5, 0.5], [True, False], [0.5, 0.5], [np.nan, np.nan], least_probability=0.5)
    assert found.values.tolist() == [1.5, 0.5]
    with pytest.raises(ValueError, match=r"got 0\.01"):
        powered_values([0.5], [True], [0.01], [1.0], least_probability=0.1)


@pytest.mark.parametrize("estimate", ["good", "constant", "wrong"])
def test_the_bound_from_few_labels_covers_the_mean_of_all_rows_at_every_look(estimate: str) -> None:
    """However good the estimate is and whichever rows were drawn more often: 90 % of 80 runs, looked at five times."""
    rng, wrong, runs, n, share = np.random.default_rng(41), 0, 80, 1500, 0.25
    for _ in range(runs):
        chances = rng.beta(0.5, 1.5, n)  # of each row to be wrong; their mean is 0.25
        losses = (rng.random(n) < chances).astype(float)
        guess = {"good": chances, "constant": np.full(n, 0.5), "wrong": 1 - chances}[estimate]
        probabilities = np.clip(0.1 + guess, 0.2, 1.0)
        drawn = rng.random(n) < probabilities
        found = powered_values(guess, drawn, probabilities, np.where(drawn, losses, np.nan), least_probability=0.2)
        bound = Bound(confidence=0.9, lowest=found.lowest, highest=found.highest)
        looks = [bound.update(part) for part in np.array_split(found.values, 5)]
        wrong += not all(low <= share <= high for low, high in looks)
    assert wrong / runs <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / runs)


def test_an_estimate_makes_the_bound_narrower_and_labels_that_came_by_themselves_would_miss() -> None:
    rng, n = np.random.default_rng(43), 6000
    chances = np.where(rng.random(n) < 0.8, 0.02, 0.9)
    losses = (rng.random(n) < chances).astype(float)
    drawn, probabilities = rng.random(n) < 0.25, np.full(n, 0.25)
    known = np.where(drawn, losses, np.nan)

    def interval(guess: np.ndarray) -> tuple[float, float]:
        found = powered_values(guess, drawn, probabilities, known, least_probability=0.25)
        return Bound(lowest=found.lowest, highest=found.highest).update(found.values)

    (low, high), (lowest, highest) = interval(chances), interval(np.full(n, 0.5))
    assert low < losses.mean() < high
    assert high - low < 0.9 * (highest - lowest)
    unhappy = losses[rng.random(n) < np.where(losses > 0, 0.5, 0.05)]  # who had a wrong answer says so
    found = Bound().update(unhappy)
    assert not found[0] < losses.mean() < found[1]


def test_an_alarm_on_few_labels_keeps_its_rate_and_finds_a_loss() -> None:
    rng, n, alarms = np.random.default_rng(47), 4000, []
    at = YEAR_S / n * np.arange(1, n + 1)
    for share in [0.2] * 12 + [0.5]:
        losses, guess = (rng.random(n) < share).astype(float), np.full(n, 0.2)
        drawn = rng.random(n) < 0.5
        found = powered_values(guess, drawn, np.full(n, 0.5), np.where(drawn, losses, np.nan), least_probability=0.5)
        alarm = Alarm(
            limit=0.2, false_alarms_per_year=2, started_s=0, lowest=found.lowest, highest=found.highest
        )  # fmt: skip
        alarms.append(len(alarm.update(found.values, at)))
    assert sum(alarms[:12]) <= 2 * 12
    assert alarms[-1] > 20
