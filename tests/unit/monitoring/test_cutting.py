"""However often it is looked at, the log falls into the same windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.models.monitoring.config import WindowRule
from mlratchet.models.monitoring.cutting import Edges, begin_of, due_windows

HOURS = WindowRule(seconds=3600)
ROWS = WindowRule(rows=50, minimum_rows=30)


def due(rule: WindowRule, received: list[float], *, begin: float, settled: float, within: float = 0.0) -> list[Edges]:
    return list(due_windows(rule, received, begin_s=begin, settled_s=settled, labels_within=within))


def test_hours_with_rows_are_due_once_they_are_over() -> None:
    received = [100.0, 200.0, 8000.0, 11_000.0]
    assert due(HOURS, received, begin=0, settled=11_500) == [(0, 3600), (7200, 10_800)]


def test_an_hour_without_rows_is_due_where_labels_of_an_earlier_one_are() -> None:
    assert due(HOURS, [100.0], begin=0, settled=12_000, within=7200) == [(0, 3600), (7200, 10_800)]


def test_a_window_of_rows_ends_behind_the_last_of_them_and_takes_those_of_the_same_moment() -> None:
    received = [float(at // 2) for at in range(120)]
    found = due(ROWS, received, begin=0, settled=1000)
    assert len(found) == 2
    (low, high), (then, _) = found
    assert (low, then) == (0, high)
    assert high == pytest.approx(24)
    assert sum(low <= one < high for one in received) == 50


def test_what_is_not_settled_is_not_due() -> None:
    assert due(HOURS, [100.0], begin=0, settled=3599) == []
    assert due(ROWS, [float(at) for at in range(50)], begin=0, settled=49) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 50_000), min_size=1, max_size=300),
    st.lists(st.floats(0, 60_000), min_size=1, max_size=6),
    st.sampled_from([HOURS, ROWS]),
)
def test_looking_often_gives_the_windows_of_looking_once(
    received: list[float], looks: list[float], rule: WindowRule
) -> None:
    received.sort()
    at_once = due(rule, received, begin=0, settled=60_000, within=500)
    begin, found = 0.0, []
    for settled in [*sorted(looks), 60_000.0]:
        found += due(rule, received, begin=begin, settled=settled, within=500)
        begin = found[-1][1] if found else begin
    assert found == at_once


def test_the_first_window_begins_at_an_edge() -> None:
    assert begin_of(HOURS, 4000.0) == 3600.0
    assert begin_of(ROWS, 4000.0) == 4000.0
    assert np.isfinite(begin_of(HOURS, 0.0))
