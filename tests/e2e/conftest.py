"""The road once per session: digits, version 1 and version 2, as `make demo` makes them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlratchet.infra.seed import digits_files
from mlratchet.infra.stack.serving import server_url


@pytest.fixture(scope="session")
def digits_png() -> dict[str, bytes]:
    """File name -> PNG of all images."""
    return {key.removeprefix("digits/images/"): data for key, data in digits_files("2").items() if key.endswith(".png")}


@pytest.fixture(scope="session")
def first(stack: Any) -> dict[str, Any]:
    """The report of run 1."""
    stack("seed", "digits", "--delivery", "1")
    report: dict[str, Any] = stack.json("run", "digits")
    return report


@dataclass
class Load:
    """Clients that never stop asking."""

    url: str
    body: dict[str, Any]
    answers: list[tuple[int, str]] = field(default_factory=list)  # (status, version)
    errors: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self.stopping.is_set():
                try:
                    reply = client.post(f"{self.url}/predict", json=self.body)
                    self.answers.append((reply.status_code, reply.headers.get("x-model-version", "")))
                except httpx.HTTPError as error:
                    self.errors.append(str(error))
                time.sleep(0.02)  # 3 clients, about 100 requests a second


@dataclass(frozen=True)
class Second:
    """The report of run 2, and what clients saw meanwhile."""

    report: dict[str, Any]
    load: Load


@pytest.fixture(scope="session")
def second(stack: Any, first: dict[str, Any]) -> Second:
    """Run 2 under load."""
    load = Load(url=first["url"], body={"instances": [[[[0.5] * 8] * 8]]})
    clients = [threading.Thread(target=load.run) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        stack("seed", "digits", "--delivery", "2")
        report = stack.json("run", "digits")
        time.sleep(0.5)  # a few answers after the swap
    finally:
        load.stopping.set()
        for client in clients:
            client.join()
    return Second(report, load)


@pytest.fixture
def url(stack: Any, second: Second) -> str:
    """Of the digits server."""
    found = server_url(Path(stack.home), "digits")
    assert found is not None
    return found
