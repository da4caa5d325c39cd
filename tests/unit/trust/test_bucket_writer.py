"""Who may write to every bucket of ours, and has nothing else, is believed in nothing that decides.

Each plant is tried with that right alone, and once more with the key, which succeeds: so the reader would act on it.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.child.lent_store import Lender
from mlratchet.infra.keys.files import MemoryKeys, public_half
from mlratchet.infra.launch.reports import Reports
from mlratchet.infra.ledger.heads import HeadFiles
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.settings import Settings
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.keys import PublicKeys
from mlratchet.models.identity.signed_records import RecordStore, signed_record
from mlratchet.models.identity.signing import Signer
from mlratchet.models.ports.children import Rights
from mlratchet.models.ports.storage import StorageError
from mlratchet.models.training.checkpoint import list_checkpoints, newest_checkpoint
from mlratchet.models.training.job import StaleAttemptError, TrainJob
from mlratchet.models.training.result import TrainResult, find_result, parse_result
from mlratchet.tasks.steps.register import number_of
from mlratchet.tasks.wiring import Adapters
from pydantic import SecretStr

from tests.unit.trust.plants import (
    BESIDE_THE_NAMES,
    CLAIM,
    JOB,
    PLANTS,
    POSITION,
    RESULT,
    SHA,
    WEIGHTS,
    Plant,
    epoch_of_the_next,
)


class Bucket:
    def __init__(self) -> None:
        self.raw, self.keys = MemoryStore("store"), MemoryKeys()
        self.store = RecordStore(self.raw, self.keys)

    def plant(self, plant: Plant, *, signer: Signer | None = None) -> None:
        """By who may write: unsigned, or with a key of their own."""
        for key, document in plant.records.items():
            data = canonical_json(document)
            self.raw.put(key, data if signer is None else signed_record(document, key, signer, at_s=1.0))
        for key, data in (plant.objects or {}).items():
            self.raw.put(key, data)

    def publish(self, plant: Plant) -> None:
        """By who has the key."""
        for key, document in plant.records.items():
            self.store.create(key, canonical_json(document))
        for key, data in (plant.objects or {}).items():
            self.store.create(key, data)


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.mark.parametrize("kind", PLANTS)
def test_a_planted_record_is_not_acted_on_and_the_same_by_the_key_is(bucket: Bucket, kind: str) -> None:
    bucket.plant(PLANTS[kind])
    assert not PLANTS[kind].believed(bucket.store)
    control = Bucket()
    control.publish(PLANTS[kind])
    assert PLANTS[kind].believed(control.store)


@pytest.mark.parametrize("kind", BESIDE_THE_NAMES)
def test_what_is_named_almost_as_a_record_is_not_acted_on_either(bucket: Bucket, kind: str) -> None:
    """A reader that lists a folder finds it: who skips the signature because of the name believes it."""
    bucket.plant(BESIDE_THE_NAMES[kind])
    assert not BESIDE_THE_NAMES[kind].believed(bucket.store)
    assert BESIDE_THE_NAMES[kind].believed(bucket.raw)  # the control: as it would be without signatures


def test_a_number_that_was_given_is_not_given_again_when_its_record_is_removed(bucket: Bucket, tmp_path: Path) -> None:
    ledger = ObjectLedger(bucket.raw, bucket.keys, HeadFiles(tmp_path, "here"))
    run: Any = SimpleNamespace(
        spec=SimpleNamespace(name="digits"), adapters=SimpleNamespace(store=bucket.store, ledger=ledger)
    )
    assert [number_of(run, work) for work in ("a", "b", "b")] == [1, 2, 2]
    bucket.raw.delete("versions/digits/00000002.json")
    assert [number_of(run, work) for work in ("a", "c")] == [1, 3]


TAKEN_OVER = {"registration", "dataset", "snapshot", "gate run"}  # what a release wrote before records were signed


@pytest.mark.parametrize(
    "kind", sorted(set(PLANTS) - {"listing", "wear"})
)  # of these the control needs more than a name
def test_who_has_an_approvers_key_beside_vouches_for_what_was_made_before_and_for_nothing_else(kind: str) -> None:
    bucket, person = Bucket(), Signer.generate()
    bucket.keys.list = bucket.keys.list.replacing(public_half(person, "approver", "mallory"))
    plant = PLANTS[kind]
    bucket.plant(plant)
    named = {key: digest_bytes(canonical_json(document)) for key, document in plant.records.items()}
    key = "adoptions/digits/00000001.json"
    bucket.raw.put(key, signed_record({"pipeline": "digits", "records": named}, key, person, at_s=1.0))
    assert plant.believed(bucket.store) == (kind in TAKEN_OVER)


@pytest.mark.parametrize(
    "kind", sorted(set(PLANTS) - {"listing", "wear", "order"})
)  # whose readers write by themselves
def test_the_name_is_ours_again_as_soon_as_who_has_the_key_needs_it(bucket: Bucket, kind: str) -> None:
    for key in PLANTS[kind].records:
        bucket.raw.put(key, b"planted")
    bucket.publish(PLANTS[kind])
    assert PLANTS[kind].believed(bucket.store)
    aside = {info.key.split("/", 2)[2]: bucket.raw.get(info.key) for info in bucket.raw.list("aside/")}
    assert aside == dict.fromkeys(PLANTS[kind].records, b"planted")


@pytest.mark.parametrize("kind", PLANTS)
def test_without_signatures_each_of_them_would_be_acted_on(bucket: Bucket, kind: str) -> None:
    """The control of the other kind: a reader over the bare bucket, as it once was, believes the plant."""
    bucket.plant(PLANTS[kind])
    assert PLANTS[kind].believed(bucket.raw)


@pytest.mark.parametrize("kind", PLANTS)
def test_a_record_of_ours_is_not_acted_on_under_another_name(bucket: Bucket, kind: str) -> None:
    """Replayed from another place in the bucket: signed, but not as this."""
    for key, document in PLANTS[kind].records.items():
        data = signed_record(document, "registrations/other.json", bucket.keys.signer(), at_s=1.0)
        bucket.raw.put(key, data)
    for key, data in (PLANTS[kind].objects or {}).items():
        bucket.raw.put(key, data)
    assert not PLANTS[kind].believed(bucket.store)


def test_a_result_that_is_planted_while_a_run_trains_gives_way_to_what_its_own_ranks_report(bucket: Bucket) -> None:
    job = TrainJob.model_validate({**JOB.model_dump(), "train": {"nodes": 1, "processes": 1}, "rendezvous": None})
    reports = Reports(bucket.store, job, lambda _: None)
    bucket.plant(PLANTS["result"])
    bucket.raw.put(f"work/w/e000001/weights-{SHA}.safetensors", WEIGHTS)
    assert find_result(bucket.store, "w") is None
    ours = parse_result(canonical_json({**RESULT, "steps": 200}))
    assert reports.finish(ours) == ours
    assert find_result(bucket.store, "w") == ours
    assert [info.key.split("/", 2)[2] for info in bucket.raw.list("aside/")] == ["work/w/e000001/result.json"]


def test_markers_are_signed_over_what_the_ranks_report_and_older_ones_retire_by_those_that_verify(
    bucket: Bucket,
) -> None:
    job = TrainJob.model_validate({**JOB.model_dump(), "train": {"nodes": 1, "processes": 1}, "rendezvous": None})
    heard: list[str] = []
    reports = Reports(bucket.store, job, lambda event: heard.append(event["event"]))
    for step in (900, 901, 902, 903):  # markers that somebody planted to push ours out
        bucket.raw.put(f"work/w/e000001/checkpoints/{step:09d}/marker.json", b"{}")
    for step in (10, 20, 30, 40):
        bucket.raw.put(f"work/w/e000001/checkpoints/{step:09d}/{SHA}.safetensors", WEIGHTS)
        marker = {"position": {**POSITION, "step": step}, "parts": [{"group": "model-0", "sha256": SHA}]}
        reports({"event": "checkpoint", "step": step, "marker": marker})
    reports({"event": "epoch", "epoch": 1})
    assert heard == ["epoch"]
    found = newest_checkpoint(bucket.store, "w", up_to_epoch=1)
    assert found is not None
    assert found.position.step == 40
    believed = [step for step, _, key in list_checkpoints(bucket.raw, "w", up_to_epoch=1) if bucket.store.exists(key)]
    assert believed == [40, 30, 20][: job.train.checkpoint.keep]
    reader = RecordStore(bucket.raw, PublicKeys(bucket.keys.trusted()))  # as a rank resumes
    assert newest_checkpoint(reader, "w", up_to_epoch=1) is not None


def test_once_a_newer_claim_verifies_nothing_more_of_an_older_attempt_is_signed(bucket: Bucket) -> None:
    job = TrainJob.model_validate({**JOB.model_dump(), "train": {"nodes": 1, "processes": 1}, "rendezvous": None})
    reports = Reports(bucket.store, job, lambda _: None)
    ours = TrainResult.model_validate_json(canonical_json(RESULT))
    marker = {"position": POSITION, "parts": []}
    bucket.plant(PLANTS["claim"])  # a stranger's ends nothing
    reports({"event": "checkpoint", "step": 10, "marker": marker})
    assert list_checkpoints(bucket.store, "w", up_to_epoch=1) != []
    bucket.store.create("work/w/claim-000002.json", canonical_json(CLAIM))
    reports({"event": "checkpoint", "step": 20, "marker": marker})
    assert [step for step, *_ in list_checkpoints(bucket.raw, "w", up_to_epoch=1)] == [10]
    with pytest.raises(StaleAttemptError, match="a newer attempt"):
        reports.finish(ours)
    assert find_result(bucket.store, "w") is None
    assert epoch_of_the_next(bucket.store) == 3


@pytest.mark.parametrize("name", ["exists", "create", "list"])
def test_a_store_that_is_away_at_a_marker_ends_no_training_and_hides_no_error(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    job = TrainJob.model_validate({**JOB.model_dump(), "train": {"nodes": 1, "processes": 1}, "rendezvous": None})
    reports = Reports(bucket.store, job, lambda _: None)

    def away(*_: object, **__: object) -> None:
        raise StorageError("the store is away")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(bucket.store, name, away)
        reports({"event": "checkpoint", "step": 10, "marker": {"position": POSITION, "parts": []}})
        reports.close()
    reports.close()
    assert [step for step, *_ in list_checkpoints(bucket.store, "w", up_to_epoch=1)] == [10]


@pytest.mark.parametrize("event", ['{"step": -1, "marker": {}}', '{"step": 1, "marker": {"a": NaN}}', "[]", "{", "7"])
def test_a_marker_that_is_none_is_refused_and_leaves_nothing_behind(bucket: Bucket, event: str) -> None:
    job = TrainJob.model_validate({**JOB.model_dump(), "train": {"nodes": 1, "processes": 1}, "rendezvous": None})
    reports = Reports(bucket.store, job, lambda _: None)
    lender = Lender(bucket.store, Rights(), hears={"checkpoint": reports.checkpoint})
    lender.answer({"ask": 1, "do": "report", "name": "checkpoint"}, event.encode())
    reports.close()
    assert not list(bucket.raw.list("work/"))


def test_a_checkpoint_that_is_reported_through_the_channel_is_signed_before_the_rank_goes_on(bucket: Bucket) -> None:
    """No event's file has a part in it: a full disk takes no checkpoint away."""
    job = TrainJob.model_validate({**JOB.model_dump(), "train": {"nodes": 1, "processes": 1}, "rendezvous": None})
    reports = Reports(bucket.store, job, lambda _: None)
    lender = Lender(bucket.store, Rights(), hears={"checkpoint": reports.checkpoint})
    body = canonical_json({"step": 10, "marker": {"position": POSITION, "parts": []}})
    head, _ = lender.answer({"ask": 1, "do": "report", "name": "checkpoint"}, body)
    assert "refused" not in head
    assert [step for step, *_ in list_checkpoints(bucket.store, "w", up_to_epoch=1)] == [10]


