"""What is done about findings: once, by whoever comes first, and again by the next one after a kill."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.models.errors import RatchetError
from mlratchet.models.fault_points import InjectedFault, arm
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.lease import Lease
from mlratchet.models.monitoring.answers import said_about
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.finding import Finding, WindowSpan, publish_finding
from mlratchet.models.monitoring.retraining import load_request, runs_of
from mlratchet.models.monitoring.window import WindowRecord, publish_window
from mlratchet.models.promotion.holds import HoldBook
from mlratchet.tasks.actions import answer_findings as module
from mlratchet.tasks.actions import start_retrains
from mlratchet.tasks.actions.answer_findings import answer_findings
from mlratchet.tasks.actions.start_retrains import asked_by_monitoring, automation_of, event_of, is_as, start_wanted
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Crashed

from tests.unit.audit.conftest import World
from tests.unit.monitoring.findings import finding
from tests.unit.promotion.canaries import Canary
from tests.unit.tasks.conftest import adapters_of

NOW = 10_000.0
EVERYTHING = MonitoringConfig.model_validate(
    {"actions": [{"when": "quality", "do": do} for do in ("retrain", "hold", "notify")]}
)


class Prefect:
    """What is asked of it."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.started: list[Any] = []
        self.queued: list[Any] = []
        self.down = False
        self.states: dict[str, State[Any]] = {}  # of the run with this idempotency key

    def __enter__(self) -> Prefect:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def request(self, method: str, path: str, **more: Any) -> Any:
        if self.down:
            raise RuntimeError("no API")
        if path == "/events":
            self.events += more["json"]
        return SimpleNamespace(json=lambda: self.queued)

    def read_deployment_by_name(self, name: str) -> Any:
        return SimpleNamespace(id=name)

    def create_flow_run_from_deployment(self, deployment: str, **more: Any) -> Any:
        self.started.append((deployment, more["parameters"], more["idempotency_key"]))
        return SimpleNamespace(id=f"run-{len(self.started)}", state=self.states.get(more["idempotency_key"]))


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Prefect:
    made = Prefect()
    monkeypatch.setattr(start_retrains, "get_client", lambda **_: made)
    return made


@pytest.fixture
def adapters(world: World, prefect: Prefect) -> Any:
    """Version 3 serves, generation 4."""
    return adapters_of(world)


def look(adapters: Any, config: MonitoringConfig = EVERYTHING, now_s: float = NOW) -> list[Any]:
    return answer_findings(adapters, "digits", config, now_s=now_s)


def state(adapters: Any, one: Finding) -> tuple[int, bool]:
    """Holds that stand, and whether a retrain is wanted."""
    held = len(HoldBook(adapters.store).standing("digits"))
    return held, adapters.store.exists(f"retrains/{one.id}.json")


def test_an_alarm_is_answered_once(adapters: Any, prefect: Prefect) -> None:
    publish_finding(adapters.store, finding())
    (answer,) = look(adapters)
    assert [act.do for act in answer.actions] == ["hold", "retrain", "notify"]
    assert state(adapters, finding()) == (1, True)
    assert look(adapters) == []
    assert [event["payload"] for event in prefect.events[:1]] == [{"finding": finding().id}]
    assert len({event["id"] for event in prefect.events}) == 1
    assert HoldBook(adapters.store).standing("digits")[0].entry.words == finding().reason


def test_what_is_old_or_about_nothing_in_the_rules_is_left_alone(adapters: Any) -> None:
    publish_finding(adapters.store, finding())
    publish_finding(adapters.store, finding(2, kind="inputs"))
    assert look(adapters, now_s=finding().at_s + module.RECENT_S) == []
    assert state(adapters, finding()) == (0, False)


@pytest.mark.parametrize(
    "point", ["answer.after_publish", "answer.after_hold", "retrain.after_request", "answer.after_retrain"]
)
def test_whoever_is_killed_between_finding_and_request_leaves_nothing_undone(
    adapters: Any, prefect: Prefect, point: str
) -> None:
    publish_finding(adapters.store, finding())
    arm(point, "raise")
    with pytest.raises(InjectedFault):
        look(adapters)
    prefect.events.clear()
    look(adapters)
    assert state(adapters, finding()) == (1, True)
    assert prefect.events
    assert len(list(adapters.store.list("holds/"))) == 1


