"""`ratchet ls` and `ratchet raw`: one line a pipeline, and what lies in its folder alone."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.flows.cli.pipelines import age
from mlratchet.infra.keys.files import public_half
from mlratchet.infra.serving.local import LocalServers
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.approval.statement import Statement, publish
from mlratchet.models.decisions.approval_request import ApprovalRequest, publish_request
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.identity.signing import Signer
from mlratchet.models.ledger.chain import entry_key
from mlratchet.models.pipeline.schedule import ScheduleRef
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import publish_deployment, publish_pipeline
from mlratchet.models.promotion.holds import HoldBook
from mlratchet.models.registration.record import registration_key
from mlratchet.models.registration.tracking import TrackingRecord, publish_tracking
from mlratchet.models.serving.config import ServingConfig
from mlratchet.tasks.actions import overview as module
from mlratchet.tasks.actions.overview import overview
from mlratchet.tasks.actions.raw_objects import list_raw, remove_raw

from tests.unit.audit.conftest import POLICY, World
from tests.unit.serving.test_server import settings_of


@pytest.fixture
def adapters(world: World, tmp_path: Path) -> Any:
    """Of the world's bucket; a file of a pipeline that never ran lies in the folder."""
    (tmp_path / "quote.yaml").write_text("")
    settings = settings_of(tmp_path, pipelines_dir=tmp_path)
    return SimpleNamespace(
        store=world.store, ledger=world.ledger, servers=LocalServers(tmp_path), settings=settings, keys=world.keys
    )


def test_the_schedule_is_the_one_deployed_last_with_or_without_a_champion(
    adapters: Any, world: World, digits_spec: PipelineSpec
) -> None:
    assert [one["schedule"] for one in overview(adapters)] == [None, None]
    for name, cron in (("digits", "0 3 * * *"), ("quote", "@daily")):
        spec = digits_spec.model_copy(update={"name": name, "schedule": ScheduleRef(cron=cron)})
        publish_deployment(world.store, name, publish_pipeline(world.store, spec), actor="a", at_s=1.0)
    assert [one["schedule"] for one in overview(adapters)] == ["0 3 * * *", "@daily"]


