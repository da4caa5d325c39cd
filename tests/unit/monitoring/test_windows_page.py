"""The page of windows: everything that a person asks of it, from the records alone, and no request to anywhere."""

from __future__ import annotations

import re

import pytest
from mlratchet.models.monitoring.finding import WindowSpan
from mlratchet.models.monitoring.window import Figure, WindowRecord
from mlratchet.models.profile.charts import ticks
from mlratchet.models.profile.windows_page import _since, curve_of, windows_page

from tests.unit.monitoring.drifted_page import drifted_page
from tests.unit.monitoring.findings import finding


@pytest.fixture(scope="module")
def page() -> str:
    return drifted_page("shop<b>")


def test_what_moved_is_told_with_an_arrow_that_no_line_breaks_in_two(page: str) -> None:
    told = re.findall(r"median [\d.]+ \S+ [\d.]+", re.sub(r"<title>[^<]*</title>", "", page))
    assert len(told) > 2
    assert [one for one in told if "→" not in one] == []


def test_it_says_what_drifted_since_when_and_what_it_did_to_the_metric(page: str) -> None:
    assert "price drifted by" in page
    assert "median" in page
    assert "since 2027-01-15T08:02:00Z" in page
    assert "accuracy is worse than" in page
    assert "relied on for 70%" in page


def test_it_says_how_fields_were_and_are_what_the_answers_rest_on_and_what_all_windows_say(page: str) -> None:
    assert page.count("<title>then and now</title>") >= 3  # price, region, prediction
    assert "What the answers rest on" in page
    assert "4 windows of version 1 merged" in page
    assert "another answer by the version before, on a sample" in page
    assert "from what their confidence meant" in page


def test_it_asks_nobody_for_anything_and_believes_no_name(page: str) -> None:
    assert not re.findall(r"(?:src|href)=|<script|url\(", page)
    assert "shop<b>" not in page
    assert "shop&lt;b&gt;" in page


def test_without_windows_it_says_so() -> None:
    assert "No window has ended yet" in windows_page([], [], None, pipeline="shop")


def test_what_is_not_whole_stands_first() -> None:
    record = WindowRecord(
        pipeline="shop", number=1, version=1, generation=1, policy="p", labels_to_s=0.0, problems=("a file is gone",),
        window=WindowSpan(from_s=0.0, to_s=60.0, rows=3, whole=False),
    )  # fmt: skip
    page = windows_page([record], [], None, pipeline="shop")
    assert page.index("a file is gone") < page.index("Findings")


def test_one_point_and_equal_values_are_drawn() -> None:
    record = WindowRecord(
        pipeline="shop", number=1, version=1, generation=1, policy="p", labels_to_s=0.0,
        window=WindowSpan(from_s=0.0, to_s=60.0, rows=3), figures={"errors": Figure(value=0.0, n=3)},
    )  # fmt: skip
    assert "nan" not in curve_of([record], "errors", width=300, height=100)
    assert "not measured" in curve_of([record], "slow", width=300, height=100)


def test_axes_are_labelled_at_round_values_and_say_their_unit_and_zone(page: str) -> None:
    assert ">0.6</text>" in page
    assert ">0.8</text>" in page
    assert ">08:00:00 UTC</text>" in page
    assert "latency, median, in ms" in page


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.48, 0.99, [0.6, 0.8]), (0.0, 1.0, [0.0, 0.5, 1.0]), (12.0, 13.0, [12.0, 12.5, 13.0]),
        (-3.0, 7.0, [0.0, 5.0]), (0.0, 1e-9, [0.0, 5e-10, 1e-9]), (99.0, 1e6, [5e5, 1e6]),
    ],
)  # fmt: skip
def test_round_values_are_few_and_within(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def record_of(number: int, version: int, figure: Figure) -> WindowRecord:
    return WindowRecord(
        pipeline="shop", number=number, version=version, generation=version, policy="p", labels_to_s=0.0,
        window=WindowSpan(from_s=60.0 * number, to_s=60.0 * number + 60, rows=3), figures={"accuracy": figure},
    )  # fmt: skip


def test_a_curve_says_which_version_answers_from_where() -> None:
    sure, unsure = Figure(value=0.9, n=9, low=0.8, high=1.0), Figure(value=0.9, n=9)
    records = [record_of(at, 1 + (at > 3), unsure if at == 3 else sure) for at in range(1, 6)]
    curve = curve_of(records, "accuracy", width=300, height=100)
    assert curve.count("from here on</title>") == 1
    assert ">v2</text>" in curve
    assert curve.count("<polygon") == 2, "nothing is drawn over a window without an interval"


def test_a_field_that_is_as_usual_again_says_what_was_found_before() -> None:
    found = finding().model_copy(update={"kind": "inputs", "subject": "price", "words": "price drifted"})
    assert _since({}, [found]).startswith("within what is usual now; at ")
    standing = {"inputs:price": {"since_s": 60.0, "words": "price drifted by 2"}}
    assert _since(standing, [found]) == "since 1970-01-01T00:01:00Z: price drifted by 2"
    assert _since({}, []) == "within what is usual"
