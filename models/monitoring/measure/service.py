"""How requests were served in a window: errors, latency and refusals, each against what is declared.

Shape legend: T rows in the order of their requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from mlratchet.models.evaluation.statistics.proportions import clopper_pearson
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.window import Figure

Array = np.ndarray[Any, Any]
SERVER_ERROR, CLIENT_ERROR = 500, 400  # statuses of HTTP from here on
BUSY = 503  # the server said that it is full: an error of the server
QUANTILES = (0.5, 0.95, 0.99)
MOST_REFUSED = 0.05  # share of the requests that the schema may refuse
BLOCKS = 4096  # values of one stream and window: the mean of a block of rows stands for them, which only loses power
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Values:
    """What a window says of one stream of the alarm."""

    values: Array  # (T,)
    at_s: Array  # (T,) seconds since the epoch, ascending


@dataclass(frozen=True, kw_only=True)
class ServiceMeasures:
    """Of one window."""

    figures: Mapping[str, Figure]
    streams: Mapping[str, Values]
    counts: Mapping[str, int]


def requests_of(table: pa.Table) -> pa.Table:
    """One row per request, in their order: an instance of many has the status and the time of its request."""
    return table.filter(pa.compute.equal(table["row"], 0)).sort_by("received_s")


def measure_service(table: pa.Table, config: MonitoringConfig, *, dropped: int) -> ServiceMeasures:
    """What `requests_of` the log says. Replayed requests and shadows are no clients: the caller leaves them out.

    Args:
        table: With `received_s`, `latency_ms` and `status`.
        config: The objectives.
        dropped: Answers that the log lost in this window.
    """
    n = table.num_rows
    status_T = table["status"].to_numpy().astype(np.int64)
    at_s_T = table["received_s"].to_numpy().astype(np.float64)
    latency_T = table["latency_ms"].to_numpy().astype(np.float64)
    failed_T = status_T >= SERVER_ERROR
    refused_T = (status_T >= CLIENT_ERROR) & ~failed_T
    answered = latency_T[~failed_T & ~refused_T]
    figures = {"errors": _share(int(failed_T.sum()), n), "refused": _share(int(refused_T.sum()), n)} if n else {}
    for q in QUANTILES if len(answered) else ():
        figures[f"latency_ms_p{round(100 * q)}"] = Figure(value=float(np.quantile(answered, q)), n=len(answered))
    streams = {"service/errors": (failed_T, at_s_T), "data/refused": (refused_T, at_s_T)}
    if config.latency_ms is not None and n:
        slow_T = (latency_T > config.latency_ms) & ~failed_T & ~refused_T
        streams["service/latency"] = (slow_T, at_s_T)
        figures["slow"] = _share(int(slow_T.sum()), n)
        figures["latency_burn"] = Figure(value=figures["slow"].value / (1 - config.latency_share), n=n)
    if n:
        figures["error_burn"] = Figure(value=figures["errors"].value / config.errors, n=n)
    figures["dropped"] = _share(dropped, n + dropped) if n + dropped else Figure(value=0.0, n=0)
    return ServiceMeasures(
        figures=figures,
        streams={name: in_blocks(*values) for name, values in streams.items()},
        counts={"requests": n, "errors": int(failed_T.sum()), "refused": int(refused_T.sum()), "dropped": dropped},
    )


def service_limits(config: MonitoringConfig) -> dict[str, float]:
    """Stream -> the mean that it may have."""
    limits = {"service/errors": config.errors, "data/refused": MOST_REFUSED}
    if config.latency_ms is not None:
        limits["service/latency"] = 1 - config.latency_share
    return limits


def _share(count: int, n: int) -> Figure:
    found = clopper_pearson(count, n, confidence=CONFIDENCE)
    return Figure(value=count / n, low=found.low, high=found.high, n=n, method="Clopper-Pearson, 95 %")


def in_blocks(values_T: Array, at_s_T: Array) -> Values:
    """At most `BLOCKS` values: means of neighbours, each at the moment of its last row."""
    values_T = values_T.astype(np.float64)
    if len(values_T) <= BLOCKS:
        return Values(values=values_T, at_s=at_s_T)
    ends = np.linspace(0, len(values_T), BLOCKS + 1).round().astype(np.int64)
    sums = np.add.reduceat(values_T, ends[:-1])
    return Values(values=sums / np.diff(ends), at_s=at_s_T[ends[1:] - 1])
