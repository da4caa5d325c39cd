"""Metrics as functions of sums over rows.

Every metric here is f(sum over rows of features), so that one value, a resample and a whole bootstrap are the
same code: `features` gives (N, K), `from_sums` maps sums (..., K) to values (...). An undefined value is NaN.

Shape legend: N rows, C classes, K features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from mlratchet.models.evaluation.rows import RowOutputs

Array = np.ndarray[Any, Any]
Direction = Literal["higher", "lower"]
ECE_BINS = 15


@dataclass(frozen=True, kw_only=True)
class MetricValue:
    """A value over n rows; `reason` says why it is NaN."""

    value: float
    n: int
    reason: str = ""


class Metric(ABC):
    """One metric: name, direction, unit, formula."""

    name: str
    direction: Direction
    unit: str
    formula: str
    tasks: tuple[str, ...]

    @abstractmethod
    def features(self, rows: RowOutputs) -> Array:
        """(N, K) float64."""

    @abstractmethod
    def from_sums(self, sums: Array) -> Array:
        """(..., K) -> (...); NaN where undefined."""

    def estimate(self, rows: RowOutputs) -> MetricValue:
        """The value over all rows."""
        n = len(rows.ids)
        if n == 0:
            return MetricValue(value=float("nan"), n=0, reason=f"{self.name} over 0 rows is undefined")
        if not np.isfinite(rows.output).all():
            return MetricValue(value=float("nan"), n=n, reason="the model's output holds NaN or infinity")
        value = float(self.from_sums(self.features(rows).sum(axis=0)))
        reason = "" if np.isfinite(value) else f"{self.name} is undefined on these rows ({self.formula})"
        return MetricValue(value=value, n=n, reason=reason)


def _ratio(numerator: Array, denominator: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _predicted(rows: RowOutputs) -> Array:
    return np.asarray(rows.output.argmax(axis=1))


def log_probabilities(output_NC: Array) -> Array:
    """Log-softmax, (N, C), stable."""
    shifted = output_NC.astype(np.float64) - output_NC.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


class Accuracy(Metric):
    """Share of rows whose most probable class is the label."""

    name, direction, unit = "accuracy", "higher", "share of rows"
    formula = "sum(predicted == label) / N"
    tasks = ("classification",)

    def features(self, rows: RowOutputs) -> Array:
        """[correct, 1]."""
        correct = (_predicted(rows) == rows.y).astype(np.float64)
        return np.stack([correct, np.ones_like(correct)], axis=1)

    def from_sums(self, sums: Array) -> Array:
        """Correct over all."""
        return _ratio(sums[..., 0], sums[..., 1])


class _PerClass(Metric):
    """True positives, predicted and actual rows per class."""

    tasks = ("classification",)
    direction: Direction = "higher"
    unit = "share"

    def __init__(self, kind: str, num_classes: int, index: int | None, label: str) -> None:
        self.kind, self.num_classes, self.index = kind, num_classes, index
        self.name = f"{kind}_{label}"
        per_class = {
            "precision": "TP / predicted",
            "recall": "TP / actual",
            "f1": "2 TP / (predicted + actual)",
        }[kind]
        self.formula = per_class if index is not None else f"mean over classes of {per_class}"

    def features(self, rows: RowOutputs) -> Array:
        """[TP per class, predicted per class, actual per class]."""
        classes = np.arange(self.num_classes)
        predicted = _predicted(rows)[:, None] == classes
        actual = rows.y[:, None] == classes
        return np.concatenate([predicted & actual, predicted, actual], axis=1).astype(np.float64)

    def from_sums(self, sums: Array) -> Array:
        """The class's value, or the mean over the classes that occur as label or prediction."""
        tp, predicted, actual = np.split(sums, 3, axis=-1)
        if self.kind == "precision":
            per_class = _ratio(tp, predicted)
        elif self.kind == "recall":
            per_class = _ratio(tp, actual)
        else:
            per_class = _ratio(2 * tp, predicted + actual)
        if self.index is not None:
            return np.asarray(per_class[..., self.index])
        occurs = (predicted + actual) > 0
        total = np.where(occurs, per_class, 0.0).sum(axis=-1)  # NaN where a class that occurs is undefined
        return _ratio(total, occurs.sum(axis=-1).astype(np.float64))


