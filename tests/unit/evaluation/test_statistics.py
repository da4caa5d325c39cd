"""Intervals against SciPy's and against their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.evaluation.statistics import (
    bootstrap,
    detectable_margin,
    paired_bootstrap,
    rows_needed,
    tango,
    wilson,
)
from mlratchet.models.metrics import Accuracy
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for
from scipy import stats

Classified = Callable[..., RowOutputs]


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (5, 10), (950, 1000), (1, 1)])
def test_wilson_agrees_with_scipy(successes: int, n: int) -> None:
    theirs = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    ours = wilson(successes, n, 0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_each_end_of_tango_is_where_the_score_equals_the_normal_quantile() -> None:
    z = stats.norm.ppf(0.975)
    for gained, lost, n in ((10, 3, 50), (0, 0, 100), (7, 7, 60), (25, 0, 80)):
        interval = tango(gained, lost, n, 0.95)
        for delta, sign in ((interval.low, 1), (interval.high, -1)):
            a, b = 2 * n, -gained - lost + (2 * n - gained + lost) * delta
            c = -lost * delta * (1 - delta)
            q = (math.sqrt(max(b * b - 4 * a * c, 0)) - b) / (2 * a)
            score = (gained - lost - n * delta) / math.sqrt(n * (2 * q + delta * (1 - delta)))
            assert score == pytest.approx(sign * z, abs=1e-4)


@given(n=st.integers(5, 400), data=st.data())
def test_tango_holds_the_estimate_and_mirrors(n: int, data: st.DataObject) -> None:
    gained = data.draw(st.integers(0, n))
    lost = data.draw(st.integers(0, n - gained))
    interval = tango(gained, lost, n, 0.9)
    assert -1 <= interval.low <= (gained - lost) / n + 1e-9
    assert (gained - lost) / n - 1e-9 <= interval.high <= 1
    mirrored = tango(lost, gained, n, 0.9)
    assert (mirrored.low, mirrored.high) == pytest.approx((-interval.high, -interval.low), abs=1e-6)


def test_two_equal_models_without_disagreement_still_have_an_interval() -> None:
    interval = tango(0, 0, 100, 0.9)
    assert interval.low < 0 < interval.high
    assert interval.high - interval.low > 0.02


def test_bootstrap_agrees_with_scipy(classified: Classified) -> None:
    rows = classified(n=300, accuracy=0.8)
    correct = (rows.output.argmax(1) == rows.y).astype(float)
    theirs = stats.bootstrap(
        (correct,), np.mean, confidence_level=0.9, n_resamples=9999, method="percentile", rng=1
    ).confidence_interval
    ours = bootstrap(Accuracy(), rows, confidence=0.9, resamples=9999, seed=1)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.006)


def test_paired_bootstrap_agrees_with_scipy(classified: Classified) -> None:
    ours, theirs = classified(n=400, accuracy=0.92, seed=1), classified(n=400, accuracy=0.88, seed=2)
    metric = metrics_for("classification", ("0", "1", "2"))["f1_macro"]
    features = metric.features(ours), metric.features(theirs)

    def difference(index: np.ndarray) -> float:
        pick = index.astype(int)
        return float(metric.from_sums(features[0][pick].sum(0)) - metric.from_sums(features[1][pick].sum(0)))

    reference = stats.bootstrap(
        (np.arange(400),),
        difference,
        confidence_level=0.9,
        n_resamples=2000,
        method="percentile",
        vectorized=False,
        rng=3,
    ).confidence_interval
    interval = paired_bootstrap(metric, ours, theirs, confidence=0.9, resamples=5000, seed=3)
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), abs=0.008)


def test_the_same_seed_gives_the_same_interval(classified: Classified) -> None:
    a, b = classified(seed=1), classified(seed=2, accuracy=0.85)
    made = [paired_bootstrap(Accuracy(), a, b, confidence=0.9, resamples=1000, seed=5) for _ in range(2)]
    assert made[0] == made[1]


def test_pairs_must_be_the_same_rows(classified: Classified) -> None:
    with pytest.raises(ValueError, match="not scored on the same rows"):
        paired_bootstrap(Accuracy(), classified(), classified(ids="other"), confidence=0.9, resamples=1000, seed=0)


def test_resamples_in_which_a_metric_is_undefined_are_counted() -> None:
    y = np.array([0] * 40 + [1])
    output = np.eye(2, dtype=np.float32)[y]
    rows = RowOutputs(ids=[str(i) for i in range(41)], y=y, output=output)
    recall = metrics_for("classification", ("a", "b"))["recall_class_b"]
    interval = bootstrap(recall, rows, confidence=0.9, resamples=1000, seed=0)
    assert 200 < interval.undefined < 500  # (1 - 1/41)^41 = 36 % of the resamples miss the one row


def test_the_detectable_margin_is_met_four_times_in_five() -> None:
    n, disagreement = 600, 0.04
    margin = detectable_margin(n, disagreement=disagreement, confidence=0.95)
    assert abs(rows_needed(margin, disagreement=disagreement, confidence=0.95) - n) <= 1
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(400):
        changed = rng.binomial(n, disagreement)
        gained = rng.binomial(changed, 0.5)
        passed += tango(int(gained), int(changed - gained), n, 0.9).low > -margin
    assert 0.7 < passed / 400 < 0.9


def test_wrong_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="n must be positive"):
        wilson(0, 0, 0.95)
    with pytest.raises(ValueError, match="expected 0 <= gained"):
        tango(3, 3, 5, 0.9)
