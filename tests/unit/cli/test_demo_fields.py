"""The six pipelines as they ship, and what `ratchet demo --fields` says of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlratchet.flows.cli.demo_fields import FIELDS, SHOWN, FieldDemo, scores, shortened
from mlratchet.infra.real_data.catalogue import REAL_DATA
from mlratchet.models.gates.validation import validate_policy
from mlratchet.models.pipeline.loading import find_pipeline, read_pipeline
from mlratchet.models.workloads.loading import load_workload

SHIPPED = Path(__file__).parents[3] / "deployments" / "pipelines"
FILES = sorted((SHIPPED / "fields").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_holds_a_linear_model_beside_the_candidate(file: Path) -> None:
    spec = read_pipeline(file)
    assert spec.name == file.stem
    assert spec.source.prefix.split("/")[0] in REAL_DATA
    assert any(check.kind == "baseline" for check in spec.gates.checks("candidate"))
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    validate_policy(spec.gates, workload.objective.reference, workload.class_names())


@pytest.mark.parametrize("one", FIELDS, ids=lambda one: one.pipeline)
def test_the_six_show_what_their_gate_asks(one: FieldDemo) -> None:
    spec = read_pipeline(find_pipeline(SHIPPED, one.pipeline))
    assert spec.source.prefix.startswith(f"{one.data}/")
    asked = {(check.kind, check.subject) for check in spec.gates.checks("candidate")}
    assert {("baseline", one.metric), ("absolute", one.metric)} <= asked


def check(kind: str, value: float | None, interval: list[float] | None) -> dict[str, Any]:
    return {"kind": kind, "value": value, "interval": interval}


def test_the_baseline_is_what_the_gain_leaves_of_the_metric() -> None:
    both = [check("absolute", 0.9, [0.88, 0.92]), check("baseline", 0.1, [0.05, 0.15])]
    assert scores("accuracy", 0.9, both) == ("accuracy 0.9000 (0.8800 to 0.9200)", "0.8000, gain +0.0500 to +0.1500")
    assert scores("rmse", 0.9, both)[1].startswith("1.0000, gain")  # lower is better
    assert scores("rmse", 0.9, []) == ("rmse 0.9000", "-")
    assert scores("rmse", 0.9, [check("baseline", None, None)])[1] == "-"


def test_an_example_is_shown_without_the_bytes_of_its_picture() -> None:
    shown = shortened({"picture": "A" * 4000, "words": "short", "at": 0.123456})
    assert shown == f'{{"picture": "{"A" * SHOWN}... (4,000 characters)", "words": "short", "at": 0.1235}}'
    likely = shortened({"class": "b", "probabilities": {"a": 0.1, "b": 0.6, "c": 0.05, "d": 0.25}})
    assert likely == '{"class": "b", "probabilities": {"b": 0.6, "d": 0.25, "a": 0.1}}'
