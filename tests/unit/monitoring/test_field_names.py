"""Fields whose names the monitor has a use for itself: each keeps streams and figures of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.monitoring.look import streams_of
from mlratchet.models.monitoring.measure.column_evidence import column_streams
from mlratchet.models.monitoring.measure.columns import drift_figure
from mlratchet.models.schema.fields import Schema

from tests.unit.inference_log.logs import Log
from tests.unit.monitoring.site import BEGIN_S, CONFIG, SCHEMA, Site, Traffic


@pytest.mark.parametrize(
    "name", ["refused", "log", "missing refused", "errors", "coverage", "prediction", "confidence", "calibration"]
)
def test_a_field_may_have_any_name(name: str) -> None:
    site = Site()
    then = site.reference
    renamed = then.model_copy(
        update={
            "sketches": {f"field.{name}" if key == "field.price" else key: one for key, one in then.sketches.items()},
            "kinds": {f"field.{name}" if key == "field.price" else key: one for key, one in then.kinds.items()},
            "missing": {name if key == "price" else key: one for key, one in then.missing.items()},
        }
    )
    quiet, gone = Traffic(0), Traffic(1, missing=0.4)
    assert len(streams_of(site.watched(1, 1), CONFIG)) == 14
    site.reference = renamed
    assert len(streams_of(site.watched(1, 1), CONFIG)) == 14  # none took the place of another
    assert f"inputs/{name}" in column_streams(renamed, CONFIG)
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


def test_no_field_has_the_drift_of_an_output_or_of_another_field() -> None:
    columns = ["prediction", "confidence", "field.prediction", "field.confidence", "field.field prediction", "field.a"]
    assert len({drift_figure(one) for one in columns}) == len(columns)
    assert drift_figure("field.a") == "drift a"
    assert drift_figure("confidence") == "drift confidence"
