"""Few labels stand for all rows, when we drew them ourselves."""

import numpy as np
import pytest
from mlratchet.models.monitoring.bound import Bound
from mlratchet.models.monitoring.powered import powered_values


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
