"""The road's own steps sign what they decide and verify before they move."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys, public_half
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.models.approval.statement import Statement, publish
from mlratchet.models.data.quality import Measure
from mlratchet.models.decisions.gate_run import GateRun, publish_gate_run
from mlratchet.models.decisions.judge_again import replay
from mlratchet.models.decisions.signature import Context, decision_key, publish_decision, verified_decision
from mlratchet.models.errors import ConfigurationError, GateRefusedError, SecurityError
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signing import Anchor, Signer, TrustedKeys
from mlratchet.models.ledger.undo import standing
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.promotion.move import project
from mlratchet.models.registration.record import Registration, registration_key
from mlratchet.tasks.actions.approving import open_requests, verify_request
from mlratchet.tasks.actions.override import promote_by_override
from mlratchet.tasks.actions.promote import promote_by_hand
from mlratchet.tasks.actions.rejudge import judge_again
from mlratchet.tasks.actions.roll_back import roll_back
from mlratchet.tasks.steps import gate as gate_task
from mlratchet.tasks.steps.promote import promote
from mlratchet.tasks.support.versions import decisions_of, history_of, registration_of

from tests.unit.audit.conftest import POLICY, World


class Road:
    """A run whose adapters are in memory."""

    def __init__(self, world: World) -> None:
        self.world, self.policy = world, POLICY
        self.registry = MemoryRegistry()
        for version in (1, 2, 3):
            self.show(world.records[version])
        project(world.ledger, self.registry, "digits")

    def show(self, record: Registration) -> None:
        self.registry.create_version(
            "digits", work_key=record.work_key, run_id="r", source_uri=record.source_uri, model_id=None,
            description="", tags={},
        )  # fmt: skip

    @property
    def adapters(self) -> Any:
        world = self.world
        return SimpleNamespace(
            store=world.store, keys=world.keys, ledger=world.ledger, registry=self.registry, bucket=world.bucket
        )

    @property
    def run(self) -> Any:
        policy = self.policy
        spec = SimpleNamespace(
            serving=SimpleNamespace(canary=None),
            name="digits",
            gates=policy,
            policy=policy,
            policy_digest=policy.digest,
            revision=lambda: "revision",
        )
        workload = SimpleNamespace(objective=objective_of("classification"), class_names=lambda: ("0", "1", "2"))
        return SimpleNamespace(
            spec=spec,
            adapters=self.adapters,
            workload=workload,
            workload_digest="w",
            actor="ada",
            run_id="run",
            because=None,
        )

    def work(self, record: Registration) -> Any:
        return SimpleNamespace(
            key=record.work_key, dataset_id="d", champion=self.world.ledger.head("digits"), incumbent=None
        )

    def gate(self, record: Registration, name: str, **digests: str) -> GateRun:
        """As the flow calls it, with evidence of its own."""
        rows, scored = self.world.rows, name in ("candidate", "champion")
        evidence = Evidence(
            version=record.version if name in ("staging", "champion") else None,
            candidate=rows(seed=record.version) if scored else None,
            champion=rows(seed=3) if name == "champion" else None,
            data_measures={"rows": Measure(value=400.0, n=400)} if name == "data" else {},
            latency_ms={"p95": 1.5}, latency_n=300,
        )  # fmt: skip
        made: GateRun = gate_task.pass_gate.fn(self.run, self.work(record), name, evidence, digests)
        return made

    def climb(self, record: Registration) -> GateRun:
        """All four gates; the champion gate's run."""
        earlier = {f"gate.{name}": self.gate(record, name).decision for name in ("data", "candidate", "staging")}
        judged = {"manifest": record.manifest_digest, "registration": record.digest()}
        return self.gate(record, "champion", **judged, **earlier)


@pytest.fixture
def road(world: World, monkeypatch: pytest.MonkeyPatch) -> Road:
    monkeypatch.setattr(gate_task, "show_decision", lambda *_: None)
    return Road(world)


@pytest.fixture
def record(road: Road) -> Registration:
    """Version 4, registered."""
    made = road.world.register(4)
    road.show(made)
    return made


def test_a_gate_signs_what_can_be_judged_again(road: Road, record: Registration) -> None:
    gate_run = road.climb(record)
    assert gate_run.verdict == "pass"
    store, keys = road.world.store, road.world.keys
    decision, key_id = verified_decision(store, gate_run.decision, Context(keys.trusted()))
    assert key_id == keys.signer().key_id
    assert {"policy", "evidence", "dataset", "code", "workload", "manifest", "pipeline"} <= set(decision["digests"])
    assert replay(store, decision).problems == ()


def test_a_promotion_is_signed_verified_and_audited(road: Road, record: Registration) -> None:
    entry = promote.fn(road.run, road.work(record), record, road.climb(record))
    assert (entry.version, entry.generation) == (4, 5)
    report = road.world.audit(replay=True)
    assert report.passed, report.line()
    whole = history_of(road.adapters, "digits")
    assert [one["verified"] for one in whole] == [True] * 5
    assert history_of(road.adapters, "digits", newest=2) == whole[3:]
    assert history_of(road.adapters, "digits", newest=5) == history_of(road.adapters, "digits", newest=9) == whole
    found = decisions_of(road.adapters, "digits", 4)
    assert [one["decision"]["gate"] for one in found] == ["data", "candidate", "staging", "champion"]
    assert all(judge_again(road.world.store, one["decision"])["line"].endswith("identical") for one in found)


