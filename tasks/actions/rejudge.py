"""Judge a decision again with what people said since: nothing is measured anew, and nothing trains."""

from __future__ import annotations

import dataclasses
import getpass
import time
from dataclasses import asdict
from typing import Any

from mlratchet.models.approval.standing import counted_digest, standing
from mlratchet.models.decisions.decision import plain_checks
from mlratchet.models.decisions.document import Decision
from mlratchet.models.decisions.environment import environment, judging_source_digest
from mlratchet.models.decisions.gate_run import GateRun, publish_gate_run
from mlratchet.models.decisions.judge_again import load_policy, replay, verdict_on
from mlratchet.models.decisions.signature import Context, publish_decision, verified_decision
from mlratchet.models.decisions.stored_evidence import freeze, thaw
from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.policy import approval_checks
from mlratchet.models.gates.sources import functions_named
from mlratchet.models.identity.canonical import digest as digest_of
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.tasks.support.answers import said_about
from mlratchet.tasks.wiring import Adapters


def with_answers(adapters: Adapters, digest: str) -> tuple[str, Decision]:
    """The decision and its digest; a new one where the statements that count are others than when it was judged.

    So an approval that came after the run counts, and one that expired since does not. Evidence and policy are those
    of the decision, by their digests. Raises ``SecurityError`` for a decision that is not genuine.
    """
    store, trusted = adapters.store, adapters.keys.trusted()
    decision, _ = verified_decision(store, digest, Context(trusted))
    policy = load_policy(store, decision["digests"]["policy"])
    checks = approval_checks(policy, decision["gate"])
    if not checks:
        return digest, decision
    evidence, basis = thaw(store, decision["digests"]["evidence"])
    if evidence.approval is None:
        raise SecurityError(f"decision {digest[:12]}: its policy asks for approval and its evidence holds none")
    approvals = said_about(adapters, evidence.approval.subject)
    counted = counted_digest([standing(check, approvals) for check in checks])
    if counted == decision["digests"].get("approvals"):
        return digest, decision
    evidence = dataclasses.replace(evidence, approval=approvals)
    basis = dataclasses.replace(basis, now_s=approvals.now_s)
    result = verdict_on(policy, evidence, basis)
    again: Decision = {
        **decision,
        "verdict": result.verdict,
        "checks": plain_checks(result),
        "digests": {
            **decision["digests"],
            "evidence": freeze(store, evidence, basis),
            "approvals": counted,
            "code": judging_source_digest(),
            **functions_named(policy, decision["gate"]),
            "judged_before": digest,
        },
        "environment": environment(),
        "times": {"judged_s": time.time()},
        "actor": getpass.getuser(),
        "at_s": approvals.now_s,
    }
    made = publish_decision(store, again, adapters.keys.signer())
    publish_gate_run(
        store,
        GateRun(
            id=digest_of({"judged_again": made}),
            gate=decision["gate"],
            work_key=decision["work_key"],
            verdict=result.verdict,
            decision=made,
            reasons=tuple(c.reason for c in result.checks if c.verdict not in ("pass", "not_applicable")),
        ),
    )
    return made, again


def judge_again(store: ObjectStore, decision: Decision) -> dict[str, Any]:
    """A replay, with its result in words. Raises ``SecurityError`` when evidence or policy is missing or changed."""
    again = replay(store, decision)
    where = "the recorded environment" if again.same_environment else "another environment"
    if again.problems:
        line = f"judged again in {where}: {again.problem}"
    elif again.largest_difference == 0.0:
        line = f"judged again in {where}: {again.checks} checks, every number identical"
    else:
        line = f"judged again in {where}: {again.checks} checks, largest difference {again.largest_difference:.1e}"
    return asdict(again) | {"holds": not again.problems, "line": line}