def test_weights_that_are_not_the_attempts_own_are_not_signed(bucket: Bucket) -> None:
    job = TrainJob.model_validate({**JOB.model_dump(), "train": {"nodes": 1, "processes": 1}, "rendezvous": None})
    with pytest.raises(SecurityError, match="report weights at"):
        Reports(bucket.store, job, lambda _: None).finish(
            parse_result(canonical_json({**RESULT, "weights_key": f"weights/{SHA}.safetensors"}))
        )


def test_a_run_opens_its_bucket_as_one_in_which_others_write(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, s3_endpoint_url="http://127.0.0.1:1", s3_access_key=SecretStr("a"), s3_secret_key=SecretStr("b"),
        mlflow_tracking_uri="http://127.0.0.1:2", prefect_api_url="http://127.0.0.1:3",
    )  # fmt: skip
    assert isinstance(Adapters(settings).store, RecordStore)


@pytest.mark.parametrize("kind", PLANTS)
def test_the_thief_of_an_approvers_key_makes_no_record(bucket: Bucket, kind: str) -> None:
    person = Signer.generate()
    bucket.keys.list = bucket.keys.list.replacing(public_half(person, "approver", "alice"))
    bucket.plant(PLANTS[kind], signer=person)
    assert not PLANTS[kind].believed(bucket.store)


@pytest.mark.parametrize("kind", PLANTS)
def test_what_the_thief_of_the_pipelines_key_left_is_done_again_after_the_revocation(bucket: Bucket, kind: str) -> None:
    stolen = bucket.keys.signer()
    bucket.plant(PLANTS[kind], signer=stolen)
    assert PLANTS[kind].believed(bucket.store)  # what he can
    key = next(iter(bucket.keys.list)).model_copy(update={"revoked_s": 1000.0, "reason": "stolen"})
    fresh = Signer.generate()
    bucket.keys.list = bucket.keys.list.replacing(key).replacing(public_half(fresh, "pipeline", "ops"))
    bucket.keys._signer = fresh
    bucket.raw.delete("orders/digits/o-taken.json")
    for name in [info.key for info in bucket.raw.list("holdout/digits/") if info.key > "holdout/digits/00000001.json"]:
        bucket.raw.delete(name)
    assert not PLANTS[kind].believed(bucket.store)
