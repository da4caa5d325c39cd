"""A gate: pure judgement of evidence, published as a signed decision before anything acts on it."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from mlratchet.models.decisions.decision import build_decision, described, table
from mlratchet.models.decisions.document import ChampionRecord, Decision, held_checks
from mlratchet.models.decisions.environment import environment, judging_source_digest
from mlratchet.models.decisions.gate_run import GateRun, find_gate_run, gate_run_id, publish_gate_run
from mlratchet.models.decisions.judge_again import publish_policy, verdict_on
from mlratchet.models.decisions.signature import publish_decision
from mlratchet.models.decisions.stored_evidence import Basis, freeze
from mlratchet.models.fault_points import fault_point
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.sources import functions_named, judging_code
from mlratchet.models.promotion.verify import confirmed
from mlratchet.tasks.showing.mlflow_pages import show_decision_page
from mlratchet.tasks.showing.prefect_page import show_table
from mlratchet.tasks.step import step
from mlratchet.tasks.steps.approval import with_approvals
from mlratchet.tasks.support.because import because
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run
from prefect.client.schemas.objects import State, StateType

ASKING = "Asking"  # the name of a gate's state while people are asked


def refused(gate_run: GateRun) -> State[Any] | None:
    """Red, with the reasons: a gate that did not let the run through is no success."""
    if gate_run.verdict == "pass":
        return None
    return State(type=StateType.FAILED, message=f"{gate_run.verdict}: {'; '.join(gate_run.reasons) or 'no reason'}")


def asking(gate_run: GateRun) -> State[Any] | None:
    """Neither green nor red: people are asked, and then it is judged once more."""
    if gate_run.verdict == "pass":
        return None
    return State(type=StateType.COMPLETED, name=ASKING, message="; ".join(gate_run.reasons))


def judge_gate(run: Run, work: Work, gate: str, evidence: Evidence, digests: dict[str, str]) -> GateRun:
    """Judge, publish the decision, show it. The caller stops the run unless the verdict is `pass`."""
    spec, store, keys = run.spec, run.adapters.store, run.adapters.keys
    evidence, digests = with_approvals(run, work, gate, evidence, digests)
    signer = keys.signer()
    began_s = time.time()
    champion = work.champion.version if work.champion else None
    identity = gate_run_id(
        gate=gate,
        work_key=work.key,
        policy_digest=spec.policy_digest(),
        champion_version=champion,
        dataset_id=work.dataset_id,
        judged_by=judging_code(spec.gates, gate),
        evidence={**digests, "signed_by": signer.key_id},  # with a new key it is judged again
    )
    earlier = find_gate_run(store, work.key, identity)
    if earlier is not None:
        decision = confirmed(store, keys.trusted(), earlier, pipeline=spec.name, champion=champion, digests=digests)
        show_decision(run, decision, earlier.decision)
        return earlier
    evidence = dataclasses.replace(evidence, dataset_id=work.dataset_id)
    basis = Basis(
        gate=gate,
        first_model=work.champion is None,
        task=run.workload.objective.reference,
        class_names=run.workload.class_names(),
        now_s=began_s,
    )
    result = verdict_on(spec.policy, evidence, basis)
    decision = build_decision(
        spec.name,
        gate,
        result,
        version=evidence.version,
        work_key=work.key,
        champion_version=champion,
        digests={
            "policy": publish_policy(store, spec.policy),
            "evidence": freeze(store, evidence, basis),
            "pipeline": spec.revision(),
            "dataset": work.dataset_id,
            "code": judging_source_digest(),
            **functions_named(spec.gates, gate),
            "workload": run.workload_digest,
            **digests,
        },
        actor=run.actor,
        now_s=began_s,
        run_id=run.run_id,
        champion=champion_of(work),
        environment=environment(),
        reason="; ".join(because(run)),
        finding=run.because.id if run.because is not None else "",
        times={"judged_s": time.time()},
    )
    digest = publish_decision(store, decision, signer)
    fault_point(f"gate.{gate}.after_decision")
    gate_run = GateRun(
        id=identity,
        gate=gate,
        verdict=result.verdict,
        decision=digest,
        work_key=work.key,
        reasons=failures(decision),
    )
    publish_gate_run(store, gate_run)
    show_decision(run, decision, digest)
    return gate_run


pass_gate = step("Gate", run_name="Gate: {gate}", state_of=refused)(judge_gate)
before_asking = step("Gate", run_name="Gate: {gate}", state_of=asking)(judge_gate)


def champion_of(work: Work) -> ChampionRecord | None:
    """The ledger's word on who was compared with."""
    if work.champion is None:
        return None
    entry = work.champion
    return ChampionRecord(
        version=entry.version,
        generation=entry.generation,
        manifest=entry.manifest,
        decision=entry.decision,
        work_key=entry.work_key,
    )


def show_decision(run: Run, decision: Decision, digest: str) -> None:
    """A table on Prefect's page of the run, with the decision in words above it; a page in MLflow."""
    show_decision_page(run, decision, digest)
    show_table(f"gate-{decision['gate']}", table(decision), described(decision))


def failures(decision: Decision) -> tuple[str, ...]:
    """The reasons of every check that did not pass."""
    return tuple(check["reason"] for check in held_checks(decision))
