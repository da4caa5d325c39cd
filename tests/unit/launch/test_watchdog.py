"""How long a rank may be silent."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlratchet.infra.launch import watchdog
from mlratchet.infra.launch.watchdog import Watchdog


def test_slow_steps_are_allowed_twenty_of_their_median(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: clock[0])
    guard = Watchdog(10.0, tmp_path, 0)
    assert guard.allowed_s() == 30.0  # before the first step: loading, compiling
    for _ in range(5):
        clock[0] += 0.1
        guard.beat()
    assert guard.allowed_s() == 10.0
    for _ in range(20):
        clock[0] += 4.0
        guard.beat()
    assert guard.allowed_s() == pytest.approx(80.0)


def test_nobody_asked_it_to_leave_at_first(tmp_path: Path) -> None:
    assert not Watchdog(10.0, tmp_path, 0).stop_requested()
