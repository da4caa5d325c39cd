"""Who is told of a finding: by one process, whoever looks, and again until somebody was reached."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra import notify as telling
from mlratchet.models.errors import SecurityError
from mlratchet.models.fault_points import InjectedFault, arm
from mlratchet.models.identity import lease
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.monitoring.answers import Resolution, answers_of, publish_resolution
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.finding import publish_finding
from mlratchet.models.monitoring.telling import FIRST_WAIT_S, MOST_TRIES
from mlratchet.tasks.actions import answer_findings, keep_watch, tell_findings
from pydantic import SecretStr

from tests.unit.audit.conftest import World
from tests.unit.monitoring.findings import finding
from tests.unit.tasks.conftest import adapters_of

NOW = 10_000.0
PLAIN = {"notify": "webhook"}
BY_RULE = PLAIN | {"actions": [{"when": "quality", "do": "notify"}]}


class Webhook:
    """What it was told, and what it answers."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []
        self.status = 200

    @contextmanager
    def stream(self, _method: str, _url: str, **more: Any) -> Iterator[Any]:
        if self.status == 200:
            self.told.append(more["json"]["findings"])
        yield SimpleNamespace(status_code=self.status)


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Webhook:
    made = Webhook()
    monkeypatch.setattr(telling.httpx, "stream", made.stream)
    return made


@pytest.fixture
def adapters(world: World) -> Any:
    made = adapters_of(world)
    made.settings = SimpleNamespace(notify_webhook=SecretStr("https://hooks.example/s3cret"))
    return made


def look(monkeypatch: pytest.MonkeyPatch, adapters: Any, config: dict[str, Any], now_s: float = NOW) -> list[str]:
    """What the monitor does behind a look, and `ratchet reconcile` without one."""
    for module in (answer_findings, tell_findings):
        monkeypatch.setattr(module.time, "time", lambda: now_s)
    spec: Any = SimpleNamespace(name="digits", serving=SimpleNamespace(labels=None))
    return keep_watch.watch_pipeline(adapters, spec, MonitoringConfig.model_validate(config))


@pytest.mark.parametrize("config", [PLAIN, BY_RULE], ids=["alarms", "rule"])
def test_what_somebody_else_found_is_told_once(
    monkeypatch: pytest.MonkeyPatch, adapters: Any, webhook: Webhook, config: dict[str, Any]
) -> None:
    """`ratchet monitor NAME` publishes what it finds and tells nobody; the next look of the flow finds nothing new."""
    publish_finding(adapters.store, finding())
    publish_finding(adapters.store, finding(2, severity="warning", subject="f1"))
    look(monkeypatch, adapters, config)
    look(monkeypatch, adapters, config, NOW + 3600)
    assert webhook.told == [[finding().id]]
    assert len(list(answers_of(adapters.store, "digits"))) == (1 if config is BY_RULE else 0)


def test_a_webhook_that_is_down_is_tried_ever_less_often_until_it_was_told(
    monkeypatch: pytest.MonkeyPatch, adapters: Any, webhook: Webhook
) -> None:
    publish_finding(adapters.store, finding())
    webhook.status = 500
    (line,) = look(monkeypatch, adapters, PLAIN)
    assert "nobody was told of 1 finding(s), which is tried again" in line
    assert "500" in line
    assert look(monkeypatch, adapters, PLAIN, NOW + FIRST_WAIT_S - 1) == []
    assert len(look(monkeypatch, adapters, PLAIN, NOW + FIRST_WAIT_S)) == 1
    webhook.status = 200
    assert look(monkeypatch, adapters, PLAIN, NOW + 3 * FIRST_WAIT_S - 1) == []
    look(monkeypatch, adapters, PLAIN, NOW + 3 * FIRST_WAIT_S)
    assert webhook.told == [[finding().id]]


@pytest.mark.parametrize(("point", "times"), [("tell.before_message", 1), ("tell.after_message", 2)])
def test_whoever_is_killed_while_telling_leaves_it_to_the_next(
    monkeypatch: pytest.MonkeyPatch, adapters: Any, webhook: Webhook, point: str, times: int
) -> None:
    publish_finding(adapters.store, finding())
    arm(point, "raise")
    with pytest.raises(InjectedFault):
        look(monkeypatch, adapters, PLAIN)
    look(monkeypatch, adapters, PLAIN, NOW + FIRST_WAIT_S)
    look(monkeypatch, adapters, PLAIN, NOW + 10 * FIRST_WAIT_S)
    assert webhook.told == [[finding().id]] * times


