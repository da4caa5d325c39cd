"""Entities that the model does not know are a slice that gates can ask about."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from mlratchet.models.config import WorkloadRef
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.slices import slice_labels
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.pipeline.checking import check_gates
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.sources.record import Split
from mlratchet.models.sources.stored_examples import EXAMPLE, UNPREPARED
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.cold_start import entities_beside, with_cold_start
from mlratchet.models.workloads.fields import SchemaWorkload
from mlratchet.models.workloads.loading import load_workload
from mlratchet.models.workloads.prepared import fit_away

USE = "mlratchet.models.workloads.fields:SchemaWorkload"
SCHEMA: dict[str, Any] = {
    "label": "rating", "group": "user",
    "fields": {"user": {"kind": "entity"}, "item": {"kind": "entity"}, "rating": {"kind": "number"}},
}  # fmt: skip


def examples(pairs: list[tuple[str, str]]) -> Inputs:
    documents = [json.dumps({"user": user, "item": item}).encode() for user, item in pairs]
    return Inputs.stack([{EXAMPLE: np.frombuffer(one, dtype=np.uint8)} for one in documents], (UNPREPARED,))


def test_a_row_says_of_each_entity_whether_training_knows_it() -> None:
    train = examples([(f"u{n % 3}", f"i{n % 2}") for n in range(12)] + [("u0", "rare")])
    test = examples([("u0", "i0"), ("u9", "i1"), ("u1", "i7"), ("u2", "rare")])
    state, prepared = fit_away(
        WorkloadRef(use=USE, parameters={"schema": SCHEMA}), {"train": [lambda: train], "test": [lambda: test]}
    )
    layout = SchemaWorkload(schema=SCHEMA, fitted=base64.b64encode(state).decode()).input_spec()
    rows = Split(ids=list("abcd"), x=prepared["test"][0], y=np.zeros(4, np.float32), columns={"user": ["u"] * 4})
    found = with_cold_start(rows, layout.example).columns
    assert found == {"user": ["u"] * 4, "cold_user": ["no", "yes", "no", "no"], "cold_item": ["no", "no", "yes", "yes"]}
    outputs = RowOutputs(ids=rows.ids, y=rows.y, output=np.zeros(4, np.float32), columns=found)
    assert slice_labels(outputs, columns=["cold_item"])[2] == "cold_item=yes"
    assert with_cold_start(rows, None) == rows


def test_an_entity_that_is_no_input_stands_beside() -> None:
    fields = SCHEMA["fields"] | {"user": {"kind": "entity", "input": False}, "when": {"kind": "time", "input": False}}
    about = SchemaWorkload(schema=SCHEMA | {"fields": fields}).input_spec().example
    assert entities_beside(about) == ("user",)
    assert entities_beside(SchemaWorkload(schema=SCHEMA).input_spec().example) == ()
    assert entities_beside(None) == ()


PIPELINE = """
name: films
schema:
  label: rating
  group: user
  fields: {{user: {{kind: entity}}, item: {{kind: entity}}, rating: {{kind: number}}}}
source: {{prefix: films/, format: ratings}}
gates:
  data: [{{kind: data, measure: rows, minimum: 1}}]
  candidate: [{{kind: slice, metric: rmse, by: [{column}], maximum: 2.0}}]
  staging: [{{kind: parity, maximum_difference: 0.1}}]
  champion: [{{kind: absolute, metric: rmse, maximum: 2.0}}]
"""


@pytest.mark.parametrize("column", ["cold_item", "item", '"@group"'])
def test_a_gate_can_ask_for_it_before_there_are_rows(column: str) -> None:
    spec = parse_pipeline(PIPELINE.format(column=column), where="films.yaml")
    check_gates(spec, load_workload(spec.workload.use, dict(spec.workload.parameters)))


def test_a_column_that_no_row_carries_is_refused_before_there_are_rows() -> None:
    spec = parse_pipeline(PIPELINE.format(column="cold_itm"), where="films.yaml")
    with pytest.raises(ConfigurationError, match=r"no column 'cold_itm' to slice by; did you mean 'cold_item'"):
        check_gates(spec, load_workload(spec.workload.use, dict(spec.workload.parameters)))
