"""A store that stopped taking objects is restarted when the disk is not the reason, and not before it has started."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.stack import volumes
from mlratchet.infra.stack.volumes import PATIENCE_S, PROBE_S, Volumes


@pytest.mark.parametrize(
    ("worked", "room", "restart"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_when_a_restart_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worked: bool, room: bool, restart: bool
) -> None:
    now, takes = [1000.0], [worked]
    monkeypatch.setattr(volumes.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(volumes, "prepare_buckets", lambda _settings: takes[0])
    monkeypatch.setattr(volumes, "has_room", lambda _folder: room)
    settings: Any = SimpleNamespace(home=tmp_path)
    watched = Volumes(settings)
    watched.look()
    assert watched.writable is worked
    takes[0] = False
    now[0] += PROBE_S
    watched.look()
    assert not watched.writable
    assert not watched.wants_restart()  # it may be a moment's trouble
    now[0] += PATIENCE_S
    watched.look()
    assert watched.wants_restart() is restart
    watched.began()
    assert not watched.wants_restart()
