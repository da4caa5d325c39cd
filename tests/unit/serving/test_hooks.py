"""Who answers and who is told can be another's affair: a router, and an observer that no request notices."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field

import pytest
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.asked import CLIENT_KEY, REPLAYED, REQUEST_KEY
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.observing import Answered, Observer
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.routing import Router, Variant
from mlratchet.models.serving.slot import Beside, Slot
from starlette.testclient import TestClient

from tests.unit.serving.conftest import BASE, TABLE, sum_of


@dataclass
class Kept(Observer):
    """Keeps what it is told."""

    told: list[Answered] = field(default_factory=list)

    def answered(self, answered: Answered) -> None:
        self.told.append(answered)


class Broken(Observer):
    def answered(self, answered: Answered) -> None:
        raise RuntimeError(f"no room for {answered.request_id}")


class ByKey:
    """Requests of the key `new` are the canary's."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def route(self, request_key: str | None) -> Variant | None:
        canary = self._slot.canary
        if request_key == "new" and canary is not None:
            return Variant("canary", canary)
        current = self._slot.current
        return Variant("champion", current) if current is not None else None

    def shadow(self) -> Predictor | None:
        return self._slot.shadow


def client_of(observer: Observer, slot: Slot, router: Router | None = None) -> TestClient:
    app = ServingApp(Metrics())
    app.take_up(Endpoint("m", slot, ServingConfig(), metrics=app.metrics, observer=observer, router=router))
    return TestClient(app, base_url=BASE)


@pytest.fixture
def table() -> Slot:
    slot = Slot()
    slot.swap(sum_of(5, TABLE))
    candidate = sum_of(6, TABLE, factor=2.0)
    slot.put_beside(Beside(predictor=candidate, share=1e-9, shadow=False, salt="s", expires_s=math.inf, record="r"))
    return slot


def test_an_answer_is_told_with_all_that_it_was_made_of(table: Slot) -> None:
    kept = Kept()
    headers = {CLIENT_KEY.decode(): "somebody", REPLAYED.decode(): "1"}
    with client_of(kept, table) as client:
        reply = client.post("/predict", json={"instances": [[1, 2], [3, 4]]}, headers=headers)
    (told,) = kept.told
    assert (told.pipeline, told.version, told.generation, told.variant) == ("m", 5, 5, "champion")
    assert (told.status, told.error, told.client_key, told.replayed) == (200, "", "somebody", True)
    assert told.request_id == reply.headers["x-request-id"]
    assert told.instances == [[1, 2], [3, 4]]
    assert (told.written, told.said) == (reply.request.content, reply.content)
    assert told.predictions == reply.json()["predictions"] == [{"value": 3.0}, {"value": 7.0}]
    assert told.rows is not None
    assert told.rows.array.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert told.output is not None
    assert told.output.tolist() == [3.0, 7.0]
    assert 0 < told.latency_ms < 60_000
    assert told.received_s > 1.7e9


def test_a_refusal_is_told_with_its_reason(table: Slot) -> None:
    kept = Kept()
    with client_of(kept, table) as client:
        client.post("/predict", json={"instances": [["text", 2]]})
        client.post("/predict", content=b"{", headers={"content-type": "application/json"})
        table.current = None
        client.post("/predict", json={"instances": [[1, 2]]})
    assert [one.status for one in kept.told] == [422, 400, 503]
    assert kept.told[0].error.startswith("instances[0]")
    assert (kept.told[0].rows, kept.told[0].output, kept.told[0].predictions) == (None, None, None)
    assert (kept.told[2].version, kept.told[2].variant, kept.told[2].instances) == (None, None, None)


def test_a_broken_observer_changes_no_answer(table: Slot, caplog: pytest.LogCaptureFixture) -> None:
    with client_of(Broken(), table) as client, caplog.at_level(logging.ERROR):
        reply = client.post("/predict", json={"instances": [[1, 2]]})
    assert (reply.status_code, reply.json()["predictions"]) == (200, [{"value": 3.0}])
    assert reply.headers["x-request-id"] in caplog.text


def test_a_router_says_who_answers(table: Slot) -> None:
    kept = Kept()
    with client_of(kept, table, ByKey(table)) as client:
        replies = [
            client.post("/predict", json={"instances": [[1, 2]]}, headers=headers)
            for headers in ({}, {REQUEST_KEY.decode(): "new"}, {CLIENT_KEY.decode(): "new"})
        ]
    assert [reply.json()["version"] for reply in replies] == [5, 6, 6]
    assert [reply.headers["x-model-version"] for reply in replies] == ["5", "6", "6"]
    assert [one.variant for one in kept.told] == ["champion", "canary", "canary"]
    assert [reply.json()["predictions"][0]["value"] for reply in replies] == [3.0, 6.0, 6.0]
