"""Did they agree whom a decision names? Asked anew by promotion, server and audit, with their own list of keys."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

from mlratchet.models.approval.standing import Approvals, standing
from mlratchet.models.decisions.document import Decision
from mlratchet.models.decisions.judge_again import load_policy
from mlratchet.models.decisions.stored_evidence import decode, evidence_key
from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.policy import approval_checks
from mlratchet.models.identity.signing import Anchored, TrustedKeys
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore


def verify_statements(
    store: ObjectStore, decision: Decision, trusted: TrustedKeys, anchored: Callable[[str], Anchored]
) -> None:
    """The signed statements behind a passed decision, as of its time; nothing to do where its policy asks nobody.

    The pipeline signs decisions, but what an approver's key must sign it cannot: a decision that claims an approval
    holds only with the statement itself.

    Args:
        store: The bucket.
        decision: Genuine by the pipeline's signature.
        trusted: The verifier's own list, not the one that was frozen with the evidence.
        anchored: Whether a revoked key's signature is older than its revocation; see `TrustedKeys.verify`.

    Raises:
        SecurityError: The statements are gone, about something else, or do not suffice.
    """
    digests, what = decision["digests"], f"{decision['gate']} decision about version {decision['version']}"
    claimed = any(check["kind"] == "approval" for check in decision["checks"])
    if "policy" not in digests and not claimed:
        return
    checks = approval_checks(load_policy(store, digests["policy"]), decision["gate"])
    if not checks and not claimed:
        return
    try:
        frozen = json.loads(store.get(evidence_key(digests["evidence"]), sha256=digests["evidence"]))
        approvals = decode(store, frozen["evidence"]["approval"], Approvals)
    except (ObjectNotFound, ValueError, KeyError, TypeError) as exc:
        raise SecurityError(f"{what}: the statements of its approvers cannot be read ({exc})") from exc
    if approvals is None or not checks:
        raise SecurityError(f"{what}: asks for or names an approval, but holds no statement or no check of one")
    said = {name: decision[name] for name in ("pipeline", "gate", "version", "work_key", "champion_version")}
    said |= {name: digests.get(name) for name in ("manifest", "policy", "dataset")}
    wrong = [name for name, value in approvals.subject.model_dump().items() if said[name] != value]
    if wrong:
        raise SecurityError(f"{what}: its approval is about another {', '.join(wrong)}")
    approvals = dataclasses.replace(approvals, trusted=trusted, now_s=decision["at_s"])
    for check in checks:
        found = standing(check, approvals, anchored=anchored)
        if found.verdict != "pass":
            raise SecurityError(f"{what}: its approval does not hold: {found.reason}")
