"""An approval counts only for this very version, from one of the approvers, with a key that is believed, in time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.approval.standing import Standing, counted_digest, standing
from mlratchet.models.approval.statement import read
from mlratchet.models.gates.checks.approval import ApprovalCheck
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import judge
from pydantic import ValidationError

from tests.unit.approval.conftest import HOUR_S, NOW_S, Office, new_office


def ask(office: Office, now_s: float = NOW_S, **more: Any) -> Standing:
    return standing(asks(**more), office.approvals(now_s))


def asks(**more: Any) -> ApprovalCheck:
    return ApprovalCheck.model_validate({"kind": "approval", "approvers": ["alice", "bob"], **more})


def test_nobody_said_anything_waits(office: Office) -> None:
    found = ask(office)
    assert (found.verdict, found.reason) == ("inconclusive", "waits for 1 of alice, bob")


def test_a_signed_approval_of_an_approver_passes_and_says_who_and_why(office: Office) -> None:
    office.say("alice", reason="compared the slices")
    found = ask(office)
    assert found.verdict == "pass"
    assert "approved by alice: compared the slices" in found.reason
    assert office.signers["alice"].key_id in found.reason


@pytest.mark.parametrize(
    ("who", "more", "words"),
    [
        ("mallory", {}, "not one of the approvers alice, bob"),
        ("alice", {"by": "bob"}, "signed by the key of bob"),
        ("alice", {"by": "mallory"}, "signed by the key of mallory"),
        ("alice", {"by": "pipeline"}, "expected a approver key"),
        ("alice", {"by": "pipeline", "method": "prefect-ui"}, "a form is not enough"),
        ("alice", {"method": "prefect-ui"}, "expected a pipeline key"),
        ("alice", {"at_s": NOW_S + HOUR_S, "expires_s": NOW_S + 2 * HOUR_S}, "in the future"),
        ("alice", {"at_s": NOW_S - HOUR_S, "expires_s": NOW_S - 1}, "expired"),
        ("alice", {"at_s": NOW_S - 80 * HOUR_S, "expires_s": NOW_S + 9000 * HOUR_S}, "expired"),
    ],
)
def test_what_does_not_count_says_why(office: Office, who: str, more: dict[str, Any], words: str) -> None:
    office.say(who, **more)
    found = ask(office)
    assert found.verdict == "inconclusive"
    assert words in found.reason
    assert found.counted == ()


def test_the_form_counts_where_the_policy_says_so(office: Office) -> None:
    office.say("alice", by="pipeline", method="prefect-ui")
    assert ask(office, require="ui").verdict == "pass"
    office.say("mallory", by="pipeline", method="prefect-ui")
    assert "not one of the approvers" in "; ".join(ask(office, require="ui").ignored)


def test_a_signature_counts_where_a_form_would_do(office: Office) -> None:
    office.say("bob")
    assert ask(office, require="ui").verdict == "pass"


@pytest.mark.parametrize("field", ["version", "manifest", "policy", "dataset", "champion_version", "gate", "work_key"])
def test_anything_that_changed_makes_it_about_something_else(office: Office, field: str) -> None:
    office.say("alice")
    other = office.subject.model_copy(update={field: 9 if field.endswith("version") else "changed"})
    assert standing(asks(), office.approvals(subject=other)).reason == "waits for 1 of alice, bob"
    for info in list(office.store.list(office.subject.folder)):  # copied to where the changed version would look
        moved = info.key.replace(office.subject.id, other.id)
        office.store.create(moved, office.store.get(info.key))
    found = standing(asks(), office.approvals(subject=other))
    assert found.verdict == "inconclusive"
    assert f"about something else ({field}" in found.reason


@pytest.mark.parametrize(
    ("revoked", "words"),
    [
        ({"revoked_s": NOW_S - 20, "reason": "stolen"}, "revoked (stolen)"),
        ({"revoked_s": NOW_S - 1, "reason": "stolen"}, "nothing shows that it was signed before"),
        ({"rotated_s": NOW_S - 4 * HOUR_S}, "rotated out"),
    ],
)
def test_a_key_that_is_believed_no_more_approves_nothing(office: Office, revoked: dict[str, Any], words: str) -> None:
    office.say("alice")
    assert ask(office).verdict == "pass"
    office.hire("alice", **revoked)
    found = ask(office)
    assert found.verdict == "inconclusive"
    assert words in found.reason


def test_a_changed_or_damaged_document_does_not_count(office: Office) -> None:
    office.say("alice")
    (info,) = office.store.list(office.subject.folder)
    document = json.loads(office.store.get(info.key))
    document["statement"]["reason"] = "something else"
    office.store.put(info.key, json.dumps(document).encode())
    assert "does not fit" in ask(office).reason
    office.store.put(info.key, b"{}")
    assert "not a statement" in ask(office).reason
    office.store.put(info.key, b"\xff")
    assert ask(office).verdict == "inconclusive"


def test_one_rejection_fails_whoever_agreed(office: Office) -> None:
    office.say("alice")
    office.say("bob", "reject", reason="slice eu is worse")
    found = ask(office)
    assert found.verdict == "fail"
    assert found.reason.startswith("rejected by bob: slice eu is worse")


def test_a_rejection_in_the_form_holds_even_where_approving_needs_a_signature(office: Office) -> None:
    office.say("alice", "reject", by="pipeline", method="prefect-ui")
    assert ask(office).verdict == "fail"
    assert ask(office, now_s=NOW_S + 500 * HOUR_S).verdict == "fail"
    office.say("mallory", "reject", by="pipeline", method="prefect-ui")
    office.say("alice", at_s=NOW_S - 5)
    assert ask(office).verdict == "pass"


def test_the_newest_word_of_an_approver_counts(office: Office) -> None:
    office.say("alice", "reject", at_s=NOW_S - 30)
    office.say("alice", "approve", at_s=NOW_S - 20)
    assert ask(office).verdict == "pass"
    office.say("alice", "reject", at_s=NOW_S - 20)
    assert ask(office).verdict == "fail"


def test_two_must_be_two_people(office: Office) -> None:
    office.say("alice")
    office.say("alice", at_s=NOW_S - 5)
    found = ask(office, minimum=2)
    assert found.verdict == "inconclusive"
    assert found.reason.endswith("waits for 1 of bob")
    office.say("bob")
    assert ask(office, minimum=2).verdict == "pass"


def test_the_digest_changes_when_an_approval_expires(office: Office) -> None:
    office.say("alice")
    office.say("bob", expires_s=NOW_S + 50 * HOUR_S)
    digests = [counted_digest([ask(office, now_s=NOW_S + hours * HOUR_S)]) for hours in (0, 2, 60)]
    assert len(set(digests)) == 3
    assert digests[2] == "none"


def test_one_key_may_speak_again_and_nothing_is_overwritten(office: Office) -> None:
    for decision in ("approve", "reject", "approve"):
        office.say("alice", decision)
    statements, damaged = read(office.store, office.subject)
    assert [one.statement.decision for one in statements] == ["approve", "reject", "approve"]
    assert damaged == []


@pytest.mark.parametrize("more", [{"reason": "  "}, {"reason": ""}, {"expires_s": NOW_S - 60}, {"decision": "maybe"}])
def test_a_statement_needs_a_reason_and_an_end(office: Office, more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        office.say("alice", **more)


def test_a_check_that_could_never_pass_is_refused() -> None:
    with pytest.raises(ValidationError, match="could never pass"):
        asks(minimum=3)


@given(st.data())
def test_no_set_of_statements_without_an_approvers_own_approval_passes(data: Any) -> None:
    """Whatever mallory, the pipeline and time do: only alice's or bob's key can say yes."""
    office = new_office()
    for _ in range(data.draw(st.integers(0, 6))):
        office.say(
            data.draw(st.sampled_from(["alice", "bob", "mallory", "pipeline"])),
            data.draw(st.sampled_from(["approve", "reject"])),
            by=data.draw(st.sampled_from(["mallory", "pipeline"])),
            method=data.draw(st.sampled_from(["signature", "prefect-ui"])),
            at_s=data.draw(st.sampled_from([NOW_S - HOUR_S, NOW_S - 1, NOW_S + HOUR_S])),
            expires_s=NOW_S + 2 * HOUR_S,
        )
    assert ask(office, minimum=data.draw(st.sampled_from([1, 2]))).verdict != "pass"


def verdict(evidence: Evidence) -> str:
    return judge("champion", [asks()], evidence, first_model=True, task="regression", class_names=()).verdict


def test_the_judge_reads_the_documents(office: Office) -> None:
    assert verdict(Evidence(version=2)) == "inconclusive"
    assert verdict(Evidence(version=2, approval=office.approvals())) == "inconclusive"
    office.say("alice")
    assert verdict(Evidence(version=2, approval=office.approvals())) == "pass"
    assert verdict(Evidence(version=3, approval=office.approvals())) == "inconclusive"
    office.say("bob", "reject")
    assert verdict(Evidence(version=2, approval=office.approvals())) == "fail"
