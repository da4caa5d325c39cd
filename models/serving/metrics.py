"""What a server counts, for Prometheus: by pipeline, status and version, never by request."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

TEXT = b"text/plain; version=0.0.4"


class Metrics:
    """Of one process."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        labels = ["pipeline", "status", "version"]
        self.registry = registry
        self.requests = Counter("ratchet_requests", "Requests to /predict", labels, registry=registry)
        self.rows = Counter("ratchet_rows", "Rows predicted", ["pipeline", "version"], registry=registry)
        self.seconds = Histogram("ratchet_request_seconds", "Time to answer /predict", ["pipeline"], registry=registry)
        self.version = Gauge("ratchet_model_version", "Version that is served", ["pipeline"], registry=registry)
        self.waiting = Gauge(
            "ratchet_waiting_requests", "Requests that wait for their answer", ["pipeline"], registry=registry
        )
        self.log_lost = Gauge(
            "ratchet_log_dropped", "Answers that are in no file of the inference log", ["pipeline"], registry=registry
        )
        self.errors = Counter(
            "ratchet_server_errors",
            "Answers of 500 and more, whatever was asked",
            ["pipeline", "status"],
            registry=registry,
        )

    def text(self) -> bytes:
        """In Prometheus's format."""
        return generate_latest(self.registry)

    def forget(self, pipeline: str) -> None:
        """Of a pipeline that is served no more, nothing is told."""
        for one in (self.requests, self.rows, self.seconds, self.version, self.waiting, self.log_lost, self.errors):
            one.remove_by_labels({"pipeline": pipeline})


class PipelineMetrics:
    """Of one pipeline. To look a label up costs as much as to parse a short request: each is kept."""

    def __init__(self, metrics: Metrics, pipeline: str) -> None:
        self._metrics, self._pipeline = metrics, pipeline
        self._requests: dict[tuple[str, str], Callable[[], None]] = {}
        self._rows: dict[str, Callable[[float], None]] = {}
        self._observe_s = metrics.seconds.labels(pipeline).observe

    def tell(self, *, version: Callable[[], float], waiting: Callable[[], float]) -> None:
        """Where to read what is served and how many wait."""
        self._metrics.version.labels(self._pipeline).set_function(version)
        self._metrics.waiting.labels(self._pipeline).set_function(waiting)

    def tell_log(self, *, lost: Callable[[], float]) -> None:
        """Where to read how many answers the inference log lacks."""
        self._metrics.log_lost.labels(self._pipeline).set_function(lost)

    def request(self, status: str, version: str) -> None:
        """One more."""
        count = self._requests.get((status, version))
        if count is None:
            labelled = self._metrics.requests.labels(self._pipeline, status, version)
            count = self._requests[status, version] = labelled.inc
        count()

    def answered(self, rows: int, version: str, seconds: float) -> None:
        """Of a request with an answer."""
        count = self._rows.get(version)
        if count is None:
            count = self._rows[version] = self._metrics.rows.labels(self._pipeline, version).inc
        count(rows)
        self._observe_s(seconds)

    def error(self, status: str) -> None:
        """A 5xx."""
        self._metrics.errors.labels(self._pipeline, status).inc()
