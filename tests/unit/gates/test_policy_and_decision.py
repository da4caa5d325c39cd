"""A policy is refused whole before anything trains; a decision says everything and cannot be changed unseen."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.decisions.decision import build_decision, explain, load_decision, table
from mlratchet.models.decisions.gate_run import GateRun, find_gate_run, gate_run_id, list_gate_runs, publish_gate_run
from mlratchet.models.decisions.signature import publish_decision
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.checks.absolute import AbsoluteCheck
from mlratchet.models.gates.checks.non_inferiority import NonInferiorityCheck
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import judge
from mlratchet.models.gates.pilot import Pilot
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.power import power_notes
from mlratchet.models.gates.validation import validate_policy
from mlratchet.models.identity.signing import Signer
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.ports.storage import DigestMismatch

CLASSES = tuple("0123456789")


def policy(spec: PipelineSpec, **gates: object) -> GatePolicy:
    return GatePolicy.model_validate({**spec.gates.model_dump(), **gates})


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"kind": "absolute", "metric": "acuracy", "minimum": 0.9}, "did you mean 'accuracy'"),
        ({"kind": "absolute", "metric": "accuracy", "maximum": 0.9}, "better when higher, got maximum"),
        ({"kind": "absolute", "metric": "log_loss", "minimum": 0.9}, "better when lower, got minimum"),
        ({"kind": "absolute", "metric": "rmse", "maximum": 0.9}, "unknown metric 'rmse'"),
    ],
)
def test_a_check_that_could_never_be_meant_is_refused(
    digits_spec: PipelineSpec, check: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        validate_policy(policy(digits_spec, candidate=[check]), "classification", CLASSES)


def test_an_unknown_measure_is_refused(digits_spec: PipelineSpec) -> None:
    bad = policy(digits_spec, data=[{"kind": "data", "measure": "row", "minimum": 1.0}])
    with pytest.raises(ConfigurationError, match="did you mean 'rows'"):
        validate_policy(bad, "classification", CLASSES)


def test_a_champion_gate_that_the_first_model_could_not_meet_is_refused(digits_spec: PipelineSpec) -> None:
    only_relative = [{"kind": "non_inferiority", "metric": "accuracy", "margin": 0.1}]
    with pytest.raises(ConfigurationError, match="the first model would have no check"):
        validate_policy(policy(digits_spec, champion=only_relative), "classification", CLASSES)


def test_a_champion_gate_that_compares_nothing_is_warned_about(digits_spec: PipelineSpec) -> None:
    only_absolute = [{"kind": "absolute", "metric": "accuracy", "minimum": 0.9}]
    notes = validate_policy(policy(digits_spec, champion=only_absolute), "classification", CLASSES)
    assert any("compares nothing" in note for note in notes)


def test_a_margin_that_the_test_rows_cannot_support_is_named(digits_spec: PipelineSpec) -> None:
    metrics = metrics_for("classification", CLASSES)
    few = power_notes(digits_spec.gates, Pilot(test_share=0.35, test_rows=100, metrics=metrics))
    margin = next(note for note in few if "champion.1" in note)
    assert "with 619 test rows" in margin
    assert "the champion had 100" in margin
    assert any("candidate.0" in note and "truly" in note for note in few)  # the interval of 100 rows is wide
    assert power_notes(digits_spec.gates, Pilot(test_share=0.35, metrics=metrics))
    assert not power_notes(digits_spec.gates, Pilot(test_share=0.35, test_rows=629, metrics=metrics))


@pytest.fixture
def decision(classified: Callable[..., RowOutputs]) -> dict[str, Any]:
    checks = (
        AbsoluteCheck(kind="absolute", metric="accuracy", minimum=0.8),
        NonInferiorityCheck(kind="non_inferiority", metric="accuracy", margin=0.05),
        AbsoluteCheck(kind="absolute", metric="nothing", minimum=0.8),
    )
    evidence = Evidence(candidate=classified(), champion=classified())
    result = judge("champion", checks, evidence, first_model=False, task="classification", class_names=("0", "1", "2"))
    return build_decision(
        "digits", "champion", result, version=2, work_key="k" * 64, champion_version=1, digests={"rows": "r"},
        actor="ada", now_s=1.0, run_id="run",
    )  # fmt: skip


def test_a_decision_says_what_a_reader_needs(decision: dict[str, Any], store: MemoryStore) -> None:
    read = load_decision(store, publish_decision(store, decision, Signer.generate()))
    assert read == json.loads(json.dumps(decision))
    words = explain(read)
    for wanted in ("champion gate of digits, version 2, compared with version 1", "accuracy", "Tango", "n=400"):
        assert wanted in words
    assert [row["verdict"] for row in table(read)] == ["pass", "pass", "inconclusive"]
    assert table(read)[2]["value"] == "none"
    assert next(iter(table(read)[0])) == "verdict"  # pages cut off the last columns
    assert [row["threshold"] for row in table(read)] == ["≥ 0.8", "above -0.05 against the champion", "?"]


def test_a_changed_decision_is_refused(decision: dict[str, Any], store: MemoryStore) -> None:
    digest = publish_decision(store, decision, Signer.generate())
    key = f"decisions/{digest}.json"
    store.put(key, store.get(key).replace(b'"pass"', b'"fail"', 1))
    with pytest.raises(DigestMismatch):
        load_decision(store, digest)


IDENTITY: dict[str, Any] = {
    "gate": "champion",
    "work_key": "w",
    "policy_digest": "p",
    "champion_version": 1,
    "dataset_id": "d",
    "judged_by": {"ratchet": "j"},
    "evidence": {"rows": "r"},
}


def test_the_first_gate_run_stands(store: MemoryStore) -> None:
    identity = gate_run_id(**IDENTITY)
    first = GateRun(id=identity, gate="champion", work_key="w", verdict="pass", decision="one")
    second = GateRun(id=identity, gate="champion", work_key="w", verdict="fail", decision="two")
    assert publish_gate_run(store, first) == first
    assert publish_gate_run(store, second) == first
    assert find_gate_run(store, "w", identity) == first
    assert list_gate_runs(store, "w") == [first]


def test_a_new_champion_or_policy_makes_an_old_gate_run_stale() -> None:
    changes = {
        "champion_version": 2, "policy_digest": "q", "dataset_id": "e", "evidence": {"rows": "s"},
        "judged_by": {"ratchet": "k"},
    }  # fmt: skip
    made = {gate_run_id(**IDENTITY)} | {gate_run_id(**{**IDENTITY, key: value}) for key, value in changes.items()}
    assert len(made) == 6
