"""`ratchet demo --loop`: traffic, a drift, the alarm, the retrain that it starts, its shadow and canary, the promotion;
then a bad version that its canary pulls back, and its probation when a person insists; then bad data that stop a
retrain until good data come.

What happened is told by the records alone: findings, answers, requests, ledger, canary, holds.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any

import typer
from mlratchet.flows.cli.demo_loop_acts import LoopDemo
from mlratchet.flows.cli.demo_loop_shop import Shop
from mlratchet.flows.cli.demo_loop_timeline import Event, lines_of, told_by_records
from mlratchet.flows.cli.demo_loop_traffic import Traffic
from mlratchet.flows.cli.demo_loop_world import Loans, LoopWorld
from mlratchet.models.errors import ConfigurationError
from mlratchet.tasks.wiring import Adapters

WORLDS: dict[str, LoopWorld] = {world.name: world for world in (Loans(), Shop())}
ROWS = 3_000  # of a delivery
BEFORE_S = 60.0  # seconds: a record that is so much older is of another demo


@dataclass(kw_only=True)
class DemoStory:
    """What is told while it happens, and what was not as expected."""

    console: Any
    events: list[Event] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)

    def act(self, title: str) -> None:
        """Begin a part."""
        self.console.rule(f"[bold]{title}")

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


def demo_loop(*, pipeline: str, drift: str, seed: int) -> None:
    """The whole story. Exits with 1 when something was not as expected."""
    from mlratchet.tasks.wiring import open_adapters
    from rich.console import Console

    world = world_of(pipeline)
    story, began = DemoStory(console=Console(highlight=False, soft_wrap=True)), time.time()
    adapters = open_adapters()
    if drift != "none":
        refuse_to_play_again(adapters, pipeline)
    story.act("1/6 A first version")
    rows = world.rows(ROWS, changed=False, seed=seed + 50)
    traffic = Traffic(adapters, world.name, rows, seed=seed)
    demo = LoopDemo(adapters=adapters, world=world, story=story, traffic=traffic, seed=seed, rows=ROWS)
    if not demo.is_promoted_first():
        raise typer.Exit(1)
    with traffic:
        demo.is_quiet(began)
        if drift == "none":
            demo.stays_quiet(began)
        else:
            demo.drifts_and_is_retrained()
            demo.bad_version_is_pulled_back()
            demo.bad_version_goes_back_from_probation()
            demo.bad_data_stop_a_retrain()
        story.expect(not traffic.problem, f"traffic goes on: {traffic.problem}")
    finish(adapters, world.name, story, began)


def world_of(pipeline: str) -> LoopWorld:
    """Raises ``ConfigurationError`` for a pipeline that the demo has no made-up data for."""
    if pipeline not in WORLDS:
        raise ConfigurationError(f"--pipeline {pipeline}: with --loop expected {' or '.join(WORLDS)}")
    return WORLDS[pipeline]


def refuse_to_play_again(adapters: Adapters, pipeline: str) -> None:
    """Raises ``ConfigurationError`` where there is a champion: it may have learned what the drift would bring."""
    head = adapters.ledger.head(pipeline)
    if head is not None:
        raise ConfigurationError(
            f"the loop was played here already: {pipeline} has version {head.version}, which may know what changes; "
            "`--drift none` goes on with it, and RATCHET_HOME=another-folder (after `ratchet down`) begins anew"
        )


def finish(adapters: Adapters, pipeline: str, story: DemoStory, began: float) -> None:
    """The timeline, links, and what was not as expected."""
    told = [one for one in told_by_records(adapters, pipeline) if one.at_s >= began - BEFORE_S]
    is_borne_out(adapters, pipeline, story, began)
    story.act("What happened, by the ledger, the canary, the findings and the holds (UTC)")
    for line in lines_of(sorted([*story.events, *told])):
        story.console.print(line)
    settings = adapters.settings
    story.console.print(f"Prefect   {settings.prefect_api_url.removesuffix('/api')}  (`ratchet open prefect`)")
    story.console.print(f"MLflow    {settings.mlflow_tracking_uri}  (`ratchet open mlflow`)")
    story.console.print(f"{pipeline:9} {adapters.servers.url(pipeline)}")
    story.console.print(
        f"[dim]{time.time() - began:.0f} s. Next: `ratchet history {pipeline}`, `ratchet audit {pipeline}`, "
        "`ratchet down`.[/]"
    )
    for surprise in story.surprises:
        print(surprise, file=sys.stderr)  # noqa: T201 - the command's own error output
    if story.surprises:
        raise typer.Exit(1)


def is_borne_out(adapters: Adapters, pipeline: str, story: DemoStory, began: float) -> None:
    """What the timeline tells is what signatures and the log say: the ledger verifies, alarms are found again."""
    from mlratchet.models.monitoring.finding import findings_of
    from mlratchet.tasks.actions.monitor import verify
    from mlratchet.tasks.support.versions import history_of

    for entry in history_of(adapters, pipeline):
        story.expect(entry["verified"], f"entry {entry['generation']} of the ledger verifies: {entry['problem']}")
    alarms = [one for one in findings_of(adapters.store, pipeline) if one.severity == "alarm" and one.at_s >= began]
    first = {(one.kind, one.subject): one for one in sorted(alarms, key=lambda one: one.at_s, reverse=True)}
    for alarm in first.values():  # a change that stays is told in every window
        said = verify(adapters, alarm)
        story.expect(said.outcome == "confirmed", f"the log bears out finding {alarm.id[:12]}: {said.words}")
