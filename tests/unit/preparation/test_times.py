"""Times, held against Python's own calendar."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.errors import DataError
from mlratchet.models.preparation.times import TimeOptions, TimePreparation, place_in
from mlratchet.models.schema.fields import Field
from pydantic import ValidationError

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NULLABLE = Field(kind="time", nullable=True)
moments = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC))


def table(*values: Any) -> pa.Table:
    return pa.table({"t": pa.array(values, pa.timestamp("us", "UTC"))})


@given(moments)
def test_places_are_those_of_the_calendar(moment: dt.datetime) -> None:
    micros = np.array([(moment - EPOCH) // dt.timedelta(microseconds=1)])
    found = {part: int(place_in(part, micros)[0]) for part in ("hour", "weekday", "day", "month", "day_of_year")}
    assert found == {
        "hour": moment.hour * 60 + moment.minute,
        "weekday": moment.weekday(),
        "day": moment.day - 1,
        "month": moment.month - 1,
        "day_of_year": moment.timetuple().tm_yday - 1,
    }


def test_a_part_is_a_point_on_its_circle() -> None:
    one = TimePreparation({"t": NULLABLE}, TimeOptions(parts=("hour",), age=False))
    rows = table(dt.datetime(2026, 1, 1, 6, tzinfo=dt.UTC), dt.datetime(2026, 1, 1, 23, 59, 30, tzinfo=dt.UTC), None)
    found = one.apply(rows, one.fit(lambda: iter([rows]))).array
    angle = 2 * math.pi * 1439 / 1440
    assert found == pytest.approx(np.array([[1, 0, 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]), abs=1e-7)


def test_an_age_is_counted_from_the_newest_training_row_whenever_it_is_asked() -> None:
    one = TimePreparation({"t": NULLABLE}, TimeOptions(parts=(), indicator=False))
    days = [dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (1, 3, 11)]
    state = one.fit(lambda: iter([table(*days)]))
    ages = np.array([10.0, 8.0, 0.0])
    scaled = (ages - ages.mean()) / ages.std()
    assert one.apply(table(*days), state).array[:, 0] == pytest.approx(scaled)
    later = one.apply(table(days[0], dt.datetime(2026, 1, 21, tzinfo=dt.UTC)), state).array[:, 0]
    assert later == pytest.approx([scaled[0], (-10 - ages.mean()) / ages.std()])


def test_a_time_that_lacks_where_none_may_is_refused() -> None:
    one = TimePreparation({"t": Field(kind="time")}, TimeOptions())
    state = one.fit(lambda: iter([table(EPOCH)]))
    with pytest.raises(DataError, match="example 1: field 't' is not given"):
        one.apply(table(EPOCH, None), state)


def test_a_time_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(ValidationError, match="write drop for the field"):
        TimeOptions(parts=(), age=False)


def test_columns_are_named_in_their_order() -> None:
    one = TimePreparation({"t": NULLABLE}, TimeOptions(parts=("month",)))
    state = one.fit(lambda: iter([table(EPOCH)]))
    names = [feature.name for feature in one.features(state)]
    assert names == ["sine of t's month", "cosine of t's month", "age of t", "t is not given"]
    assert one.tensors(state)[0].shape == (4,)
