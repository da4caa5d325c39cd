"""A run that asked people holds no process: what it goes on with, when, and that nobody else can say."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from mlratchet.flows import approval_pause, suspension
from mlratchet.flows.suspension import Waits, keyset_of, suspend, suspended_state
from mlratchet.infra.keys.files import MemoryKeys, public_half
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.approval.statement import Statement, publish
from mlratchet.models.decisions.approval_request import ApprovalRequest, publish_request
from mlratchet.models.decisions.waiting import (
    LATE_S,
    WaitingRun,
    forget_waiting,
    goes_on,
    publish_waiting,
    waiting_key,
    waiting_of,
)
from mlratchet.models.errors import InfrastructureError, SecurityError
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.identity.signing import Signer
from mlratchet.tasks.steps.ingest import ingest
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.responses import SetStateStatus

NOW_S = 1_000_000.0
RUN = "11111111-2222-3333-4444-555555555555"
POLICY = GatePolicy.model_validate(
    {
        "data": [{"kind": "data", "measure": "rows", "minimum": 1}],
        "candidate": [{"kind": "absolute", "metric": "accuracy", "minimum": 0.5}],
        "staging": [{"kind": "parity", "maximum_difference": 0.1}],
        "champion": [{"kind": "approval", "approvers": ["alice"], "require": "ui", "wait_hours": 1}],
    }
)


class Office:
    """A bucket in which others write, alice's key, and a question."""

    def __init__(self) -> None:
        self.raw, self.keys, self.alice = MemoryStore("store"), MemoryKeys(), Signer.generate()
        self.keys.list = self.keys.list.replacing(public_half(self.alice, "approver", "alice"))
        self.store = RecordStore(self.raw, self.keys, now=lambda: NOW_S)
        self.request = ApprovalRequest.model_validate(
            {
                "subject": {
                    "pipeline": "digits", "gate": "champion", "version": 7, "work_key": "w", "manifest": "m",
                    "policy": POLICY.digest(), "dataset": "d", "champion_version": 3,
                },
                "policy": POLICY.model_dump(mode="json", exclude={"policy"}), "decision": "d", "asked_by": "ada",
                "run_id": RUN, "at_s": NOW_S,
            }
        )  # fmt: skip
        publish_request(self.store, self.request)
        self.waiting = WaitingRun(
            run=RUN, pipeline="digits", revision="r" * 64, snapshot="s" * 64, actor="ada", request=self.request.key,
            form="f", until_s=NOW_S + 3600,
        )  # fmt: skip

    def why(self, now_s: float = NOW_S + 1, run: str = RUN) -> str:
        return goes_on(self.store, self.keys.trusted(), "digits", run, now_s=now_s)

    def say(self, decision: str) -> None:
        said = {
            "subject": self.request.subject, "decision": decision, "approver": "alice", "reason": "looked",
            "at_s": NOW_S, "expires_s": NOW_S + 9999, "method": "signature",
        }  # fmt: skip
        publish(self.store, Statement.model_validate(said), self.alice)


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_it_goes_on_when_the_answer_is_in_the_bucket(office: Office, decision: str) -> None:
    publish_waiting(office.store, office.waiting)
    assert office.why() == ""
    office.say(decision)
    assert office.why() == "the answer is in the bucket"


def test_it_goes_on_when_the_wait_is_over_and_what_is_gone_makes_it_begin_anew(office: Office) -> None:
    assert "begins anew" in office.why()
    publish_waiting(office.store, office.waiting)
    assert office.why(NOW_S + 3601) == "the wait is over"
    office.raw.delete(office.request.key)
    assert "asks again" in office.why()
    forget_waiting(office.store, "digits", RUN)
    assert "begins anew" in office.why()


def test_what_it_goes_on_with_is_signed_and_of_this_run_alone(office: Office) -> None:
    office.raw.put(waiting_key("digits", RUN), canonical_json(office.waiting.model_dump(mode="json")))
    assert waiting_of(office.store, "digits", RUN, now_s=NOW_S) is None
    publish_waiting(office.store, office.waiting)
    assert waiting_of(office.store, "digits", RUN, now_s=NOW_S) == office.waiting
    other = str(uuid4())
    office.raw.put(waiting_key("digits", other), office.raw.get(waiting_key("digits", RUN)))
    assert waiting_of(office.store, "digits", other, now_s=NOW_S) is None  # copied to another name
    assert waiting_of(office.store, "digits", RUN, now_s=NOW_S + 3601 + LATE_S) is None
    publish_waiting(office.store, office.waiting.model_copy(update={"form": "g"}))  # it waits once more
    assert json.loads(office.raw.get(waiting_key("digits", RUN)))["form"] == "g"
    office.store.put(waiting_key("tables", RUN), canonical_json(office.waiting.model_dump(mode="json")))
    with pytest.raises(SecurityError, match=f"is about run {RUN} of digits"):
        waiting_of(office.store, "tables", RUN, now_s=NOW_S)


