"""What is done for a request on a thread is dropped with its client; who only begins to send takes no place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from mlratchet.models.serving import answering
from mlratchet.models.serving.answering import SHORT_BYTES
from mlratchet.models.serving.aside import aside
from mlratchet.models.serving.asked import ClientGoneError
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.explaining.answering import MOST_AT_ONCE
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.slot import Slot
from starlette.types import Message

from tests.unit.serving.conftest import TABLE, app_of, served, sum_of

ROW = b'{"a": 1, "b": 2}'
PATIENCE_S = 60.0


class Client:
    """Sends a body, or the beginning of one, and then nothing until it leaves."""

    def __init__(
        self, path: str, body: bytes, *, whole: bool = True, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        self.scope = {"type": "http", "method": "POST", "path": f"/m{path}", "headers": list(headers)}
        self.left, self.status = asyncio.Event(), 0
        self._first = iter([{"type": "http.request", "body": body, "more_body": not whole}])

    async def receive(self) -> Message:
        for message in self._first:
            return message
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.status = message.get("status", self.status)


class Slow:
    """A model that waits on the thread of explanations until it may go on."""

    def __init__(self) -> None:
        self.inside, self.go, self.asked = threading.Event(), threading.Event(), 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if threading.current_thread().name.startswith("explain"):
            self.asked += 1
            self.inside.set()
            assert self.go.wait(PATIENCE_S)
        return x.sum(1)

    def app(self) -> Any:
        slot = Slot()
        slot.swap(Predictor(version=3, generation=3, signature=TABLE, model=self))
        return app_of(slot)


def steady_slot() -> Slot:
    """Of another pipeline."""
    slot = Slot()
    slot.swap(sum_of(1, TABLE))
    return slot


def test_who_only_begins_to_send_takes_no_place_of_an_explanation() -> None:
    model = Slow()
    model.go.set()

    async def scenario() -> int:
        app = model.app()
        slow = [Client("/explain", ROW[:5], whole=False) for _ in range(MOST_AT_ONCE)]
        async with served(app) as client, asyncio.timeout(PATIENCE_S):
            sending = [asyncio.create_task(app(one.scope, one.receive, one.send)) for one in slow]
            await asyncio.sleep(0)
            reply = await client.post("/explain", content=ROW)
            for one in slow:
                one.left.set()
            await asyncio.gather(*sending)
        return reply.status_code

    assert asyncio.run(scenario()) == 200


def test_an_explanation_ends_with_its_client_and_one_that_waits_is_never_begun() -> None:
    model = Slow()

    async def scenario() -> list[int]:
        app = model.app()
        clients = [Client("/explain", ROW) for _ in range(MOST_AT_ONCE)]
        async with served(app), asyncio.timeout(PATIENCE_S):
            asking = [asyncio.create_task(app(one.scope, one.receive, one.send)) for one in clients]
            await asyncio.get_running_loop().run_in_executor(None, model.inside.wait, PATIENCE_S)
            for one in clients:
                one.left.set()
            await asyncio.gather(*asking)  # nobody waits for the model
            model.go.set()
        return [one.status for one in clients]

    assert asyncio.run(scenario()) == [400] * MOST_AT_ONCE
    assert model.asked == 1


def test_what_waits_to_be_read_is_dropped_with_its_client() -> None:
    done: list[str] = []
    go, inside = threading.Event(), threading.Event()

    def work(name: str) -> str:
        inside.set()
        assert go.wait(PATIENCE_S)
        done.append(name)
        return name

    async def scenario() -> str:
        gone = False
        with ThreadPoolExecutor(1) as thread:
            async with asyncio.timeout(PATIENCE_S):
                first = asyncio.create_task(aside(thread, lambda: work("first"), lambda: False))
                await asyncio.get_running_loop().run_in_executor(None, inside.wait, PATIENCE_S)
                second = asyncio.create_task(aside(thread, lambda: work("second"), lambda: gone))
                third = asyncio.create_task(aside(thread, lambda: work("third"), lambda: False))
                await asyncio.sleep(0)
                gone = True
                with pytest.raises(ClientGoneError):
                    await second
                third.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await third
                go.set()
                return await first

    assert asyncio.run(scenario()) == "first"
    assert done == ["first"]


def test_a_pipeline_that_ends_answers_its_explanations_and_others_meanwhile() -> None:
    model = Slow()

    async def scenario() -> list[int]:
        app = model.app()
        app.take_up(Endpoint("other", steady_slot(), ServingConfig(), metrics=app.metrics))
        clients = [Client("/explain", ROW) for _ in range(2)]
        other = Client("/predict", ROW)
        other.scope["path"] = "/other/predict"
        async with asyncio.timeout(PATIENCE_S):
            asking = [asyncio.create_task(app(one.scope, one.receive, one.send)) for one in clients]
            await asyncio.get_running_loop().run_in_executor(None, model.inside.wait, PATIENCE_S)
            dropped = app.drop("m")
            assert dropped is not None
            ending = asyncio.create_task(app.ended(dropped))
            await app(other.scope, other.receive, other.send)
            assert not ending.done()
            model.go.set()
            await asyncio.gather(*asking, ending)
        await app.close()
        return [one.status for one in (*clients, other)]

    assert asyncio.run(scenario()) == [200, 200, 200]


def test_a_pipeline_ends_though_its_threads_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody waits for any more may last as long as a user's code does."""
    go, inside, over = threading.Event(), threading.Event(), threading.Event()

    def lasts(*_: Any) -> Any:
        inside.set()
        go.wait(PATIENCE_S)
        over.set()
        raise BadRequestError("body", "whatever it is")

    monkeypatch.setattr(answering, "read_aside", lasts)

    async def scenario() -> None:
        app, client = Slow().app(), Client("/predict", ROW + b" " * SHORT_BYTES)
        asking = asyncio.create_task(app(client.scope, client.receive, client.send))
        await asyncio.get_running_loop().run_in_executor(None, inside.wait, PATIENCE_S)
        client.left.set()
        await asking
        await app.close()
        assert not over.is_set(), "it waited for the thread"

    asyncio.run(scenario())
    go.set()


def test_a_long_body_is_not_read_for_a_client_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    go, inside, read = threading.Event(), threading.Event(), []

    def slowly(body: bytes, *_: Any) -> Any:
        read.append(len(body))
        inside.set()
        assert go.wait(PATIENCE_S)
        raise BadRequestError("body", "whatever it is")

    monkeypatch.setattr(answering, "read_aside", slowly)

    async def scenario() -> list[int]:
        app = Slow().app()
        clients = [Client("/predict", ROW + b" " * SHORT_BYTES) for _ in range(3)]
        async with served(app), asyncio.timeout(PATIENCE_S):
            asking = [asyncio.create_task(app(one.scope, one.receive, one.send)) for one in clients]
            await asyncio.get_running_loop().run_in_executor(None, inside.wait, PATIENCE_S)
            for one in clients[1:]:
                one.left.set()
            await asyncio.gather(*asking[1:])
            assert 'status="499",variant="champion",version="3"} 2.0' in app.metrics.text().decode()
            go.set()
            await asking[0]
        return [one.status for one in clients]

    assert asyncio.run(scenario()) == [422, 400, 400]
    assert len(read) == 1
