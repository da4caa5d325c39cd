"""Ctrl-C ends a simulation, whatever labels were still to come."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.serving.sending import Heard
from mlratchet.models.monitoring.traffic import OwnRows
from mlratchet.tasks.actions import simulate as simulating
from mlratchet.tasks.actions.simulate import TrafficPlan, simulate

ONE = Heard(request_id="0" * 32, status=200, truth="yes", drifted=False, answered_s=0.0)
LATER_S = 2.0  # after which its label would be brought


def test_no_label_is_waited_for_after_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    brought: list[Any] = []

    def interrupted(_url: str, _requests: Any, *, heard: Any, **_: Any) -> None:

        heard(Heard(**{**vars(ONE), "answered_s": time.time()}))
        raise KeyboardInterrupt

    spec = SimpleNamespace(serving=SimpleNamespace(labels=None))
    monkeypatch.setattr(simulating, "load_pipeline", lambda *_: spec)
    monkeypatch.setattr(simulating, "deployed_revision", lambda *_: "r")
    monkeypatch.setattr(simulating, "bringer", lambda *_: brought.append)
    monkeypatch.setattr(simulating, "send", interrupted)
    adapters: Any = SimpleNamespace(servers=SimpleNamespace(url=lambda _: "http://here"), store=None)
    plan = TrafficPlan(drift="none", labels_after_s=LATER_S, share=1.0)
    with pytest.raises(KeyboardInterrupt):
        simulate(adapters, "shop", plan, rows=OwnRows(instances=[{"a": 1}], truths=["yes"]))
    assert brought == []
