"""Rules of what follows from a finding, and the decision by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mlratchet.models.monitoring.actions import (
    QUIET_WARNINGS,
    ActionRule,
    FindingAnswer,
    OfWindows,
    SeenWindow,
    Serving,
    decide,
    decide_again,
    rate_of_window_rules,
)
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.finding import Finding
from pydantic import ValidationError

from tests.unit.monitoring.findings import HOUR, finding

RETRAIN = ActionRule(when="quality", do="retrain")
DAY = 86_400.0


def done(found: Finding, *rules: ActionRule, history: Any = (), now_s: float = 10 * HOUR, **more: Any) -> list[str]:
    answers = decide([found], rules, history, now_s=now_s, **more)
    return [act.do for answer in answers for act in answer.actions]


def why_not(found: Finding, *rules: ActionRule, history: Any = (), now_s: float = 10 * HOUR, **more: Any) -> str:
    (answer,) = decide([found], rules, history, now_s=now_s, **more)
    assert answer.actions == ()
    return "; ".join(answer.withheld)


@pytest.mark.parametrize(
    ("on", "severity", "fits"),
    [
        ("quality", "alarm", True), ("quality:accuracy on region=eu", "warning", True),
        ("quality:accuracy", "alarm", False), ("inputs", "alarm", False), ("quality", "note", True),
    ],
)  # fmt: skip
def test_a_rule_is_about_a_kind_a_subject_and_a_severity(on: str, severity: str, fits: bool) -> None:
    rule = ActionRule.model_validate({"when": on, "severity": severity, "do": "notify"})
    assert (done(finding(), rule) == ["notify"]) == fits
    if not fits:
        assert decide([finding()], [rule], (), now_s=0.0) == []  # nothing is written down about what no rule asks


def test_what_changes_something_is_done_in_a_fixed_order_whatever_the_file_says() -> None:
    dos: tuple[Any, ...] = ("notify", "retrain", "ask", "rollback", "hold")
    rules = [ActionRule(when="quality", do=do) for do in dos]
    assert done(finding(), *rules, *rules[:1]) == ["hold", "rollback", "retrain", "ask", "notify"]


def test_a_window_with_a_gap_acts_on_nothing_and_still_tells() -> None:
    notify = ActionRule(when="quality", do="notify")
    (answer,) = decide([finding(whole=False)], [RETRAIN, notify], (), now_s=0.0)
    assert [act.do for act in answer.actions] == ["notify"]
    assert answer.withheld == ("retrain: the log of its window has gaps, so it is inconclusive",)


def test_cooldown_and_budget_are_of_one_rule() -> None:
    rule = ActionRule(when="quality", do="retrain", cooldown=2 * HOUR, budget_per_week=2)
    first = decide([finding(1)], [rule], (), now_s=0.0)
    assert "its cooldown is 7200 s" in why_not(finding(2), rule, history=first, now_s=HOUR)
    second = decide([finding(3)], [rule], first, now_s=2 * HOUR)
    assert second[0].actions
    assert "its budget of 2 in seven days" in why_not(finding(9), rule, history=[*first, *second], now_s=DAY)
    assert done(finding(9), rule, history=[*first, *second], now_s=7 * DAY) == ["retrain"]
    other = ActionRule(when="quality", do="hold")
    assert done(finding(9), other, history=[*first, *second], now_s=HOUR) == ["hold"]


def test_two_findings_of_one_look_count_against_each_other() -> None:
    answers = decide([finding(2), finding(1)], [RETRAIN], (), now_s=10 * HOUR)
    assert [bool(answer.actions) for answer in answers] == [True, False]
    assert answers[0].finding == finding(1).id  # the older window first


def test_the_gravest_finding_of_a_window_is_what_a_retrain_is_because_of() -> None:
    rules = [
        ActionRule(when=kind, severity="warning", do="notify") for kind in ("inputs", "outputs", "quality", "data")
    ]
    order = [
        finding(kind="quality", subject="accuracy"), finding(), finding(kind="quality", subject="calibration"),
        finding(kind="data", subject="price"), finding(kind="inputs", subject="price"),
        finding(kind="outputs", subject="confidence"),
        finding(kind="quality", subject="estimated_accuracy", severity="warning"),
    ]  # fmt: skip
    for turn in range(len(order)):
        answers = decide([*order[turn:], *order[:turn]], rules, (), now_s=10 * HOUR)
        assert [one.finding for one in answers] == [one.id for one in order]


def test_a_confidence_that_means_another_thing_is_no_loss_of_quality_but_where_it_is_named() -> None:
    moved = finding(subject="calibration")
    for do in ("retrain", "rollback"):
        assert done(moved, ActionRule.model_validate({"when": "quality", "do": do})) == []
        assert done(moved, ActionRule.model_validate({"when": "quality:calibration", "do": do})) == [do]
    assert done(moved, ActionRule(when="quality", do="notify")) == ["notify"]


@pytest.mark.parametrize("do", ["notify", "ask"])
def test_what_is_told_is_counted_by_what_it_is_about(do: Any) -> None:
    rule = ActionRule(when="inputs", do=do, budget_per_week=1, cooldown=HOUR)
    price, age = (finding(2, kind="inputs", subject=one) for one in ("price", "age"))
    first = decide([price], [rule], (), now_s=0.0)
    assert done(age, rule, history=first, now_s=60.0) == [do]
    assert "its cooldown" in why_not(finding(3, kind="inputs", subject="price"), rule, history=first, now_s=60.0)
    assert "its budget" in why_not(finding(9, kind="inputs", subject="price"), rule, history=first, now_s=DAY)
    act = ActionRule(when="inputs", do="retrain", cooldown=HOUR)
    assert "its cooldown" in why_not(age, act, history=decide([price], [act], (), now_s=0.0), now_s=60.0)


def again(*first: tuple[Finding, FindingAnswer], history: Any = (), now_s: float, under_way: str = "") -> list[Any]:
    """What is done about findings whose retrain was withheld, of one cooldown of two hours."""
    rules = [ActionRule(when="quality", do="retrain", cooldown=2 * HOUR), ActionRule(when="quality", do="notify")]
    made = decide_again(first, rules, [*history, *(one for _, one in first)], under_way=under_way, now_s=now_s)
    return [(one.finding, [act.do for act in one.actions], one.later) for one in made]


def first_of(found: Finding, history: Any = (), *, now_s: float = 0.0, **more: Any) -> tuple[Finding, FindingAnswer]:
    rules = [ActionRule(when="quality", do="retrain", cooldown=2 * HOUR), ActionRule(when="quality", do="notify")]
    (answer,) = decide([found], rules, history, now_s=now_s, **more)
    return found, answer


def test_a_retrain_that_another_run_or_its_cooldown_withheld_is_asked_for_when_that_is_over() -> None:
    _, earlier = first_of(finding(1))
    busy, cooling = first_of(finding(2), under_way="a run is"), first_of(finding(2), [earlier], now_s=1.99 * HOUR)
    assert [act.do for act in busy[1].actions] == ["notify"]
    assert again(busy, now_s=HOUR, under_way="a run is") == []
    assert again(busy, now_s=HOUR) == [(busy[0].id, ["retrain"], True)]  # and it is told once
    assert again(cooling, history=[earlier], now_s=1.999 * HOUR) == []
    assert again(cooling, history=[earlier], now_s=2 * HOUR) == [(cooling[0].id, ["retrain"], True)]


def test_what_a_retrain_came_for_since_or_can_never_act_is_not_asked_again() -> None:
    same_look = decide([finding(1), finding(1, subject="f1")], [RETRAIN], (), now_s=0.0)
    (other,) = (one for one in same_look if not one.actions)
    assert again((finding(1, subject="f1"), other), history=same_look, now_s=DAY) == []
    busy, later = first_of(finding(2), under_way="a run is"), first_of(finding(3), now_s=HOUR)
    assert again(busy, history=[later[1]], now_s=DAY) == []
    assert again(first_of(finding(2, whole=False)), now_s=DAY) == []
    two = [first_of(finding(number), under_way="a run is") for number in (2, 3)]
    assert again(*two, now_s=HOUR) == [(two[0][0].id, ["retrain"], True)]


RULES = [ActionRule(when="quality", do="retrain", cooldown=2 * HOUR), ActionRule(when="quality", do="notify")]


def test_a_later_answer_counts_also_where_the_first_was_given_by_a_clock_that_was_ahead() -> None:
    first = first_of(finding(2), under_way="a run is", now_s=300 * DAY)
    (later,) = decide_again([first], RULES, [first[1]], now_s=2 * DAY)
    assert [act.do for act in later.actions] == ["retrain"]
    assert decide_again([first], RULES, [first[1], later], now_s=40 * DAY) == []


RULE = ActionRule(when="inputs:price", severity="warning", do="hold", of_windows=OfWindows(k=3, n=4))
PRICE: dict[str, Any] = {"kind": "inputs", "subject": "price", "severity": "warning"}


def seen(*warned: int, until: int, condition: str = "inputs:price") -> list[SeenWindow]:
    """Windows 1 to `until`; in those that warned the condition is open."""
    return [
        SeenWindow((number + 1) * HOUR, {condition: "warning"} if number in warned else {})
        for number in range(1, until + 1)
    ]


@pytest.mark.parametrize(
    ("warned", "acts"), [((2, 3, 4), True), ((2, 4, 5), True), ((2, 3, 4, 5), True), ((2, 5), False), ((2,), False)]
)
def test_k_of_n_counts_windows_in_which_the_condition_is_open(warned: tuple[int, ...], acts: bool) -> None:
    """3 of the windows 2, 3, 4, 5: the finding is of window 2, and what goes on is told once."""
    found = finding(2, **PRICE)
    assert done(found, RULE, windows=seen(*warned, until=5)) == (["hold"] if acts else [])


def test_a_rule_that_may_still_come_true_is_decided_about_later_and_not_for_ever() -> None:
    found = finding(2, **PRICE)
    for until in (2, 3, 4):
        assert decide([found], [RULE], (), windows=seen(2, until=until), now_s=0.0) == []
    assert "1 of the last 4 windows" in why_not(found, RULE, windows=seen(2, until=5))
    assert "0 of the last 4 windows" in why_not(found, RULE, windows=seen(2, until=9))


def test_a_rule_over_windows_that_was_withheld_is_asked_again_while_k_of_n_windows_have_it() -> None:
    rule = RULE.model_copy(update={"do": "retrain"})
    found = finding(2, **PRICE)
    (first,) = decide([found], [rule], (), windows=seen(2, 3, 4, until=5), under_way="a run is", now_s=6 * HOUR)
    assert first.withheld == ("retrain: a run is",)

    def later(*warned: int, **more: Any) -> list[str]:
        made = decide_again([(found, first)], [rule], [first], windows=seen(*warned, until=9), now_s=9 * HOUR, **more)
        return [act.do for one in made for act in one.actions]

    assert later(2, 3, 4, 7, 8, 9) == ["retrain"]
    assert later(2, 3, 4, 5, 6, 9) == []  # one of the last four
    assert later(2, 3, 4, 7, 8, 9, under_way="another is") == []


@pytest.mark.parametrize("do", ["retrain", "notify"])
def test_an_alarm_is_held_at_once_also_where_a_rule_over_windows_waits_for_more_of_them(do: Any) -> None:
    rules = [ActionRule(when="inputs", do="hold"), RULE.model_copy(update={"do": do})]
    alarm = finding(2, **PRICE | {"severity": "alarm"})
    (first,) = decide([alarm], rules, (), windows=seen(2, until=2), now_s=3 * HOUR)
    assert [act.do for act in first.actions] == ["hold"]
    assert first.withheld == (f"{do}: 1 of the last 4 windows, and it takes 3",)

    def later(*warned: int) -> list[str]:
        windows = seen(*warned, until=max(warned))
        made = decide_again([(alarm, first)], rules, [first], windows=windows, now_s=(1 + max(warned)) * HOUR)
        return [act.do for one in made for act in one.actions]

    assert later(2, 3) == []
    assert later(2, 3, 4) == [do]


def test_what_was_found_of_a_version_that_serves_no_more_trains_nothing() -> None:
    hold = ActionRule(when="quality", do="hold")
    (answer,) = decide([finding()], [RETRAIN, hold], (), serving=Serving(4, 5, has_before=True), now_s=10 * HOUR)
    assert [act.do for act in answer.actions] == ["hold"]
    assert answer.withheld == ("retrain: it is about version 3, and version 4 serves",)
    assert done(finding(), RETRAIN, serving=Serving(3, 4, has_before=False)) == ["retrain"]


def test_an_answer_by_a_clock_that_was_far_ahead_withholds_nothing() -> None:
    ahead = decide([finding(1)], [RETRAIN], (), now_s=365 * DAY)
    assert done(finding(9), RETRAIN, history=ahead, now_s=3 * DAY) == ["retrain"]
    a_little = decide([finding(1)], [RETRAIN], (), now_s=3 * DAY + 60)
    assert "its cooldown" in why_not(finding(9), RETRAIN, history=a_little, now_s=3 * DAY)


def test_another_condition_counts_for_nothing() -> None:
    windows = seen(2, 3, 4, 5, until=5, condition="inputs:age")
    assert "1 of the last 4 windows" in why_not(finding(2, **PRICE), RULE, windows=windows)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"when": "inputs", "severity": "warning", "do": "retrain"}, "one window by itself may notify or ask"),
        ({"when": "inputs", "severity": "note", "do": "hold", "of_windows": {"k": 2, "n": 3}}, "name one subject"),
        ({"when": "inputs:a", "do": "hold", "of_windows": {"k": 4, "n": 3}}, "expected k <= n"),
    ],
)
def test_what_warns_by_chance_does_not_act(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ActionRule.model_validate(rule)


def test_a_rule_over_windows_acts_only_within_the_rate_of_the_policy() -> None:
    rule = {"when": "inputs:a", "severity": "warning", "do": "retrain", "of_windows": {"k": 2, "n": 3}}
    with pytest.raises(ValidationError, match="times a year by chance, and false_alarms_per_year is 1"):
        MonitoringConfig.model_validate({"actions": [rule]})
    with pytest.raises(ValidationError, match="would act inf times"):
        MonitoringConfig.model_validate({"actions": [rule], "windows": {"rows": 500}})
    kept = MonitoringConfig.model_validate({"actions": [{**rule, "of_windows": {"k": 6, "n": 8}}]})
    assert rate_of_window_rules(kept.actions, 3600.0) < 1.0
    MonitoringConfig.model_validate({"actions": [{**rule, "do": "ask", "of_windows": None}]})


@pytest.mark.parametrize(("k", "n"), [(2, 3), (3, 5), (4, 6)])
def test_the_rate_is_not_less_than_what_a_simulation_of_quiet_windows_shows(k: int, n: int) -> None:
    quiet = np.random.default_rng(7).random(2_000_000) < QUIET_WARNINGS
    in_last = np.convolve(quiet, np.ones(n, dtype=int))[: len(quiet)]
    fired = (in_last >= k) & quiet  # a rule is asked when a window has the finding
    assert fired.sum() <= OfWindows(k=k, n=n).false_alarms(len(quiet))


def test_an_answer_is_a_strict_document() -> None:
    (answer,) = decide([finding()], [RETRAIN], (), now_s=1.0)
    assert FindingAnswer(**answer.model_dump(mode="json")) == answer
