"""What nobody waits for is not computed: its time is over, or its client is gone. Who is alone never waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.asked import Asked, ClientGoneError
from mlratchet.models.serving.batcher import LONG_S, Batcher
from mlratchet.models.serving.deadline import timeout_s
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.slot import Slot
from mlratchet.models.tensors.named import Inputs

from tests.unit.serving.conftest import TABLE, app_of, served

ROW = {"instances": [{"a": 1, "b": 2}]}


class Gate:
    """A model that computes once it may, and remembers the rows that it computed."""

    def __init__(self) -> None:
        self.open, self.entered = threading.Event(), threading.Event()
        self.seen: list[float] = []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.entered.set()
        assert self.open.wait(120)
        self.seen += x[:, 0].tolist()
        return x.sum(1)

    def predictor(self) -> Predictor:
        return Predictor(version=3, generation=3, signature=TABLE, model=self)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def app(gate: Gate) -> ServingApp:
    slot = Slot()
    slot.swap(gate.predictor())
    return app_of(slot)


async def entered(gate: Gate) -> None:
    await asyncio.get_running_loop().run_in_executor(None, gate.entered.wait, 30)


def rows(value: float) -> Inputs:
    return Inputs({"x": np.full((1, 2), value, dtype=np.float32)})


def test_a_request_whose_time_is_over_is_answered_504_and_not_computed(app: ServingApp, gate: Gate) -> None:
    async def scenario() -> list[httpx.Response]:
        async with served(app) as client:
            first = asyncio.create_task(client.post("/predict", json={"instances": [[1, 0]]}))
            await entered(gate)
            late = await client.post("/predict", json={"instances": [[2, 0]]}, headers={"x-timeout-ms": "5"})
            gate.open.set()
            after = await client.post("/predict", json={"instances": [[3, 0]]}, headers={"x-timeout-ms": "60000"})
            return [await first, late, after]

    first, late, after = asyncio.run(scenario())
    assert [one.status_code for one in (first, late, after)] == [200, 504, 200]
    assert late.json() == {"field": "x-timeout-ms", "error": "no answer within 5 ms"}
    assert gate.seen == [1, 3]


@pytest.mark.parametrize("told", ["0", "-1", "1.5", "soon", "", "3600001", "9" * 30, "٣"])
def test_a_time_that_is_none_is_refused_with_the_header_named(told: str) -> None:
    with pytest.raises(BadRequestError, match="x-timeout-ms") as caught:
        timeout_s(told)
    assert caught.value.status == 422
    assert (timeout_s(None), timeout_s("250")) == (None, 0.25)


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time can be put forward."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s


def on_a_clock(scenario: Callable[[Clock], Any]) -> Any:
    loop = Clock()
    try:
        return loop.run_until_complete(scenario(loop))
    finally:
        loop.close()


def test_what_waits_in_the_queue_is_asked_for_before_it_is_computed(gate: Gate) -> None:
    async def scenario(clock: Clock) -> list[Any]:
        batcher, predictor = Batcher(max_batch_rows=8), gate.predictor()
        first = asyncio.create_task(batcher.predict(predictor, rows(1)))
        await entered(gate)
        end_s = clock.time() + 1
        others = [
            asyncio.create_task(batcher.predict(predictor, rows(2), until_s=end_s)),
            asyncio.create_task(batcher.predict(predictor, rows(3), is_gone=lambda: True)),
            asyncio.create_task(batcher.predict(predictor, rows(4), until_s=end_s + 60, is_gone=lambda: False)),
            asyncio.create_task(batcher.predict(predictor, rows(5))),
        ]
        await asyncio.sleep(0)
        others[3].cancel()
        clock.ahead_s += 2
        gate.open.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        await batcher.stop()
        return found

    first, late, gone, answered, cancelled = on_a_clock(scenario)
    assert isinstance(late, BadRequestError)
    assert isinstance(gone, ClientGoneError)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert [one.predictions for one in (first, answered)] == [[{"value": 2.0}], [{"value": 8.0}]]
    assert gate.seen == [1, 4]


def test_who_waits_for_a_short_time_is_not_asked_whether_he_is_there(gate: Gate) -> None:
    gate.open.set()

    async def scenario(_: Clock) -> Any:
        batcher = Batcher(max_batch_rows=8)
        answers = await batcher.predict(gate.predictor(), rows(1), is_gone=lambda: pytest.fail("he was asked"))
        await batcher.stop()
        return answers.predictions

    assert LONG_S > 0
    assert on_a_clock(scenario) == [{"value": 2.0}]


def test_a_client_that_is_gone_is_seen_without_waiting_for_it() -> None:
    async def scenario() -> list[bool]:
        left = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        asked = Asked({"headers": []}, receive, "id")
        before = [asked.is_gone(), asked.is_gone()]
        left.set()
        return [*before, asked.is_gone()]

    assert asyncio.run(scenario()) == [False, False, True]


def test_a_client_that_hangs_up_while_it_waits_is_counted_499_and_not_computed(app: ServingApp, gate: Gate) -> None:
    """As a server does it: the body, then nothing until the client is gone."""
    body = b'{"instances": [[2, 0]]}'
    scope = {"type": "http", "method": "POST", "path": "/m/predict", "headers": []}

    async def scenario(clock: Clock) -> list[Any]:
        left, sent, got = asyncio.Event(), [], iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            for message in got:
                return message
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message.get("status"))

        async with served(app) as client:
            first = asyncio.create_task(client.post("/predict", json=ROW))
            await entered(gate)
            second = asyncio.create_task(app(scope, receive, send))
            await asyncio.sleep(0)
            left.set()
            clock.ahead_s += 1
            gate.open.set()
            await asyncio.gather(first, second)
        return sent

    assert on_a_clock(scenario)[0] == 400
    assert gate.seen == [1]
    assert 'status="499"' in app.metrics.text().decode()
