"""Requests of our own for labels: who is drawn, what people get, and what the drawn rows say of all."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.inference_log.labels import LabelRequest, read_label_requests
from mlratchet.models.monitoring.config import LabellingRule, MonitoringConfig
from mlratchet.models.monitoring.finding import findings_of
from mlratchet.models.monitoring.labelling import withheld
from mlratchet.models.monitoring.verifying import verify_finding
from mlratchet.tasks.actions.ask_labels import ask_labels, ask_where_in_doubt

from tests.unit.monitoring.findings import finding
from tests.unit.monitoring.site import BEGIN_S, CLASSES, CONFIG, MINUTE, Site, Traffic

pytestmark = pytest.mark.usefixtures("few_resamples")

RULE = MonitoringConfig.model_validate({**CONFIG.model_dump(mode="json"), "labelling": {"rows": 60}})


def ask(site: Site, minute: int, *, rows: int = 120, **more: Any) -> Any:
    low = BEGIN_S + minute * MINUTE
    return ask_labels(
        site.source, site.store, version=1, rows=rows, now_s=low + 0.75 * MINUTE, since_s=low, until_s=low + MINUTE,
        **more,
    )  # fmt: skip


def truths(traffic: Traffic) -> dict[str, str]:
    """Of every row, though nobody says it by itself."""
    return {name: label for name, _, label, _ in traffic.labels}


def silent(minute: int, **more: Any) -> tuple[Traffic, dict[str, str]]:
    traffic = Traffic(minute, **more)
    known = truths(traffic)
    traffic.labels = []
    return traffic, known


def answered(site: Site, asked: Any, known: dict[str, str], share: float = 1.0) -> None:
    rows = asked.request.rows
    count = round(len(rows) * share)
    site.log.feedback([(one, row, known[one], asked.request.at_s + 3.0) for one, row, _ in rows[:count]])


def test_drawn_rows_have_one_probability_and_the_sheet_names_them_without_the_answer() -> None:
    site = Site()
    site.serve(silent(0)[0])
    asked = ask(site, 0, rows=60)
    assert asked.answers == 120  # those of the other half have too little time left
    assert {one[2] for one in asked.request.rows} == {0.5}
    assert 40 < len(asked.request.rows) < 80
    ((found,), problems) = read_label_requests(site.store, site.log.keys, "shop")
    assert (found, problems) == (asked.request, [])
    lines = list(csv.DictReader(io.StringIO(asked.sheet.decode())))
    assert list(lines[0]) == ["request_id", "row", "price", "region", "label"]
    assert [(one["request_id"], int(one["row"])) for one in lines] == [(a, b) for a, b, _ in asked.request.rows]
    assert site.store.get(asked.sheet_key) == asked.sheet


def test_nothing_is_asked_about_twice_nor_without_time_for_a_label() -> None:
    site = Site()
    site.serve(silent(0)[0])
    ask(site, 0)
    with pytest.raises(ConfigurationError, match="asked about already"):
        ask(site, 0)
    with pytest.raises(ConfigurationError, match="is left to ask about"):
        ask_labels(
            site.source, site.store, version=2, rows=50, now_s=BEGIN_S + 9000, since_s=BEGIN_S, until_s=BEGIN_S + 60
        )


def test_who_is_asked_has_half_of_the_time_to_answer() -> None:
    site = Site()
    site.serve(silent(0)[0])
    half, end = site.source.after_s / 2, BEGIN_S + MINUTE
    with pytest.raises(ConfigurationError, match="too little time"):
        ask_labels(site.source, site.store, version=1, rows=60, now_s=end + half, since_s=BEGIN_S, until_s=end)
    asked = ask_labels(site.source, site.store, version=1, rows=60, now_s=end, since_s=BEGIN_S, until_s=end)
    assert asked.request.since_s == end - half
    assert asked.answers == 60  # of 240 in a minute, those of the last 15 s


def test_drawn_rows_say_how_good_all_answers_were_where_volunteers_do_not() -> None:
    site = Site(slices=())
    traffic, known = silent(0, accuracy=0.7, rows=2000)
    site.serve(traffic)
    said = {row["request_id"]: CLASSES[int(np.argmax(row["output"]))] for row in traffic.rows}
    late = [row["request_id"] for row in traffic.rows[1000:]]  # the others have too little time left
    right = [one for one in late if known[one] == said[one]]
    asked = ask(site, 0, rows=400)
    answered(site, asked, known)
    drawn = {one for one, _, _ in asked.request.rows}
    pleased = [one for one in right if one not in drawn][:500]  # who is pleased says so
    site.log.feedback([(one, 0, known[one], BEGIN_S + MINUTE + 4) for one in pleased])
    site.serve(silent(1)[0], silent(2)[0])
    made = site.look()
    figures = made[1].record.figures
    assert figures["accuracy"].value > 0.78
    of_all = figures["accuracy of all rows"]
    assert of_all.low is not None
    assert of_all.high is not None
    assert of_all.low < len(right) / len(late) < of_all.high
    assert of_all.high - of_all.low < 0.3
    assert "drawn ones" in of_all.method
    (worse,) = [one for one in findings_of(site.store, "shop") if one.subject == "accuracy of all rows"]
    assert verify_finding(worse, site.source, site.store, site.watched).outcome == "confirmed"


def test_rows_that_were_drawn_and_never_labelled_count_as_wrong() -> None:
    site = Site(slices=())
    traffic, known = silent(0, accuracy=0.95, rows=600)
    site.serve(traffic)
    asked = ask(site, 0, rows=600)
    assert len(asked.request.rows) == 300
    answered(site, asked, known, share=0.5)
    site.serve(silent(1)[0])
    made = site.look()
    figure = made[1].record.figures["accuracy of all rows"]
    assert figure.n == 300
    assert figure.value < 0.55


def test_a_doubt_asks_by_itself_once_within_its_budget() -> None:
    site = Site(RULE)
    site.serve(silent(0)[0])
    window = finding().window.model_copy(update={"from_s": BEGIN_S, "to_s": BEGIN_S + MINUTE})
    doubt = finding(
        pipeline="shop", version=1, subject="estimated_accuracy", severity="warning", window=window,
        at_s=BEGIN_S + MINUTE,
    )  # fmt: skip
    other = finding(pipeline="shop", subject="accuracy")
    now = BEGIN_S + MINUTE + 2
    assert ask_where_in_doubt(site.source, site.store, CONFIG, [doubt], now_s=now) == []
    assert ask_where_in_doubt(site.source, site.store, RULE, [other], now_s=now) == []
    (line,) = ask_where_in_doubt(site.source, site.store, RULE, [doubt, other], now_s=now)
    assert "answers are to be labelled: labels-wanted/shop/" in line
    ((request,), _) = read_label_requests(site.store, site.log.keys, "shop")
    assert request.finding == doubt.id
    assert ask_where_in_doubt(site.source, site.store, RULE, [doubt], now_s=now + 5) == []  # asked already
    later = doubt.model_copy(update={"at_s": doubt.at_s + 1, "subject": "calibration", "kind": "outputs"})
    assert ask_where_in_doubt(site.source, site.store, RULE, [doubt, later], now_s=now + 5) == []  # its cooldown
    assert len(read_label_requests(site.store, site.log.keys, "shop")[0]) == 1


def test_cooldown_and_budget_count_requests_by_itself_alone() -> None:
    rule = LabellingRule(cooldown=10.0, budget_per_week=2)

    def made(at_s: float, cause: str = "f") -> LabelRequest:
        return LabelRequest(pipeline="shop", at_s=at_s, rows=(), finding=cause)

    assert withheld([made(95.0, "")], rule, 100.0) == ""
    assert "cooldown" in withheld([made(95.0)], rule, 100.0)
    assert "budget of 2" in withheld([made(50.0), made(60.0)], rule, 100.0)
    assert withheld([made(365 * 86_400.0)], rule, 100.0) == ""  # by a clock that was far ahead
    assert withheld([made(50.0), made(60.0)], rule, 100.0 + 7 * 86_400) == ""


def test_a_request_of_before_reads_as_it_was_signed() -> None:
    one = LabelRequest(pipeline="plant", at_s=1.0, rows=(("r1", 0, 0.5),))
    assert set(one.model_dump(mode="json")) == {"format", "pipeline", "at_s", "rows"}


def test_a_cell_that_a_spreadsheet_would_compute_is_text() -> None:
    site = Site()
    traffic, _ = silent(0)
    for row in traffic.rows:
        row["field.region"] = "=cmd()"
    site.serve(traffic)
    lines = list(csv.DictReader(io.StringIO(ask(site, 0).sheet.decode())))
    assert lines[0]["region"] == "'=cmd()"


def test_who_answered_nobody_is_told_of_which_stretch() -> None:
    site = Site()
    site.serve(silent(0)[0])
    with pytest.raises(ConfigurationError, match=r"version 9 answered nobody from 2027-\S+Z to 2027-\S+Z"):
        ask_labels(site.source, site.store, version=9, rows=5, now_s=BEGIN_S + 60, since_s=0.0, until_s=BEGIN_S + 60)
