"""The monitor over a log whose truth is known: what it finds, what not, and that nobody can make it say more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.finding import Finding, findings_of, load_finding
from mlratchet.models.monitoring.look import Measured
from mlratchet.models.monitoring.measure.estimate import Reliability
from mlratchet.models.monitoring.verifying import verify_finding
from mlratchet.models.monitoring.window import newest_window, window_key, windows_of

from tests.left_out import most_slow
from tests.unit.monitoring.site import BEGIN_S, CONFIG, MINUTE, Site, Traffic

pytestmark = pytest.mark.usefixtures("few_resamples")

QUIET = [Traffic(minute) for minute in range(6)]
WORSE = [Traffic(minute, accuracy=0.6) for minute in range(6, 9)]


def found(made: list[Measured], severity: str | None = None) -> list[Finding]:
    return [one for each in made for one in each.findings if severity in (None, one.severity)]


def subjects(made: list[Measured], severity: str | None = None) -> set[str]:
    return {f"{one.kind}:{one.subject}" for one in found(made, severity)}


@pytest.fixture(scope="module")
def worse() -> Site:
    """After six quiet minutes the answers become worse. Tests of this site change nothing in it."""
    site = Site()
    site.serve(*QUIET, *WORSE)
    site.look()
    return site


def test_a_quiet_log_has_windows_and_no_finding() -> None:
    site = Site()
    site.serve(*QUIET)
    made = site.look()
    assert [one.record.window.from_s for one in made] == [BEGIN_S + MINUTE * at for at in range(6)]
    assert found(made) == []
    assert all(one.record.is_good for one in made)
    assert made[2].record.counts["labelled"] == 240
    bound = made[-1].record.figures["accuracy_since_promotion"]
    assert bound.low is not None
    assert bound.high is not None
    assert bound.low < 0.95 < bound.high


def test_nothing_new_makes_no_window() -> None:
    site = Site()
    site.serve(*QUIET[:2])
    assert len(site.look()) == 2
    assert site.look() == []


def test_answers_that_become_worse_raise_an_alarm_with_its_reason(worse: Site) -> None:
    alarms = [one for one in findings_of(worse.store, "shop") if one.severity == "alarm"]
    first = min(one.at_s for one in alarms)
    assert {one.kind for one in alarms if one.at_s == first} == {"quality"}
    (alarm,) = [one for one in alarms if one.at_s == first and one.subject == "accuracy"]
    assert "is worse than 0.92" in alarm.words
    assert "a year" in alarm.method
    assert alarm.window.from_s == BEGIN_S + 6 * MINUTE  # in the first minute of it
    assert alarm.effect is not None
    assert alarm.effect < 0.9


@pytest.mark.parametrize("looks", most_slow([7, 1, 90], keep=1))
def test_looking_often_and_after_restarts_gives_the_records_of_looking_once(worse: Site, looks: int) -> None:
    site = Site()
    site.log.pipeline_signer  # noqa: B018 - another installation: its signatures differ, what it says does not
    site.serve(*QUIET, *WORSE)
    for at in range(1, looks + 1):
        site.look(now_s=BEGIN_S + (site.now_s - BEGIN_S) * at / looks)
    ours, theirs = (
        [one.model_dump(exclude={"before", "findings", "window"}) for one in windows_of(each.store, "shop")]
        for each in (site, worse)
    )
    assert ours == theirs
    words = [[one.words for one in sorted(findings_of(each.store, "shop"), key=_order)] for each in (site, worse)]
    assert words[0] == words[1]


def _order(one: Finding) -> Any:
    return one.at_s, one.kind, one.subject, one.severity


@pytest.mark.parametrize(
    ("change", "warned"),
    most_slow(
        [
            ({"shift": 3.0}, "inputs:price"),
            ({"regions": [0.05, 0.05, 0.9]}, "inputs:region"),
            ({"missing": 0.4}, "data:price"),
            ({"errors": 0.2}, "service:errors"),
            ({"bad_region": "asia"}, "quality:accuracy on region=asia"),
        ],
        keep=2,
    ),
)
def test_what_was_changed_is_what_is_told(change: dict[str, Any], warned: str) -> None:
    site = Site()
    site.serve(*QUIET[:4], *[Traffic(minute, **change) for minute in range(4, 7)])
    assert warned in subjects(site.look())


def test_drift_that_stays_becomes_an_alarm_and_names_what_moved() -> None:
    site = Site()
    site.serve(*QUIET[:3], *[Traffic(minute, shift=3.0) for minute in range(3, 16)])
    alarms = found(site.look(), "alarm")
    assert {f"{one.kind}:{one.subject}" for one in alarms} == {"inputs:price"}
    assert min(one.window.from_s for one in alarms) == BEGIN_S + 3 * MINUTE  # in the first window of it
    assert "median" in alarms[0].words
    assert "relies on it for 70%" in alarms[0].words


def test_slow_answers_burn_the_objective_are_slower_than_usual_and_are_told_once() -> None:
    site = Site()
    site.serve(*QUIET, *[Traffic(minute, latency_ms=400.0) for minute in range(6, 9)])
    made = site.look()
    assert "hardware:answers" in subjects(made, "warning")
    assert "service:latency" in subjects(made, "alarm")
    assert len([one for one in found(made) if one.kind == "hardware"]) == 1
    assert made[-1].record.open["hardware:answers"]["since_s"] == BEGIN_S + 6 * MINUTE


def test_a_field_that_is_gone_is_an_alarm_of_its_first_window_and_no_warning_beside_it() -> None:
    site = Site()
    site.serve(*QUIET[:2], *[Traffic(minute, missing=0.4) for minute in range(2, 5)])
    made = site.look()
    first = [one for one in found(made) if one.window.from_s == BEGIN_S + 2 * MINUTE]
    assert [(one.kind, one.subject, one.severity) for one in first] == [("data", "price", "alarm")]
    assert "missing in" in first[0].words
    assert made[-1].record.open["data:price"]["since_s"] == BEGIN_S + 2 * MINUTE


def test_without_labels_an_estimate_warns_and_raises_no_alarm() -> None:
    site = Site()
    unsure = [Traffic(minute, labels=0.0) for minute in range(2, 6)]
    for one in unsure:
        for row in one.rows:
            row["output"] = [float(value) * 0.05 for value in row["output"]]
    known = Reliability(edges=(0.6, 0.9), right=(55.0, 80.0, 900.0), rows=(100.0, 100.0, 920.0))
    site.reference = site.reference.model_copy(update={"sketches": {}, "kinds": {}, "reliability": known})
    site.serve(*QUIET[:2], *unsure)
    made = site.look()
    (estimate,) = [one for one in found(made) if one.subject == "estimated_accuracy"]
    assert estimate.severity == "warning"
    assert "without labels" in estimate.words
    assert found(made, "alarm") == []


def test_a_gap_in_the_log_makes_what_rests_on_it_inconclusive() -> None:
    site = Site()
    site.serve(*QUIET[:2], *WORSE)
    gone = site.log.chain().head.number - 1
    (key,) = [info.key for info in site.raw.list("log/shop/chain/") if info.key.endswith(f"{gone:08d}.json")]
    site.raw.delete(key)
    made = site.look()
    broken = [one for one in made if not one.record.window.whole]
    assert broken
    assert {one.subject for each in broken for one in each.findings} <= {"log"}
    assert all(each.record.problems for each in broken)


def test_a_new_version_begins_anew() -> None:
    site = Site()
    site.serve(*QUIET[:3], *WORSE[:1], Traffic(7, version=2), Traffic(8, version=2))
    made = site.look()
    assert [one.record.version for one in made] == [1, 1, 1, 1, 1, 2, 2]  # of the fourth only labels were due
    assert made[-1].record.figures["accuracy_since_promotion"].n == 120 + 240  # of its own rows alone
    assert made[-1].record.counts["other_versions"] == 0


def test_what_was_open_of_another_version_is_told_anew_of_this_one() -> None:
    site = Site()
    slow = [Traffic(minute, latency_ms=400.0, version=1 if minute < 8 else 2) for minute in range(6, 11)]
    site.serve(*QUIET, *slow)
    latency = [one for one in found(site.look(), "alarm") if one.subject == "latency"]
    assert [one.version for one in latency] == [1, 2]


def test_windows_by_rows_have_their_rows() -> None:
    config = MonitoringConfig.model_validate_json('{"windows": {"rows": 300, "minimum_rows": 100}}')
    site = Site(config)
    site.serve(*QUIET)
    made = site.look()
    assert [one.record.window.rows for one in made] == [300, 300, 300, 300]


def test_deleted_records_are_made_again_from_the_log_to_the_last_digit() -> None:
    site = Site()
    site.serve(*QUIET[:2], *WORSE[:2])
    last = len(site.look())
    keys = [window_key("shop", last - 1), window_key("shop", last)]
    before = [site.store.get(key) for key in keys]
    for key in keys:
        site.raw.delete(key)
    assert len(site.look()) == len(keys)
    assert [site.store.get(key) for key in keys] == before


def test_a_planted_record_changes_nothing() -> None:
    site = Site()
    site.serve(*QUIET)
    site.look(now_s=BEGIN_S + 3.5 * MINUTE)
    newest = newest_window(site.store, "shop")
    assert newest is not None
    calm = newest.model_copy(update={"number": 4, "before": newest.digest(), "open": {}, "labels_to_s": 2e9})
    site.raw.put(window_key("shop", 4), calm.canonical())
    site.look()
    assert [one.number for one in windows_of(site.store, "shop")] == [1, 2, 3, 4, 5, 6]
    assert windows_of(site.store, "shop")[3].labels_to_s < 2e9


def alarm_of(site: Site) -> Finding:
    return min((one for one in findings_of(site.store, "shop") if one.severity == "alarm"), key=lambda one: one.at_s)


def test_labelled_rows_say_what_a_confidence_means(worse: Site) -> None:
    streams = windows_of(worse.store, "shop")[-1].state["alarm"]["streams"]
    assert streams["quality/calibration"]["n"] == streams["quality/accuracy"]["n"] > 0


def test_every_finding_is_confirmed_from_the_log(worse: Site) -> None:
    for finding in findings_of(worse.store, "shop"):
        told = verify_finding(finding, worse.source, worse.store, worse.watched)
        assert (told.outcome, finding.words) == ("confirmed", finding.words), told.words


def test_a_finding_that_says_other_than_the_log_differs(worse: Site) -> None:
    finding = alarm_of(worse)
    told = verify_finding(
        finding.model_copy(update={"effect": 0.1}), worse.source, worse.store, worse.watched
    )  # as one would that a stolen key signed
    assert told.outcome == "differs"
    assert "effect: 0.1, now" in told.words


METHOD_OF_BEFORE = "Shiryaev-Roberts e-detector over all streams and windows together, anytime-valid"


def test_an_alarm_or_a_warning_of_a_release_that_sounded_otherwise_is_not_said_to_be_wrong(worse: Site) -> None:
    alarm = alarm_of(worse)
    changes: list[dict[str, str]] = [
        {"method": "Shiryaev-Roberts e-detector, by window"}, {"severity": "warning", "method": "one window"},
        {"method": f"{METHOD_OF_BEFORE}; at most 1 false alarm(s) a year", "effect": None, "words": "accuracy moved"},
    ]  # fmt: skip
    for change in changes:
        told = verify_finding(alarm.model_copy(update=change), worse.source, worse.store, worse.watched)
        assert told.outcome == "cannot"
        assert "this release raises" in told.words


def test_a_finding_whose_log_is_gone_cannot_be_computed_again() -> None:
    site = Site()
    site.serve(*QUIET[:2], *WORSE[:2])
    site.look()
    finding = alarm_of(site)
    for info in list(site.raw.list("log/shop/1/")):
        site.raw.delete(info.key)
    assert verify_finding(finding, site.source, site.store, site.watched).outcome in ("cannot", "differs")


def test_a_log_that_was_changed_since_is_called_so_and_not_the_finding() -> None:
    site = Site()
    site.serve(*QUIET[:2], *WORSE[:2])
    site.look()
    finding = alarm_of(site)
    for info in list(site.raw.list("log/shop/1/")):
        data = site.raw.get(info.key)
        site.raw.put(info.key, data[: len(data) // 2])
    told = verify_finding(finding, site.source, site.store, site.watched)
    assert told.outcome == "differs"
    assert "the log that it rests on was changed or cut since: " in told.words
    assert "is not the file that its record names" in told.words


def test_an_edited_finding_is_not_found(worse: Site) -> None:
    finding = alarm_of(worse)
    held = worse.raw.get(finding.key)
    worse.raw.put(finding.key, canonical_json({**json.loads(held), "words": "all is well"}))
    try:
        assert finding.id not in {one.id for one in findings_of(worse.store, "shop")}
    finally:
        worse.raw.put(finding.key, held)
    assert load_finding(worse.store, "shop", finding.id) == finding


def test_the_rate_of_false_alarms_is_one_over_everything_that_can_act() -> None:
    site = Site()
    site.serve(*QUIET[:1])
    (made,) = site.look()
    state = made.record.state["alarm"]
    assert state["false_alarms_per_year"] == CONFIG.false_alarms_per_year
    assert set(state["streams"]) == {
        "service/errors", "service/latency", "data/refused", "inputs/price", "inputs/region", "data/price",
        "data/region", "outputs/prediction", "outputs/confidence", "quality/accuracy",
        "quality/calibration", "quality/accuracy on region=eu", "quality/accuracy on region=us",
        "quality/accuracy on region=asia",
    }  # fmt: skip


def test_a_first_window_before_which_nobody_asked_has_no_label_that_is_due() -> None:
    site = Site()
    late = Traffic(0, rows=120)
    late.rows = [{**row, "received_s": row["received_s"] / 2 + (BEGIN_S + MINUTE) / 2} for row in late.rows]
    site.serve(late)  # all of it in the second half of its minute, when no label of it is due
    (made,) = site.look()
    assert made.record.counts["rows"] == 120
    assert made.record.counts["labelled"] == 0
