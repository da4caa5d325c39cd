"""A pipeline that is held: its run stops after the data gate, a later good delivery or a person lets it go on."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.flows.holding import stop_if_held, tell_holds
from mlratchet.flows.runs.report import Report
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.snapshot import snapshot_id, take_snapshot
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.errors import ConfigurationError, GateRefusedError, SecurityError
from mlratchet.models.monitoring.actions import Act, FindingAnswer
from mlratchet.models.monitoring.answers import publish_answer
from mlratchet.models.promotion.holds import HoldBook
from mlratchet.tasks.actions.resolve import resolve
from mlratchet.tasks.steps import holds as module
from mlratchet.tasks.support.holds import questions_of

FINDING = "f" * 64
REASON = "the sensor was replaced"
DATA = GateRun(id="g", gate="data", work_key="w", verdict="pass", decision="d" * 64)
WORK: Any = SimpleNamespace(snapshot_id=snapshot_id(()))  # until something is delivered


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Held since the first second of the store's clock."""
    store = MemoryStore("store")
    adapters = SimpleNamespace(store=store, ledger=SimpleNamespace(heads=None))
    spec = SimpleNamespace(name="digits", source=SimpleNamespace(prefix="d/"))
    made = SimpleNamespace(adapters=adapters, spec=spec, actor="ada", raw=MemoryStore("raw"), run_id="r")
    monkeypatch.setattr("mlratchet.flows.holding.pass_holds", module.pass_holds.fn)
    return made


def hold(run: Any, kind: str = "data") -> HoldBook:
    book = HoldBook(run.adapters.store)
    book.place("digits", finding=FINDING, kind=kind, words="half is empty", actor="monitor", at_s=1.0)
    return book


def deliver(run: Any, book: HoldBook, after_s: float) -> None:
    """The newest object of the source came so much later than the hold."""
    written_s = book.standing("digits")[0].written_s
    run.raw.put("d/rows.csv", b"x")
    info = replace(run.raw.head("d/rows.csv"), modified_s=written_s + after_s)
    run.raw.list = lambda prefix="", **_: iter([info])
    WORK.snapshot_id = take_snapshot(run.raw, run.adapters.store, prefix="d/").id


def test_a_run_that_nothing_holds_goes_on_and_says_nothing(run: Any) -> None:
    report = Report(run_id="r", pipeline="digits")
    stop_if_held(run, WORK, DATA, report)
    tell_holds(run, report)
    assert not {"lifted", "held"} & set(report.facts)


@pytest.mark.parametrize(("kind", "after_s"), [("data", -1.0), ("data", 0.0), ("service", 60.0)])
def test_a_held_run_stops_after_its_data_gate(run: Any, kind: str, after_s: float) -> None:
    book = hold(run, kind)
    deliver(run, book, after_s)
    with pytest.raises(GateRefusedError, match=r"digits is held since .*half is empty"):
        stop_if_held(run, WORK, DATA, Report(run_id="r", pipeline="digits"))
    assert len(book.standing("digits")) == 1


def test_a_later_delivery_that_passed_the_data_gate_ends_it_by_that_decision(run: Any) -> None:
    book = hold(run)
    deliver(run, book, 5.0)
    report = Report(run_id="r", pipeline="digits")
    stop_if_held(run, WORK, DATA, report)
    assert report.facts["lifted"] == [FINDING]
    lift = book.entries("digits")[-1]
    assert (lift.action, lift.decision, lift.snapshot, lift.actor) == ("lift", "d" * 64, WORK.snapshot_id, "ada")


def test_a_delivery_that_came_while_an_earlier_one_was_read_is_not_answered_for_by_that_one(run: Any) -> None:
    book = hold(run)
    deliver(run, book, -60.0)
    (judged,) = run.raw.list()
    unseen = replace(judged, key="d/later.csv", modified_s=judged.modified_s + 120.0)
    run.raw.list = lambda prefix="", **_: iter([judged, unseen])
    with pytest.raises(GateRefusedError, match="is held since"):
        stop_if_held(run, WORK, DATA, Report(run_id="r", pipeline="digits"))
    assert len(book.standing("digits")) == 1


