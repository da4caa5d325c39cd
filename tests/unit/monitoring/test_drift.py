"""Drift: effects in units that people can judge, intervals that hold, and nothing said of few rows."""

import json
import math

import numpy as np
import pytest
from mlratchet.models.monitoring.drift import DriftEffect, drift, jensen_shannon, population_stability_index, ranked
from mlratchet.models.monitoring.sketches import NumberSketch, of
from scipy import stats


def of_numbers(reference: np.ndarray, window: np.ndarray, seed: int = 0) -> DriftEffect:
    held = of(reference, "number")
    return drift(held, of(window, "number", like=held), "number", seed=seed)


@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0])
def test_wasserstein_is_that_of_scipy_in_standard_deviations(shift: float) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(50, 4, 4000), rng.normal(50 + 4 * shift, 5, 3000)
    found = of_numbers(a, b)
    assert found.effect == pytest.approx(stats.wasserstein_distance(a, b) / a.std(), abs=0.02)
    assert found.interval[0] <= found.effect <= found.interval[1]
    assert found.beside["mean"] == pytest.approx(b.mean() - a.mean())


def test_a_window_without_drift_is_within_chance_and_a_drift_is_not() -> None:
    rng = np.random.default_rng(2)
    reference = rng.gamma(2, 1, 2000)
    same = [of_numbers(reference, rng.gamma(2, 1, 500), seed) for seed in range(40)]
    assert sum(one.effect > one.null_quantile for one in same) <= 8
    assert sum(one.least > 0.1 for one in same) == 0
    moved = of_numbers(reference, rng.gamma(2, 1, 500) + 0.5)
    assert moved.effect > moved.null_quantile
    assert moved.least > 0.2


@pytest.mark.slow
def test_the_interval_holds_the_true_effect_as_often_as_stated() -> None:
    rng, held, runs = np.random.default_rng(3), 0, 80
    for seed in range(runs):
        low, high = of_numbers(rng.normal(0, 1, 1500), rng.normal(0.4, 1, 400), seed).interval
        held += low <= 0.4 <= high
    assert held / runs >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / runs)


def test_a_trifle_at_very_many_rows_is_beyond_chance_and_small() -> None:
    rng = np.random.default_rng(4)
    found = of_numbers(rng.normal(0, 1, 1_000_000), rng.normal(0.02, 1, 1_000_000))
    assert found.effect > found.null_quantile
    assert found.interval[1] < 0.05


def test_few_rows_say_nothing_but_what_is_missing() -> None:
    found = of_numbers(np.arange(500.0), np.r_[np.arange(50.0), np.full(50, np.nan)])
    assert math.isnan(found.effect)
    assert found.least == 0.0
    assert found.missing == 0.5
    assert found.missing_interval[0] > 0.3
    assert found.doubt == "50 values, expected 100 or more on each side"
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["effect"] is None


def test_psi_and_jensen_shannon_of_known_shares() -> None:
    p, q = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    assert population_stability_index(p, q) == pytest.approx(0.4 * math.log(1.8) - 0.4 * math.log(0.2))
    assert jensen_shannon(p[None], p[None])[0] == 0.0
    assert jensen_shannon(np.eye(2)[:1], np.eye(2)[1:])[0] == 1.0
    assert of_numbers(np.arange(2000.0), np.arange(2000.0) + 1000).beside["psi"] > 1
    assert "psi" not in of_numbers(np.arange(500.0), np.arange(500.0)).beside


def test_values_that_the_reference_lacks_are_named() -> None:
    reference = of(["red"] * 300 + ["blue"] * 700, "category")
    same = drift(reference, of(["red"] * 90 + ["blue"] * 210, "category"), "category", seed=0)
    assert same.least == 0.0
    assert (same.new, same.new_share) == ((), 0.0)
    window = of(["red"] * 60 + ["blue"] * 200 + ["green"] * 30 + ["grey"] * 10, "category")
    found = drift(reference, window, "category", seed=0)
    assert found.new == ("green", "grey")
    assert found.new_share == pytest.approx(40 / 300)
    assert found.least > 0.05


def test_more_values_than_are_kept_are_compared_by_their_hashes() -> None:
    rng = np.random.default_rng(5)
    names = np.array([f"shop {index}" for index in range(5000)])
    reference = of(rng.choice(names, 20_000).tolist(), "entity")
    same = drift(reference, of(rng.choice(names, 20_000).tolist(), "entity"), "entity", seed=0)
    other = drift(reference, of(rng.choice(names[:1500], 20_000).tolist(), "entity"), "entity", seed=0)
    assert same.least < 0.03
    assert other.least > 0.1
    assert same.new_share is None


@pytest.mark.parametrize("change", ["mean", "spread", "nothing"])
def test_vectors_are_told_apart(change: str) -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(600, 16)), rng.normal(size=(400, 16))
    b = b + 0.4 if change == "mean" else b * 1.4 if change == "spread" else b
    reference = of(a.astype(np.float32), "image")
    found = drift(reference, of(b.astype(np.float32), "image", like=reference), "image", seed=0)
    assert found.measure == "domain_classifier"
    if change == "nothing":
        assert found.least < 0.1
        assert found.beside["mmd2"] < 2 * found.beside["mmd2_null_quantile"]
    else:
        assert found.least > 0.4
        assert found.effect > found.null_quantile
    if change == "mean":
        assert found.beside["mmd2"] > found.beside["mmd2_null_quantile"]


def test_vectors_without_drift_are_told_apart_no_more_often_than_by_chance() -> None:
    rng, above = np.random.default_rng(7), 0
    for seed in range(20):
        reference = of(rng.normal(size=(200, 8)).astype(np.float32), "text")
        window = of(rng.normal(size=(150, 8)).astype(np.float32), "text", like=reference)
        found = drift(reference, window, "text", seed=seed)
        above += found.effect > found.null_quantile
    assert above <= 4


def test_digests_say_nothing_of_pictures() -> None:
    reference = of([f"{index:064x}" for index in range(200)], "image")
    found = drift(reference, of([f"{index:064x}" for index in range(200, 400)], "image"), "image", seed=0)
    assert math.isnan(found.effect)
    assert "prepared" in found.doubt


def test_a_constant_column_that_moves() -> None:
    found = of_numbers(np.full(500, 3.0), np.r_[np.full(250, 3.0), np.full(250, 4.0)])
    assert found.effect > 0.5
    assert of_numbers(np.full(500, 3.0), np.full(300, 3.0)).effect == 0.0


def test_the_same_seed_finds_the_same_and_forms_do_not_mix() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=500), rng.normal(size=300)
    assert of_numbers(a, b, 5) == of_numbers(a, b, 5)
    with pytest.raises(ValueError, match="reference of numbers"):
        drift(NumberSketch(centre=0, scale=1), of(["a"], "category"), "number", seed=0)


def test_what_the_model_relies_on_ranks_first() -> None:
    rng = np.random.default_rng(9)
    reference = rng.normal(size=2000)
    effects = {
        "relied on": of_numbers(reference, rng.normal(0.3, 1, 1000)),
        "ignored": of_numbers(reference, rng.normal(0.9, 1, 1000)),
        "still": of_numbers(reference, rng.normal(0, 1, 1000)),
    }
    assert ranked(effects, {"relied on": 0.9, "ignored": 0.05, "still": 0.05})[0][0] == "relied on"
    assert ranked(effects, {})[0][0] == "ignored"
