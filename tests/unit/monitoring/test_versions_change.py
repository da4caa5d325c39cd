"""Another version in the middle of a window, one that comes back, and other fields in the log of one version."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from mlratchet.models.inference_log.columns import log_schema
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.monitoring import following
from mlratchet.models.monitoring.asking_again import AskedAgain
from mlratchet.models.monitoring.config import SampleRule

from tests.unit.monitoring.site import BEGIN_S, CONFIG, MINUTE, SCHEMA, Site, Traffic

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


@pytest.mark.parametrize("others", ["hash", "drop"])
def test_a_field_that_is_hashed_or_left_out_from_some_moment_on_drifts_no_more_and_ends_no_look(others: Any) -> None:
    """`serving.log.fields` was changed by a deployment; the version and its reference are the same."""
    asked: list[pa.Table] = []
    config = CONFIG.model_copy(update={"sample": SampleRule()})
    site = Site(config, slices=())
    site.ask = lambda table: asked.append(table) or AskedAgain()  # type: ignore[func-returns-value]  # remembers them
    minutes = [Traffic(at, rows=120) for at in range(2)]
    site.log.write(minutes[0].rows[:60])
    site.log.columns = log_schema(SCHEMA, LogConfig(fields=(), others=others))
    rest = [*minutes[0].rows[60:], *minutes[1].rows]
    for row in rest:
        row |= {"field.price": "3af0", "field.region": "c1d2"} if others == "hash" else {}
    site.log.write(rest[:60], settled_s=BEGIN_S + MINUTE)
    site.log.write(rest[60:], settled_s=BEGIN_S + 2 * MINUTE)
    made = site.look(now_s=BEGIN_S + 2 * MINUTE + 1)
    assert [one.record.counts["rows"] for one in made] == [120, 120]
    assert [one.findings for one in made] == [(), ()]
    fields = [{name for name in one.column_names if name.startswith("field.")} for one in asked]
    assert fields == [{"field.price", "field.region"}, set()]
    assert asked[0].num_rows == 60
