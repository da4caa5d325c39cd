"""A store that refuses objects is restarted when the disk is not the reason, and not while it may still be starting."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.stack import volumes
from mlratchet.infra.stack.volumes import PATIENCE_S, REFUSALS, STARTING_S, Volumes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(volumes.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("room", [True, False])
@pytest.mark.parametrize(("worked", "patience_s"), [(True, PATIENCE_S), (False, STARTING_S)])
def test_when_a_restart_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float], worked: bool, patience_s: float, room: bool
) -> None:
    takes = [worked]
    monkeypatch.setattr(volumes, "prepare_buckets", lambda _settings: takes[0])
    monkeypatch.setattr(volumes, "has_room", lambda _folder: room)
    settings: Any = SimpleNamespace(home=tmp_path)
    watched = Volumes(settings)
    watched.belongs_to(7)
    if worked:
        watched.look()
    assert watched.writable is worked
    takes[0] = False
    watched.look()
    assert not watched.writable
    clock[0] += patience_s
    assert not watched.wants_restart()  # one refusal, however slow, may be a moment's trouble
    for _ in range(REFUSALS):
        watched.look()
    assert watched.wants_restart() is room
    watched.belongs_to(7)
    assert watched.wants_restart() is room
    watched.belongs_to(8)
    assert not watched.wants_restart()


def test_an_answer_of_the_process_before_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: Any = SimpleNamespace(home=tmp_path)
    watched = Volumes(settings)
    watched.belongs_to(7)

    def restarted_meanwhile(_settings: Any) -> bool:
        watched.belongs_to(8)
        return True

    monkeypatch.setattr(volumes, "prepare_buckets", restarted_meanwhile)
    watched.look()
    assert not watched.writable
