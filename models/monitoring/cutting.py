"""Which windows of the log are due: a pure function of when rows came, so that every look cuts alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mlratchet.models.monitoring.config import WindowRule

Array = np.ndarray[Any, Any]
Edges = tuple[float, float]  # the first moment in a window, and the first after it; seconds since the epoch


def due_windows(
    rule: WindowRule,
    received_s: Sequence[float] | Array,
    *,
    begin_s: float,
    settled_s: float,
    labels_within: float,
) -> Iterator[Edges]:
    """Windows that ended by now, oldest first. Those without rows and without a label that became due are left out.

    Args:
        rule: How the log is divided.
        received_s: (T,) when each row was received, ascending, from `begin_s` - `labels_within` on.
        begin_s: Where the last window ended, or the moment from which the log is looked at.
        settled_s: Nothing that was received before can still arrive.
        labels_within: Seconds after which the label of a row is due.
    """
    received_T = np.asarray(received_s, dtype=np.float64)
    if rule.rows is not None:
        yield from _by_rows(rule.rows, received_T, begin_s=begin_s, settled_s=settled_s)
    else:
        assert rule.seconds is not None
        moments = np.concatenate([received_T, received_T + labels_within])
        yield from _by_time(rule.seconds, moments, begin_s=begin_s, settled_s=settled_s)


def _by_time(length_s: float, moments: Array, *, begin_s: float, settled_s: float) -> Iterator[Edges]:
    inside = moments[(moments >= begin_s) & (moments < settled_s)]
    for place in np.unique(np.floor(inside / length_s)).tolist():
        low, high = max(place * length_s, begin_s), (place + 1) * length_s
        if high <= settled_s:
            yield low, high


def _by_rows(count: int, received_T: Array, *, begin_s: float, settled_s: float) -> Iterator[Edges]:
    inside = received_T[(received_T >= begin_s) & (received_T < settled_s)]
    low = begin_s
    while len(inside) >= count:
        last = float(inside[count - 1])
        # requests of one moment are not parted: which of them came first is not known
        high = math.nextafter(last, math.inf)
        yield low, high
        inside, low = inside[np.searchsorted(inside, high) :], high


def begin_of(rule: WindowRule, promoted_s: float) -> float:
    """Where the first window of a pipeline begins: at the first edge that is not after its promotion."""
    return promoted_s if rule.seconds is None else math.floor(promoted_s / rule.seconds) * rule.seconds