def test_a_delivery_that_came_meanwhile_is_none_of_its_business(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlratchet.models.data.snapshot import take_snapshot

    delivered = MemoryStore("raw")
    delivered.put("d/rows.csv", b"a,label\n1,2\n")
    asked_about = take_snapshot(delivered, office.store, prefix="d/")
    delivered.put("d/more.csv", b"a,label\n3,4\n")
    source = SimpleNamespace(prefix="d/", inference_log=None, snapshot="copy")
    spec: Any = SimpleNamespace(source=source, example_schema=None)
    waited = office.waiting.model_copy(update={"snapshot": asked_about.id})
    run: Any = SimpleNamespace(adapters=SimpleNamespace(store=office.store), raw=delivered, spec=spec, waited=waited)
    assert ingest.fn(run) == asked_about
    run.waited = None
    assert ingest.fn(run).id != asked_about.id


class Prefect:
    """What the flow and its process ask of Prefect's API."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, answer: SetStateStatus = SetStateStatus.ACCEPT) -> None:
        self.states: list[State[Any]] = []
        self.forms: dict[str, Any] = {}
        self.inputs: dict[str, Any] = {}
        self._answer = answer
        monkeypatch.setattr(suspension, "get_client", lambda **_: self)
        monkeypatch.setattr(
            suspension, "read_flow_run_input", lambda key, flow_run_id: self.inputs.get(f"{flow_run_id}/{key}")
        )

    def __enter__(self) -> Prefect:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def set_flow_run_state(self, run_id: UUID, state: State[Any]) -> Any:
        assert str(run_id) == RUN
        self.states.append(state)
        return SimpleNamespace(status=self._answer, details=SimpleNamespace(reason="it was cancelled"))


@pytest.fixture
def asking(office: Office, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run of the worker at its gate."""
    monkeypatch.setattr(approval_pause, "get_run_logger", lambda: SimpleNamespace(info=lambda *_: None))
    monkeypatch.setattr(approval_pause, "metric_rows", lambda _run, _evidence: [])
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "of the worker")
    monkeypatch.setattr("time.time", lambda: NOW_S)
    spec = SimpleNamespace(name="digits", revision=lambda: "r" * 64)
    adapters = SimpleNamespace(
        store=office.store, keys=office.keys, settings=SimpleNamespace(prefect_api_url="http://p/api")
    )
    return SimpleNamespace(spec=spec, adapters=adapters, run_id=RUN, actor="ada", snapshot_id="s" * 64, waited=None)


def test_a_form_that_was_filled_in_while_no_process_lived_is_the_answer(
    office: Office, asking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect = Prefect(monkeypatch)
    with pytest.raises(Waits) as waits:
        approval_pause.wait_for_people(asking, office.request, evidence=None)  # type: ignore[arg-type]
    asking.waited = waiting_of(office.store, "digits", RUN, now_s=NOW_S)
    assert asking.waited == waits.value.waiting
    assert asking.waited.until_s == NOW_S + 3600
    response = f"{RUN}/{keyset_of(asking.waited.form)['response']}"
    prefect.inputs[response] = {"decision": "approve", "approver": "mallory", "reason": "x", "counts_for_hours": 1}
    with pytest.raises(Waits) as again:  # not one of those asked: it waits on, no longer than before
        approval_pause.wait_for_people(asking, office.request, evidence=None)  # type: ignore[arg-type]
    assert again.value.waiting.until_s == asking.waited.until_s
    assert again.value.waiting.form != asking.waited.form
    prefect.inputs[response] = {"decision": "approve", "approver": "alice", "reason": "x", "counts_for_hours": 1}
    assert approval_pause.wait_for_people(asking, office.request, evidence=None)  # type: ignore[arg-type]
    assert office.why() == "the answer is in the bucket"


def test_prefect_hears_of_the_wait_with_the_form_and_no_end_of_its_own(
    office: Office, asking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect = Prefect(monkeypatch)
    form: Any = SimpleNamespace(save=lambda keyset, flow_run_id: prefect.forms.update({keyset["schema"]: flow_run_id}))
    suspend(Waits(office.waiting, form))
    (state,) = prefect.states
    assert (state.type, state.name) == (StateType.PAUSED, "Suspended")
    assert state.state_details.pause_reschedule
    assert state.state_details.pause_timeout is None
    assert state.state_details.run_input_keyset is not None
    assert prefect.forms == {state.state_details.run_input_keyset["schema"]: UUID(RUN)}


def test_a_run_that_was_cancelled_at_the_moment_does_not_wait(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    Prefect(monkeypatch, answer=SetStateStatus.REJECT)
    with pytest.raises(InfrastructureError, match="cannot wait in Prefect: it was cancelled"):
        suspend(Waits(office.waiting, SimpleNamespace(save=lambda *_, **__: None)))  # type: ignore[arg-type]


def test_two_waits_of_a_run_have_forms_of_their_own() -> None:
    keys = [suspended_state(form).state_details.run_input_keyset for form in ("a", "b")]
    assert keys[0] != keys[1]
