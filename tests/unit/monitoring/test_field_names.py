"""Fields whose names the monitor has a use for itself: each keeps streams and figures of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.monitoring.gauges import gauges_text
from mlratchet.models.monitoring.look import streams_of
from mlratchet.models.monitoring.measure.column_evidence import column_streams
from mlratchet.models.monitoring.measure.columns import column_told_as, drift_figure, input_subject, told_as
from mlratchet.models.monitoring.reference import Reference
from mlratchet.models.monitoring.referring import TestColumn, reference_of
from mlratchet.models.monitoring.sketches import of
from mlratchet.models.profile.windows_page import windows_page
from mlratchet.models.schema.fields import Schema

from tests.left_out import most_slow
from tests.unit.inference_log.logs import Log
from tests.unit.monitoring.site import BEGIN_S, CONFIG, FACTS, SCHEMA, Site, Traffic, rows_of_the_test

pytestmark = pytest.mark.usefixtures("few_resamples")

NAMES = (
    "refused", "log", "missing refused", "errors", "coverage", "prediction", "confidence", "calibration", "prepared",
    "outputs", "inputs/price", "a b", "preço ✓ 価格", "x" * 300, "field prepared",
)  # fmt: skip


@pytest.mark.parametrize("name", most_slow(NAMES, keep=4))
def test_a_field_may_have_any_name(name: str) -> None:
    site = Site()
    then = with_prepared(site)
    renamed = then.model_copy(
        update={
            "sketches": {f"field.{name}" if key == "field.price" else key: one for key, one in then.sketches.items()},
            "kinds": {f"field.{name}" if key == "field.price" else key: one for key, one in then.kinds.items()},
            "missing": {name if key == "price" else key: one for key, one in then.missing.items()},
        }
    )
    quiet, gone = Traffic(0), Traffic(1, missing=0.4)
    held = len(streams_of(site.watched(1, 1), CONFIG))
    site.reference = renamed
    assert len(streams_of(site.watched(1, 1), CONFIG)) == held  # none took the place of another
    assert f"inputs/{input_subject(f'field.{name}')}" in column_streams(renamed, CONFIG)
    for row in (*quiet.rows, *gone.rows):
        row[f"field.{name}"] = row.pop("field.price")
    schema = Schema.model_validate_json(SCHEMA.model_dump_json(exclude_none=True).replace('"price"', f'"{name}"'))
    site.log = Log("shop", schema=schema, store=site.raw)
    site.store = RecordStore(site.raw, site.log.keys, now=lambda: BEGIN_S)
    site.source = replace(site.source, keys=site.log.keys)
    site.serve(quiet, gone)
    found = [one for each in site.look() for one in each.findings if one.measure == "missing"]
    assert [one.kind for one in found] == ["data"]
    assert found[0].subject not in ("refused", "log")
    assert found[0].effect == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize("name", ["prepared", "field prepared", "confidence", "a/b"])
def test_an_alarm_about_a_field_is_about_that_field_alone(name: str) -> None:
    """What is found, its figure and its curve on the page are of one column, whatever the others are called."""
    site = Site()
    then = with_prepared(site)
    site.reference = then.model_copy(
        update={
            "sketches": {f"field.{name}" if key == "field.price" else key: one for key, one in then.sketches.items()},
            "kinds": {f"field.{name}" if key == "field.price" else key: one for key, one in then.kinds.items()},
            "missing": {name if key == "price" else key: one for key, one in then.missing.items()},
            "importance": {name if key == "price" else key: one for key, one in then.importance.items()},
        }
    )
    moved = [Traffic(minute, shift=6.0) for minute in range(2)]
    rng = np.random.default_rng(4)
    for row in (row for one in moved for row in one.rows):
        row[f"field.{name}"] = row.pop("field.price")
        row["prepared"] = rng.normal(size=2).tolist()
    schema = Schema.model_validate_json(SCHEMA.model_dump_json(exclude_none=True).replace('"price"', f'"{name}"'))
    site.log = Log("shop", schema=schema, store=site.raw)
    site.store = RecordStore(site.raw, site.log.keys, now=lambda: BEGIN_S)
    site.source = replace(site.source, keys=site.log.keys)
    site.serve(*moved)
    made = site.look()
    alarms = [one for each in made for one in each.findings if (one.kind, one.severity) == ("inputs", "alarm")]
    assert [one.subject for one in alarms] == [input_subject(f"field.{name}")]
    assert "relies on it for 70%" in alarms[0].words
    figure = made[0].record.figures[drift_figure(f"field.{name}")]
    assert alarms[0].effect == pytest.approx(figure.value, rel=0.5)
    page = windows_page([one.record for one in made], alarms, site.reference, pipeline="shop")
    assert page.count("relied on for 70%") == 1
    assert gauges_text([(made[-1].record, site.reference)]).decode().count(f'field="{told_as(f"field.{name}")}"') == 2


def with_prepared(site: Site) -> Reference:
    """The reference of a site, with a sketch of prepared inputs beside the fields."""
    rng = np.random.default_rng(3)
    sketch = of(rng.normal(size=(200, 2)).tolist(), "tensor")
    then = site.reference
    site.reference = then.model_copy(
        update={
            "sketches": {**then.sketches, "prepared": sketch.to_json()}, "kinds": {**then.kinds, "prepared": "tensor"}
        }
    )  # fmt: skip
    return site.reference


def test_a_field_that_is_called_prepared_and_what_was_prepared_are_two_columns() -> None:
    rows, columns = rows_of_the_test()
    made = reference_of(
        "shop", 1, "d" * 64, rows, {"prepared": columns["price"]}, FACTS, [], CONFIG,
        prepared=TestColumn(kind="tensor", values=[[0.0, 1.0]] * len(rows.ids)),
    )  # fmt: skip
    assert made.kinds["field.prepared"] == "number"
    assert made.kinds["prepared"] == "tensor"
    assert set(made.missing) == {"prepared"}


def test_no_field_has_the_drift_of_an_output_or_of_another_field() -> None:
    columns = ["prediction", "confidence", "prepared", *(f"field.{name}" for name in (*NAMES, "field prediction"))]
    assert len({drift_figure(one) for one in columns}) == len(columns)
    assert [column_told_as(told_as(one)) for one in columns] == columns
    assert drift_figure("field.a") == "drift a"
    assert drift_figure("confidence") == "drift confidence"
