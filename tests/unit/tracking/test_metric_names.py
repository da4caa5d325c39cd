"""A class may have any name; MLflow takes fewer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mlflow.utils.validation import _validate_metric_name
from mlratchet.infra.tracking.mlflow import MlflowTracker
from mlratchet.models.objectives.naming import metrics_for

NAMES = ("<=50K", ">50K", "C#", "50 %", "a,b", "né/e")


def test_the_metrics_of_every_class_are_logged_under_names_that_mlflow_takes() -> None:
    sent: list[Any] = []
    tracker = MlflowTracker("http://127.0.0.1:1")
    client: Any = SimpleNamespace(log_batch=lambda _run, metrics: sent.extend(metrics))
    tracker._client = client
    tracker.log_metrics("r", [(f"test_{name}", 1.0, 0) for name in metrics_for("classification", NAMES)])
    for metric in sent:
        _validate_metric_name(metric.key)
    assert len({metric.key for metric in sent}) == len(metrics_for("classification", NAMES))
    assert "test_accuracy" in {metric.key for metric in sent}
