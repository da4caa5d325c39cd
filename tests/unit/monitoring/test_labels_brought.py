"""Labels that are brought as objects, twice, late, with another word, or for requests that nobody made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from mlratchet.models.inference_log.columns import LABELS
from mlratchet.models.monitoring.finding import Finding, findings_of
from mlratchet.models.monitoring.following import look
from mlratchet.models.monitoring.verifying import verify_finding
from mlratchet.models.monitoring.window import windows_of

from tests.unit.monitoring.site import MINUTE, Site, Traffic

Label = tuple[str, int, str, float]


def site_with(*minutes: Traffic, again: list[Label] | None = None) -> Site:
    """A site whose labels lie in objects; `again`: labels that come in another one."""
    site = Site()
    brought = [label for one in minutes for label in one.labels]
    for one in minutes:
        one.labels = []
    site.serve(*minutes)
    site.source = replace(site.source, brought=as_objects(brought + (again or [])))
    return site


def as_objects(labels: list[Label]) -> Callable[[], pa.Table]:
    columns: list[Any] = [list(one) for one in zip(*labels, strict=True)]
    table = pa.table([*columns, ["labels/day.csv"] * len(labels)], schema=LABELS)
    return lambda: table


def worse() -> list[Traffic]:
    return [Traffic(0), Traffic(1), *[Traffic(at, accuracy=0.5) for at in range(2, 5)]]


def alarm_of(site: Site) -> Finding:
    found = [one for one in findings_of(site.store, "shop") if one.severity == "alarm" and one.subject == "accuracy"]
    return min(found, key=lambda one: one.at_s)


def test_a_label_that_comes_twice_counts_once_and_the_first_word_stands(site: Site) -> None:
    labels = [label for one in worse() for label in one.labels]
    again = [(request, row, "yes" if said == "no" else "no", at_s + 1) for request, row, said, at_s in labels]
    nobodys = [(f"nobody-{at}", 0, "yes", labels[0][3]) for at in range(500)]
    doubled = site_with(*worse(), again=[*labels, *again, *nobodys])
    figures = [one.record.figures for one in doubled.look()]
    assert figures == [one.figures for one in windows_of(site.store, "shop")]
    assert figures[2]["accuracy"].n == 240


@pytest.fixture(scope="module")
def site() -> Site:
    """After two quiet minutes the answers become worse."""
    made = site_with(*worse())
    made.look()
    return made


def test_an_object_that_is_uploaded_again_makes_no_finding_a_forgery(site: Site) -> None:
    """By the clock of the store its labels came later than the window ended then: what stood is not known any more."""
    alarm = alarm_of(site)
    assert verify_finding(alarm, site.source, site.store, site.watched).outcome == "confirmed"
    known = site.source
    later = [
        (one["request_id"], one["row"], one["label"], one["label_s"] + 60 * MINUTE)
        for one in known.brought().to_pylist()  # type: ignore[union-attr]  # see site_with
    ]
    told = verify_finding(alarm, replace(known, brought=as_objects(later)), site.store, site.watched)
    assert told.outcome == "cannot"
    assert "brought again, or for the first time, since its window ended" in told.words
    edited = alarm.model_copy(update={"effect": 0.4})
    assert verify_finding(edited, known, site.store, site.watched).outcome == "differs"


def test_a_label_that_comes_later_excuses_nothing_that_rests_on_no_label(site: Site) -> None:
    alarm = alarm_of(site)
    rows = site.source.brought().to_pylist()  # type: ignore[union-attr]  # see site_with
    held = [(one["request_id"], one["row"], one["label"], one["label_s"]) for one in rows]
    again = [(request, row, said, at_s + 60 * MINUTE) for request, row, said, at_s in held]
    later = replace(site.source, brought=as_objects([*held, *again]))
    drift = alarm.model_copy(update={"kind": "inputs", "subject": "price", "measure": "wasserstein"})
    assert verify_finding(drift, later, site.store, site.watched).outcome == "differs"
    assert verify_finding(alarm.model_copy(update={"effect": 0.4}), later, site.store, site.watched).outcome == "cannot"


def test_labels_of_other_requests_that_come_later_excuse_nothing(site: Site) -> None:
    edited = alarm_of(site).model_copy(update={"effect": 0.4})
    rows = site.source.brought().to_pylist()  # type: ignore[union-attr]  # see site_with
    held = [(one["request_id"], one["row"], one["label"], one["label_s"]) for one in rows]
    later = as_objects([*held, ("of another day", 0, "yes", site.now_s + 60 * MINUTE)])
    assert verify_finding(edited, replace(site.source, brought=later), site.store, site.watched).outcome == "differs"


def test_a_look_at_which_no_window_has_ended_reads_no_label(site: Site) -> None:
    def read() -> pa.Table:
        raise AssertionError("every object with labels was read")

    assert look(
        replace(site.source, brought=read), site.store, site.config, site.watched, promoted_s=0.0, now_s=site.now_s,
        late_s=600.0,
    ) == []  # fmt: skip