def test_the_same_gate_again_is_recognised_and_a_new_key_judges_anew(road: Road, record: Registration) -> None:
    first = road.gate(record, "candidate")
    assert road.gate(record, "candidate") == first
    fresh = Signer.generate()
    both = TrustedKeys([*road.world.keys.trusted(), public_half(fresh, "pipeline", "ada")])
    road.world.change_keys(MemoryKeys(fresh, both))
    assert road.gate(record, "candidate").decision != first.decision


def edit(world: World, gate_run: GateRun, **changes: str) -> None:
    key = f"gates/{gate_run.work_key}/{gate_run.id}.json"
    world.store.put(key, json.dumps({**json.loads(world.store.get(key)), **changes}).encode())


def test_a_verdict_that_was_edited_in_the_bucket_moves_nothing(road: Road, record: Registration) -> None:
    gate_run = road.gate(record, "candidate")
    edit(road.world, gate_run, verdict="fail")
    with pytest.raises(SecurityError, match="its decision says something else: verdict pass, expected fail"):
        road.gate(record, "candidate")


TAMPER: dict[str, Callable[[World, Registration, GateRun], None]] = {
    "the decision's bytes": lambda w, _, g: w.store.put(decision_key(g.decision), b"{}"),
    "the decision is gone": lambda w, _, g: w.store.delete(decision_key(g.decision)),
    "the signature is gone": lambda w, _, g: w.store.delete(f"signatures/{g.decision}/{w.keys.signer().key_id}.json"),
    "a flipped file": lambda w, _, __: w.uploads.put("1/models/m-4/artifacts/data/model.pt2", b"model of version 5"),
    "a missing file": lambda w, _, __: w.uploads.delete("1/models/m-4/artifacts/card.md"),
    "an extra file": lambda w, _, __: w.uploads.put("1/models/m-4/artifacts/extra.py", b"import os"),
    "the ledger's newest entry": lambda w, _, __: w.store.put("ledger/digits/00000004.json", b"{}"),
}


@pytest.mark.parametrize("what", TAMPER)
def test_nothing_is_promoted_after_tampering(road: Road, record: Registration, what: str) -> None:
    gate_run, work = road.climb(record), road.work(record)
    TAMPER[what](road.world, record, gate_run)
    with pytest.raises(SecurityError):
        promote.fn(road.run, work, record, gate_run)
    with pytest.raises(SecurityError):
        promote_by_hand(road.adapters, "digits", 4)
    assert not road.world.store.exists("ledger/digits/00000005.json")


def test_a_registration_with_another_parent_than_was_judged_is_not_promoted(road: Road, record: Registration) -> None:
    road.climb(record)
    forged = record.model_copy(update={"parent_version": 2})
    road.world.store.put(registration_key(record.work_key), canonical_json(forged.model_dump(mode="json")))
    with pytest.raises(SecurityError, match=r"it names parent version 2.*the registration was changed"):
        promote_by_hand(road.adapters, "digits", 4)
    assert not road.world.store.exists("ledger/digits/00000005.json")


@pytest.mark.parametrize(
    "change", [{}, {"verdict": "fail"}, {"checks": 5}, {"checks": [{"verdict": "?"}]}, {"at_s": 10**400}, None]
)
def test_a_gate_run_beside_the_genuine_ones_that_names_a_forged_decision_is_a_security_refusal(
    road: Road, record: Registration, change: dict[str, Any] | None
) -> None:
    genuine, store = road.climb(record), road.world.store
    said = json.loads(store.get(decision_key(genuine.decision)))
    forged = json.dumps({**said, "at_s": said["at_s"] + 9, **change} if change is not None else []).encode()
    digest = digest_bytes(forged)
    store.put(decision_key(digest), forged)
    publish_gate_run(store, GateRun(id="z", gate="champion", work_key=record.work_key, verdict="x", decision=digest))
    with pytest.raises(SecurityError, match=r"nobody signed it|is not a decision"):
        promote_by_hand(road.adapters, "digits", 4)
    assert not store.exists("ledger/digits/00000005.json")


def test_the_newest_verdict_counts_also_after_one_by_a_clock_that_was_ahead(road: Road, record: Registration) -> None:
    genuine, store = road.climb(record), road.world.store
    said = json.loads(store.get(decision_key(genuine.decision)))
    for number, (verdict, ahead_s) in enumerate((("pass", 7200.0), ("fail", 0.5)), start=1):
        made = publish_decision(
            store, {**said, "verdict": verdict, "at_s": said["at_s"] + ahead_s}, road.world.keys.signer()
        )
        name = {"id": f"{9 - number}", "gate": "champion", "work_key": record.work_key, "verdict": verdict}
        publish_gate_run(store, GateRun(**name, decision=made))
    with pytest.raises(GateRefusedError, match="champion gate: fail"):
        promote_by_hand(road.adapters, "digits", 4)
    assert [one["decision"]["verdict"] for one in decisions_of(road.adapters, "digits", 4)][-2:] == ["pass", "fail"]


