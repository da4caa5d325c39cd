"""`ratchet demo --loop`: traffic, a drift, the alarm, the retrain that it starts, and the promotion; then a bad version
that is taken back; then bad data that stops a retrain until good data come.

What happened is told by the records alone: findings, answers, requests, ledger, holds.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import typer
from mlratchet.flows.cli.demo_loop_timeline import Event, table_of, told_by_records
from mlratchet.flows.cli.demo_loop_world import AFTER, AT_FIRST, as_delivery, loans
from mlratchet.models.monitoring.traffic import OwnRows
from mlratchet.tasks.actions.simulate import TrafficPlan, simulate
from mlratchet.tasks.wiring import Adapters

PIPELINE = "loans"
FIRST, SECOND = "2026-11-01.csv", "2026-11-20.csv"
ROWS = 3_000  # of a delivery
CHUNK_S = 4.0  # of traffic, before it may change
LOOK_S = 2.0  # between two looks of the monitor
QUIET_S = 25.0  # of traffic before anything changes
PATIENCE_S = 75.0  # for an alarm, a run or a way back


class Traffic:
    """Clients, from a thread of their own, until the demo is over."""

    def __init__(self, adapters: Adapters, rows: OwnRows, *, seed: int) -> None:
        self._adapters, self._seed = adapters, seed
        self.rows = rows
        self.plan = TrafficPlan(drift="none", rate=40.0, seconds=CHUNK_S, labels_after_s=0.5, share=0.6)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True, name="traffic")
        self.problem = ""

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=30)

    def _send(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            try:
                simulate(self._adapters, PIPELINE, replace(self.plan, seed=1000 * self._seed + number), rows=self.rows)
            except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
                self.problem = str(error)
                self._over.wait(1.0)


@dataclass(kw_only=True)
class DemoStory:
    """What is told while it happens, and what was not as expected."""

    console: Any
    events: list[Event] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)

    def say(self, words: str) -> None:
        """A line, and an event."""
        self.events.append(Event(at_s=time.time(), what="done", words=words))
        self.console.print(f"  {words}", markup=False)

    def expect(self, held: bool, words: str) -> bool:
        """Remember what was not so."""
        if not held:
            self.surprises.append(words)
            self.console.print(f"  [red]not as expected[/]: {words}")
        return held


def demo_loop(*, drift: str, seed: int) -> None:
    """The whole story. Exits with 1 when something was not as expected."""
    from mlratchet.flows.runs.start import run_on_worker
    from mlratchet.tasks.wiring import open_adapters
    from rich.console import Console

    story = DemoStory(console=Console(highlight=False, soft_wrap=True))
    began = time.time()
    story.console.rule("[bold]1/5 A first version")
    adapters = open_adapters()
    deliver(adapters, FIRST, loans(ROWS, eu=AT_FIRST, seed=seed))
    report = run_on_worker(PIPELINE, (), quiet=False)
    story.say(f"{report['outcome']}: {report['line']}")
    if not story.expect(report["outcome"] in ("promoted", "unchanged"), "the first version is promoted"):
        raise typer.Exit(1)
    with Traffic(adapters, loans(ROWS, eu=AT_FIRST, seed=seed + 50), seed=seed) as traffic:
        story.console.rule("[bold]2/5 Traffic as it was trained on")
        watch_for(adapters, lambda: None, QUIET_S)
        story.expect(not alarms_since(adapters, began), "nothing changed, and no alarm sounds")
        if drift == "none":
            watch_for(adapters, lambda: None, 2 * QUIET_S)
            story.expect(not alarms_since(adapters, began), "still nothing changed, and no alarm sounds")
        else:
            drifts_and_is_retrained(adapters, traffic, story, seed=seed)
            bad_version_goes_back(adapters, story, seed=seed)
            bad_data_stop_a_retrain(adapters, traffic, story, seed=seed)
        story.expect(not traffic.problem, f"traffic goes on: {traffic.problem}")
    finish(adapters, story, began)


def deliver(adapters: Adapters, name: str, rows: OwnRows, *, wrong: bool = False) -> None:
    """Put a day's loans into the raw bucket."""
    adapters.raw.put(f"{PIPELINE}/{name}", as_delivery(rows, wrong=wrong))


def deliver_history(adapters: Adapters, *, seed: int, wrong: bool = False) -> None:
    """All loans whose end is known by now."""
    deliver(adapters, FIRST, loans(ROWS, eu=AT_FIRST, seed=seed), wrong=wrong)
    deliver(adapters, SECOND, loans(2 * ROWS, eu=AFTER, seed=seed + 1), wrong=wrong)


def drifts_and_is_retrained(adapters: Adapters, traffic: Traffic, story: DemoStory, *, seed: int) -> None:
    """The loans of the EU come; what is known of them is delivered; the alarm starts the retrain."""
    story.console.rule("[bold]3/5 The world changes")
    since_s, before = time.time(), generation(adapters)
    deliver_history(adapters, seed=seed)
    traffic.rows = loans(ROWS, eu=AFTER, seed=seed + 51)
    story.say(f"{AFTER:.0%} of the loans are in the EU now; their ends are delivered as they become known")
    alarm = watch_for(adapters, lambda: next(iter(alarms_since(adapters, since_s)), None), PATIENCE_S)
    if not story.expect(alarm is not None, "the drift sounds an alarm"):
        return
    story.say(f"alarm after {time.time() - since_s:.0f} s: {alarm}")
    watch_for(adapters, lambda: generation(adapters) > before or None, PATIENCE_S)
    head = adapters.ledger.head(PIPELINE)
    assert head is not None
    story.expect(
        head.generation > before and head.reason.startswith("because "),
        f"a retrain because of the alarm is promoted; the newest entry is: {head.actor}: {head.reason}",
    )


