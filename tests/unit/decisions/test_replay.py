"""A decision can be judged again from the bucket alone, and every number that was touched shows."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.decisions.decision import plain_checks
from mlratchet.models.decisions.environment import environment, judging_source_digest
from mlratchet.models.decisions.judge_again import load_policy, publish_policy, replay, verdict_on
from mlratchet.models.decisions.signature import decision_key
from mlratchet.models.decisions.stored_evidence import Basis, freeze
from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.sources import functions_named

from tests.unit.audit.conftest import GATES, POLICY, World


def champion_decision(world: World) -> dict[str, Any]:
    entry = world.ledger.entries("digits")[-1]
    found: dict[str, Any] = json.loads(world.store.get(decision_key(entry.decision)))
    return found


def test_judged_again_here_every_number_is_identical(world: World) -> None:
    champion = champion_decision(world)
    for gate in GATES:
        digest = champion["digests"].get(f"gate.{gate}")
        decision = json.loads(world.store.get(decision_key(digest))) if digest else champion
        again = replay(world.store, decision)
        assert again.problems == ()
        assert again.same_environment
        assert again.largest_difference == 0.0
        assert again.checks == len(POLICY.checks(gate))


@pytest.mark.parametrize("what", ["value", "interval", "verdict", "n", "threshold", "method", "reason", "seed"])
def test_a_number_that_was_not_computed_shows(world: World, what: str) -> None:
    decision = champion_decision(world)
    check = decision["checks"][1]
    check[what] = {
        "value": check["value"] + 1e-12, "interval": [check["interval"][0] + 1e-12, check["interval"][1]],
        "verdict": "fail", "n": check["n"] + 1, "threshold": "?", "method": "guess", "reason": "trust me", "seed": 7,
    }[what]  # fmt: skip
    assert any(what in problem for problem in replay(world.store, decision).problems)


def test_elsewhere_a_billionth_is_forgiven_and_a_verdict_is_not(world: World) -> None:
    decision = champion_decision(world)
    decision["environment"] = {**decision["environment"], "numpy": "1.0"}
    near, far, other = copy.deepcopy(decision), copy.deepcopy(decision), copy.deepcopy(decision)
    near["checks"][1]["value"] += 1e-11
    again = replay(world.store, near)
    assert (again.problems, again.same_environment) == ((), False)
    assert 0 < again.largest_difference < 1e-9
    far["checks"][1]["value"] += 1e-6
    assert "value" in replay(world.store, far).problems[0]
    other["verdict"] = "fail"
    assert "verdict pass, recorded fail" in replay(world.store, other).problems[0]


def test_what_other_code_decided_says_so(world: World) -> None:
    decision = champion_decision(world)
    decision["verdict"] = "fail"
    assert replay(world.store, decision).problem == "verdict pass, recorded fail"
    decision["digests"] = {**decision["digests"], "code": "ab" * 32}
    problem = replay(world.store, decision).problem
    assert problem.startswith("verdict pass, recorded fail; other judging code decided (abababababab, here ")
    assert "verify with the revision that decided" in problem
    assert replay(world.store, champion_decision(world)).problem == ""


def test_a_check_that_was_left_out_shows(world: World) -> None:
    decision = champion_decision(world)
    decision["checks"] = decision["checks"][:1]
    assert "2 checks, recorded 1" in replay(world.store, decision).problems


def test_evidence_of_another_gate_or_version_is_refused(world: World) -> None:
    decision = champion_decision(world)
    staging = json.loads(world.store.get(decision_key(decision["digests"]["gate.staging"])))
    for wrong in (
        {**decision, "digests": {**decision["digests"], "evidence": staging["digests"]["evidence"]}},
        {**decision, "version": 9},
        {**decision, "digests": {"policy": decision["digests"]["policy"]}},
    ):
        with pytest.raises(SecurityError):
            replay(world.store, wrong)


def test_a_policy_is_read_back_whole(world: World) -> None:
    digest = champion_decision(world)["digests"]["policy"]
    assert load_policy(world.store, digest) == POLICY
    world.store.put(f"policies/{digest}.json", world.store.get(f"policies/{digest}.json").replace(b"0.5", b"0.4"))
    with pytest.raises(SecurityError):
        load_policy(world.store, digest)


FUNCTION = 'def judge(evidence):\n    return {"value": 1, "verdict": "pass", "reason": "as it was"}\n'


def test_an_edited_function_is_named_and_what_it_found_is_still_compared(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "replayed_check.py").write_text(FUNCTION)
    monkeypatch.syspath_prepend(str(tmp_path))
    custom = {"kind": "custom", "function": "replayed_check:judge"}
    data = {"kind": "data", "measure": "rows", "minimum": 1}
    policy = GatePolicy.model_validate({gate: [data if gate == "data" else custom] for gate in GATES})
    evidence = Evidence(version=1)
    basis = Basis(gate="candidate", first_model=True, task="classification", class_names=("0", "1"), now_s=0.0)
    result = verdict_on(policy, evidence, basis)
    named = functions_named(policy, "candidate")
    decision = {
        "gate": "candidate", "version": 1, "verdict": result.verdict, "checks": plain_checks(result),
        "environment": environment(),
        "digests": {
            "policy": publish_policy(store, policy), "evidence": freeze(store, evidence, basis),
            "code": judging_source_digest(), **named,
        },
    }  # fmt: skip
    assert result.verdict == "pass"
    (tmp_path / "replayed_check.py").write_text(FUNCTION + "# a comment\n")
    assert (replay(store, decision).problems, replay(store, decision).same_environment) == ((), True)
    (tmp_path / "replayed_check.py").write_text(FUNCTION + "ADDED = 1\n")
    again = replay(store, decision)
    assert (again.problems, again.same_environment, again.judged_by) == ((), False, named["functions"])
    decision["verdict"] = "fail"
    assert f"other judging code decided ({named['functions'][:12]}, here " in replay(store, decision).problem
