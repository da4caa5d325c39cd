"""What a server counts, for Prometheus: by pipeline, version and variant, never by request.

Names and units follow Prometheus' conventions: `_total` of what only grows, `_seconds`, base units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    Summary,
    generate_latest,
)

TEXT = b"text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
MOST_CLASSES = 50  # that are counted by name: each is a series
OTHER = "(other)"
BY_PIPELINE, BY_VARIANT = ["pipeline"], ["pipeline", "version", "variant"]


class Metrics:
    """Of one process."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()

        def counter(name: str, words: str, labels: Sequence[str]) -> Counter:
            return Counter(f"ratchet_{name}", words, labels, registry=registry)

        def histogram(name: str, words: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
            return Histogram(f"ratchet_{name}", words, labels, buckets=buckets, registry=registry)

        def gauge(name: str, words: str) -> Gauge:
            return Gauge(f"ratchet_{name}", words, BY_PIPELINE, registry=registry)

        self.requests = counter("requests", "Requests to /predict by their status", [*BY_VARIANT, "status"])
        self.errors = counter("server_errors", "Answers of 500 and more, whatever was asked", [*BY_PIPELINE, "status"])
        self.seconds = histogram("request_duration_seconds", "Time to answer /predict", BY_VARIANT, SECONDS)
        self.rows = counter("rows", "Rows predicted", BY_VARIANT)
        self.batch_rows = histogram("batch_rows", "Rows that are computed together", BY_PIPELINE, ROWS)
        self.predictions = counter("predictions", "Rows by the class or label that was said", [*BY_VARIANT, "class"])
        self.values = Summary("ratchet_prediction_value", "Numbers that were said", BY_VARIANT, registry=registry)
        self.confidence = histogram("prediction_confidence", "Probability of what was said", BY_VARIANT, SHARES)
        self.log_drops = counter("log_drops", "Answers that are in no file of the inference log", BY_PIPELINE)
        self._lost: dict[str, tuple[Callable[[], float], float]] = {}  # how many by now, how many were told
        self.version = gauge("model_version", "Version that is served; 0: none")
        self.waiting = gauge("queue_requests", "Requests that wait for their answer")
        self.of_pipelines = (
            self.requests, self.errors, self.seconds, self.rows, self.batch_rows, self.predictions, self.values,
            self.confidence, self.log_drops, self.version, self.waiting,
        )  # fmt: skip
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def lacks(self, pipeline: str, lost: Callable[[], float]) -> None:
        """`lost` is asked at every scrape; a counter may only rise."""
        self.log_drops.labels(pipeline)
        self._lost[pipeline] = lost, 0.0

    def text(self) -> bytes:
        """In Prometheus's format."""
        for pipeline, (lost, told) in list(self._lost.items()):
            now = lost()
            self.log_drops.labels(pipeline).inc(max(0.0, now - told))
            self._lost[pipeline] = lost, max(now, told)
        return generate_latest(self.registry)

    def forget(self, pipeline: str) -> None:
        """Of a pipeline that is served no more, nothing is told."""
        self._lost.pop(pipeline, None)
        for one in self.of_pipelines:
            one.remove_by_labels({"pipeline": pipeline})


@dataclass(frozen=True, eq=False)
class _Answers:
    """What is counted of every answer of one version as one variant."""

    rows: Callable[[float], None]
    seconds: Callable[[float], None]
    confidence: Callable[[float], None]
    value: Callable[[float], None]


class PipelineMetrics:
    """Of one pipeline. To look a label up costs as much as to parse a short request: each is kept."""

    def __init__(self, metrics: Metrics, pipeline: str) -> None:
        self._metrics, self._pipeline = metrics, pipeline
        self._requests: dict[tuple[str, str, str], Callable[[], None]] = {}
        self._answers: dict[tuple[str, str], _Answers] = {}
        self._said: dict[tuple[str, str], dict[str, Callable[[], None]]] = {}
        self.batch: Callable[[float], None] = metrics.batch_rows.labels(pipeline).observe
        """Told of the rows of every batch."""
        for status in ("500", "503"):  # a series that begins at its first error shows no increase
            metrics.errors.labels(pipeline, status)

    def tell(self, *, version: Callable[[], float], waiting: Callable[[], float]) -> None:
        """Where to read what is served and how many wait."""
        self._metrics.version.labels(self._pipeline).set_function(version)
        self._metrics.waiting.labels(self._pipeline).set_function(waiting)

    def tell_log(self, *, lost: Callable[[], float]) -> None:
        """Where to read how many answers the inference log lacks since the process began."""
        self._metrics.lacks(self._pipeline, lost)

    def request(self, status: str, version: str, variant: str) -> None:
        """One more."""
        count = self._requests.get((status, version, variant))
        if count is None:
            labelled = self._metrics.requests.labels(self._pipeline, version, variant, status)
            count = self._requests[status, version, variant] = labelled.inc
        count()

    def answered(self, predictions: Sequence[dict[str, Any]], version: str, variant: str, seconds: float) -> None:
        """Of a request with an answer: its rows, time, and what was said."""
        place = version, variant
        held = self._answers.get(place)
        if held is None:
            labels = (self._pipeline, *place)
            held = self._answers[place] = _Answers(
                self._metrics.rows.labels(*labels).inc,
                self._metrics.seconds.labels(*labels).observe,
                self._metrics.confidence.labels(*labels).observe,
                self._metrics.values.labels(*labels).observe,
            )
        held.rows(len(predictions))
        held.seconds(seconds)
        for one in predictions:
            self._prediction(one, place, held)

    def _prediction(self, one: dict[str, Any], place: tuple[str, str], held: _Answers) -> None:
        said = one.get("class")
        if said is not None:
            self._count(said, place)
            held.confidence(one["probability"])
            return
        for label in one.get("labels", ()):
            self._count(label, place)
        value = one.get("value", one.get("score"))
        if isinstance(value, float | int):
            held.value(value)

    def _count(self, said: str, place: tuple[str, str]) -> None:
        counts = self._said.setdefault(place, {})
        count = counts.get(said)
        if count is None:
            name = said if len(counts) < MOST_CLASSES else OTHER
            count = self._metrics.predictions.labels(self._pipeline, *place, name).inc
            if name is said:
                counts[said] = count
        count()

    def error(self, status: str) -> None:
        """A 5xx."""
        self._metrics.errors.labels(self._pipeline, status).inc()
