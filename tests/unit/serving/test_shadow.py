"""A candidate in the champion's shadow: asked what clients ask, listened to by the log alone, in nobody's way."""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.asked import CLIENT_KEY, REPLAYED
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.observing import Answered, Observer
from mlratchet.models.serving.routing import in_share
from mlratchet.models.serving.shadow import MOST_WAITING, Shadow
from mlratchet.models.serving.slot import Beside, Slot
from mlratchet.models.sources.record import InputSpec
from starlette.testclient import TestClient

from tests.unit.serving.conftest import BASE, TABLE, sum_of


class Kept(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Answered] = []
        self.grown = threading.Condition()

    def answered(self, answered: Answered) -> None:
        with self.grown:
            self.told.append(answered)
            self.grown.notify_all()

    def of(self, variant: str, count: int) -> list[Answered]:
        """Waits until so many were told."""

        def found() -> list[Answered]:
            return [one for one in self.told if one.variant == variant]

        with self.grown:
            assert self.grown.wait_for(lambda: len(found()) >= count, timeout=120), (variant, self.told)
            return found()


def beside(predictor: Any, *, share: float = 0.0, expires_s: float = math.inf) -> Beside:
    return Beside(
        predictor=predictor, share=share, shadow=share == 0, salt="work", expires_s=expires_s, record=f"r{share}"
    )


@pytest.fixture
def slot() -> Slot:
    made = Slot()
    made.swap(sum_of(5, TABLE))
    return made


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def client(slot: Slot, kept: Kept) -> TestClient:
    app = ServingApp(Metrics())
    app.take_up(Endpoint("m", slot, ServingConfig(), metrics=app.metrics, observer=kept))
    return TestClient(app, base_url=BASE)


BODY = {"instances": [[1, 2], [3, 4]]}


def test_a_shadow_answers_every_request_and_no_client(slot: Slot, kept: Kept, client: TestClient) -> None:
    slot.put_beside(beside(sum_of(6, TABLE, factor=2.0)))
    with client:
        reply = client.post("/predict", json=BODY, headers={REPLAYED.decode(): "1"})
        (champion,) = kept.of("champion", 1)
        (shadow,) = kept.of("shadow", 1)
    assert (reply.status_code, reply.headers["x-model-version"]) == (200, "5")
    assert (shadow.request_id, shadow.replayed) == (champion.request_id, True)
    assert (shadow.version, shadow.status) == (6, 200)
    assert shadow.output is not None
    assert champion.output is not None
    assert shadow.output.tolist() == (2 * champion.output).tolist()


def broken(_: Any, **__: Any) -> Any:
    raise RuntimeError("damaged")


def test_rows_that_came_as_an_array_are_shadowed_too(slot: Slot, kept: Kept, client: TestClient) -> None:
    slot.put_beside(beside(sum_of(6, TABLE, factor=2.0)))
    np.save(body := io.BytesIO(), np.array([[1.5, 2.0], [3.0, 4.0]], np.float32))
    reply = client.post("/predict", content=body.getvalue(), headers={"content-type": "application/x-npy"})
    assert reply.status_code == 200, reply.text
    (told,) = kept.of("shadow", 1)
    assert (told.status, told.predictions) == (200, [{"value": 7.0}, {"value": 14.0}])


def test_what_a_shadow_does_wrong_is_its_status_alone(slot: Slot, kept: Kept, client: TestClient) -> None:
    candidate = sum_of(6, TABLE)
    object.__setattr__(candidate, "answer", broken)
    slot.put_beside(beside(candidate))
    with client:
        assert client.post("/predict", json=BODY).status_code == 200
        (shadow,) = kept.of("shadow", 1)
        assert (shadow.status, shadow.error, shadow.predictions) == (500, "RuntimeError", None)


def test_a_refusal_of_the_shadow_alone_is_told_as_one(slot: Slot, kept: Kept, client: TestClient) -> None:
    wider = InputSpec(kind="table", shape=(3,), dtype="float32", columns=("a", "b", "c"))
    slot.put_beside(beside(sum_of(6, replace(TABLE, input=wider))))
    with client:
        assert client.post("/predict", json=BODY).status_code == 200
        (shadow,) = kept.of("shadow", 1)
    assert 400 <= shadow.status < 500
    assert shadow.error


def test_a_shadow_that_hangs_keeps_no_client_waiting_and_is_dropped_from_first(slot: Slot, kept: Kept) -> None:
    hangs = threading.Event()
    candidate = sum_of(6, TABLE)
    object.__setattr__(candidate, "answer", lambda _, **__: hangs.wait(30))
    slot.put_beside(beside(candidate))
    shadow = Shadow(slot, kept, pause=lambda _: None)
    asked = answered(slot)
    for _ in range(MOST_WAITING + 5):
        shadow.answered(asked)
    assert len(kept.told) == MOST_WAITING + 5
    assert shadow.dropped >= 4
    slot.put_beside(None)  # a pull-back waits for nothing
    assert slot.shadow is None
    hangs.set()
    shadow.close()


def answered(slot: Slot) -> Answered:
    """Of the champion."""
    assert slot.current is not None
    rows = SimpleNamespace(nbytes=8)
    facts: dict[str, Any] = dict.fromkeys(("client_key", "output", "predictions"))
    return Answered(
        request_id="r", received_s=1.0, latency_ms=1.0, pipeline="m", version=5, generation=5, variant="champion",
        status=200, error="", instances=[[1, 2]], rows=rows, replayed=False, **facts,
    )  # type: ignore[arg-type]  # fmt: skip


def test_it_computes_for_a_bounded_part_of_the_time(slot: Slot, kept: Kept) -> None:
    pauses: list[float] = []
    slot.put_beside(beside(sum_of(6, TABLE)))
    shadow = Shadow(slot, kept, pause=pauses.append)
    began = time.perf_counter()
    shadow.answered(answered(slot))
    kept.of("shadow", 1)
    shadow.close()
    assert shadow._thread is not None
    shadow._thread.join(10)
    assert all(0 < pause <= 4.1 * (time.perf_counter() - began) for pause in pauses)
    assert len(pauses) == 1


def test_a_share_of_the_clients_is_the_candidates_and_stays_it(slot: Slot, kept: Kept, client: TestClient) -> None:
    slot.put_beside(beside(sum_of(6, TABLE, factor=2.0), share=0.25))
    with client:
        for name in (f"client-{number}" for number in range(40)):
            wanted = "6" if in_share(name, "work", 0.25) else "5"
            for _ in range(2):
                reply = client.post("/predict", json=BODY, headers={CLIENT_KEY.decode(): name})
                assert reply.headers["x-model-version"] == wanted
    versions = {one.version: one.variant for one in kept.told}
    assert versions == {5: "champion", 6: "canary"}
    assert not [one for one in kept.told if one.variant == "shadow"]


def gone(slot: Slot) -> None:
    slot.put_beside(None)


def expired(slot: Slot) -> None:
    assert slot.beside is not None
    slot.put_beside(beside(slot.beside.predictor, share=0.999, expires_s=time.time() - 1))


@pytest.mark.parametrize("end", [gone, expired])
def test_once_it_is_over_the_champion_answers_everybody(
    slot: Slot, kept: Kept, client: TestClient, end: Callable[[Slot], None]
) -> None:
    slot.put_beside(beside(sum_of(6, TABLE), share=0.999))
    with client:
        assert client.post("/predict", json=BODY).headers["x-model-version"] == "6"
        end(slot)
        assert client.post("/predict", json=BODY).headers["x-model-version"] == "5"
    assert [one.variant for one in kept.told] == ["canary", "champion"]
