"""What Prometheus is told of the newest window of each pipeline, in its text format.

The monitor writes it to a file that a collector reads (the textfile collector of node_exporter): what is told is what
the signed records say, whoever serves, and also while nobody does.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlratchet.models.monitoring.config import AGAINST
from mlratchet.models.monitoring.finding import SEVERITIES
from mlratchet.models.monitoring.measure.columns import CONFIDENCE, PREDICTION
from mlratchet.models.monitoring.reference import Reference
from mlratchet.models.monitoring.window import Figure, WindowRecord
from prometheus_client import CollectorRegistry, Gauge, generate_latest

DRIFT, RELIES, COVERAGE, ESTIMATE = "drift ", "relies ", "coverage", "estimated_accuracy"
MOST_FIELDS = 100  # of which drift is told: each is three series


class WindowGauges:
    """Of any number of pipelines."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()

        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"ratchet_{name}", words, ["pipeline", *labels], registry=registry)

        self.end = gauge("window_end_timestamp_seconds", "End of the newest window that was measured", "version")
        self.length = gauge("window_duration_seconds", "How long that window is")
        self.rows = gauge("window_rows", "Answered rows in it")
        self.whole = gauge("window_whole", "1: nothing of its log is missing")
        self.open = gauge("findings_open", "Conditions that are not as they should be", "severity")
        self.drift = gauge("drift", "How far a field is from the test rows", "field")
        self.drift_low = gauge("drift_low", "Lower end of the interval of the drift", "field")
        self.reliance = gauge("reliance_ratio", "Share of the answers that rests on a field", "field")
        self.quality = gauge("quality", "Of the labelled rows of the window", "metric")
        self.quality_low = gauge("quality_low", "Lower end of its interval", "metric")
        self.quality_high = gauge("quality_high", "Upper end of its interval", "metric")
        self.promise = gauge("quality_promise", "What was promised", "metric")
        self.broken = gauge("quality_promise_broken", "1: the window is surely worse than promised", "metric")
        self.estimate = gauge("estimated_accuracy_ratio", "Estimated from confidence, without labels")
        self.coverage = gauge("label_coverage_ratio", "Share of the rows that are due and have a label")

    def tell(self, record: WindowRecord, reference: Reference | None) -> None:
        """Of the newest window of a pipeline; `reference`: what it was compared with."""
        name = record.pipeline
        self.end.labels(name, str(record.version)).set(record.window.to_s)
        self.length.labels(name).set(record.window.to_s - record.window.from_s)
        self.rows.labels(name).set(record.counts.get("rows", 0))
        self.whole.labels(name).set(float(record.window.whole))
        for severity in SEVERITIES:
            held = [key for key, one in record.open.items() if one["severity"] == severity and AGAINST not in key]
            self.open.labels(name, severity).set(len(held))
        drifts = [(key.removeprefix(DRIFT), one) for key, one in record.figures.items() if key.startswith(DRIFT)]
        for field, figure in sorted(drifts, key=_largest)[:MOST_FIELDS]:
            self.drift.labels(name, field).set(figure.value)
            self.drift_low.labels(name, field).set(figure.low or 0.0)
        for key, figure in record.figures.items():
            if key.startswith(RELIES):
                self.reliance.labels(name, key.removeprefix(RELIES)).set(figure.value)
        self._quality(record, reference)

    def _quality(self, record: WindowRecord, reference: Reference | None) -> None:
        name = record.pipeline
        for promise in reference.promises if reference is not None else ():
            metric = f"{promise.metric} on {promise.column}={promise.value}" if promise.column else promise.metric
            self.promise.labels(name, metric).set(promise.bound)
            self.broken.labels(name, metric).set(float(f"quality:{metric}" in record.open))
            figure = record.figures.get(metric)
            if figure is not None:
                self.quality.labels(name, metric).set(figure.value)
                if figure.low is not None and figure.high is not None:
                    self.quality_low.labels(name, metric).set(figure.low)
                    self.quality_high.labels(name, metric).set(figure.high)
        for key, gauge in ((ESTIMATE, self.estimate), (COVERAGE, self.coverage)):
            if key in record.figures:
                gauge.labels(name).set(record.figures[key].value)


def _largest(one: tuple[str, Figure]) -> tuple[bool, float, str]:
    field, figure = one
    return field not in (PREDICTION, CONFIDENCE), -figure.value, field


def gauges_text(newest: Iterable[tuple[WindowRecord, Reference | None]]) -> bytes:
    """In Prometheus's format."""
    gauges = WindowGauges()
    for record, reference in newest:
        gauges.tell(record, reference)
    return generate_latest(gauges.registry)
