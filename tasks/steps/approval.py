"""Approval: what people said about a version is read from the bucket, and a run may ask them.

The flow's memory is no evidence: before and after it waits, the documents in the bucket are read and verified.
"""

from __future__ import annotations

import time
from dataclasses import replace

from mlratchet.models.approval.standing import counted_digest, standing
from mlratchet.models.approval.statement import Statement, publish
from mlratchet.models.decisions.approval_page import request_page
from mlratchet.models.decisions.approval_request import ApprovalRequest, publish_request, request_about
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.decisions.document import Decision
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.evaluation.seen import side_by_side
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.policy import approval_checks
from mlratchet.models.objectives.naming import compute_metrics
from mlratchet.tasks.showing.prefect_page import show_text
from mlratchet.tasks.step import step
from mlratchet.tasks.support.answers import said_about, subject_of
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Adapters, Run


def with_approvals(
    run: Run, work: Work, gate: str, evidence: Evidence, digests: dict[str, str]
) -> tuple[Evidence, dict[str, str]]:
    """Evidence with the documents, and digests with those that count; both unchanged where the gate asks nobody."""
    checks = approval_checks(run.spec.gates, gate)
    if not checks or evidence.version is None:
        return evidence, digests
    approvals = said_about(run.adapters, subject_of(run, work, gate, evidence.version, digests["manifest"]))
    found = [standing(check, approvals) for check in checks]
    return replace(evidence, approval=approvals), {**digests, "approvals": counted_digest(found)}


def waits_for_people(decision: Decision) -> bool:
    """Whether everything passed that needs nobody, and somebody has still to answer."""
    verdicts = [(check["kind"], check["verdict"]) for check in decision["checks"]]
    others = {verdict for kind, verdict in verdicts if kind != "approval"}
    return others <= {"pass", "not_applicable"} and ("approval", "inconclusive") in verdicts


@step("Ask for approval", run_name="Ask for approval: {gate_run.gate}")
def ask_for_approval(run: Run, gate_run: GateRun, evidence: Evidence) -> ApprovalRequest | None:
    """Publish what is asked and show it; None when something else did not pass, so that nobody has to be asked."""
    store = run.adapters.store
    decision = load_decision(store, gate_run.decision)
    if evidence.version is None or not waits_for_people(decision):
        return None
    asked = request_about(
        decision, gate_run.decision, run.spec.policy, asked_by=run.actor, run_id=run.run_id, at_s=time.time()
    )
    request = publish_request(store, asked)
    show_text(
        f"approval-{gate_run.gate}", request_page(request, decision, metric_rows(run, evidence), links(run, evidence))
    )
    return request


def metric_rows(run: Run, evidence: Evidence) -> list[tuple[str, float, float | None]]:
    """(metric, candidate, champion or None), on the same rows, now; without those of single classes."""
    if evidence.candidate is None:
        return []
    task, names = run.workload.objective.reference, run.workload.class_names()
    candidate, champion, names = side_by_side(evidence.candidate, evidence.champion, names)
    ours = compute_metrics(candidate, task, names)
    theirs = compute_metrics(champion, task, names) if champion is not None else {}
    return [
        (name, one.value, theirs[name].value if name in theirs else None)
        for name, one in ours.items()
        if "_class_" not in name
    ]


def links(run: Run, evidence: Evidence) -> dict[str, str]:
    """Where a person looks further."""
    tracker = run.adapters.tracker
    found = {}
    if evidence.version is not None:
        number = run.adapters.registry.get_version(run.spec.name, evidence.version).number
        found[f"Version {evidence.version} in MLflow"] = tracker.version_url(run.spec.name, number)
    if run.tracking_run is not None:
        found["The training in MLflow"] = tracker.run_url(run.tracking_run)
    return found


def attest(
    adapters: Adapters, request: ApprovalRequest, *, decision: str, approver: str, reason: str, hours: float
) -> None:
    """Put a form that was filled in at Prefect's UI into the bucket, signed by the pipeline's key: it vouches for the
    form, not for the person."""
    now_s = time.time()
    statement = Statement.model_validate(
        {
            "subject": request.subject,
            "decision": decision,
            "approver": approver,
            "reason": reason,
            "at_s": now_s,
            "expires_s": now_s + hours * 3600,
            "method": "prefect-ui",
        }
    )
    publish(adapters.store, statement, adapters.keys.signer())
