"""What promotion and the server refuse: a genuine decision about something else is as good as a forged one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.decisions.signature import Context, decision_key, publish_decision
from mlratchet.models.errors import GateRefusedError, SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.ledger.chain import entry_key
from mlratchet.models.promotion.registered import PROGRAM, WEIGHTS, refuse_unjudged_registration
from mlratchet.models.promotion.verify import confirmed, verify_decision_of, verify_entry
from mlratchet.models.registration.record import Registration

from tests.unit.audit.conftest import World


@pytest.fixture
def record(world: World) -> Registration:
    """Version 4, whose gates passed against version 3."""
    return world.register(4)


def facts(record: Registration, **changes: Any) -> dict[str, Any]:
    return {
        "pipeline": "digits", "version": record.version, "work_key": record.work_key,
        "manifest": record.manifest_digest, "champion_version": 3, **changes,
    }  # fmt: skip


def test_the_decision_about_this_very_version_is_accepted(world: World, record: Registration) -> None:
    digest = world.gates(record, 3)
    decision = verify_decision_of(world.store, digest, Context(world.keys.trusted()), **facts(record))
    assert decision["verdict"] == "pass"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pipeline": "letters"}, "pipeline digits, expected letters"),
        ({"version": 5}, "version 4, expected 5"),
        ({"work_key": "f" * 64}, "work_key 000000000000, expected ffffffffffff"),
        ({"manifest": "0" * 64}, "manifest"),
        ({"champion_version": 2}, "champion_version 3, expected 2"),
        ({"champion_version": None}, "champion_version 3, expected None"),
    ],
)
def test_a_decision_about_something_else_is_refused(
    world: World, record: Registration, change: dict[str, Any], words: str
) -> None:
    digest = world.gates(record, 3)
    with pytest.raises(SecurityError, match=f"is about something else: .*{words}"):
        verify_decision_of(world.store, digest, Context(world.keys.trusted()), **facts(record, **change))


def test_a_gate_of_another_kind_is_refused(world: World, record: Registration) -> None:
    staging = world.judge("staging", record, 3, manifest=record.manifest_digest)
    with pytest.raises(SecurityError, match="gate staging, expected champion"):
        verify_decision_of(world.store, staging, Context(world.keys.trusted()), **facts(record))


@pytest.mark.parametrize("gate", ["data", "candidate", "staging", "champion"])
def test_a_genuine_decision_that_says_no_moves_nothing(world: World, record: Registration, gate: str) -> None:
    def no(digest: str) -> str:
        decision = json.loads(world.store.get(decision_key(digest)))
        return publish_decision(world.store, {**decision, "verdict": "inconclusive"}, world.keys.signer())

    earlier = {f"gate.{name}": world.judge(name, record, 3) for name in ("data", "candidate", "staging")}
    if gate != "champion":
        earlier[f"gate.{gate}"] = no(earlier[f"gate.{gate}"])
    digest = world.judge("champion", record, 3, manifest=record.manifest_digest, **earlier)
    if gate == "champion":
        digest = no(digest)
    with pytest.raises(GateRefusedError, match="inconclusive; only `pass` moves a model"):
        verify_decision_of(world.store, digest, Context(world.keys.trusted()), **facts(record))


def test_an_earlier_gate_about_other_work_rows_or_bytes_is_refused(world: World, record: Registration) -> None:
    other = world.register(5)
    mine = {f"gate.{name}": world.judge(name, record, 3) for name in ("data", "candidate", "staging")}
    for gate, theirs in (
        ("data", world.judge("data", other, 3)),
        ("candidate", world.judge("candidate", record, 3, rows="rows/other.safetensors")),
        ("staging", world.judge("staging", record, 3, manifest=other.manifest_digest)),
        ("staging", mine["gate.candidate"]),
    ):
        named = {**mine, f"gate.{gate}": theirs}
        digest = world.judge("champion", record, 3, manifest=record.manifest_digest, rows="rows/r.safetensors", **named)
        with pytest.raises(SecurityError, match="is about something else"):
            verify_decision_of(world.store, digest, Context(world.keys.trusted()), **facts(record))


def test_every_generation_is_verified_by_itself(world: World) -> None:
    chain = world.ledger.chain("digits")
    entries = [link.entry for link in chain.links]
    for generation in (1, 2, 3, 4):
        decision = verify_entry(world.store, entries, generation, Context(world.keys.trusted(), chain, generation))
        assert decision["version"] == entries[generation - 1].version
    with pytest.raises(SecurityError, match="not in the trusted list"):
        verify_entry(world.store, entries, 4, Context(TrustedKeys(), chain, 4))


def gate_run(world: World, record: Registration, decision: str, **changes: str) -> GateRun:
    facts = {"id": "i", "gate": "candidate", "verdict": "pass", "work_key": record.work_key, "decision": decision}
    return GateRun(**{**facts, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "fail"}, "verdict pass, expected fail"),
        ({"gate": "champion"}, "gate candidate, expected champion"),
        ({"work_key": "f" * 64}, "work_key"),
    ],
)
def test_a_gate_run_that_was_edited_in_the_bucket_is_refused(
    world: World, record: Registration, changes: dict[str, str], words: str
) -> None:
    """`gates/...json` is a note of where the decision is: a thief may write `pass` into it."""
    digest = world.judge("candidate", record, 3, rows="r")
    given: dict[str, Any] = {"pipeline": "digits", "champion": 3, "digests": {"rows": "r"}}
    trusted = world.keys.trusted()
    assert confirmed(world.store, trusted, gate_run(world, record, digest), **given)["gate"] == "candidate"
    with pytest.raises(SecurityError, match=words):
        confirmed(world.store, trusted, gate_run(world, record, digest, **changes), **given)
    for other in ({"champion": 2}, {"pipeline": "letters"}, {"digests": {"rows": "other"}}):
        with pytest.raises(SecurityError, match="says something else"):
            confirmed(world.store, trusted, gate_run(world, record, digest), **{**given, **other})


def test_an_unsigned_decision_does_not_exist(world: World, record: Registration) -> None:
    digest = world.gates(record, 3)
    world.store.delete(f"signatures/{digest}/{world.keys.signer().key_id}.json")
    with pytest.raises(SecurityError, match="nobody signed it"):
        verify_decision_of(world.store, digest, Context(world.keys.trusted()), **facts(record))


def test_an_approver_cannot_sign_for_the_pipeline(world: World, record: Registration) -> None:
    digest = world.gates(record, 3)
    key = next(iter(world.keys.trusted()))
    approver = TrustedKeys([key.model_copy(update={"role": "approver"})])
    with pytest.raises(SecurityError, match=r"signed by the approver key .* expected a pipeline key"):
        verify_decision_of(world.store, digest, Context(approver), **facts(record))


def test_nothing_is_appended_to_a_ledger_that_does_not_verify(world: World, record: Registration) -> None:
    digest = world.gates(record, 3)
    fields = json.loads(world.store.get(entry_key("digits", 4)))
    world.store.put(entry_key("digits", 4), canonical_json({**fields, "signature": fields["signature"][::-1]}))
    with pytest.raises(SecurityError, match="does not fit"):
        world.append(record, digest, 4)
    assert not world.store.exists(entry_key("digits", 5))


@pytest.mark.parametrize("name", ["program", "weights"])
def test_files_that_are_not_those_that_were_scored_are_refused(world: World, name: str) -> None:
    """One chain of digests: trained weights, scored program, served files."""
    files = {WEIGHTS: "w" * 64, PROGRAM: "p" * 64}
    record = world.register(4).model_copy(update={"manifest": {"files": files, "sizes_bytes": {}}})
    judged = {"weights": files[WEIGHTS], "program": files[PROGRAM]}
    honest = world.judge("champion", record, 3, **judged)
    refuse_unjudged_registration(world.store, record, honest)
    other = world.judge("champion", record, 3, **{**judged, name: "0" * 64})
    with pytest.raises(SecurityError, match="but the gates judged 000000000000"):
        refuse_unjudged_registration(world.store, record, other)
