"""The road once per session: digits, version 1 and version 2, as `make demo` makes them."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from mlratchet.infra.seed import digits_files
from mlratchet.infra.serving.local import LocalServers
from playwright.sync_api import Browser, sync_playwright
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun

from tests.conftest import Stack, wait_for


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
        with httpx.Client(timeout=120) as client:
            while not self.stopping.is_set():
                try:
                    reply = client.post(f"{self.url}/predict", json=self.body)
                    self.answers.append((reply.status_code, reply.headers.get("x-model-version", "")))
                except httpx.HTTPError as error:
                    self.errors.append(str(error))
                time.sleep(0.05)  # 3 clients, about 50 requests a second


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
        seen = len(load.answers) + len(clients)  # as many may still be on their way
        wait_for("answers after the swap", lambda: len(load.answers) + len(load.errors) >= seen + 3 * len(clients))
    finally:
        load.stopping.set()
        for client in clients:
            client.join()
    return Second(report, load)


@pytest.fixture
def url(stack: Any, second: Second) -> str:
    """Of the digits server."""
    found = LocalServers(Path(stack.home)).url("digits")
    assert found is not None
    return found


class DeploymentRuns:
    """The flow runs of one deployment, which the stack's worker starts."""

    def __init__(self, stack: Stack, deployment_id: str) -> None:
        self._stack = stack
        self._filter = DeploymentFilter(id=DeploymentFilterId(any_=[UUID(deployment_id)]))

    def all(self) -> list[FlowRun]:
        """As Prefect has them now."""
        with self._stack.prefect() as client:
            return self._read(client)

    def _read(self, client: SyncPrefectClient) -> list[FlowRun]:
        return client.read_flow_runs(deployment_filter=self._filter)

    def ended(self, besides: Collection[UUID] = (), timeout_s: float = 600.0) -> FlowRun:
        """The first new one that ends; if none does, the error shows where they stand and what the worker says."""

        def found(client: SyncPrefectClient) -> FlowRun | None:
            runs = [run for run in self._read(client) if run.id not in besides]
            return next((run for run in runs if run.state is not None and run.state.is_final()), None)

        try:
            with self._stack.prefect() as client:
                run: FlowRun = wait_for("a run to end", partial(found, client), timeout_s)
        except AssertionError as error:
            states = "\n".join(f"{run.name} {run.state!r}" for run in self.all())
            said = (self._stack.home / "logs" / "worker.log").read_text().splitlines()[-60:]
            raise AssertionError(f"{error}\n{states}\nworker: " + "\n".join(said)) from None
        return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; who asks for it is skipped without."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield made
        made.close()
