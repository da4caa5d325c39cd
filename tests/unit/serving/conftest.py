"""Models that are known to the last bit, and a server of one in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
import torch
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.slot import Slot
from mlratchet.models.sources.record import InputSpec
from starlette.testclient import TestClient

IMAGE = Signature(
    task="classification",
    classes=("no", "yes"),
    input=InputSpec(kind="image", shape=(1, 2, 2), dtype="float32", value_range=(0.0, 1.0)),
)
TABLE = Signature(
    task="regression", classes=(), input=InputSpec(kind="table", shape=(2,), dtype="float32", columns=("a", "b"))
)


def sum_of(version: int, signature: Signature = IMAGE, factor: float = 1.0) -> Predictor:
    """Answers with the sum of a row's values times `factor`; a classifier says yes where that is positive."""

    def model(x: torch.Tensor) -> torch.Tensor:
        total = x.flatten(1).float().sum(1) * factor
        return total if signature.task == "regression" else torch.stack([-total, total], 1)

    return Predictor(version=version, generation=version, signature=signature, model=model)


BASE = "http://localhost/m"  # of the endpoint of `app_of`


def app_of(slot: Slot, config: ServingConfig | None = None, name: str = "m") -> ServingApp:
    """A server of one pipeline."""
    app = ServingApp(Metrics())
    app.take_up(Endpoint(name, slot, config or ServingConfig(), metrics=app.metrics))
    return app


@asynccontextmanager
async def served(app: ServingApp, base_url: str = BASE) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it, on this event loop."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=base_url) as client:
        yield client
    await app.close()


@pytest.fixture
def slot() -> Slot:
    """Serves version 3, on pictures."""
    slot = Slot()
    slot.swap(sum_of(3))
    return slot


@pytest.fixture
def serve() -> Iterator[Callable[..., TestClient]]:
    """A client of a server of a slot."""
    opened: list[TestClient] = []

    def make(slot: Slot, **config: object) -> TestClient:
        app = app_of(slot, ServingConfig.model_validate(config))
        client = TestClient(app, base_url=BASE, raise_server_exceptions=True)
        opened.append(client.__enter__())
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(slot: Slot, serve: Callable[..., TestClient]) -> TestClient:
    """Of `slot`."""
    return serve(slot, max_request_bytes=2000)
