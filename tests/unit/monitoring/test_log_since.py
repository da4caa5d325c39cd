"""A finding whose log was rewritten, completed or read by other rules since: that is told, and nobody is accused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.inference_log.rewriting import Rewriter
from mlratchet.models.monitoring.finding import Finding, findings_of
from mlratchet.models.monitoring.verifying import Verification, verify_finding
from mlratchet.models.monitoring.window import windows_of

from tests.unit.monitoring.site import BEGIN_S, MINUTE, Site, Traffic

pytestmark = pytest.mark.usefixtures("few_resamples")


def worse() -> Site:
    """After a minute the answers become worse; each row's label is due half a minute after it."""
    site = Site(slices=())
    site.serve(*[Traffic(minute, accuracy=0.95 if minute < 1 else 0.5) for minute in range(3)])
    site.look()
    return site


def alarm_of(site: Site) -> Finding:
    return min((one for one in findings_of(site.store, "shop") if one.severity == "alarm"), key=lambda one: one.at_s)


def verified(site: Site, finding: Finding) -> Verification:
    return verify_finding(finding, site.source, site.store, site.watched)


@pytest.mark.parametrize("why", ["expired", "erased"])
def test_rows_whose_label_was_due_are_gone_before_the_rows_of_the_window(why: str) -> None:
    site = worse()
    alarm = alarm_of(site)
    assert alarm.kind == "quality"
    rewriter = Rewriter(site.raw, site.log.keys, "shop", "answers", now_s=site.now_s)
    if why == "expired":
        assert rewriter.expire(alarm.window.from_s - 0.001)
    else:
        assert rewriter.erase("request_id", ["c0-239"]).rows == 1
    told = verified(site, alarm)
    assert told.outcome == {"expired": "cannot", "erased": "erased"}[why]
    assert "whose label was due in its window" in told.words
    drift = alarm.model_copy(update={"kind": "inputs", "subject": "price", "severity": "warning"})
    assert verified(site, drift).outcome == "differs"  # which no label excuses


def test_files_that_came_after_a_window_was_measured_make_no_finding_a_forgery() -> None:
    site = Site(slices=())
    site.serve(Traffic(0))
    late = Traffic(1, errors=0.5)
    site.log.write(late.rows[:200])
    site.look(now_s=BEGIN_S + 2 * MINUTE + 601)  # the log writer says nothing any more
    alarm = alarm_of(site)
    assert verified(site, alarm).outcome == "confirmed"
    site.log.write(late.rows[200:], settled_s=BEGIN_S + 2 * MINUTE)
    told = verified(site, alarm)
    assert told.outcome == "cannot"
    assert "came into the log after it was measured" in told.words


def test_labels_that_get_more_time_are_counted_once_and_excuse_what_was_found_before() -> None:
    site = worse()
    alarm = alarm_of(site)
    site.source = replace(site.source, labels=LabelsConfig(after_hours=90 / 3600))
    told = verified(site, alarm)
    assert (told.outcome, "after_hours was another" in told.words) == ("cannot", True)
    site.serve(*[Traffic(minute) for minute in (3, 4)])
    site.look()
    records = windows_of(site.store, "shop")
    assert [one.labels_to_s - BEGIN_S for one in records] == [30.0, 90.0, 150.0, 150.0, 210.0]
    assert sum(one.counts.get("labelled", 0) for one in records) == 3.5 * 240