class LogLoss(Metric):
    """Mean negative log-likelihood of the label, natural logarithm."""

    name, direction, unit = "log_loss", "lower", "nats"
    formula = "-mean(log p(label))"
    tasks = ("classification",)

    def features(self, rows: RowOutputs) -> Array:
        """[-log p, 1]."""
        nll = -log_probabilities(rows.output)[np.arange(len(rows.y)), rows.y.astype(np.int64)]
        return np.stack([nll, np.ones_like(nll)], axis=1)

    def from_sums(self, sums: Array) -> Array:
        """Mean."""
        return _ratio(sums[..., 0], sums[..., 1])


class ExpectedCalibrationError(Metric):
    """Mean gap between confidence and accuracy over 15 equal-width bins (Guo et al., 2017)."""

    name, direction, unit = "ece", "lower", "share"
    formula = "sum over bins of |sum(correct) - sum(confidence)| / N"
    tasks = ("classification",)

    def features(self, rows: RowOutputs) -> Array:
        """[(correct - confidence) per bin, 1]."""
        confidence = np.exp(log_probabilities(rows.output).max(axis=1))
        gap = (_predicted(rows) == rows.y) - confidence
        bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
        table = np.zeros((len(gap), ECE_BINS + 1))
        table[np.arange(len(gap)), bins] = gap
        table[:, -1] = 1.0
        return table

    def from_sums(self, sums: Array) -> Array:
        """Absolute gaps over all rows."""
        return _ratio(np.abs(sums[..., :-1]).sum(axis=-1), sums[..., -1])


class _Moments(Metric):
    """Regression metrics from sums of errors and targets."""

    tasks = ("regression",)

    def __init__(self, name: str, direction: Direction, unit: str, formula: str) -> None:
        self.name, self.direction, self.unit, self.formula = name, direction, unit, formula

    def features(self, rows: RowOutputs) -> Array:
        """[error^2, |error|, y, y^2, 1]."""
        y = rows.y.astype(np.float64)
        error = rows.output.astype(np.float64).reshape(y.shape) - y
        return np.stack([error**2, np.abs(error), y, y**2, np.ones_like(y)], axis=1)

    def from_sums(self, sums: Array) -> Array:
        """By name."""
        squared, absolute, y, y2, n = np.moveaxis(sums, -1, 0)
        if self.name == "mae":
            return _ratio(absolute, n)
        if self.name == "r2":
            return 1.0 - _ratio(squared, y2 - _ratio(y**2, n))
        mse = _ratio(squared, n)
        return np.sqrt(mse) if self.name == "rmse" else mse


def metrics_for(task: str, class_names: tuple[str, ...]) -> dict[str, Metric]:
    """Every metric of a task, by name."""
    if task == "regression":
        found: list[Metric] = [
            _Moments("mse", "lower", "target unit squared", "mean((prediction - target)^2)"),
            _Moments("rmse", "lower", "target unit", "sqrt(mean((prediction - target)^2))"),
            _Moments("mae", "lower", "target unit", "mean(|prediction - target|)"),
            _Moments(
                "r2",
                "higher",
                "share of variance",
                "1 - sum((prediction - target)^2) / sum((target - mean)^2)",
            ),
        ]
        return {metric.name: metric for metric in found}
    if task != "classification":
        raise ValueError(f"no metrics for task {task!r}; there are classification and regression")
    count = len(class_names)
    found = [Accuracy(), LogLoss(), ExpectedCalibrationError()]
    for kind in ("precision", "recall", "f1"):
        found.append(_PerClass(kind, count, None, "macro"))
        found += [_PerClass(kind, count, index, f"class_{name}") for index, name in enumerate(class_names)]
    return {metric.name: metric for metric in found}


def compute_metrics(rows: RowOutputs, task: str, class_names: tuple[str, ...]) -> dict[str, MetricValue]:
    """All metrics of the task over the rows."""
    return {name: metric.estimate(rows) for name, metric in metrics_for(task, class_names).items()}
