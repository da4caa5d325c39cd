"""Another version in the middle of a window, and one that comes back."""

from __future__ import annotations

from typing import Any

import pytest
from mlratchet.models.monitoring import following

from tests.unit.monitoring.site import MINUTE, Site, Traffic

pytestmark = pytest.mark.usefixtures("few_resamples")


def test_a_version_that_came_back_within_a_window_is_measured_under_its_newest_generation() -> None:
    """Of its rows 40 % came before another took its place, and 20 % after that was rolled back."""
    site = Site(slices=())
    minute = Traffic(0, rows=100)
    for at, row in enumerate(minute.rows):
        version, generation = (1, 1) if at < 40 else (2, 2) if at < 80 else (1, 3)
        row |= {"version": version, "generation": generation}
        row["received_s"] = minute.begin_s + at * MINUTE / 100
    site.serve(minute)
    (made,) = site.look()
    assert (made.record.version, made.record.generation) == (1, 3)
    assert (made.record.counts["rows"], made.record.counts["other_versions"]) == (60, 40)


@pytest.mark.parametrize("in_one_look", [True, False])
def test_a_window_is_held_against_the_same_windows_whether_they_were_measured_in_this_look_or_before(
    monkeypatch: pytest.MonkeyPatch, in_one_look: bool
) -> None:
    usual: dict[int, list[int]] = {}
    measure = following.measure_window

    def told(*args: Any, **more: Any) -> Any:
        usual[more["number"]] = [one.number for one in args[3]]
        return measure(*args, **more)

    monkeypatch.setattr(following, "measure_window", told)
    monkeypatch.setattr(following, "HISTORY", 2)
    site = Site(slices=())
    site.serve(*[Traffic(at, rows=20, version=version) for at, version in enumerate((1, 2, 2, 1))])
    if not in_one_look:
        site.look(most=3)
    site.look()
    assert usual == {1: [], 2: [], 3: [2], 4: []}  # of the newest two those of its version