def test_a_rollback_goes_back_from_the_version_that_the_finding_is_about_alone(adapters: Any, world: World) -> None:
    config = MonitoringConfig.model_validate({"actions": [{"when": "quality", "do": "rollback", "cooldown": 3600}]})
    publish_finding(adapters.store, finding(generation=3))  # of an earlier champion: no cooldown begins
    look(adapters, config)
    assert said_about(adapters.store, "digits", finding(generation=3).id)[1:] == [
        "not done: rollback: it is about generation 3, and generation 4 serves"
    ]
    assert world.ledger.head("digits").generation == 4  # type: ignore[union-attr]
    publish_finding(adapters.store, finding(2))
    look(adapters, config)
    look(adapters, config)
    head = world.ledger.head("digits")
    assert head is not None
    assert (head.generation, head.version, head.actor) == (5, 1, "monitoring")
    assert head.reason.startswith("because accuracy on eu fell below 0.90, window 1970-01-01T02:00:00Z (finding ")
    assert world.audit().passed
    of_the_first = finding(2, version=1, generation=5)
    publish_finding(adapters.store, of_the_first)
    look(adapters, config, now_s=NOW + 7200)
    assert said_about(adapters.store, "digits", of_the_first.id)[1:] == [
        "not done: rollback: no version that stands was champion before version 1"
    ]


def test_an_event_that_is_lost_is_caught_by_the_next_look_at_what_is_wanted(adapters: Any, prefect: Prefect) -> None:
    prefect.down = True
    publish_finding(adapters.store, finding())
    look(adapters)
    assert start_wanted(adapters, now_s=NOW + 60) == []  # no look fails for it
    prefect.down = False
    assert start_wanted(adapters, now_s=NOW + 1) == []  # an event may still be under way
    (line,) = start_wanted(adapters, now_s=NOW + 60)
    assert "run run-1 was started" in line
    (deployment, parameters, key) = prefect.started[0]
    assert (deployment, parameters) == ("retrain/digits", {"finding": finding().id})
    prefect.queued = [{"parameters": {"finding": finding().id}}]
    assert start_wanted(adapters, now_s=NOW + 61) == []
    prefect.queued = []
    start_wanted(adapters, now_s=NOW + 62)
    assert prefect.started[1][2] == key  # Prefect gives the same run again


def test_a_run_that_ended_before_it_took_the_request_is_followed_by_another(adapters: Any, prefect: Prefect) -> None:
    """Prefect gives it again for the same key: a reconciler said every quarter of an hour that it was started."""
    publish_finding(adapters.store, finding())
    look(adapters)
    for _ in range(3):
        (line,) = start_wanted(adapters, now_s=NOW + 60)
        key = prefect.started[-1][2]
        assert key not in prefect.states
        assert f"run run-{len(prefect.started)} was started" in line
        prefect.states[key] = Crashed()  # before its process had read anything
    assert start_wanted(adapters, now_s=NOW + 60) == []
    prefect.states = {prefect.started[0][2]: Cancelled()}  # by a person
    assert start_wanted(adapters, now_s=NOW + 60) == []


def test_a_run_that_was_killed_is_followed_by_another_and_one_that_ended_is_not(
    adapters: Any, prefect: Prefect
) -> None:
    publish_finding(adapters.store, finding())
    look(adapters)
    asked_by_monitoring(adapters, "digits", finding().id, run_id="r1")
    lease = Lease(run="r1", pipeline="digits", owner="m", machine="elsewhere", pid=1, born_s=0.0)
    adapters.store.put("leases/r1.json", canonical_json(lease.__dict__))
    assert start_wanted(adapters, now_s=NOW + 60) == []
    adapters.store.delete("leases/r1.json")
    assert len(start_wanted(adapters, now_s=NOW + 60)) == 1
    adapters.store.put("runs/r1.json", b"{}")
    assert start_wanted(adapters, now_s=NOW + 60) == []
    assert runs_of(adapters.store, finding().id) == ["r1"]


def test_no_second_retrain_is_asked_for_while_the_first_may_replace_the_champion(adapters: Any, world: World) -> None:
    config = MonitoringConfig.model_validate({"actions": [{"when": "quality", "do": "retrain", "cooldown": 0}]})
    publish_finding(adapters.store, finding())
    look(adapters, config)
    asked_by_monitoring(adapters, "digits", finding().id, run_id="r1")
    lease = Lease(run="r1", pipeline="digits", owner="m", machine="elsewhere", pid=1, born_s=0.0)
    adapters.store.put("leases/r1.json", canonical_json(lease.__dict__))
    publish_finding(adapters.store, finding(2))
    (answer,) = look(adapters, config)
    assert (answer.actions, state(adapters, finding(2))) == ((), (0, False))
    assert answer.withheld == (f"retrain: the retrain because of finding {finding().id[:12]} is under way",)
    adapters.store.put("runs/r1.json", b"{}")
    Canary(world).put("share")
    publish_finding(adapters.store, finding(3, at_s=world.now_s))
    (answer,) = look(adapters, config, now_s=world.now_s)
    assert answer.withheld == ("retrain: version 4 is in its canary",)


