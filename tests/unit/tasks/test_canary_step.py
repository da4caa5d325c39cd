"""The step and the actions of a canary, over a bucket in memory: begin, watch, pull back, stop, hand over, orphans."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from mlratchet.infra.ledger.heads import HeadFiles
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.decisions.stored_evidence import evidence_key
from mlratchet.models.decisions.waiting import IN_CANARY, WaitingRun, publish_waiting
from mlratchet.models.errors import ConfigurationError, GateRefusedError
from mlratchet.models.gates.live import LiveEvidence, LiveTally
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.ledger.entry import LedgerConflict
from mlratchet.models.promotion.canary.chain import newest_canary
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.models.promotion.canary.plan import next_move
from mlratchet.models.serving.canary_look import CanaryWatch, Looked, canary_goes_on, results_of
from mlratchet.models.serving.canary_reader import CanaryReader
from mlratchet.tasks.actions import canary as actions
from mlratchet.tasks.steps import canary as step
from mlratchet.tasks.steps import promote as promoting
from mlratchet.tasks.support import canaries

from tests.unit.audit.conftest import World
from tests.unit.gates.test_live_checks import policy
from tests.unit.promotion.canaries import Canary

WATCH = CanaryWatch.model_validate(
    {
        "canary": {"shadow_requests": 20, "steps": [0.1, 0.5], "minimum_requests": 100},
        "checks": [{"kind": "live_errors", "margin": 0.2}],
    }
)
GOOD: dict[str, Any] = {"champion_failed": LiveTally(yes=0, n=500), "sent": 500}


class Office:
    """A run whose version was staged, and what its looks will show."""

    def __init__(self, world: World, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.canary = world, Canary(world)
        self.canary.staging = self.canary.staged()
        self.store = RecordStore(world.store, world.keys)
        self.heads = HeadFiles(tmp_path, "here")
        self.shown: list[dict[str, Any]] = []
        self.withdrawn: str | None = None
        self.adapters: Any = SimpleNamespace(
            store=self.store, keys=world.keys, ledger=world.ledger, settings=None,
            servers=SimpleNamespace(withdrawn=lambda _: self.withdrawn, requested=lambda _: True, url=lambda _: "http://s"),
        )  # fmt: skip
        monkeypatch.setattr(canaries, "open_heads", lambda _: self.heads)
        monkeypatch.setattr(step, "look_now", self.look)
        monkeypatch.setattr(actions, "look_now", self.look)
        monkeypatch.setattr(actions, "watch_of", lambda *_: WATCH)
        monkeypatch.setattr(step, "POLL_S", 0.0)

    def look(self, _: Any, watch: CanaryWatch, entry: CanaryEntry, chain: Any, *, stopped: str = "") -> Looked:
        """What the next look shows; the last one again and again."""
        facts = self.shown.pop(0) if len(self.shown) > 1 else self.shown[0] if self.shown else {}
        live = LiveEvidence(
            version=entry.version, champion_version=chain.links[entry.generation - 1].entry.version,
            began_s=entry.began_s, until_s=time.time(), minimum_requests=100, stopped=stopped, **{**GOOD, **facts},
        )  # fmt: skip
        results = results_of(watch.checks, live)
        return Looked(live=live, results=results, move=next_move(watch.canary, entry, live, results, now_s=time.time()))

    def run(self, run_id: str = "run-1") -> Any:
        serving = SimpleNamespace(canary=WATCH.canary, labels=None)
        spec = SimpleNamespace(name="digits", serving=serving, policy=policy({"kind": "live_errors", "margin": 0.2}))
        return SimpleNamespace(spec=spec, adapters=self.adapters, run_id=run_id, actor="ada")

    def begin(self, run: Any) -> CanaryEntry:
        head = self.world.ledger.head("digits")
        gate = GateRun(id="g", gate="staging", work_key="w", verdict="pass", decision=self.canary.staging)
        return step.begin_canary.fn(run, SimpleNamespace(champion=head), self.canary.record, gate)

    def newest(self) -> CanaryEntry:
        found = newest_canary(self.store, "digits")
        assert found is not None
        return found


@pytest.fixture
def office(world: World, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Office:
    return Office(world, tmp_path, monkeypatch)


ANSWERED: dict[str, Any] = {"failed": LiveTally(yes=0, n=200), "requests": 200}


def test_a_good_one_settles_and_its_evidence_is_what_the_gate_reads(office: Office) -> None:
    run = office.run()
    assert office.begin(run).phase == "shadow"
    assert step.watch_canary.fn(run, 0.0).live is None, "nothing followed, and the process ends"
    office.shown = [{"shadowed": 20}, {"requests": 60}, ANSWERED]
    watched = step.watch_canary.fn(run, 10.0)
    assert watched.live is not None
    assert watched.live.requests == 200
    assert (watched.entry.phase, watched.entry.share, watched.entry.outcome) == ("settled", 0.5, "pass")
    assert [one.number for one in (watched.entry,)] == [4]
    assert office.heads.mark("digits", "canary") == (4, watched.entry.digest())
    assert step.watch_canary.fn(run, 0.0).live == watched.live, "a later process reads the same"
    assert office.begin(run) == watched.entry


def test_a_bad_one_is_pulled_back_by_a_signed_decision(office: Office) -> None:
    run = office.run()
    office.begin(run)
    office.shown = [{"shadowed": 12, "shadow_failed": LiveTally(yes=12, n=12)}]
    watched = step.watch_canary.fn(run, 10.0)
    assert (watched.entry.phase, watched.entry.outcome, watched.entry.share) == ("ended", "fail", 0.0)
    decision = load_decision(office.store, watched.entry.decision)
    assert (decision["kind"], decision["verdict"], decision["version"]) == ("canary", "fail", 4)
    assert decision["checks"][0]["verdict"] == "fail"
    assert decision["digests"]["live"] == watched.entry.evidence
    assert office.begin(office.run("run-2")) == watched.entry, "the same version is not asked again"


def test_a_person_stops_it_and_its_run_is_refused(office: Office) -> None:
    run = office.run()
    office.begin(run)
    with pytest.raises(ConfigurationError, match="say why"):
        actions.stop_canary(office.adapters, "digits", reason=" ")
    ended = actions.stop_canary(office.adapters, "digits", reason="wrong unit", actor="bob")
    assert (ended["phase"], ended["actor"], ended["outcome"]) == ("ended", "bob", "fail")
    live = step.watch_canary.fn(run, 0.0).live
    assert live is not None
    assert live.stopped == "stopped by bob: wrong unit"
    assert results_of(WATCH.checks, live)[0].verdict == "fail"
    with pytest.raises(GateRefusedError, match="no canary to stop"):
        actions.stop_canary(office.adapters, "digits", reason="again")


def settled(office: Office, run: Any) -> CanaryEntry:
    """Its canary, watched to a good end."""
    office.begin(run)
    office.shown = [{"shadowed": 20}, {"requests": 60}, ANSWERED]
    return step.watch_canary.fn(run, 10.0).entry


def test_a_person_stops_one_that_stood_its_canary_and_waits_for_the_decision(office: Office) -> None:
    run = office.run()
    settled(office, run)
    ended = actions.stop_canary(office.adapters, "digits", reason="wrong unit", actor="bob")
    for again in (run, office.run("run-2")):  # the one that waits for an approval, and the next
        assert office.begin(again).number == ended["number"]
        live = step.watch_canary.fn(again, 0.0).live
        assert live is not None
        assert (live.stopped, live.requests) == ("stopped by bob: wrong unit", 200)
        assert results_of(WATCH.checks, live)[0].verdict == "fail"


def test_one_whose_evidence_is_gone_is_stopped_and_its_run_refused(office: Office) -> None:
    run = office.run()
    office.store.delete(evidence_key(settled(office, run).evidence))
    actions.stop_canary(office.adapters, "digits", reason="wrong unit", actor="bob")
    with pytest.raises(GateRefusedError, match="was ended by bob: wrong unit"):
        step.watch_canary.fn(run, 0.0)


def test_what_was_stopped_behind_its_gate_is_not_promoted(office: Office) -> None:
    run = office.run()
    settled(office, run)
    promoting.refuse_pulled_back(run, office.canary.record)
    actions.stop_canary(office.adapters, "digits", reason="wrong unit", actor="bob")
    with pytest.raises(GateRefusedError, match=r"version 4 of digits was pulled back by bob: wrong unit"):
        promoting.refuse_pulled_back(run, office.canary.record)
    promoting.refuse_pulled_back(run, office.world.register(5))


def test_one_that_a_check_pulled_back_is_the_gates_to_judge(office: Office) -> None:
    """By the policy of now, which may ask for less."""
    run = office.run()
    office.begin(run)
    office.shown = [{"shadowed": 12, "shadow_failed": LiveTally(yes=12, n=12)}]
    assert step.watch_canary.fn(run, 10.0).entry.outcome == "fail"
    promoting.refuse_pulled_back(run, office.canary.record)


def test_a_stop_that_meets_another_move_stops_what_came(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, moved = office.begin(office.run()), list[CanaryEntry]()

    def look(*told: Any, **more: Any) -> Looked:
        if not moved:  # the run gives it a share meanwhile
            chain = canaries.canary_of(office.adapters, "digits")
            moved.append(chain.give_share(entry, WATCH.canary, 0, "20 in the shadow", now_s=time.time()))
        return office.look(*told, **more)

    monkeypatch.setattr(actions, "look_now", look)
    ended = actions.stop_canary(office.adapters, "digits", reason="wrong unit", actor="bob")
    assert (ended["number"], ended["step"], office.newest().phase) == (3, 0, "ended")


def test_a_changed_chain_is_stopped_all_the_same(office: Office) -> None:
    entry = office.begin(office.run())
    office.world.store.put(f"canary/digits/{entry.number + 1:08d}.json", b"{}")
    ended = actions.stop_canary(office.adapters, "digits", reason="planted", actor="bob")
    assert (ended["number"], office.newest().phase) == (2, "ended")


def test_a_pull_back_that_was_removed_is_followed_by_an_entry_of_another_number(office: Office) -> None:
    office.begin(office.run())
    ended = actions.stop_canary(office.adapters, "digits", reason="wrong unit")
    office.world.store.delete(f"canary/digits/{ended['number']:08d}.json")
    again = actions.stop_canary(office.adapters, "digits", reason="it was removed")
    assert again["number"] == ended["number"] + 1
    assert canaries.canary_of(office.adapters, "digits").newest() is not None


def test_one_version_at_a_time_and_one_run_watches(office: Office) -> None:
    first = office.begin(office.run())
    publish_waiting(office.store, waiting("run-1"))
    other = office.canary.record.work_key
    office.canary.record = replace_record(office, 5)
    with pytest.raises(GateRefusedError, match="is in its canary"):
        office.begin(office.run("run-2"))
    office.canary.record = office.world.records[4]
    assert office.canary.record.work_key == other
    with pytest.raises(GateRefusedError, match="watches the canary"):
        office.begin(office.run("run-2"))
    office.store.delete("waits/digits/run-1.json")
    taken = office.begin(office.run("run-2"))
    assert (taken.run, taken.number, taken.began_s) == ("run-2", first.number + 1, first.began_s)


def replace_record(office: Office, version: int) -> Any:
    return office.world.register(version)


def waiting(run: str) -> WaitingRun:
    return WaitingRun(
        run=run, pipeline="digits", revision="r", snapshot="s", actor="ada", request="", form=f"{IN_CANARY}f",
        until_s=time.time() + 3600, watch=WATCH.model_dump_json(),
    )  # fmt: skip


def test_an_orphan_is_ended_by_a_decision(office: Office) -> None:
    office.begin(office.run())
    publish_waiting(office.store, waiting("run-1"))
    assert actions.end_orphan(office.adapters, "digits") == []
    office.store.delete("waits/digits/run-1.json")
    (line,) = actions.end_orphan(office.adapters, "digits")
    assert "its run run-1 is gone" in line
    ended = office.newest()
    assert (ended.phase, ended.outcome, ended.actor) == ("ended", "inconclusive", "reconcile")
    assert actions.end_orphan(office.adapters, "digits") == []
    again = office.begin(office.run("run-2"))
    assert (again.phase, again.run) == ("shadow", "run-2"), "what decided nothing is asked again"


def test_another_champion_ends_it(office: Office) -> None:
    run = office.run()
    office.begin(run)
    head = office.world.ledger.head("digits")
    office.world.promote(6)
    office.adapters.ledger = office.world.ledger
    with pytest.raises(LedgerConflict, match="made version 6 champion"):
        step.watch_canary.fn(run, 0.0)
    gate = GateRun(id="g", gate="staging", work_key="w", verdict="pass", decision=office.canary.staging)
    with pytest.raises(LedgerConflict, match="run it again"):
        step.begin_canary.fn(run, SimpleNamespace(champion=head), office.canary.record, gate)  # type: ignore[arg-type]


def test_without_a_server_it_is_refused(office: Office) -> None:
    office.withdrawn = "stopped"
    with pytest.raises(ConfigurationError, match="has no server"):
        office.begin(office.run())


def test_a_run_that_ends_ends_its_canary(office: Office) -> None:
    run = office.run()
    office.begin(run)
    step.close_canary(office.run("another"), "x")
    assert office.newest().phase == "shadow"
    step.close_canary(run, "GATE: champion gate: fail")
    ended = office.newest()
    assert (ended.phase, ended.outcome) == ("ended", "inconclusive")
    assert "champion gate: fail" in ended.reason


def test_what_is_shown_changes_nothing(office: Office) -> None:
    entry = office.begin(office.run())
    office.shown = [{"shadowed": 7}]
    told = actions.show_canary(office.adapters, "digits")
    assert told["canary"]["number"] == office.newest().number == entry.number
    lines = "\n".join(actions.lines_of(told))
    assert "version 4: shadow" in lines
    assert "7 in the shadow" in lines
    assert "next: wait: 7 of 20 in the shadow" in lines


def test_the_worker_takes_a_run_up_when_something_follows(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlratchet.models.serving import canary_look

    office.begin(office.run())
    monkeypatch.setattr(
        canary_look, "look", lambda _, watch, entry, chain, **__: office.look(None, watch, entry, chain)
    )

    def goes_on(told: WaitingRun, **more: Any) -> str:
        facts: dict[str, Any] = {"seen": (0, ""), "now_s": time.time()} | more
        reader = CanaryReader(office.store, office.world.keys)
        return canary_goes_on(office.store, reader, office.world.ledger.chain("digits"), told, **facts)

    mine = waiting("run-1")
    assert goes_on(mine) == ""
    office.shown = [{"shadowed": 20}]
    assert "20 requests in the shadow" in goes_on(mine)
    assert goes_on(waiting("run-2")) == "its canary is over"
    assert goes_on(mine, now_s=mine.until_s) == "the time of its canary is over"
    office.shown = [{}]
    office.world.promote(6)
    assert "was made under generation 4" in goes_on(mine)


def test_a_bad_one_is_pulled_back_before_the_log_of_its_time_is_complete(world: World) -> None:
    """The log settles half a minute later; clients are not given to a version meanwhile that is seen to fail."""
    from mlratchet.models.inference_log.reading import LogStretch
    from mlratchet.models.serving.canary_look import look

    from tests.unit.serving.test_live_evidence import SCHEMA, Log

    canary = Canary(world)
    entry, log = canary.put("share", share=0.05), Log(canary)
    for _ in range(80):
        log.add("champion")
        log.add("canary", None, status=500)
    table = pa.Table.from_pylist(log.rows, schema=SCHEMA)

    def settled(settled_s: float) -> Any:
        stretch = LogStretch(pipeline="digits", since_s=0, until_s=9e9, table=table, settled_s=settled_s)
        return SimpleNamespace(read=lambda *_, **__: (stretch, None), begin_anew=lambda: None)

    chain = world.ledger.chain("digits")
    looked = look(settled(entry.began_s), WATCH, entry, chain, now_s=entry.began_s + 1000.0)
    assert (looked.move.do, looked.move.outcome) == ("end", "fail")
    assert looked.live.failed == LiveTally(yes=80, n=80)
    log.rows = []
    for _ in range(200):
        log.add("champion")
        log.add("canary")
    table = pa.Table.from_pylist(log.rows, schema=SCHEMA)
    last = canary.put("share", share=0.5, step=1)
    assert look(settled(entry.began_s), WATCH, last, chain, now_s=entry.began_s + 1000.0).move.do == "wait"
    assert look(settled(9e9), WATCH, last, chain, now_s=entry.began_s + 1000.0).move.do == "settle"


def test_what_settles_a_canary_is_read_as_a_whole_with_rows_that_came_late(world: World) -> None:
    from mlratchet.models.inference_log.reading import LogStretch
    from mlratchet.models.serving.canary_look import look

    from tests.unit.serving.test_live_evidence import SCHEMA, Log

    canary = Canary(world)
    entry, log = canary.put("share", share=0.5, step=1), Log(canary)

    def stretch() -> LogStretch:
        table = pa.Table.from_pylist(log.rows, schema=SCHEMA)
        return LogStretch(pipeline="digits", since_s=0, until_s=9e9, table=table, settled_s=9e9)

    for _ in range(200):
        log.add("champion")
        log.add("canary")
    shown = [stretch()]
    for _ in range(200):
        log.add("canary", None, status=500)
    late = stretch()
    reader: Any = SimpleNamespace(read=lambda *_, **__: (shown[-1], None), begin_anew=lambda: shown.append(late))

    looked = look(reader, WATCH, entry, world.ledger.chain("digits"), now_s=entry.began_s + 1000.0)
    assert (looked.move.do, looked.move.outcome) == ("end", "fail")
    assert shown == [shown[0], late]
