"""What commit 9309f01 wrote stays readable, verifiable and judged the same, and an edit of it shows.

The fixture and how it was made: tests/fixtures/bucket_9309f01/README.md.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.models.artifact.manifest import load_manifest
from mlratchet.models.audit.audit import Audit, Depth
from mlratchet.models.audit.report import AuditReport
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import load_snapshot, take_snapshot
from mlratchet.models.decisions.approval_request import list_requests
from mlratchet.models.decisions.gate_run import list_gate_runs
from mlratchet.models.decisions.signature import Context, verified_decision
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest, digest_bytes
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.registration.record import MadeOf, list_registrations
from mlratchet.models.registration.why_anew import why_anew
from mlratchet.models.training.result import find_result
from mlratchet.tasks.actions.rebuild import rebuild_registry
from mlratchet.tasks.actions.rejudge import judge_again
from mlratchet.tasks.support.versions import decisions_of, history_of, verify_bytes

from tests.fixtures.stored_bucket import BUCKET_9309F01, STORE, StoredBucket

NAME = "sites"
VERSIONS = [1, 2, 3, 4, 5]


@pytest.fixture
def stored() -> StoredBucket:
    """A fresh copy."""
    return StoredBucket(BUCKET_9309F01)


def audit(stored: StoredBucket, *, replay: bool = False, trusted: TrustedKeys | None = None) -> AuditReport:
    believed = stored.trusted if trusted is None else trusted
    report = Audit(stored.store, stored.bucket, believed, NAME, depth=Depth(replay=replay)).run(
        known_heads={"9309f01": stored.said("audit")["head"]}
    )
    champion = stored.registry.get_alias(NAME, "champion")
    report.compare_alias(champion.version if champion else None)
    return report


def decision_digests(stored: StoredBucket) -> list[str]:
    return [key.removeprefix("decisions/").removesuffix(".json") for key in stored.keys("decisions/")]


def test_the_fixture_is_as_it_was_made(stored: StoredBucket) -> None:
    files = [path for path in (BUCKET_9309F01 / "buckets").rglob("*") if path.is_file()]
    found = {path.relative_to(BUCKET_9309F01).as_posix(): digest_bytes(path.read_bytes()) for path in files}
    assert found == stored.sha256


def test_the_history_is_as_it_was_told_and_every_entry_verifies(stored: StoredBucket) -> None:
    told = history_of(stored.adapters(), NAME)
    assert told == stored.said("history")
    assert [(one["action"], one["version"], one["verified"]) for one in told] == [
        ("promote", 1, True), ("promote", 2, True), ("rollback", 1, True), ("promote", 3, True), ("promote", 4, True),
        ("promote", 5, True), ("rollback", 4, True),
    ]  # fmt: skip


def test_the_audit_finds_what_it_found(stored: StoredBucket) -> None:
    report, then = audit(stored, replay=True), stored.said("audit")
    assert report.problems == then["problems"] == []
    assert [one for one in report.notes if "records are not signed" not in one] == then["notes"]
    assert any("ratchet adopt sites" in one for one in report.notes)  # what no signature covered then
    told = {name: getattr(report, name) for name in ("generations", "decisions", "champion", "versions", "files")}
    told |= {"head": report.head, "replayed": report.replayed, "retired": report.retired}
    assert told == {name: then[name] for name in told}


def test_every_decision_is_believed_and_judged_the_same(stored: StoredBucket) -> None:
    digests = decision_digests(stored)
    kinds, verdicts = [], set()
    for one in digests:
        decision, key_id = verified_decision(stored.store, one, Context(stored.trusted))
        assert key_id in {key.id for key in stored.trusted}
        kinds.append(decision["kind"])
        if decision["kind"] != "gate":
            continue
        again = judge_again(stored.store, decision)
        assert (again["problems"], again["verdict"]) == ((), decision["verdict"]), again["line"]
        assert again["checks"] == len(decision["checks"]) > 0
        verdicts.add((decision["gate"], decision["verdict"]))
    assert kinds.count("gate") >= 20
    assert (kinds.count("rollback"), kinds.count("override")) == (2, 1)
    assert {("data", "fail"), ("candidate", "fail"), ("champion", "fail"), ("probation", "fail")} < verdicts


def test_the_decisions_of_a_version_are_found_by_its_number(stored: StoredBucket) -> None:
    reports = [one["said"] for one in stored.document("said") if one["command"][1] == "run"]
    for version in VERSIONS:
        found = decisions_of(stored.adapters(), NAME, version)
        assert [one["problem"] for one in found] == [""] * len(found)
        (report,) = [one for one in reports if one.get("version") == version and "training" in one]
        assert {gate["decision"] for gate in report["gates"]} <= {one["digest"] for one in found}


def test_registrations_lead_to_data_weights_and_files(stored: StoredBucket) -> None:
    adapters = stored.adapters()
    records = list_registrations(stored.store)[NAME]
    assert [record.version for record in records] == VERSIONS
    assert {record.version: record.parent_version for record in records} == {1: None, 2: 1, 3: 1, 4: 3, 5: 4}
    for record in records:
        dataset = load_dataset(stored.store, record.dataset_id)
        assert {side: len(load_split(stored.store, dataset, side).ids) for side in dataset.rows} == dataset.rows
        snapshot = load_snapshot(stored.store, dataset.snapshot_id)
        for item in snapshot.objects:
            assert len(stored.store.get(f"raw/{item.sha256}", sha256=item.sha256)) == item.size_bytes
        manifest = load_manifest(stored.store, record.manifest_digest)
        assert manifest.model_dump(mode="json") == record.manifest
        verify_bytes(adapters, record)
        result = find_result(stored.store, record.work_key)
        assert result is not None
        assert (result.weights_key, result.weights_sha256) == (record.weights_key, record.weights_sha256)
        stored.store.get(record.weights_key, sha256=record.weights_sha256)
        assert list_gate_runs(stored.store, record.work_key)
        parent = next((one for one in records if one.version == record.parent_version), None)
        assert record.parent_registration == (parent.digest() if parent else None)
    assert load_pipeline(stored.store, records[0].revision).name == NAME  # a run with --set publishes none


def test_the_raw_bucket_is_still_the_delivery_of_the_newest_version(stored: StoredBucket) -> None:
    before = stored.keys("snapshots/")
    snapshot = take_snapshot(stored.raw, stored.store, prefix=f"{NAME}/")
    assert snapshot.id == list_registrations(stored.store)[NAME][-1].snapshot_id
    assert stored.keys("snapshots/") == before


def test_the_approval_is_alices(stored: StoredBucket) -> None:
    (request,) = list_requests(stored.store, NAME)
    assert request.subject.version == 3
    (decision,) = [
        one["decision"]
        for one in decisions_of(stored.adapters(), NAME, 3)
        if one["decision"]["gate"] == "champion" and one["decision"]["verdict"] == "pass"
    ]
    (check,) = [one for one in decision["checks"] if one["kind"] == "approval"]
    assert "approved by alice: slices compared (signature" in check["reason"]


def test_an_empty_registry_is_filled_again_with_what_mlflow_showed(stored: StoredBucket) -> None:
    adapters = stored.adapters()
    shown = {one.version: one for one in stored.registry.list_versions(NAME)}
    adapters.registry = MemoryRegistry()
    assert len(rebuild_registry(adapters)) == len(VERSIONS)
    for one in adapters.registry.list_versions(NAME):
        tags = shown[one.version].tags
        assert one.source_uri == shown[one.version].source_uri
        assert {name: value for name, value in one.tags.items() if name in tags}.items() <= tags.items()
        assert "ratchet.work_key" in one.tags


def test_canonical_bytes_and_identities_are_made_as_then(stored: StoredBucket) -> None:
    for key in stored.keys(""):
        if key.startswith(("decisions/", "evidence/", "policies/", "manifests/", "registrations/", "ledger/")):
            assert canonical_json(json.loads(stored.store.get(key))) == stored.store.get(key), key
    identities = stored.document("identities")
    assert len(identities) == 6  # the versions, and one that its candidate gate refused
    for one in identities:
        assert digest(one["of_work_key"]) == one["work_key"]
        assert digest(one["of_dataset_id"]) == one["dataset_id"] == one["of_work_key"]["dataset"]
        assert load_dataset(stored.store, one["dataset_id"]).snapshot_id == one["of_dataset_id"]["snapshot"]


def flipped(data: bytes) -> bytes:
    """One bit of one byte changed, in the middle."""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def of_the_second_promotion(stored: StoredBucket) -> dict[str, tuple[str, str]]:
    """Bucket and key of each kind of object that the promotion of version 2 rests on."""
    report = next(one["said"] for one in stored.document("said") if one["said"].get("version") == 2)
    gates = {gate["gate"]: gate["decision"] for gate in report["gates"]}
    decision = json.loads(stored.store.get(f"decisions/{gates['champion']}.json"))
    named = decision["digests"]
    (record,) = [one for one in list_registrations(stored.store)[NAME] if one.version == 2]
    files = record.source_uri.removeprefix("s3://")
    keys = {
        "ledger": f"ledger/{NAME}/00000002.json",
        "decision": f"decisions/{gates['champion']}.json",
        "earlier decision": f"decisions/{gates['candidate']}.json",
        "signature": stored.keys(f"signatures/{gates['champion']}/")[0],
        "policy": f"policies/{named['policy']}.json",
        "evidence": f"evidence/{named['evidence']}.json",
        "rows": named["rows"] if named["rows"].startswith("rows/") else f"rows/{named['rows']}.safetensors",
        "manifest": f"manifests/{record.manifest_digest}.json",
        "registration": f"registrations/{record.work_key}.json",
    }
    found = {kind: (STORE, key) for kind, key in keys.items()}
    bucket, _, prefix = files.partition("/")
    return found | {"artifact": (bucket, f"{prefix.rstrip('/')}/{next(iter(record.manifest['files']))}")}


KINDS = ("ledger", "decision", "earlier decision", "signature", "policy", "evidence", "rows", "manifest",
         "registration", "artifact")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_of_one_byte_is_noticed(stored: StoredBucket, kind: str) -> None:
    assert audit(stored).passed
    bucket, key = of_the_second_promotion(stored)[kind]
    held = stored.bucket(bucket)
    held.put(key, flipped(held.get(key)))
    assert not audit(stored).passed
    held.delete(key)
    assert not audit(stored).passed


@pytest.mark.parametrize("kind", ["decision", "signature"])
def test_history_and_decision_notice_it_too(stored: StoredBucket, kind: str) -> None:
    _, decided = of_the_second_promotion(stored)["decision"]
    _, key = of_the_second_promotion(stored)[kind]
    stored.store.put(key, flipped(stored.store.get(key)))
    told = history_of(stored.adapters(), NAME)
    assert [one["generation"] for one in told if not one["verified"]] == [2]
    with pytest.raises(SecurityError):
        verified_decision(
            stored.store, decided.removeprefix("decisions/").removesuffix(".json"), Context(stored.trusted)
        )


def test_who_believes_other_keys_believes_nothing_of_it(stored: StoredBucket) -> None:
    roles: dict[str, Any] = {
        role: [key for key in stored.trusted if key.role != role] for role in ("pipeline", "approver")
    }
    assert len(roles["approver"]) == 2  # one pipeline key was rotated away, and verifies what it signed
    for left in roles.values():
        assert not audit(stored, trusted=TrustedKeys(left)).passed


def test_a_run_after_the_upgrade_says_why_it_trains_again(stored: StoredBucket) -> None:
    champion = next(one for one in list_registrations(stored.store)[NAME] if one.version == 4)
    now = MadeOf(work={"snapshot": champion.snapshot_id}, dataset={})
    assert why_anew(champion, now) == (
        "version 4 was trained by an earlier release, whose identities were over folders: this run trains anew, once"
    )