def test_two_looks_at_once_tell_once_and_a_wrong_clock_silences_nothing(
    monkeypatch: pytest.MonkeyPatch, adapters: Any, webhook: Webhook
) -> None:
    publish_finding(adapters.store, finding())
    inner = webhook.stream

    @contextmanager
    def beside(*args: Any, **more: Any) -> Iterator[Any]:
        monkeypatch.setattr(telling.httpx, "stream", inner)
        look(monkeypatch, adapters, PLAIN, NOW - 0.2)  # while the first one is at it, and it began a moment before
        with inner(*args, **more) as reply:
            yield reply

    monkeypatch.setattr(telling.httpx, "stream", beside)
    look(monkeypatch, adapters, PLAIN)
    assert webhook.told == [[finding().id]]
    publish_finding(adapters.store, finding(2))
    webhook.status = 500
    look(monkeypatch, adapters, PLAIN, NOW + 80_000)  # by a clock that is almost a day ahead
    webhook.status = 200
    look(monkeypatch, adapters, PLAIN, NOW + 7200)
    assert webhook.told[1:] == [[finding(2).id]]


def test_by_a_clock_that_is_days_ahead_of_the_store_what_was_just_found_is_no_history(
    monkeypatch: pytest.MonkeyPatch, adapters: Any, webhook: Webhook
) -> None:
    publish_finding(adapters.store, finding())
    monkeypatch.setattr(lease, "server_now", lambda _: NOW)
    look(monkeypatch, adapters, BY_RULE, NOW + 5 * 86_400.0)
    assert webhook.told == [[finding().id]]
    assert [one.at_s for one in answers_of(adapters.store, "digits")] == [NOW]


def test_an_alarm_is_told_though_its_answer_cannot_be_found(
    monkeypatch: pytest.MonkeyPatch, adapters: Any, webhook: Webhook
) -> None:
    def cut(*_: Any, **__: Any) -> Any:
        raise SecurityError("the ledger was cut")

    publish_finding(adapters.store, finding())
    monkeypatch.setattr(keep_watch, "answer_findings", cut)
    with pytest.raises(SecurityError):
        look(monkeypatch, adapters, PLAIN)
    assert webhook.told == [[finding().id]]


def test_what_a_stranger_plants_silences_nothing_and_what_a_person_answered_is_known(
    monkeypatch: pytest.MonkeyPatch, adapters: Any, webhook: Webhook
) -> None:
    known = finding(2)
    for one in (finding(), known):
        publish_finding(adapters.store, one)
    planted = canonical_json({"pipeline": "digits", "finding": finding().id, "number": 0, "by": "x", "at_s": NOW})
    adapters.store.beneath.put(f"answers/digits/{finding().id}-told.json", planted)
    said = Resolution(pipeline="digits", finding=known.id, reason="a broken feed", actor="ann", at_s=NOW)
    publish_resolution(adapters.store, said)
    look(monkeypatch, adapters, PLAIN)
    assert webhook.told == [[finding().id]]


def test_tries_end(monkeypatch: pytest.MonkeyPatch, adapters: Any, webhook: Webhook) -> None:
    publish_finding(adapters.store, finding())
    webhook.status = 500
    monkeypatch.setattr(tell_findings, "RECENT_S", 1e9)
    tried = [len(look(monkeypatch, adapters, PLAIN, NOW + at * 1e6)) for at in range(MOST_TRIES + 2)]
    assert tried == [1] * MOST_TRIES + [0, 0]


def test_a_webhook_that_sends_a_byte_now_and_then_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte is in time, and the answer never comes."""
    monkeypatch.setattr(telling, "WITHIN_S", 0.3)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def trickle() -> None:
            caller, _ = listening.accept()
            with caller:
                caller.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                while not over.wait(0.05):
                    caller.sendall(b"y")

        thread = threading.Thread(target=trickle)
        thread.start()
        settings: Any = SimpleNamespace(notify_webhook=SecretStr(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        try:
            with pytest.raises(telling.NotifyError, match="does not answer within"):
                telling.notify(settings, "webhook", "x", "y", {})
        finally:
            over.set()
            thread.join()
