"""Labels are told by whom the operator has declared, and what is asked is told to the log with its labels beside."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.feedback import labels_of
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.observing import Answered, Observer
from mlratchet.models.serving.slot import Slot
from mlratchet.models.serving.tokens import Access, new_token
from starlette.testclient import TestClient

from tests.unit.serving.conftest import BASE

ID = "0123456789abcdef" * 2


class Kept(Observer):
    """A log that keeps what it is given."""

    lost = 3

    def __init__(self) -> None:
        self.told: list[Answered] = []
        self.labels: list[list[Any]] = []
        self.room = True

    def answered(self, answered: Answered) -> None:
        self.told.append(answered)

    def offer_labels(self, labels: list[list[Any]]) -> bool:
        self.labels += labels if self.room else []
        return self.room

    def facts(self) -> dict[str, Any]:
        return {"dropped": self.lost}


TOKEN, HELD = new_token("clinic", ("predict", "feedback"), now_s=0.0)
OTHER, HELD_TOO = new_token("shop", ("predict",), now_s=0.0)


def client_of(slot: Slot, log: Kept, token: str | None = TOKEN) -> TestClient:
    """Of a server as it is put together for good: who brings labels is known by the token."""
    app = ServingApp(Metrics(), access=Access(lambda: {one.id: one for one in (HELD, HELD_TOO)}))
    app.take_up(Endpoint("m", slot, ServingConfig(), metrics=app.metrics, observer=log, log=log))
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return TestClient(app, base_url=BASE, headers=headers, client=("127.0.0.1", 1))


def test_labels_are_taken_one_or_many_with_who_brought_them(slot: Slot) -> None:
    log = Kept()
    client = client_of(slot, log)

    one = client.post("feedback", json={"request_id": ID, "label": "yes"})
    many = client.post("feedback", json={"labels": [{"request_id": ID, "row": 2, "label": 0.5},
                                                    {"request_id": ID, "row": 3, "label": True}]})  # fmt: skip

    assert (one.status_code, one.json()) == (202, {"accepted": 1})
    assert many.status_code == 202
    assert [(row[:3], row[4]) for row in log.labels] == [
        ([ID, 0, "yes"], "clinic"), ([ID, 2, "0.5"], "clinic"), ([ID, 3, "true"], "clinic"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("token", "status"), [("other", 401), (OTHER, 403), (None, 401)], ids=["no token", "of another", "none"]
)
def test_without_a_token_that_counts_nothing_is_taken(slot: Slot, token: str | None, status: int) -> None:
    log = Kept()

    reply = client_of(slot, log, token).post("feedback", json={"request_id": ID, "label": "yes"})

    assert (reply.status_code, log.labels) == (status, [])


def test_where_no_tokens_are_asked_for_nobody_brings_labels(slot: Slot) -> None:
    log, app = Kept(), ServingApp(Metrics())
    app.take_up(Endpoint("m", slot, ServingConfig(), metrics=app.metrics, observer=log, log=log))

    reply = TestClient(app, base_url=BASE).post("feedback", json={"request_id": ID, "label": "yes"})

    assert (reply.status_code, log.labels) == (401, [])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"labels": []}', "labels"),
        (b'{"labels": [3]}', "labels[0]"),
        (b'{"request_id": "../x", "label": 1}', "labels[0].request_id"),
        (b'{"request_id": "%s", "label": [1]}' % ID.encode(), "labels[0].label"),
        (b'{"request_id": "%s", "label": null}' % ID.encode(), "labels[0].label"),
        (b'{"request_id": "%s", "label": "%s"}' % (ID.encode(), b"x" * 2000), "labels[0].label"),
        (b'{"request_id": "%s", "label": 1, "row": -1}' % ID.encode(), "labels[0].row"),
        (b'{"request_id": "%s", "label": 1, "row": true}' % ID.encode(), "labels[0].row"),
        (b'{"request_id": "%s", "label": 1, "@": 1}' % ID.encode(), "labels[0].@"),
    ],
)
def test_what_is_no_label_is_refused_with_its_field(slot: Slot, body: bytes, field: str) -> None:
    reply = client_of(slot, Kept()).post("feedback", content=body)

    assert (reply.status_code, reply.json()["field"]) == (422, field)


def test_a_long_body_and_a_full_queue_are_refused(slot: Slot) -> None:
    log = Kept()
    client = client_of(slot, log)
    assert client.post("feedback", content=b"x" * 1_100_000).status_code == 413

    log.room = False
    reply = client.post("feedback", json={"request_id": ID, "label": 1})
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")


async def _sent_slowly(app: ServingApp, then: str) -> int:
    """The status of a request whose body begins; `then`: its client is `gone`, or says nothing more."""
    first = iter([{"type": "http.request", "body": b'{"labels": [', "more_body": True}])
    statuses: list[int] = []

    async def receive() -> Any:
        for message in first:
            return message
        if then != "gone":
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {TOKEN}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/m/feedback", "headers": headers}
    async with asyncio.timeout(60):
        await app(scope, receive, send)
    (status,) = statuses
    return status


@pytest.mark.parametrize(("then", "status"), [("gone", 400), ("nothing", 408)])
def test_a_body_that_does_not_come_ends_and_is_no_error_of_the_server(slot: Slot, then: str, status: int) -> None:
    app, log = ServingApp(Metrics(), access=Access(lambda: {HELD.id: HELD})), Kept()
    app.take_up(Endpoint("m", slot, ServingConfig(read_seconds=0.05), metrics=app.metrics, log=log))
    assert asyncio.run(_sent_slowly(app, then)) == status
    assert app.endpoints["m"].facts()["server_errors"]["count"] == 0
    assert log.labels == []


def test_a_number_is_a_label_as_json_writes_it() -> None:
    assert labels_of(b'{"request_id": "%s", "label": 3}' % ID.encode()) == [(ID, 0, "3")]


def test_what_the_log_lacks_is_told_by_health_and_metrics(slot: Slot) -> None:
    log = Kept()
    client = client_of(slot, log)

    client.post("predict", json={"instances": [[[[0.1, 0.2], [0.3, 0.4]]]]}, headers={"x-client-key": "ada"})

    assert [(one.status, one.client_key) for one in log.told] == [(200, "ada")]
    assert client.get("health").json()["log"] == {"dropped": 3}
    assert 'ratchet_log_drops_total{pipeline="m"} 3.0' in client.get("http://localhost/metrics").text