def test_every_pipeline_has_a_line(adapters: Any, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    points = (("test_f1_macro", 0.7, 0, 0.0), ("test_accuracy", 0.93, 0, 0.0), ("loss", 0.1, 3, 0.0))
    record = TrackingRecord(
        experiment="e", run_name="r", work_key="w", parameters={}, points=points,
        dataset_name="d", dataset_digest="d", dataset_uri="u",
    )  # fmt: skip
    key = publish_tracking(world.store, record)
    told = world.records[3].model_copy(update={"tracking": key})
    monkeypatch.setattr(module, "find_registration", lambda *_: told)
    digits, quote = overview(adapters)
    assert (digits["pipeline"], digits["champion"], digits["health"]) == ("digits", 3, "no server")
    assert (digits["metric"], digits["value"]) == ("accuracy", 0.93)
    assert digits["age_s"] == pytest.approx(time.time() - world.ledger.entries("digits")[-1].at_s, abs=60)
    assert (quote["champion"], quote["health"]) == (None, "no champion yet")


def test_health_is_the_servers_word_or_that_somebody_stopped_it(adapters: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    adapters.servers.request("digits", ServingConfig())
    monkeypatch.setattr(LocalServers, "url", lambda *_: "http://server")
    assert overview(adapters, ask=lambda url: f"asked {url}")[0]["health"] == "asked http://server"
    adapters.servers.withdraw("digits", "stopped")
    assert overview(adapters, ask=lambda url: url)[0]["health"] == "stopped; `ratchet deploy digits` starts it again"


def test_a_version_that_waits_for_a_person_is_in_the_line(adapters: Any, world: World) -> None:
    person = Signer.generate()
    world.change_trust([*world.keys.trusted(), public_half(person, "approver", "alice")])
    asked = publish_request(world.store, request_about_version_4(world))
    digits, quote = overview(adapters)
    assert (digits["champion"], digits["waits"], quote["waits"]) == (3, "version 4 waits for 1 of alice", None)
    said = {
        "subject": asked.subject, "decision": "reject", "approver": "alice", "reason": "no", "at_s": 1.0,
        "expires_s": time.time() + 60, "method": "signature",
    }  # fmt: skip
    publish(world.store, Statement.model_validate(said), person)
    assert overview(adapters)[0]["waits"] is None


def request_about_version_4(world: World) -> ApprovalRequest:
    """Of a champion gate that asks alice."""
    policy = POLICY.model_dump(mode="json", exclude={"policy"})
    policy["champion"] = [{"kind": "approval", "approvers": ["alice"]}]
    subject = {
        "pipeline": "digits", "gate": "champion", "version": 4, "work_key": "w", "dataset": "d", "manifest": "m",
        "policy": GatePolicy.model_validate(policy).digest(), "champion_version": 3,
    }  # fmt: skip
    asked = {"subject": subject, "policy": policy, "decision": "d", "asked_by": "ada", "run_id": "r", "at_s": 1.0}
    return ApprovalRequest.model_validate(asked)


def test_a_ledger_that_does_not_verify_is_the_health_of_its_pipeline(adapters: Any, world: World) -> None:
    world.store.put(entry_key("digits", 4), b"[]")
    digits, quote = overview(adapters)
    assert digits["health"].startswith("SECURITY:")
    assert quote["health"] == "no champion yet"
    world.store.delete(registration_key(world.records[3].work_key))


def test_age_is_told_in_one_unit() -> None:
    assert [age(s) for s in (None, 0.0, 3599.0, 7300.0, 200_000.0)] == ["-", "0m", "60m", "2h", "2d"]


@pytest.fixture
def raw_bucket() -> MemoryStore:
    """Two pipelines whose folders begin alike."""
    store = MemoryStore("raw")
    for key in ("plant/a.csv", "plant/2026/b.csv", "plant/2026/c.csv", "plant-old/a.csv"):
        store.put(key, b"1,2\n")
    return store


def test_raw_objects_are_those_of_the_folder_alone(raw_bucket: MemoryStore) -> None:
    assert [one["key"] for one in list_raw(raw_bucket, "plant/")] == ["2026/b.csv", "2026/c.csv", "a.csv"]
    assert list_raw(raw_bucket, "plant/")[0]["size_bytes"] == 4
    assert remove_raw(raw_bucket, "plant/", ["2026/"], everything=False, dry_run=True) == ["2026/b.csv", "2026/c.csv"]
    assert len(list_raw(raw_bucket, "plant/")) == 3  # a dry run changes nothing
    printed = [f"s3://{raw_bucket.bucket}/plant/2026/b.csv", "2026/c.csv"]  # as `upload` says it, and as `ls` does
    assert remove_raw(raw_bucket, "plant/", printed, everything=False) == ["2026/b.csv", "2026/c.csv"]
    assert remove_raw(raw_bucket, "plant/", [], everything=True) == ["a.csv"]
    assert [info.key for info in raw_bucket.list()] == ["plant-old/a.csv"]


def test_nothing_is_removed_where_a_name_is_wrong_or_none_is_given(raw_bucket: MemoryStore) -> None:
    with pytest.raises(DataError, match=r"plant/a\.cvs: no such object; did you mean 'a\.csv'"):
        remove_raw(raw_bucket, "plant/", ["2026/b.csv", "a.cvs"], everything=False)
    for keys, everything in (([], False), (["a.csv"], True)):
        with pytest.raises(ConfigurationError, match="--all"):
            remove_raw(raw_bucket, "plant/", keys, everything=everything)
    assert len(list(raw_bucket.list())) == 4


def test_what_holds_a_pipeline_stands_in_its_line(adapters: Any, world: World) -> None:
    book = HoldBook(world.store)
    book.place("digits", finding="f" * 64, kind="data", words="half is empty", actor="monitor", at_s=1.0)
    digits, quote = overview(adapters, ask=lambda _: "healthy")
    assert "half is empty" in digits["held"][0]
    assert quote["held"] == []
