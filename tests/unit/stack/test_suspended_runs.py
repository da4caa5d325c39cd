"""The worker takes up the runs whose people have answered, and no other."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mlratchet.flows.suspension import suspended_state
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.stack.suspended_runs import SuspendedRuns
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.decisions.waiting import WaitingRun, publish_waiting, waiting_key
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import RecordStore
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Suspended


def run(state: State[Any]) -> FlowRun:
    return FlowRun(flow_id=uuid4(), name="r", parameters={"pipeline": "digits"}, state=state)


def waits(store: RecordStore, of: FlowRun, until_s: float) -> None:
    said = WaitingRun(
        run=str(of.id), pipeline="digits", revision="r", snapshot="s", actor="a", request="approvals/q/request.json",
        form="f", until_s=until_s,
    )  # fmt: skip
    publish_waiting(store, said)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordStore:
    keys = MemoryKeys()
    (tmp_path / "trusted-keys.json").write_text(keys.trusted().to_json())
    for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.setenv(f"RATCHET_{name}", "http://127.0.0.1:1")
    made = RecordStore(MemoryStore("store"), keys)
    monkeypatch.setattr(SuspendedRuns, "_store", made)
    return made


def test_a_run_goes_on_when_its_wait_is_over_or_what_it_waits_for_is_gone(store: RecordStore, tmp_path: Path) -> None:
    over, lost, waiting = (run(suspended_state(form)) for form in "abc")
    waits(store, over, time.time() - 1)
    waits(store, waiting, time.time() + 999)
    store.create("approvals/q/request.json", b"{}")  # of another release: it does not say, so nobody is let through
    found = SuspendedRuns(tmp_path).due([over, lost, waiting])
    assert set(found) == {over.id, lost.id}
    assert found[over.id] == "the wait is over"
    assert "begins anew" in found[lost.id]


def test_a_run_that_a_person_suspended_waits_for_that_person(store: RecordStore, tmp_path: Path) -> None:
    assert SuspendedRuns(tmp_path).due([run(Suspended(pause_key="by hand"))]) == {}


def test_a_record_that_is_about_another_run_stops_no_other(store: RecordStore, tmp_path: Path) -> None:
    wrong, over = run(suspended_state("a")), run(suspended_state("b"))
    waits(store, over, time.time() - 1)
    body = WaitingRun(
        run="another", pipeline="digits", revision="r", snapshot="s", actor="a", request="q", form="f", until_s=1.0
    )
    store.put(waiting_key("digits", str(wrong.id)), canonical_json(body.model_dump(mode="json")))
    assert set(SuspendedRuns(tmp_path).due([wrong, over])) == {over.id}
