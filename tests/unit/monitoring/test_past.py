"""Windows against windows: the last good one and the same hour of last week, and stretches that are merged."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.finding import findings_of
from mlratchet.models.monitoring.past import WEEK_S, PastWindows
from mlratchet.models.monitoring.sketches import of
from mlratchet.models.monitoring.stretch import by_rows, stretch_of
from mlratchet.models.monitoring.verifying import verify_finding
from mlratchet.models.monitoring.window import WindowRecord, windows_of

from tests.unit.monitoring.site import BEGIN_S, CONFIG, MINUTE, Site, Traffic

pytestmark = pytest.mark.usefixtures("few_resamples")

WEEK = round(WEEK_S / MINUTE)


@pytest.fixture(scope="module")
def site() -> Site:
    """Four quiet minutes, three in which prices are 3 % of a deviation beyond what matters, and the week before."""
    site = Site(MonitoringConfig.model_validate({**CONFIG.model_dump(mode="json"), "minimum_effect": 0.4}))
    quiet = [Traffic(minute) for minute in (0, 1, WEEK, WEEK + 1)]
    site.serve(*quiet, *[Traffic(WEEK + at, shift=1.6) for at in (2, 3)])
    site.look()
    return site


def records(site: Site) -> Sequence[WindowRecord]:
    return [one for one in windows_of(site.store, "shop") if one.counts.get("rows")]


def test_a_window_says_with_which_windows_it_was_compared_and_why_with_none(site: Site) -> None:
    first, _, third, *_ = records(site)
    assert first.compared_with == (
        "the last good window: none, it is the first",
        "the same hour of last week: none, there was no window then",
    )
    last_good, last_week = third.compared_with
    assert last_good.startswith("the last good window, 2027-01-15T08:0")
    assert last_week == "the same hour of last week, 2027-01-15T08:00:00Z"


def test_a_finding_says_against_what_and_is_confirmed_from_it(site: Site) -> None:
    found = {one.subject: one for one in findings_of(site.store, "shop") if one.kind == "inputs"}
    assert set(found) == {"price", "price against last_good"}  # nobody asked in those minutes of last week
    beside = found["price against last_good"]
    assert beside.severity == "warning"
    assert beside.reference == "the last good window, 2027-01-22T08:01:00Z"
    assert set(beside.evidence) >= {"last_good", "reference", "window_before"}
    assert found["price"].reference == "test rows of version 1"
    for finding in found.values():
        assert verify_finding(finding, site.source, site.store, site.watched).outcome == "confirmed"


def test_the_last_good_window_is_one_in_which_nothing_was_found(site: Site) -> None:
    held = records(site)
    past = PastWindows(site.store, "shop")
    (good,) = past.of(("last_good",), held[-1], (held[-1].window.to_s, held[-1].window.to_s + MINUTE))
    assert good.record is not None
    assert good.record.number < held[-2].number
    assert good.record.is_good


def test_a_difference_to_another_window_alone_leaves_a_window_good() -> None:
    one = WindowRecord.model_validate(
        {
            "pipeline": "shop", "number": 1, "version": 1, "generation": 1, "policy": "p", "labels_to_s": 0.0,
            "window": {"from_s": 0.0, "to_s": 60.0, "rows": 3}, "open": {"inputs:price against last_week": {}},
        }
    )  # fmt: skip
    assert one.is_good
    assert not one.model_copy(update={"open": {"inputs:price": {}}}).is_good


def test_a_worse_metric_than_then_is_told_against_then() -> None:
    site = Site(
        MonitoringConfig.model_validate({**CONFIG.model_dump(mode="json"), "quality": {"at_least": 0.5}}), slices=()
    )
    site.serve(*[Traffic(at) for at in range(3)], *[Traffic(at, accuracy=0.7) for at in range(3, 6)])
    subjects = {f"{one.kind}:{one.subject}": one for each in site.look() for one in each.findings}
    worse = subjects["quality:accuracy against last_good"]
    assert "quality:accuracy" not in subjects  # it is what was promised
    assert "is worse than" in worse.words
    assert verify_finding(worse, site.source, site.store, site.watched).outcome == "confirmed"


def test_references_are_declared_and_the_usual_ones_leave_the_policy_as_it_was() -> None:
    none = MonitoringConfig.model_validate({**CONFIG.model_dump(mode="json"), "references": []})
    assert none.digest() != CONFIG.digest()
    assert "references" not in MonitoringConfig().model_dump(mode="json")
    with pytest.raises(ValueError, match="at most once"):
        MonitoringConfig.model_validate({"references": ["last_good", "last_good"]})
    site = Site(none)
    site.serve(Traffic(0))
    assert site.look()[0].record.compared_with == ()


def test_what_differs_from_another_window_alone_may_not_act() -> None:
    rule = {
        "when": "inputs:price against last_good", "severity": "warning", "do": "hold",
        "of_windows": {"k": 8, "n": 8},
    }  # fmt: skip
    with pytest.raises(ValueError, match="err together"):
        MonitoringConfig.model_validate({"actions": [rule]})
    assert MonitoringConfig.model_validate({"actions": [{**rule, "do": "ask"}]}).actions[0].do == "ask"


def test_many_windows_are_merged_and_say_what_their_rows_say_together() -> None:
    site = Site()
    site.serve(*[Traffic(at, rows=60, shift=0.8 if at % 2 else 0.0, labels=0.0) for at in range(40)])
    site.look()
    windows = windows_of(site.store, "shop")
    assert all("drift price" not in one.figures for one in windows)  # too few rows in each
    stretch = stretch_of(windows, site.reference, site.config)
    assert stretch is not None
    assert (stretch.windows, stretch.left_out, stretch.counts["rows"]) == (40, 0, 2400)
    drift = {one.field: one.found for one in stretch.drifts}
    assert drift["price"].n == 2400
    prices = [row["field.price"] for at in range(40) for row in Traffic(at, rows=60, shift=0.8 * (at % 2)).rows]
    assert drift["price"].beside["mean"] == pytest.approx(
        sum(prices) / 2400 - of(site_prices(), "number").mean,  # type: ignore[union-attr]  # of numbers
        abs=1e-9,
    )
    assert [len(one) for one in by_rows(windows, 600)] == [10, 10, 10, 10]
    assert [len(one) for one in by_rows(windows, 1500)] == [25, 15]


def site_prices() -> list[float]:
    from tests.unit.monitoring.site import rows_of_the_test

    return list(rows_of_the_test()[1]["price"].values)


def test_windows_of_another_version_and_such_with_gaps_are_not_merged() -> None:
    site = Site()
    site.serve(Traffic(0), Traffic(1), Traffic(2, version=2))
    site.look()
    windows = windows_of(site.store, "shop")
    broken = windows[-1].model_copy(update={"window": windows[-1].window.model_copy(update={"whole": False})})
    stretch = stretch_of([*windows, broken], site.watched(2, 2).reference, site.config)
    assert stretch is not None
    assert (stretch.version, stretch.windows, stretch.left_out) == (2, 1, 3)
    assert stretch_of([], None, site.config) is None
    assert len(by_rows(windows, 10_000)) == 2
    assert windows[0].window.from_s == BEGIN_S