def bad_version_goes_back(adapters: Adapters, story: DemoStory, *, seed: int) -> None:
    """An export turns every label around, of earlier loans, too: the gates judge by it and see nothing, clients do."""
    from mlratchet.flows.runs.start import run_on_worker

    story.console.rule("[bold]4/5 A version that disappoints")
    watch_for(adapters, lambda: None, QUIET_S / 2)  # the version before is seen on live requests
    before = generation(adapters)
    deliver_history(adapters, seed=seed, wrong=True)
    report = run_on_worker(PIPELINE, (), quiet=False)
    story.say(f"a delivery with every label turned around: {report['outcome']}: {report['line']}")
    if report["outcome"] != "promoted":  # its canary saw it
        story.expect(report["outcome"] in ("stopped_by_gate", "rolled_back"), "a bad version does not stay")
    else:
        watch_for(adapters, lambda: went_back(adapters, before) or None, PATIENCE_S)
        story.expect(went_back(adapters, before), "its probation on live requests takes it back")
    deliver_history(adapters, seed=seed)
    story.say("the export is mended")


def bad_data_stop_a_retrain(adapters: Adapters, traffic: Traffic, story: DemoStory, *, seed: int) -> None:
    """Clients send incomes in a wrong unit, or none: nothing is retrained on such data until good ones come."""
    from mlratchet.flows.runs.start import run_on_worker

    story.console.rule("[bold]5/5 Bad data")
    deliver(adapters, "2026-11-21.csv", loans(ROWS, eu=AFTER, seed=seed + 2))  # so that there is something to train
    time.sleep(1.5)  # the hold comes later, also by a clock of whole seconds
    traffic.plan = replace(traffic.plan, drift="quality")
    story.say("clients send incomes in a wrong unit, or none")
    held = watch_for(adapters, lambda: holds(adapters) or None, PATIENCE_S)
    if not story.expect(held is not None, "bad data hold the pipeline"):
        return
    report = run_on_worker(PIPELINE, (), quiet=False)
    story.say(f"a retrain: {report['outcome']}: {report['line']}")
    story.expect(report["outcome"] == "stopped_by_gate" and "held since" in report["line"], "a hold stops the retrain")
    traffic.plan = replace(traffic.plan, drift="none")
    deliver(adapters, "2026-11-22.csv", loans(ROWS, eu=AFTER, seed=seed + 3))
    report = run_on_worker(PIPELINE, (), quiet=False)
    story.say(f"a good delivery: {report['outcome']}: {report['line']}")
    story.expect(not holds(adapters), "a good delivery ends the hold")


def watch_for(adapters: Adapters, found: Callable[[], Any], patience_s: float) -> Any:
    """Look as the monitor does until `found` gives something; None when it does not within `patience_s`."""
    from mlratchet.tasks.actions.keep_watch import follow_up
    from mlratchet.tasks.actions.monitor import take_up

    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        take_up(adapters, PIPELINE)
        follow_up(adapters, PIPELINE)
        answer = found()
        if answer is not None:
            return answer
        time.sleep(LOOK_S)
    return None


def alarms_since(adapters: Adapters, since_s: float) -> list[str]:
    """What sounded, in words."""
    events = told_by_records(adapters, PIPELINE)
    return [one.words for one in events if one.what == "finding" and one.at_s >= since_s]


def generation(adapters: Adapters) -> int:
    """Of the ledger."""
    head = adapters.ledger.head(PIPELINE)
    return head.generation if head is not None else 0


def went_back(adapters: Adapters, before: int) -> bool:
    """Whether the newest entry undoes a promotion that came after generation `before`."""
    head = adapters.ledger.head(PIPELINE)
    return head is not None and head.generation > before + 1 and head.action == "rollback"


def holds(adapters: Adapters) -> list[str]:
    """What holds the pipeline."""
    from mlratchet.tasks.support.holds import hold_book

    return [hold.in_words() for hold in hold_book(adapters).standing(PIPELINE)]


def finish(adapters: Adapters, story: DemoStory, began: float) -> None:
    """The timeline, links, and what was not as expected."""
    told = [one for one in told_by_records(adapters, PIPELINE) if one.at_s >= began - 60]
    story.console.print(table_of(sorted([*story.events, *told])))
    settings = adapters.settings
    story.console.print(f"Prefect   {settings.prefect_api_url.removesuffix('/api')}  (`ratchet open prefect`)")
    story.console.print(f"MLflow    {settings.mlflow_tracking_uri}  (`ratchet open mlflow`)")
    story.console.print(f"{PIPELINE:9} {adapters.servers.url(PIPELINE)}")
    story.console.print(
        f"[dim]{time.time() - began:.0f} s. Next: `ratchet history {PIPELINE}`, `ratchet audit {PIPELINE}`, "
        "`ratchet down`.[/]"
    )
    for surprise in story.surprises:
        print(surprise, file=sys.stderr)  # noqa: T201 - the command's own error output
    if story.surprises:
        raise typer.Exit(1)
