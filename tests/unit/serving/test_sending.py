"""Simulated traffic reaches a server at its pace, and its labels come later."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from mlratchet.flows.cli.simulating import duration_s, rate_per_s
from mlratchet.infra.serving import sending
from mlratchet.infra.serving.sending import Heard, send
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.monitoring.traffic import OwnRows, Sent
from mlratchet.tasks.actions import simulate as module
from mlratchet.tasks.actions.simulate import TrafficPlan, simulate

ROWS = OwnRows(instances=[{"age": float(n)} for n in range(20)], truths=["a", "b"] * 10)


class Server:
    """Answers by the rule of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bodies: list[bytes] = []
        self.status = 200
        real, number, lock = httpx.Client, [0], threading.Lock()

        def answer(request: httpx.Request) -> httpx.Response:
            with lock:
                self.bodies.append(request.content)
                number[0] += 1
                headers = {"x-request-id": f"r{number[0]}"}
            return httpx.Response(self.status, headers=headers)

        def client(**more: Any) -> httpx.Client:
            more.pop("limits", None)
            return real(transport=httpx.MockTransport(answer), **more)

        monkeypatch.setattr(sending.httpx, "Client", client)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


def test_requests_are_sent_at_their_moments_and_each_answer_is_heard(server: Server) -> None:
    heard: list[Heard] = []
    waited: list[float] = []
    now = [0.0]

    def wait(seconds: float) -> None:
        waited.append(seconds)
        now[0] += seconds

    requests = [Sent(at_s=n * 0.5, instance={"age": 1}, truth="a", drifted=n > 2) for n in range(5)]
    tally = send("http://x", requests, heard=heard.append, clock=lambda: now[0], wait=wait)
    assert tally.statuses == {"200": 5}
    assert sum(waited) == pytest.approx(2.0)
    assert sorted(one.request_id for one in heard) == ["r1", "r2", "r3", "r4", "r5"]
    assert server.bodies[0] == b'{"instances": [{"age": 1}]}'
    assert sum(one.drifted for one in heard) == 2


def test_labels_of_a_share_of_the_answers_come_as_objects_where_a_prefix_is_declared(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = MemoryStore("raw")
    labels = LabelsConfig(prefix="truths/", label="what")
    spec = SimpleNamespace(serving=SimpleNamespace(labels=labels))
    monkeypatch.setattr(module, "load_pipeline", lambda *_: spec)
    monkeypatch.setattr(module, "deployed_revision", lambda *_: "v")
    monkeypatch.setattr(module, "TICK_S", 0.01)
    adapters: Any = SimpleNamespace(raw=raw, store=None, servers=SimpleNamespace(url=lambda _: "http://x"))
    plan = TrafficPlan(drift="covariate", rate=2000.0, seconds=0.1, onset_s=0.05, labels_after_s=0.0, share=0.5, seed=2)
    found = simulate(adapters, "digits", plan, rows=ROWS)
    assert found.sent == {"200": 200}
    assert found.drifted == 100
    assert 70 < found.labelled < 130
    texts = [raw.get(info.key).decode().splitlines() for info in raw.list("truths/")]
    assert {text[0] for text in texts} == {"request_id,row,what"}
    assert sum(len(text) - 1 for text in texts) == found.labelled
    assert texts[0][1].endswith((",0,a", ",0,b"))
    server.status = 503
    assert simulate(adapters, "digits", plan, rows=ROWS).labelled == 0  # what was not answered has no label


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10.0), ("2m", 120.0), ("1h", 3600.0), ("250ms", 0.25), ("7", 7.0)]
)
def test_durations_and_rates_are_read(text: str, seconds: float) -> None:
    assert duration_s(text, "--for") == seconds
    assert (rate_per_s("50/s"), rate_per_s("600/m")) == (50.0, 10.0)


@pytest.mark.parametrize("text", ["", "soon", "-3s", "3d"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a duration"):
        duration_s(text, "--for")
    with pytest.raises(ConfigurationError, match="expected a rate"):
        rate_per_s("0/s")
