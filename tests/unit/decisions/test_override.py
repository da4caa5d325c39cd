"""An override is a decision: it names who, why and until when, and never goes past a security refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.models.decisions.decision import explain
from mlratchet.models.decisions.gate_run import GateRun, publish_gate_run
from mlratchet.models.decisions.judge_again import publish_policy
from mlratchet.models.decisions.override import MOST_DAYS, build_override, expiry_of
from mlratchet.models.decisions.signature import Context, decision_key, publish_decision
from mlratchet.models.errors import ConfigurationError, GateRefusedError, SecurityError
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.promotion.holds import HoldBook
from mlratchet.models.promotion.move import project
from mlratchet.models.promotion.verify import verify_entry
from mlratchet.models.registration.record import Registration
from mlratchet.tasks.actions.override import promote_by_override

from tests.unit.audit.conftest import DAY, POLICY, World

NOW = 1_000.0
REASON = "the champion answers nothing since 02:00"


@pytest.mark.parametrize(
    ("text", "after_s"), [("12h", 43_200.0), ("3d", 3 * DAY), ("1970-01-02T00:00+00:00", DAY - NOW)]
)
def test_an_expiry_is_read(text: str, after_s: float) -> None:
    assert expiry_of(text, NOW) == NOW + after_s


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected 72h"), ("soon", "expected 72h"), ("0h", "in the next 30 days"), ("31d", "in the next 30 days"),
        ("-3d", "expected 72h"), ("1970-01-01T00:00Z", "in the next"), ("1970-01-02T00:00", "say the zone"),
        ("inf d", "expected 72h"),
    ],
)  # fmt: skip
def test_an_expiry_that_is_none_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        expiry_of(text, NOW)


def decided(verdict: str, *checks: tuple[str, str]) -> dict[str, Any]:
    return {"verdict": verdict, "checks": [{"kind": k, "verdict": v, "reason": f"{k} said {v}"} for k, v in checks]}


HELD = {
    "data": ("d" * 64, decided("pass", ("data", "pass"))),
    "champion": ("c" * 64, decided("fail", ("absolute", "fail"), ("relative", "not_applicable"))),
}


def build(decisions: Any = HELD, **changes: Any) -> dict[str, Any]:
    facts = {
        "work_key": "w", "manifest": "m", "champion_version": 3, "actor": "ada", "reason": REASON, "at_s": NOW,
        "expires_s": NOW + DAY, "environment": {},
    }  # fmt: skip
    return build_override("digits", 4, decisions=decisions, **{**facts, **changes})


def test_it_says_what_it_overrides_and_what_was_never_judged() -> None:
    document = build()
    assert document["kind"] == "override"
    assert [one["gate"] for one in document["overrides"]] == ["champion"]
    assert document["overrides"][0]["reasons"] == ["absolute said fail"]
    assert document["not_judged"] == ["candidate", "staging"]
    assert document["digests"]["gate.data"] == "d" * 64
    words = explain(document)
    assert "overrides the champion gate, which said fail: absolute said fail" in words
    assert f"ada: {REASON}" in words
    assert "may be used until 1970-01-02T00:16:40" in words


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"reason": "urgent"}, ConfigurationError, "at least 10 characters"),
        ({"actor": " "}, ConfigurationError, "who answers for it"),
        ({"expires_s": NOW}, ConfigurationError, "within 30 days"),
        ({"expires_s": NOW + MOST_DAYS * DAY + 1}, ConfigurationError, "within 30 days"),
        ({"decisions": {"data": HELD["data"]}}, GateRefusedError, "nothing to override"),
        ({"decisions": {}}, GateRefusedError, "nothing to override"),
        ({"decisions": {"champion": ("c", decided("inconclusive", ("approval", "inconclusive")))}}, GateRefusedError,
         "another person's approval"),
        ({"decisions": {"champion": ("c", decided("fail", ("approval", "fail"), ("size", "fail")))}}, GateRefusedError,
         "another person's approval"),
    ],
)  # fmt: skip
def test_what_no_override_can_be(changes: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        build(**changes)


class Held:
    """Version 4, which the champion gate failed; 3 serves."""

    def __init__(self, world: World) -> None:
        self.world, self.registry = world, MemoryRegistry()
        self.record: Registration = world.register(4)
        for version in (1, 2, 3, 4):
            record = world.records[version]
            self.registry.create_version(
                "digits", work_key=record.work_key, run_id="r", source_uri=record.source_uri, model_id=None,
                description="", tags={},
            )  # fmt: skip
        project(world.ledger, self.registry, "digits")
        for gate in ("data", "candidate", "staging", "champion"):
            digest = world.judge(gate, self.record, 3, manifest=self.record.manifest_digest)
            if gate == "champion":
                said = json.loads(world.store.get(decision_key(digest)))
                said["checks"][0].update(verdict="fail", reason="accuracy 0.4 < 0.5")
                digest = publish_decision(world.store, {**said, "verdict": "fail"}, world.keys.signer())
            run = GateRun(id=gate, gate=gate, work_key=self.record.work_key, verdict="?", decision=digest)
            publish_gate_run(world.store, run)
        self.failed = digest

    def promote(self, *, reason: str = REASON, expires: str = "12h") -> dict[str, Any]:
        from types import SimpleNamespace

        world = self.world
        adapters: Any = SimpleNamespace(
            store=world.store, keys=world.keys, ledger=world.ledger, registry=self.registry, bucket=world.bucket
        )
        return promote_by_override(adapters, "digits", 4, reason=reason, expires=expires)


@pytest.fixture
def held(world: World) -> Held:
    return Held(world)


def verified(held: Held) -> dict[str, Any]:
    chain = held.world.ledger.chain("digits")
    entries = [link.entry for link in chain.links]
    context = Context(held.world.keys.trusted(), chain, entries[-1].generation)
    return verify_entry(held.world.store, entries, entries[-1].generation, context)


def test_an_override_is_one_ledger_entry_that_an_audit_believes(held: Held) -> None:
    entry = held.promote()
    assert entry["version"] == 4
    assert entry["reason"].startswith("override until ")
    assert entry["reason"].endswith(REASON)
    document = verified(held)
    assert document["kind"] == "override"
    assert document["overrides"][0]["decision"] == held.failed
    assert document["overrides"][0]["reasons"] == ["accuracy 0.4 < 0.5"]
    alias = held.registry.get_alias("digits", "champion")
    assert alias is not None
    assert alias.version == 4
    with pytest.raises(ConfigurationError, match="champion already"):
        held.promote()


def spoil_bytes(held: Held) -> None:
    held.world.uploads.put("1/models/m-4/artifacts/data/model.pt2", b"other weights")


def spoil_decision(held: Held) -> None:
    key = decision_key(held.failed)
    held.world.store.put(key, held.world.store.get(key).replace(b"accuracy", b"accuracY", 1))


def unsign(held: Held) -> None:
    for info in list(held.world.store.list(f"signatures/{held.failed}/")):
        held.world.store.delete(info.key)


@pytest.mark.parametrize("spoil", [spoil_bytes, spoil_decision, unsign])
def test_nothing_overrides_a_security_refusal(held: Held, spoil: Callable[[Held], None]) -> None:
    before = held.world.ledger.entries("digits")
    spoil(held)
    with pytest.raises(SecurityError) as caught:
        held.promote()
    assert caught.value.exit_code == 6
    assert held.world.ledger.entries("digits") == before


@pytest.mark.parametrize("judged", [True, False])
def test_an_override_does_not_go_past_an_approval_that_no_gate_has_asked_for(held: Held, judged: bool) -> None:
    """The policy asks grace at the champion gate: a gate that never ran, or left the check out, has not heard her."""
    world = held.world
    before = world.ledger.entries("digits")
    approval = {"kind": "approval", "approvers": ["grace"]}
    champion = [check.model_dump(mode="json") for check in POLICY.champion]
    asking = GatePolicy.model_validate({**POLICY.model_dump(mode="json"), "champion": [*champion, approval]})
    digests = {"manifest": held.record.manifest_digest, "policy": publish_policy(world.store, asking)}
    world.now_s += DAY
    for gate in ("staging", "champion") if judged else ("staging",):
        said = json.loads(world.store.get(decision_key(held.failed)))
        said |= {"gate": gate, "at_s": world.now_s, "digests": {**said["digests"], **digests}}
        decision = publish_decision(world.store, said, world.keys.signer())
        run = GateRun(id=f"{gate}-2", gate=gate, work_key=held.record.work_key, verdict="?", decision=decision)
        publish_gate_run(world.store, run)
    if not judged:
        world.store.delete(f"gates/{held.record.work_key}/champion.json")
    with pytest.raises((GateRefusedError, SecurityError), match=r"holds no statement|asks for approval"):
        held.promote()
    assert world.ledger.entries("digits") == before


def test_a_refused_override_moves_nothing(held: Held) -> None:
    before = held.world.ledger.entries("digits")
    for more in ({"reason": "no"}, {"expires": "90d"}, {"expires": ""}):
        with pytest.raises(ConfigurationError):
            held.promote(**more)
    assert held.world.ledger.entries("digits") == before


def override_document(held: Held, **changes: Any) -> dict[str, Any]:
    world = held.world
    said = json.loads(world.store.get(decision_key(held.failed)))
    made = build_override(
        "digits", 4, work_key=held.record.work_key, manifest=held.record.manifest_digest, champion_version=3,
        decisions={"champion": (held.failed, said)}, actor="ada", reason=REASON, at_s=world.now_s,
        expires_s=world.now_s + 3600, environment={},
    )  # fmt: skip
    return {**made, **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"expires_s": 1e12}, "more than 30 days"),
        ({"overrides": []}, "names no overrides"),
        ({"reason": ""}, "names no reason"),
        ({"version": 5}, "version 5, expected 4"),
        ({"champion_version": 2}, "champion_version 2, expected 3"),
        ({"digests": {"manifest": "other"}}, "manifest other"),
    ],
)
def test_a_signed_override_that_does_not_hold_is_refused_behind_a_ledger_entry(
    held: Held, changes: dict[str, Any], words: str
) -> None:
    digest = publish_decision(held.world.store, override_document(held, **changes), held.world.keys.signer())
    held.world.append(held.record, digest, len(held.world.ledger.entries("digits")))
    with pytest.raises(SecurityError, match=words):
        verified(held)


@pytest.mark.parametrize(("waited_s", "holds"), [(3000, True), (3700, False)])
def test_an_override_is_used_before_it_expires_or_not_at_all(held: Held, waited_s: float, holds: bool) -> None:
    digest = publish_decision(held.world.store, override_document(held), held.world.keys.signer())
    held.world.now_s += waited_s
    held.world.append(held.record, digest, len(held.world.ledger.entries("digits")))
    if holds:
        assert verified(held)["actor"] == "ada"
    else:
        with pytest.raises(SecurityError, match="the override of ada expired on"):
            verified(held)


def test_an_override_does_not_go_past_a_hold(world: World) -> None:
    held = Held(world)
    book = HoldBook(world.store)
    book.place("digits", finding="f" * 64, kind="data", words="half is empty", actor="monitor", at_s=1.0)
    before = {info.key for info in world.store.list("decisions/")}
    with pytest.raises(GateRefusedError, match="digits is held since"):
        held.promote()
    assert {info.key for info in world.store.list("decisions/")} == before
    book.lift("digits", finding="f" * 64, reason="looked at it", actor="ada", at_s=2.0)
    held.promote()
