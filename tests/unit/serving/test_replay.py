"""Probation's evidence: what the live server answers, held against what was recorded."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import uvicorn
from mlratchet.infra.machine.free_ports import find_port
from mlratchet.infra.serving.replay import FAILURES_KEPT, quantiles_ms, replay_live, shortened
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.gates.checks.contract import ContractCheck
from mlratchet.models.gates.checks.latency import LatencyCheck
from mlratchet.models.gates.evidence import Evidence, LiveReplay
from mlratchet.models.gates.judge import judge
from mlratchet.models.serving.contract import StoredRequest, contract_requests
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.slot import Slot
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.tensors.named import Inputs

from tests.conftest import wait_for
from tests.unit.serving.conftest import app_of

SIGNATURE = Signature(
    task="classification",
    input=InputSpec(kind="table", shape=(3,), dtype="float32", columns=("a", "b", "c")),
    classes=("no", "yes"),
)
MODEL = torch.nn.Linear(3, 2).eval()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of version 7."""
    slot = Slot()
    slot.swap(Predictor(version=7, generation=1, signature=SIGNATURE, model=MODEL))
    port = find_port(set())
    server = uvicorn.Server(uvicorn.Config(app_of(slot), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for("the server", lambda: server.started)
    yield f"http://127.0.0.1:{port}/m"
    server.should_exit = True
    thread.join(10)


def recorded(shift: float = 0.0) -> list[StoredRequest]:
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    with torch.inference_mode():
        output = MODEL(torch.from_numpy(x)).numpy()
    return contract_requests(SIGNATURE, Inputs({"x": x}), output + np.float32([shift, 0.0]), examples=20)


def test_a_server_that_answers_as_recorded_has_no_failures(url: str) -> None:
    live = replay_live(url, recorded(), version=7)
    assert live is not None
    assert live.failures == ()
    assert live.n == len(recorded()) > 20
    assert 0 < live.latency_ms["p50"] <= live.latency_ms["p95"] <= live.latency_ms["p99"]


def test_other_answers_than_recorded_are_named(url: str) -> None:
    live = replay_live(url, recorded(shift=0.3), version=7)
    assert live is not None
    assert len(live.failures) > 20
    assert "got" in live.failures[0]
    assert "expected" in live.failures[0]


def test_of_another_version_nothing_is_said(url: str) -> None:
    assert replay_live(url, recorded(), version=8) is None


def test_a_server_that_is_away_fails_every_request() -> None:
    live = replay_live(f"http://127.0.0.1:{find_port(set())}", recorded()[:3], version=7)
    assert live == LiveReplay(n=3, failures=live.failures if live else ())
    assert live is not None
    assert all("ConnectError" in failure for failure in live.failures)


def test_many_failures_are_counted_and_none_is_hidden() -> None:
    lines = shortened([str(number) for number in range(FAILURES_KEPT + 5)])
    assert len(lines) == FAILURES_KEPT + 1
    assert lines[-1] == "and 5 more"
    assert quantiles_ms([]) == {}


CHECKS = [
    ContractCheck(kind="contract", minimum_requests=10),
    LatencyCheck(kind="latency", quantile="p95", maximum_milliseconds=50.0),
]
GOOD = LiveReplay(n=10, latency_ms={"p50": 1.0, "p95": 2.0, "p99": 3.0})


@pytest.mark.parametrize(
    ("live", "verdict"),
    [
        (GOOD, "pass"),
        (None, "inconclusive"),
        (LiveReplay(n=9, latency_ms=GOOD.latency_ms), "inconclusive"),
        (LiveReplay(n=10, latency_ms={"p50": 1.0}), "inconclusive"),
        (LiveReplay(n=10, latency_ms={"p95": float("nan")}), "inconclusive"),
        (LiveReplay(n=10, latency_ms={"p95": 51.0}), "fail"),
        (LiveReplay(n=10, failures=("row 3: wrong",), latency_ms=GOOD.latency_ms), "fail"),
    ],
)
def test_the_verdict_of_a_probation(live: LiveReplay | None, verdict: str) -> None:
    evidence = Evidence(version=7, live=live)
    found = judge("probation", CHECKS, evidence, first_model=False, task="classification", class_names=("no", "yes"))
    assert found.verdict == verdict
