"""Metrics agree with scikit-learn's, and say NaN where they are undefined."""

from __future__ import annotations

import numpy as np
import pytest
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import compute_metrics, metrics_for
from sklearn import metrics as sk


def rows_of(y: np.ndarray, output: np.ndarray) -> RowOutputs:
    return RowOutputs(ids=[str(i) for i in range(len(y))], y=y, output=output)


@pytest.mark.parametrize("seed", range(8))
def test_classification_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 7))
    n = int(rng.integers(20, 300))
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n)])
    output = rng.normal(0, 1, (len(y), classes)).astype(np.float32)
    output[np.arange(classes), y[:classes]] += 20  # every class is predicted at least once
    predicted = output.argmax(1)
    probability = np.exp(output - output.max(1, keepdims=True))
    probability /= probability.sum(1, keepdims=True)
    found = compute_metrics(rows_of(y, output), "classification", tuple(map(str, range(classes))))
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(y, predicted))
    assert found["log_loss"].value == pytest.approx(sk.log_loss(y, probability, labels=range(classes)), rel=1e-4)
    per_class = sk.precision_recall_fscore_support(y, predicted, labels=range(classes), zero_division=np.nan)
    macro = sk.precision_recall_fscore_support(y, predicted, average="macro", zero_division=np.nan)
    for place, kind in enumerate(("precision", "recall", "f1")):
        assert found[f"{kind}_macro"].value == pytest.approx(macro[place])
        for index in range(classes):
            assert found[f"{kind}_class_{index}"].value == pytest.approx(per_class[place][index])


@pytest.mark.parametrize("seed", range(4))
def test_regression_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.normal(3, 2, 200).astype(np.float32)
    output = (y + rng.normal(0, 1, 200)).astype(np.float32)
    found = compute_metrics(rows_of(y, output), "regression", ())
    assert found["mse"].value == pytest.approx(sk.mean_squared_error(y, output), rel=1e-5)
    assert found["rmse"].value == pytest.approx(sk.root_mean_squared_error(y, output), rel=1e-5)
    assert found["mae"].value == pytest.approx(sk.mean_absolute_error(y, output), rel=1e-5)
    assert found["r2"].value == pytest.approx(sk.r2_score(y, output), rel=1e-4)


def test_precision_of_a_class_that_is_never_predicted_is_undefined_and_so_is_its_mean() -> None:
    y = np.array([0, 0, 1])
    output = np.array([[5.0, 0], [5, 0], [5, 0]], dtype=np.float32)
    found = compute_metrics(rows_of(y, output), "classification", ("a", "b"))
    assert np.isnan(found["precision_class_b"].value)
    assert np.isnan(found["precision_macro"].value)
    assert "undefined" in found["precision_macro"].reason
    assert found["recall_class_b"].value == 0.0


def test_a_class_that_occurs_nowhere_does_not_count() -> None:
    y = np.array([0, 1, 0, 1])
    output = np.eye(3, dtype=np.float32)[y] * 9
    found = compute_metrics(rows_of(y, output), "classification", ("a", "b", "never"))
    assert found["f1_macro"].value == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_output_makes_every_metric_undefined(bad: float) -> None:
    output = np.zeros((4, 2), dtype=np.float32)
    output[2, 1] = bad
    for value in compute_metrics(rows_of(np.array([0, 1, 0, 1]), output), "classification", ("a", "b")).values():
        assert np.isnan(value.value)
        assert "NaN or infinity" in value.reason


def test_no_rows_is_undefined() -> None:
    found = compute_metrics(rows_of(np.zeros(0, int), np.zeros((0, 2), np.float32)), "classification", ("a", "b"))
    assert all(np.isnan(value.value) and value.n == 0 for value in found.values())


def test_r2_of_a_constant_target_is_undefined() -> None:
    found = compute_metrics(rows_of(np.ones(5, np.float32), np.ones(5, np.float32)), "regression", ())
    assert np.isnan(found["r2"].value)
    assert found["mse"].value == 0.0


def test_calibration_error_of_a_confident_model_that_is_half_wrong_is_a_half() -> None:
    y = np.array([0, 1] * 50)
    output = np.tile(np.array([[50.0, 0.0]], dtype=np.float32), (100, 1))
    found = compute_metrics(rows_of(y, output), "classification", ("a", "b"))
    assert found["ece"].value == pytest.approx(0.5)


def test_every_metric_declares_direction_unit_and_formula() -> None:
    for task, names in (("classification", ("a", "b")), ("regression", ())):
        for metric in metrics_for(task, names).values():
            assert metric.direction in ("higher", "lower")
            assert metric.unit
            assert metric.formula
    with pytest.raises(ConfigurationError, match="unknown task 'clustering'; there are classification"):
        metrics_for("clustering", ())