@pytest.mark.parametrize(("goes_on", "generation", "retrains"), [(True, 4, True), (False, 4, False), (True, 3, False)])
def test_a_retrain_that_was_withheld_is_asked_for_at_the_next_look_while_its_alarm_goes_on(
    adapters: Any, monkeypatch: pytest.MonkeyPatch, goes_on: bool, generation: int, retrains: bool
) -> None:
    alarm = finding(generation=generation)
    publish_finding(adapters.store, alarm)
    publish_window(adapters.store, window_after(alarm, goes_on))
    monkeypatch.setattr(module, "under_way", lambda *_, **__: "a run is under way")
    looks = [look(adapters, now_s=NOW + at) for at in (0, 60)]
    assert [len(one) for one in looks] == [1, 0]
    monkeypatch.undo()
    monkeypatch.setattr(start_retrains, "get_client", lambda **_: Prefect())
    looks = [look(adapters, now_s=NOW + at) for at in (120, 180)]
    assert [[act.do for one in answers for act in one.actions] for answers in looks] == [["retrain"] * retrains, []]
    assert state(adapters, alarm) == (1, retrains)


@pytest.mark.parametrize("goes_on", [True, False])
def test_so_is_one_of_a_rule_over_windows_while_its_warning_goes_on(
    adapters: Any, monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    often = {"k": 3, "n": 3}
    rule = {"when": "inputs:price", "severity": "warning", "do": "retrain", "of_windows": often}
    config = MonitoringConfig.model_validate({"actions": [rule], "false_alarms_per_year": 365})
    warning = finding(kind="inputs", subject="price", severity="warning")
    publish_finding(adapters.store, warning)
    for number in (1, 2, 3):
        publish_window(adapters.store, window_after(warning, goes_on=True, number=number))
    monkeypatch.setattr(module, "under_way", lambda *_, **__: "a run is under way")
    assert [one.withheld for one in look(adapters, config)] == [("retrain: a run is under way",)]
    monkeypatch.undo()
    publish_window(adapters.store, window_after(warning, goes_on, number=4))
    monkeypatch.setattr(start_retrains, "get_client", lambda **_: Prefect())
    looks = [look(adapters, config, now_s=NOW + at) for at in (60, 120)]
    assert [[act.do for one in answers for act in one.actions] for answers in looks] == [["retrain"] * goes_on, []]


@pytest.mark.parametrize(("version", "retrains"), [(3, True), (2, False)])
def test_a_rule_over_windows_of_a_day_acts_days_after_its_warning_on_windows_of_one_version_alone(
    adapters: Any, version: int, retrains: bool
) -> None:
    rule = {"when": "inputs:price", "severity": "warning", "do": "retrain", "of_windows": {"k": 3, "n": 4}}
    config = MonitoringConfig.model_validate({"actions": [rule], "false_alarms_per_year": 365})
    days = [WindowSpan(from_s=at * 86_400.0, to_s=(at + 1) * 86_400.0, rows=9) for at in range(4)]
    warning = finding(kind="inputs", subject="price", severity="warning", window=days[1], at_s=days[1].to_s)
    publish_finding(adapters.store, warning)
    made = []
    for number, span in enumerate(days[1:], 1):
        record = window_after(warning, goes_on=True, number=number, window=span)
        of = version if number < 3 else warning.version
        publish_window(adapters.store, record.model_copy(update={"version": of}))
        made += [act.do for one in look(adapters, config, now_s=span.to_s + 60) for act in one.actions]
    assert made == ["retrain"] * retrains


@pytest.mark.parametrize("since", [1, 6])
def test_a_warning_that_ended_does_not_act_when_it_comes_back(adapters: Any, since: int) -> None:
    """The later one has a finding of its own, with its own window."""
    rule = {"when": "inputs:price", "severity": "warning"}
    rules = [{**rule, "do": "notify"}, {**rule, "do": "hold", "of_windows": {"k": 2, "n": 4}}]
    config = MonitoringConfig.model_validate({"actions": rules, "false_alarms_per_year": 365})
    warning = finding(0, kind="inputs", subject="price", severity="warning")
    publish_finding(adapters.store, warning)
    made = [[act.do for one in look(adapters, config) for act in one.actions]]
    for number in range(1, 9):
        record = window_after(warning, number >= since, number=number, window=finding(number - 1).window)
        began_s = finding(since - 1).window.from_s
        still = {key: {**state, "since_s": began_s} for key, state in record.open.items()}
        publish_window(adapters.store, record.model_copy(update={"open": still}))
        made.append([act.do for one in look(adapters, config) for act in one.actions])
    assert made == [["notify"], [], *([["hold"]] if since == 1 else [[]]), *[[]] * 6]


def test_what_several_rules_over_windows_withhold_is_done_one_after_the_other(adapters: Any) -> None:
    rule = {"when": "inputs:price", "severity": "warning"}
    rules = [
        {**rule, "do": "notify"}, {**rule, "do": "hold", "of_windows": {"k": 2, "n": 4}},
        {**rule, "do": "retrain", "of_windows": {"k": 3, "n": 4}},
    ]  # fmt: skip
    config = MonitoringConfig.model_validate({"actions": rules, "false_alarms_per_year": 365})
    warning = finding(0, kind="inputs", subject="price", severity="warning")
    publish_finding(adapters.store, warning)
    made = []
    for number in range(5):
        if number:
            window = finding(number - 1).window
            publish_window(adapters.store, window_after(warning, goes_on=True, number=number, window=window))
        made.append([act.do for one in look(adapters, config) for act in one.actions])
    assert made == [["notify"], [], ["hold"], ["retrain"], []]
    told = [line.partition(": ")[2] for line in said_about(adapters.store, "digits", warning.id)]
    assert told[0] == "notify"
    assert told[-2:] == ["hold; at a later look", "retrain; at a later look"]


def window_after(alarm: Finding, goes_on: bool, number: int = 1, window: WindowSpan | None = None) -> WindowRecord:
    """A window after that of a finding."""
    span = window or finding(1 + number).window
    state = {"since_s": 1.0, "told_s": 1.0, "severity": alarm.severity, "words": "w"}
    still = {f"{alarm.kind}:{alarm.subject}": state}
    return WindowRecord(
        pipeline="digits", number=number, version=alarm.version, generation=alarm.generation, window=span,
        open=still if goes_on else {}, policy="b" * 64, labels_to_s=0.0,
    )  # fmt: skip


def test_a_request_whose_window_was_not_written_down_is_made_whole(adapters: Any, prefect: Prefect) -> None:
    publish_finding(adapters.store, finding())
    look(adapters)
    adapters.store.delete(load_request(adapters.store, finding().id).window_key)
    assert len(start_wanted(adapters, now_s=NOW + 60)) == 1
    assert asked_by_monitoring(adapters, "digits", finding().id, run_id="r1") == finding()


def test_planted_requests_start_nothing_and_fail_nothing(adapters: Any, prefect: Prefect, world: World) -> None:
    world.store.put(f"retrains/{'a' * 64}.json", b'{"pipeline": "digits"}')
    world.store.put(f"retrains/{finding().id}.json", b"junk")
    assert start_wanted(adapters, now_s=NOW + 60) == []
    with pytest.raises(RatchetError, match="monitoring did not ask for it"):
        asked_by_monitoring(adapters, "digits", finding().id, run_id="r1")


def test_a_champion_that_came_since_is_not_retrained_because_of_the_one_before(
    adapters: Any, prefect: Prefect, world: World
) -> None:
    publish_finding(adapters.store, finding())
    look(adapters)
    HoldBook(adapters.store).lift("digits", finding=finding().id, reason="x", actor="a", at_s=1.0)
    world.promote(5)
    assert start_wanted(adapters, now_s=NOW + 60) == []


def test_the_automation_hands_over_the_finding_alone_and_an_edited_one_is_put_right() -> None:
    ours = automation_of("d", "digits")
    (action,) = ours["actions"]
    assert action["parameters"] == {
        "finding": {"__prefect_kind": "jinja", "template": "{{ event.payload.finding }}"},
    }
    assert ours["trigger"]["match"] == {"prefect.resource.id": event_of(_request())["resource"]["prefect.resource.id"]}
    assert is_as(ours, ours)
    assert not is_as({**ours, "enabled": False}, ours)
    assert not is_as({**ours, "actions": [{**action, "parameters": {"order": "evil"}}]}, ours)
    assert not is_as({**ours, "actions": [{**action, "deployment_id": "e"}]}, ours)


def _request() -> Any:
    return SimpleNamespace(pipeline="digits", finding=finding().id)
