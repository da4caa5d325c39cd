"""A look from a machine whose clock is ahead: what is not over is no window, or the rest of its rows is lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.models.identity import lease
from mlratchet.models.monitoring.window import windows_of
from mlratchet.tasks.actions import monitor

from tests.unit.monitoring.site import BEGIN_S, MINUTE, Site, Traffic


@pytest.fixture
def site() -> Site:
    """One minute, and half of the next."""
    made = Site()
    made.serve(Traffic(0))
    half = Traffic(1)
    made.log.write(half.rows[:120], settled_s=half.begin_s + MINUTE / 2)
    return made


def take_up(site: Site, monkeypatch: pytest.MonkeyPatch, *, ours_s: float, stores_s: float) -> int:
    """How many windows there are after a look, by the clock of this machine and that of the store."""

    class Log:
        def __init__(self, *_: Any) -> None:
            self.source, self.config, self.watched, self.late_s = site.source, site.config, site.watched, 20.0

        def promoted_s(self) -> float:
            return BEGIN_S

    head = site.raw.head
    monkeypatch.setattr(site.raw, "head", lambda key: SimpleNamespace(**{**vars_of(head(key)), "modified_s": stores_s}))
    monkeypatch.setattr(monitor, "WatchedLog", Log)
    monkeypatch.setattr(monitor, "look_at_trainings", lambda *_: [])
    monkeypatch.setattr(lease.time, "time", lambda: ours_s)
    monitor.take_up(SimpleNamespace(store=site.store), "shop")  # type: ignore[arg-type]  # of it the store
    return len(windows_of(site.store, "shop"))


def vars_of(info: Any) -> dict[str, Any]:
    return {name: getattr(info, name) for name in info.__dataclass_fields__}


@pytest.mark.parametrize(("ahead_s", "store_s", "windows"), [(0, 75, 1), (7200, 75, 1), (0, 145, 2), (-7200, 145, 0)])
def test_a_clock_that_is_ahead_ends_no_window_early(
    site: Site, monkeypatch: pytest.MonkeyPatch, ahead_s: float, store_s: float, windows: int
) -> None:
    now_s = BEGIN_S + store_s
    assert take_up(site, monkeypatch, ours_s=now_s + ahead_s, stores_s=now_s) == windows