def test_a_ledger_entry_vouches_for_the_decisions_that_it_names_and_for_no_other(
    road: Road, record: Registration
) -> None:
    """After a theft: what the thief signed about the same version is back-dated, and nothing shows that it is old."""
    champion, world = road.climb(record), road.world
    promote.fn(road.run, road.work(record), record, champion)
    said = json.loads(world.store.get(decision_key(champion.decision)))
    forged = publish_decision(world.store, {**said, "actor": "eve"}, world.keys.signer())
    publish_gate_run(
        world.store, GateRun(id="z", gate="champion", work_key=record.work_key, verdict="pass", decision=forged)
    )
    digests = world.ledger.digests("digits")
    noted = Anchor(generation=len(digests), digest=digests[-1])
    (key,) = world.keys.trusted()
    world.change_trust([key.model_copy(update={"revoked_s": said["at_s"] + 1e9, "anchors": {"digits": noted}})])
    problems = {one["digest"]: one["problem"] for one in decisions_of(road.adapters, "digits", 4)}
    assert "nothing shows that it was signed before" in problems.pop(forged)
    assert len(problems) == 4
    assert set(problems.values()) == {""}


def test_a_version_whose_work_is_of_another_pipeline_is_not_its(road: Road, record: Registration) -> None:
    """As an edited tag in MLflow says."""
    road.registry.create_version(
        "other", work_key=record.work_key, run_id="r", source_uri="s3://a/b", model_id=None, description="", tags={}
    )
    with pytest.raises(ConfigurationError, match="version 1 of other has no registration record"):
        registration_of(road.adapters, "other", 1)
    road.registry.set_tags("other", 1, {"ratchet.work_key": road.world.records[1].work_key})
    with pytest.raises(ConfigurationError, match="version 1 of other has no registration record"):
        registration_of(road.adapters, "other", 1)


def test_an_ungated_version_is_refused(road: Road, record: Registration) -> None:
    with pytest.raises(GateRefusedError, match="data gate: not judged"):
        promote_by_hand(road.adapters, "digits", 4)
    fake = GateRun(id="i", gate="champion", work_key=record.work_key, verdict="pass", decision="0" * 64)
    with pytest.raises(SecurityError, match="is missing"):
        promote.fn(road.run, road.work(record), record, fake)


def test_promotion_by_hand_and_rollback_sign_too(road: Road, record: Registration) -> None:
    road.climb(record)
    assert promote_by_hand(road.adapters, "digits", 4)["version"] == 4
    assert roll_back(road.adapters, "digits", to=None, reason="why")["version"] == 3
    with pytest.raises(ConfigurationError, match="version 3 of digits is champion already"):
        roll_back(road.adapters, "digits", to=3, reason="again")
    report = road.world.audit()
    assert report.passed, report.line()
    assert report.generations == 6


def test_rollbacks_go_further_back_and_end_with_what_brings_the_others_back(road: Road, record: Registration) -> None:
    stood = standing(road.adapters.ledger.entries("digits"))
    assert len(stood) > 1
    for version in reversed(stood[:-1]):
        assert roll_back(road.adapters, "digits", to=None, reason="why")["version"] == version
    with pytest.raises(ConfigurationError, match="first promotion that stands") as refused:
        roll_back(road.adapters, "digits", to=None, reason="why")
    assert "`ratchet rollback digits --to VERSION` brings one of [" in str(refused.value)
    report = road.world.audit()
    assert report.passed, report.line()


def test_an_override_asks_whom_the_policy_asks_and_takes_the_answer(road: Road, record: Registration) -> None:
    """A run asks nobody about a version that another check held; who overrides that check does."""
    world, grace = road.world, Signer.generate()
    world.change_keys(
        MemoryKeys(
            world.keys.signer(), TrustedKeys([*world.keys.trusted(), public_half(grace, "approver", "grace")])
        )
    )  # fmt: skip
    checks = [
        {"kind": "absolute", "metric": "accuracy", "minimum": 0.9999},
        {"kind": "approval", "approvers": ["grace"]},
    ]
    road.policy = GatePolicy.model_validate({**POLICY.model_dump(mode="json"), "champion": checks})
    assert road.climb(record).verdict == "fail"
    override = partial(promote_by_override, road.adapters, "digits", 4, reason="3 answers nothing", expires="1h")
    for _ in range(2):
        with pytest.raises(GateRefusedError, match=r"answers with `ratchet approve digits 4`, then try again"):
            override()
        (request,) = open_requests(road.adapters, "digits")
    assert "accuracy" in verify_request(road.adapters, request)
    said: Any = {"decision": "approve", "approver": "grace", "reason": "I know", "method": "signature"}
    now_s = time.time()
    publish(world.store, Statement(subject=request.subject, at_s=now_s, expires_s=now_s + 60, **said), grace)
    assert override()["version"] == 4
    report = world.audit()
    assert report.passed, report.line()
