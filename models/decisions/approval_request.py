"""What waits for a person: published beside the answers, so that it outlives the run that asked."""

from __future__ import annotations

import json
from typing import Any

from mlratchet.models.approval.statement import Subject
from mlratchet.models.config import StrictModel
from mlratchet.models.decisions.document import Decision
from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.checks.approval import ApprovalCheck
from mlratchet.models.gates.policy import GatePolicy, approval_checks
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.ports.storage import ObjectExists, ObjectStore
from pydantic import field_serializer


class ApprovalRequest(StrictModel):
    """A question to the approvers. Nothing in it is trusted that is not also in the subject."""

    subject: Subject
    policy: GatePolicy
    """The gates' policy, whole; its digest is the subject's."""
    decision: str
    """Digest of the decision in which everything but the approval passed."""
    asked_by: str
    run_id: str
    """Of the first run that asked."""
    at_s: float
    """Seconds since the epoch."""

    @field_serializer("policy")
    def _as_published(self, policy: GatePolicy) -> dict[str, object]:
        return policy.model_dump(mode="json", exclude={"policy"})  # the path of a shared file says nothing

    @property
    def key(self) -> str:
        """Where it is published."""
        return request_key(self.subject)

    def checks(self) -> tuple[ApprovalCheck, ...]:
        """The approval checks of the gate. Raises ``SecurityError`` when the policy is not the subject's."""
        digest = self.policy.digest()
        if digest != self.subject.policy:
            raise SecurityError(f"{self.key}: its policy is {digest[:12]}, not {self.subject.policy[:12]}")
        return approval_checks(self.policy, self.subject.gate)


def request_key(subject: Subject) -> str:
    """Where the request of a subject is published."""
    return f"{subject.folder}request.json"


def subject_fields(decision: Decision) -> dict[str, Any]:
    """What a gate's decision is about, under the names of `Subject`; None where it does not say."""
    digests = decision.get("digests") or {}
    fields = {name: decision[name] for name in ("pipeline", "gate", "version", "work_key", "champion_version")}
    return fields | {name: digests.get(name) for name in ("manifest", "policy", "dataset")}


def request_about(
    decision: Decision, digest: str, policy: GatePolicy, *, asked_by: str, run_id: str, at_s: float
) -> ApprovalRequest:
    """The question that a gate's decision leaves to people. `policy` is the decision's, `digest` the decision's own."""
    return ApprovalRequest(
        subject=Subject(**subject_fields(decision)),
        policy=policy,
        decision=digest,
        asked_by=asked_by,
        run_id=run_id,
        at_s=at_s,
    )


def publish_request(store: ObjectStore, request: ApprovalRequest) -> ApprovalRequest:
    """By conditional create; the first one stands and is returned."""
    try:
        store.create(request.key, canonical_json(request.model_dump(mode="json")))
    except ObjectExists:
        return read_request(store, request.key)
    return request


def read_request(store: ObjectStore, key: str) -> ApprovalRequest:
    """Raises ``SecurityError`` for an object that is no request, or one that is kept elsewhere than its subject."""
    try:
        request = ApprovalRequest.model_validate(json.loads(store.get(key)))
    except (ValueError, RecursionError) as exc:
        raise SecurityError(f"{store.bucket}/{key}: not a request for approval: {str(exc).splitlines()[0]}") from exc
    if request.key != key:
        raise SecurityError(f"{store.bucket}/{key}: about another version; it belongs at {request.key}")
    return request


def list_requests(store: ObjectStore, pipeline: str | None = None) -> list[ApprovalRequest]:
    """All requests of a pipeline, or of all; oldest first."""
    prefix = f"approvals/{pipeline}/" if pipeline else "approvals/"
    keys = [info.key for info in store.list(prefix) if info.key.endswith("/request.json")]
    return sorted((read_request(store, key) for key in keys), key=lambda request: request.at_s)
