"""Times: the format of a column is decided once, or it is an error that shows both readings."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.models.errors import DataError
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.schema.kinds import read_column
from mlratchet.models.schema.notation import WHERE, Notation
from mlratchet.models.schema.time_formats import check_format
from mlratchet.models.schema.times import decide_format, iso, read_times
from mlratchet.models.schema.typing import typed

TIME = Field(kind="time")


def read(cells: list[str | None], form: str) -> list[str | None]:
    return [one and iso(one) for one in read_times(pa.array(cells, type=pa.string()), form).to_pylist()]


def decided(*cells: str, field: Field = TIME) -> str | None:
    return decide_format("wann", pa.array(cells, type=pa.string()), field, where="shop.csv:2")


def test_iso_with_and_without_zone_and_fraction() -> None:
    cells = [
        "2026-01-03",
        "2026-01-03T12:30",
        "2026-01-03 12:30:15.25",
        "2026-01-03T12:30:15+01:00",
        "2026-01-03T12:30Z",
    ]
    assert read(cells, "iso") == [
        "2026-01-03T00:00:00Z",
        "2026-01-03T12:30:00Z",
        "2026-01-03T12:30:15.250000Z",
        "2026-01-03T11:30:15Z",
        "2026-01-03T12:30:00Z",
    ]
    assert read(["2026-01-03T12:30Z", "2026-01-03T12:30+02"], "iso") == ["2026-01-03T12:30:00Z", "2026-01-03T10:30:00Z"]


@pytest.mark.parametrize(
    "cell",
    [
        "2026-02-30",
        "2026-13-01",
        "2026-00-10",
        "2026-01-00",
        "2026-01-01 24:00",
        "2026-01-01 10:60",
        "20260101",
        "2026-1-3",
        "today",
        "2026-01-01x",
        "0000-01-01",
    ],
)
def test_what_is_no_day_is_refused_also_beside_what_is_one(cell: str) -> None:
    assert read([cell], "iso") == [None]
    assert read(["2026-01-03", cell, None], "iso") == ["2026-01-03T00:00:00Z", None, None]


@pytest.mark.parametrize(
    ("form", "cell", "inside"),
    [
        ("iso", "0001-01-01T00:00:00+01:00", "0001-01-01T01:00:00+01:00"),
        ("iso", "9999-12-31T23:59:59-01:00", "9999-12-31T22:59:59-01:00"),
        ("iso", "9999-12-31T23:59:59.5-00:01", "9999-12-31T23:59:59.5+00:01"),
        ("%d.%m.%Y %H:%M%z", "31.12.9999 23:59-01:00", "31.12.9999 23:59+01:00"),
    ],
)
def test_what_a_zone_moves_out_of_the_years_that_there_are_is_no_time(form: str, cell: str, inside: str) -> None:
    for cells in ([cell], [cell, inside], [cell, "x"]):
        found = read(cells, form)
        assert found[0] is None
        assert (found[1] is None) == (cells[1] == "x") if len(cells) > 1 else found == [None]


@pytest.mark.parametrize("kind", ["timestamp[us]", "timestamp[ms]", "timestamp[s]", "date32[day]", "date64[ms]"])
def test_times_of_a_type_of_their_own_are_of_the_years_that_there_are_or_set_aside(kind: str) -> None:
    made = pa.type_for_alias(kind)
    beyond = [2**31 - 1, -(2**31)] if kind == "date32[day]" else [86_400_000 * 2**36, -86_400_000 * 2**36]
    cells = pa.concat_arrays([pa.array([*beyond, None], made), pa.array([dt.date(2026, 1, 3)]).cast(made)])
    found = read_column("t", cells, Field(kind="time", nullable=True), Notation(), ())
    assert [one and iso(one) for one in found.values.to_pylist()] == [None, None, None, "2026-01-03T00:00:00Z"]
    assert [(one.rule, list(one.rows)) for one in found.faults[:1]] == [("not_a_time", [True, True, False, False])]
    assert "expected a time of the years 1 to 9999" in found.faults[0].words(0)
    places = pa.array([f"a:{n}" for n in range(4)])
    raw = pa.table({"t": cells, WHERE: places})
    _, rejects = typed(raw, Schema(fields={"t": Field(kind="time", nullable=True)}), Notation(), labelled=False)
    assert [one.where for one in rejects] == ["a:0", "a:1"]


def test_formats_are_read_to_the_last_character() -> None:
    cells = [
        "03.11.2026 14:05",
        "3.1.2026 4:05",
        "31.11.2026 14:05",
        "03.11.2026",
        "03.11.2026 14:05:00",
        "29.02.2024 0:00",
    ]
    assert read(cells, "%d.%m.%Y %H:%M") == [
        "2026-11-03T14:05:00Z",
        "2026-01-03T04:05:00Z",
        None,
        None,
        None,
        "2024-02-29T00:00:00Z",
    ]
    assert read(["11/26/69", "1/2/68"], "%m/%d/%y") == ["1969-11-26T00:00:00Z", "2068-01-02T00:00:00Z"]
    assert read(["888888888", "1.5", "x", "1e9"], "unix") == [
        "1998-03-03T01:34:48Z",
        "1970-01-01T00:00:01.500000Z",
        None,
        None,
    ]
    assert read(["1700000000000"], "unix_ms") == ["2023-11-14T22:13:20Z"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2068, 12, 31)), min_size=1, max_size=5),
    st.sampled_from(
        [
            "%d.%m.%Y %H:%M:%S",
            "%m/%d/%y %H:%M:%S",
            "%Y%m%d %H:%M:%S",
            "%Y-%m-%dT%H:%M:%S.%f",
            "%m/%d/%Y %I:%M:%S %p",
            "%d-%b-%y %H:%M:%S",
            "%B %d, %Y %I:%M:%S%p",
        ]
    ),
)
def test_what_python_writes_is_read_back(moments: list[dt.datetime], form: str) -> None:
    cut = [one if "%f" in form else one.replace(microsecond=0) for one in moments]
    assert read([one.strftime(form) for one in cut], form) == [iso(one.replace(tzinfo=dt.UTC)) for one in cut]


def test_the_format_of_a_column_is_found() -> None:
    assert decided("2026-01-03", "2026-01-04") == "iso"
    assert decided("03.04.2026 10:00", "1.1.2026 9:30") == "%d.%m.%Y %H:%M"
    assert decided("03/04/2026", "13/04/2026") == "%d/%m/%Y"
    assert decided("03/04/2026", "04/13/2026") == "%m/%d/%Y"
    assert decided("2026/04/13T10:00:01") == "%Y/%m/%dT%H:%M:%S"
    assert decided() is None


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        (("3/4/2024 1:05 PM", "12/31/2024 12:00 AM"), "%m/%d/%Y %I:%M %p"),
        (("31/12/2024 10:05:59pm", "1/2/2024 9:00:00am"), "%d/%m/%Y %I:%M:%S%p"),
        (("05-JAN-24", "31-dec-99"), "%d-%b-%y"),
        (("1 May 2024", "17 Jun 1999"), "%d %b %Y"),
        (("1 May 2024", "17 June 1999"), "%d %b %Y"),
        (("1 May 2024",), "%d %b %Y"),
        (("Jan 5, 2024 10:00", "May 31, 2024 23:59"), "%b %d, %Y %H:%M"),
        (("Jan 1 2000", "Feb 1 2000"), "%b %d %Y"),
    ],
)
def test_months_with_names_and_clocks_of_twelve_hours_are_found(cells: tuple[str, ...], form: str) -> None:
    assert decided(*cells) == form


@pytest.mark.parametrize("form", ["%d %b %Y", "%d %B %Y"])
def test_a_first_delivery_of_may_fixes_no_length_of_the_names_of_months(form: str) -> None:
    """In which one cannot see whether they are short."""
    assert read(["2 May 2024", "1 June 2024", "1 jun 2024"], form) == [
        "2024-05-02T00:00:00Z", "2024-06-01T00:00:00Z", "2024-06-01T00:00:00Z",
    ]  # fmt: skip


def test_a_month_or_an_hour_that_does_not_exist_is_refused() -> None:
    cells = [
        "05-Jan-2024 0:00 AM",
        "05-Jan-2024 13:00 PM",
        "05-Jun-2024 12:30 am",
        "31-Jun-2024 1:00 AM",
        "5-Jux-2024 1:00 AM",
    ]
    assert read(cells, "%d-%b-%Y %I:%M %p") == [None, None, "2024-06-05T00:30:00Z", None, None]
    with pytest.raises(DataError, match="in no one format that is known"):  # clocks of 24 hours with PM behind
        decided("05-Jan-2024 13:00 PM", "05-Jan-2024 11:00 AM")
    for form, words in (
        ("%d %b %m %Y", "has %m and %b, which say the same"),
        ("%d.%m.%Y %I:%M", "%I .* and %p .* need each other"),
        ("%d.%m.%Y %H %p", "need each other"),
        ("%d %Y", "lacks %m"),
    ):
        with pytest.raises(ValueError, match=words):
            check_format(form)


def test_a_date_that_can_be_read_in_two_ways_shows_both() -> None:
    with pytest.raises(DataError) as caught:
        decided("03/04/2026", "01/02/2026")
    assert str(caught.value).startswith(
        "shop.csv:2: column 'wann': '03/04/2026' is 3 April 2026 where the day is first"
    )
    assert "and 4 March 2026 where the month is" in str(caught.value)
    assert "dayfirst: true" in str(caught.value)
    assert decided("03/04/2026", field=Field(kind="time", dayfirst=True)) == "%d/%m/%Y"
    assert decided("03/04/2026", field=Field(kind="time", dayfirst=False)) == "%m/%d/%Y"


def test_a_few_cells_that_say_otherwise_are_set_aside_and_many_are_an_error() -> None:
    assert decided(*[f"{day}/04/2026" for day in range(13, 29)] * 2, "04/13/2026") == "%d/%m/%Y"
    with pytest.raises(DataError):
        decided(*["13/04/2026"] * 5, *["04/13/2026"] * 5)
    with pytest.raises(DataError, match="in no one format that is known, got 'soon'; declare it"):
        decided("soon", "later")
