"""What is measured in a window, from rows whose truth is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.measure.estimate import Reliability, estimated_accuracy
from mlratchet.models.monitoring.measure.quality import LabelledRows, Slice, measure_quality
from mlratchet.models.monitoring.measure.row_losses import (
    first_of_means,
    loss_of_value,
    row_losses,
    value_of_loss,
)
from mlratchet.models.monitoring.measure.service import BLOCKS, in_blocks, measure_service, requests_of
from mlratchet.models.objectives.naming import metrics_for

CLASSES = ("no", "yes")
METRICS = metrics_for("classification", CLASSES)


def answered(accuracy: float, count: int = 400, seed: int = 0) -> RowOutputs:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    said = np.where(rng.random(count) < accuracy, y, 1 - y)
    output = np.where(np.arange(2)[None] == said[:, None], 2.0, -2.0)
    region = np.where(np.arange(count) % 4 == 0, "eu", "us").tolist()
    return RowOutputs(ids=[f"r{at}" for at in range(count)], y=y, output=output, columns={"region": region})


def labelled(rows: RowOutputs, due: int | None = None) -> LabelledRows:
    return LabelledRows(rows=rows, due_s=np.arange(len(rows.ids), dtype=float), due=due or len(rows.ids))


def test_the_losses_of_accuracy_are_its_errors() -> None:
    rows = answered(0.8)
    found = row_losses(METRICS["accuracy"], rows)
    assert found is not None
    assert set(found.losses) == {0.0, 1.0}
    assert 1 - found.losses.mean() == pytest.approx(METRICS["accuracy"].estimate(rows).value)


def test_a_bounded_mean_of_scores_has_losses_on_the_scale_of_its_span() -> None:
    rows, brier = answered(0.8), METRICS["brier"]
    found = row_losses(brier, rows)
    assert found is not None
    assert value_of_loss(brier, float(found.losses.mean())) == pytest.approx(brier.estimate(rows).value)
    assert value_of_loss(brier, loss_of_value(brier, 0.3)) == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["f1_macro", "log_loss", "roc_auc"])
def test_what_is_no_mean_of_bounded_values_has_none(name: str) -> None:
    if name in METRICS:
        assert row_losses(METRICS[name], answered(0.8)) is None


def test_the_first_mean_is_watched() -> None:
    assert first_of_means(METRICS.values(), answered(0.9)) is METRICS["accuracy"]


def test_a_recall_takes_the_rows_that_are_tried() -> None:
    rows = answered(0.8)
    found = row_losses(METRICS["recall_class_yes"], rows)
    assert found is not None
    assert found.places.tolist() == np.flatnonzero(rows.y == 1).tolist()


def test_every_metric_has_a_figure_with_its_interval_and_the_watched_one_has_it_by_slice() -> None:
    found = measure_quality(
        labelled(answered(0.8), due=800), list(METRICS.values()), METRICS["accuracy"],
        [Slice(column="region", value="eu")], least=30,
    )  # fmt: skip
    accuracy = found.figures["accuracy"]
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low < 0.8 < accuracy.high
    assert "not anytime-valid" in accuracy.method
    assert found.figures["accuracy on region=eu"].n == 100
    assert found.figures["coverage"].value == 0.5
    assert {"f1_macro", "log_loss"} <= set(found.figures)
    assert len(found.streams["quality/accuracy"].values) == 400
    assert found.streams["quality/accuracy on region=eu"].at_s.tolist() == list(range(0, 400, 4))


def test_few_labelled_rows_have_no_figure_and_still_count_for_the_alarm() -> None:
    found = measure_quality(labelled(answered(0.8, 20)), list(METRICS.values()), METRICS["accuracy"], [], least=30)
    assert set(found.figures) == {"coverage"}
    assert len(found.streams["quality/accuracy"].values) == 20


def test_where_no_label_is_due_there_is_no_coverage() -> None:
    """It was told as 0 %, to Prometheus too: in the first hours of a pipeline whose labels have a day."""
    found = measure_quality(labelled(answered(0.5, count=0), due=0), list(METRICS.values()), None, [], least=30)
    assert found.figures == {}


def test_a_slice_whose_column_the_log_does_not_hold_has_no_rows() -> None:
    found = measure_quality(
        labelled(answered(0.8)), [], METRICS["accuracy"], [Slice(column="colour", value="red")], least=30
    )
    assert "quality/accuracy on colour=red" not in found.streams


def log_table(status: list[int], latency: list[float], row: list[int] | None = None) -> pa.Table:
    count = len(status)
    return pa.table(
        {
            "row": row or [0] * count,
            "received_s": np.arange(count, dtype=float),
            "latency_ms": np.asarray(latency, dtype=np.float32),
            "status": np.asarray(status, dtype=np.int16),
        }
    )


def test_errors_refusals_and_slow_answers_are_counted_by_request() -> None:
    table = log_table([200] * 90 + [500] * 4 + [422] * 6, [10.0] * 80 + [300.0] * 20)
    found = measure_service(requests_of(table), MonitoringConfig(latency_ms=200.0), dropped=25)
    assert found.counts == {"requests": 100, "errors": 4, "refused": 6, "dropped": 25}
    assert found.figures["errors"].value == 0.04
    assert found.figures["error_burn"].value == pytest.approx(4.0)
    assert found.figures["slow"].value == 0.1
    assert found.figures["latency_burn"].value == pytest.approx(10.0)
    assert found.figures["dropped"].value == 0.2
    assert found.figures["latency_ms_p50"].value == 10.0
    assert found.streams["service/errors"].values.sum() == 4


def test_instances_of_one_request_are_one_request() -> None:
    table = log_table([200] * 6, [10.0] * 6, row=[0, 1, 2, 0, 1, 0])
    assert requests_of(table).num_rows == 3


def test_a_window_without_requests_has_no_figures_of_them() -> None:
    found = measure_service(requests_of(log_table([], [])), MonitoringConfig(latency_ms=5.0), dropped=0)
    assert set(found.figures) == {"dropped"}
    assert all(len(values.values) == 0 for values in found.streams.values())


def test_many_rows_are_means_of_blocks_with_the_mean_of_all() -> None:
    values = np.random.default_rng(0).random(100_003) < 0.01
    found = in_blocks(values, np.arange(100_003.0))
    assert len(found.values) == BLOCKS
    counts = np.diff(np.concatenate([[-1.0], found.at_s]))
    assert (found.values * counts).sum() == pytest.approx(values.sum())
    assert found.at_s[-1] == 100_002


def confidences(count: int, seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    chance = rng.uniform(0.5, 1.0, count)
    return chance, (rng.random(count) < chance).astype(float)


def test_the_estimate_follows_the_confidence_of_the_window() -> None:
    known = Reliability.of(*confidences(4000, 0))
    surer, right = (one[confidences(4000, 1)[0] > 0.8] for one in confidences(4000, 1))
    found = estimated_accuracy(surer, known)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < right.mean() < found.high
    assert found.method.startswith("estimated")


def test_labels_correct_what_a_confidence_means() -> None:
    known = Reliability.of(*confidences(1000, 0))
    chance, _ = confidences(8000, 1)
    worse = known.with_labels(chance, np.zeros(8000))
    assert float(worse.chances(chance).mean()) < 0.2 < float(known.chances(chance).mean())


def test_rows_without_a_confidence_have_no_estimate() -> None:
    known = Reliability.of(*confidences(1000, 0))
    assert estimated_accuracy([math.nan, math.nan], known) is None
