"""The parts of the demo of the loop: each makes something happen, and says what the records should tell then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from mlratchet.flows.cli.demo_loop_timeline import told_by_records
from mlratchet.flows.cli.demo_loop_traffic import Traffic
from mlratchet.flows.cli.demo_loop_world import LoopWorld
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.tasks.actions.watch_promotion import in_words, said_by, stretch, watch_promotion
from mlratchet.tasks.wiring import Adapters, deployed_revision

FIRST, SECOND, THIRD, FOURTH = "2026-11-01", "2026-11-20", "2026-11-21", "2026-11-22"  # days of deliveries
LOOK_S = 2.0  # between two looks of the monitor
QUIET_WINDOWS, MORE_WINDOWS = 1, 4  # measured before anything changes, and where nothing does
PATIENCE_S = 600.0  # for an alarm, a run or a way back; idle cores need a tenth of it
CANARY_PATIENCE_S = 900.0
PROBATION_PATIENCE_S = 1800.0  # half of what the pipeline files give it


class Storyteller(Protocol):
    """Who tells the story."""

    def act(self, title: str) -> None:
        """Begin a part."""
        ...

    def say(self, words: str) -> None:
        """A line."""
        ...

    def expect(self, held: bool, words: str) -> bool:
        """Remember what was not so."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoopDemo:
    """One pipeline and its world."""

    adapters: Adapters
    world: LoopWorld
    story: Storyteller
    traffic: Traffic
    seed: int
    rows: int  # of a delivery

    def is_promoted_first(self) -> bool:
        """A delivery, a training, a champion that serves."""
        self.deliver(FIRST, changed=False, seed=0)
        report = self.run()
        self.story.say(f"{report['outcome']}: {report['line']}")
        return self.story.expect(report["outcome"] in ("promoted", "unchanged"), "the first version is promoted")

    def is_quiet(self, began: float) -> None:
        """Nothing changes, and nothing is said."""
        self.story.act("2/6 Traffic as it was trained on")
        self.measures(QUIET_WINDOWS, since_s=began)
        self.story.expect(not self.alarms_since(began), "nothing changed, and no alarm sounds")

    def stays_quiet(self, began: float) -> None:
        """Window after window."""
        self.measures(QUIET_WINDOWS + MORE_WINDOWS, since_s=began)
        self.story.expect(not self.alarms_since(began), "still nothing changed, and no alarm sounds")

    def measures(self, windows: int, *, since_s: float) -> None:
        """Until so many windows are over and were looked at: without one, silence says nothing."""
        from mlratchet.models.monitoring.window import windows_of

        def measured() -> int:
            return len(windows_of(self.adapters.store, self.world.name, since_s=since_s))

        self.watch_for(lambda: measured() >= windows or None, PATIENCE_S)
        self.story.say(f"{measured()} windows of {self.world.name} were measured")
        self.story.expect(measured() >= windows, f"{windows} windows are measured within {PATIENCE_S:.0f} s")

    def drifts_and_is_retrained(self) -> None:
        """What is known of the new rows is delivered; the alarm starts the retrain, which stands its canary."""
        self.story.act("3/6 The world changes")
        since_s, before = time.time(), self.generation()
        self.deliver_history()
        self.traffic.rows = self.world.rows(self.rows, changed=True, seed=self.seed + 51)
        self.story.say(self.world.changes)
        alarm = self.watch_for(lambda: next(iter(self.alarms_since(since_s)), None), PATIENCE_S)
        if not self.story.expect(alarm is not None, "the drift sounds an alarm"):
            return
        self.story.say(f"alarm after {time.time() - since_s:.0f} s: {alarm}")
        self.watch_for(lambda: self.generation() > before or None, CANARY_PATIENCE_S)
        head = self.adapters.ledger.head(self.world.name)
        assert head is not None
        self.story.expect(
            head.generation > before and head.reason.startswith("because "),
            f"a retrain because of the alarm is promoted; the newest entry is: {head.actor}: {head.reason}",
        )
        phases = [one.phase for one in self.canaries(since_s) if one.version == head.version]
        self.story.expect(
            phases[:1] == ["shadow"] and "share" in phases and phases[-1:] == ["settled"],
            f"it stood its shadow and its canary before: {phases}",
        )

    def bad_version_is_pulled_back(self) -> None:
        """An export turns every label around, of earlier rows, too: the gates judge by it and see nothing."""
        self.story.act("4/6 A version that disappoints")
        since_s, before = time.time(), self.generation()
        self.deliver_history(wrong=True)
        report = self.run()
        self.story.say(f"a delivery with every label turned around: {report['outcome']}: {report['line']}")
        self.story.expect(
            report["outcome"] == "stopped_by_gate" and self.generation() == before, "a bad version is not promoted"
        )
        ends = [one for one in self.canaries(since_s) if one.phase == "ended"]
        self.story.expect([one.outcome for one in ends] == ["fail"], "its canary on live requests pulls it back")
        self.deliver_history()
        self.story.say("the export is mended")

    def bad_version_goes_back_from_probation(self) -> None:
        """A person promotes it all the same; what clients and labels say since takes it back."""
        from mlratchet.tasks.actions.override import promote_by_override

        self.story.act("5/6 Somebody insists")
        pulled = self.canaries(0.0)[-1:]
        if not self.story.expect(
            bool(pulled) and pulled[0].outcome == "fail", "there is a version that was pulled back"
        ):
            return
        before, version = self.generation(), pulled[0].version
        # what was seen of the version before ends with the promotion: too little of it decides nothing, for good
        seen = self.watch_for(lambda: self.has_labels_enough() or None, PATIENCE_S)
        if not self.story.expect(bool(seen), "the version before has the labels that a probation asks for"):
            return
        promote_by_override(
            self.adapters, self.world.name, version, reason="the test rows say that it is better", expires="1h"
        )
        self.story.say(f"version {version} is promoted by an override, past its canary")
        self.watch_for(lambda: self.went_back(before) or None, PROBATION_PATIENCE_S)
        self.story.expect(
            self.went_back(before), f"its probation on live requests takes it back; {self.probation_in_words()}"
        )

    def bad_data_stop_a_retrain(self) -> None:
        """Nothing is retrained on such data until good ones come."""
        self.story.act("6/6 Bad data")
        self.deliver(THIRD, changed=True, seed=2)  # so that there is something to train
        time.sleep(1.5)  # the hold comes later, also by a clock of whole seconds
        self.traffic.plan = replace(self.traffic.plan, drift="quality")
        self.story.say(self.world.spoils)
        held = self.watch_for(lambda: self.holds() or None, PATIENCE_S)
        if not self.story.expect(held is not None, "bad data hold the pipeline"):
            return
        report = self.run()
        self.story.say(f"a retrain: {report['outcome']}: {report['line']}")
        stopped = report["outcome"] == "stopped_by_gate" and "held since" in report["line"]
        self.story.expect(stopped, "a hold stops the retrain")
        self.traffic.plan = replace(self.traffic.plan, drift="none")
        self.deliver(FOURTH, changed=True, seed=3)
        report = self.run()
        self.story.say(f"a good delivery: {report['outcome']}: {report['line']}")
        self.story.expect(not self.holds(), "a good delivery ends the hold")

    def deliver(self, day: str, *, changed: bool, seed: int, times: int = 1, wrong: bool = False) -> None:
        """Put what became known on a day into the raw bucket."""
        rows = self.world.rows(times * self.rows, changed=changed, seed=self.seed + seed)
        self.adapters.raw.put(f"{self.world.name}/{day}.csv", self.world.delivery(rows, day, wrong=wrong))

    def deliver_history(self, *, wrong: bool = False) -> None:
        """All rows whose truth is known by now."""
        self.deliver(FIRST, changed=False, seed=0, wrong=wrong)
        self.deliver(SECOND, changed=True, seed=1, times=2, wrong=wrong)

    def run(self) -> dict[str, Any]:
        """A retrain by the worker, to its end; its report."""
        from mlratchet.flows.runs.start import run_on_worker

        return run_on_worker(self.world.name, (), quiet=False)

    def watch_for(self, found: Callable[[], Any], patience_s: float) -> Any:
        """Look as the monitor does until `found` gives something; None when it does not within `patience_s`."""
        from mlratchet.tasks.actions.keep_watch import follow_up
        from mlratchet.tasks.actions.monitor import take_up

        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            take_up(self.adapters, self.world.name)
            follow_up(self.adapters, self.world.name)
            answer = found()
            if answer is not None:
                return answer
            time.sleep(LOOK_S)
        return None

    def alarms_since(self, since_s: float) -> list[str]:
        """What sounded, in words."""
        events = told_by_records(self.adapters, self.world.name)
        return [one.words for one in events if one.what == "finding" and one.at_s >= since_s]

    def canaries(self, since_s: float) -> list[CanaryEntry]:
        """Entries of the canary's chain, oldest first."""
        from mlratchet.tasks.support.canaries import canary_entries

        return [one for one in canary_entries(self.adapters, self.world.name) if one.at_s >= since_s]

    def generation(self) -> int:
        """Of the ledger."""
        head = self.adapters.ledger.head(self.world.name)
        return head.generation if head is not None else 0

    def went_back(self, before: int) -> bool:
        """Whether the newest entry undoes a promotion that came after generation `before`."""
        head = self.adapters.ledger.head(self.world.name)
        return head is not None and head.generation > before + 1 and head.action == "rollback"

    def has_labels_enough(self) -> bool:
        """Whether the champion's answers of late have as many labels as a probation asks for."""
        head, spec, now_s = self.adapters.ledger.head(self.world.name), self.spec(), time.time()
        assert head is not None
        assert spec.monitoring is not None
        config = spec.monitoring.probation
        assert config is not None
        since_s = max(head.at_s, now_s - config.seconds)
        seen = stretch(self.adapters, self.world.name, head, since_s=since_s, until_s=now_s)
        said = said_by(self.adapters, seen, head, spec.serving.labels or LabelsConfig(), now_s)
        return not seen.problems and len(said.right) >= config.minimum_labels

    def probation_in_words(self) -> str:
        """How the newest promotion stands."""
        spec = self.spec()
        assert spec.monitoring is not None
        assert spec.monitoring.probation is not None
        watched = watch_promotion(self.adapters, self.world.name, spec.monitoring.probation, spec.serving.labels)
        return in_words(watched) if watched is not None else "no promotion is in its probation"

    def spec(self) -> PipelineSpec:
        """The pipeline file as it is deployed."""
        return load_pipeline(self.adapters.store, deployed_revision(self.adapters, self.world.name))

    def holds(self) -> list[str]:
        """What holds the pipeline."""
        from mlratchet.tasks.support.holds import hold_book

        return [hold.in_words() for hold in hold_book(self.adapters).standing(self.world.name)]