def test_an_object_that_was_replaced_by_as_many_bytes_while_a_run_worked_ends_no_hold(run: Any) -> None:
    book = hold(run)
    deliver(run, book, -60.0)
    (judged,) = run.raw.list()
    unseen = replace(judged, etag="other", modified_s=judged.modified_s + 120.0)
    run.raw.list = lambda prefix="", **_: iter([unseen])
    with pytest.raises(GateRefusedError, match="is held since"):
        stop_if_held(run, WORK, DATA, Report(run_id="r", pipeline="digits"))


def test_a_run_that_had_nothing_to_do_says_that_its_pipeline_is_held(run: Any) -> None:
    hold(run)
    report = Report(run_id="r", pipeline="digits")
    tell_holds(run, report)
    assert "held since" in report.facts["line"]


def test_a_person_lifts_it_with_a_reason_that_is_kept(run: Any) -> None:
    book = hold(run, "service")
    done = resolve(run.adapters, FINDING[:8], reason=f" {REASON} ")
    assert (done["action"], done["words"], done["finding"]) == ("lift", REASON, FINDING)
    assert done["actor"]
    assert book.standing("digits") == []


def test_the_pipelines_name_lifts_whatever_holds_it(run: Any) -> None:
    book = hold(run)
    book.place("digits", finding="e" * 64, kind="inputs", words="x", actor="monitor", at_s=2.0)
    resolve(run.adapters, "digits", reason=REASON)
    assert book.standing("digits") == []


@pytest.mark.parametrize(
    ("what", "reason", "words"),
    [
        (FINDING[:8], "ok", "at least 10 characters"), ("e" * 12, REASON, "ffffffffffff .digits."),
        (FINDING[:5] + "0", REASON, "expected the digest of one finding"),
    ],
)  # fmt: skip
def test_what_resolves_nothing_is_refused(run: Any, what: str, reason: str, words: str) -> None:
    book = hold(run)
    with pytest.raises(ConfigurationError, match=words):
        resolve(run.adapters, what, reason=reason)
    assert len(book.standing("digits")) == 1


def test_a_question_is_answered_by_a_persons_reason_and_asked_no_more(run: Any) -> None:
    store, adapters = run.adapters.store, run.adapters
    ask = Act(do="ask", rule="r")
    publish_answer(store, FindingAnswer(pipeline="digits", finding=FINDING, actions=(ask,), at_s=time.time()))
    assert questions_of(adapters, "digits") == [FINDING]
    done = resolve(adapters, FINDING[:8], reason=REASON)
    assert (done["name"], done["words"]) == ("digits", REASON)
    assert questions_of(adapters, "digits") == []
    with pytest.raises(ConfigurationError, match="nothing is held"):
        resolve(adapters, FINDING[:8], reason=REASON)


def test_a_hold_ends_though_the_chain_of_another_pipeline_is_cut_and_answers_what_was_asked_about_it(run: Any) -> None:
    book, store = hold(run, "service"), run.adapters.store
    book.place("other", finding="e" * 64, kind="data", words="x", actor="monitor", at_s=2.0)
    book.place("other", finding="d" * 64, kind="data", words="x", actor="monitor", at_s=3.0)
    store.delete("holds/other/00000001.json")
    with pytest.raises(SecurityError, match="holds/other/"):
        resolve(run.adapters, "e" * 12, reason=REASON)  # which it may hold
    acts = (Act(do="hold", rule="r"), Act(do="ask", rule="r"))
    publish_answer(store, FindingAnswer(pipeline="digits", finding=FINDING, actions=acts, at_s=time.time()))
    assert resolve(run.adapters, FINDING[:8], reason=REASON)["action"] == "lift"
    assert book.standing("digits") == []
    assert questions_of(run.adapters, "digits") == []
