"""The timeline of the demo of the loop: what the records say, in the order in which it happened."""

from __future__ import annotations

from dataclasses import dataclass

from mlratchet.models.moments import utc
from mlratchet.models.monitoring.answers import answers_of
from mlratchet.models.monitoring.finding import findings_of
from mlratchet.models.monitoring.retraining import requests, runs_of
from mlratchet.tasks.showing.prefect_page import run_url
from mlratchet.tasks.support.canaries import canary_entries
from mlratchet.tasks.support.holds import hold_book
from mlratchet.tasks.wiring import Adapters

WIDTH = 7  # of the longest `what`


@dataclass(frozen=True, kw_only=True, order=True)
class Event:
    """One line."""

    at_s: float
    what: str  # done | finding | answer | retrain | canary | ledger | hold
    words: str
    link: str = ""


def told_by_records(adapters: Adapters, pipeline: str) -> list[Event]:
    """Alarms, what was decided about them, retrains, canaries, the ledger and holds; oldest first."""
    store = adapters.store
    found = [
        Event(
            at_s=one.at_s, what="finding", words=f"{one.severity}: {one.words}", link=f"ratchet finding {one.id[:12]}"
        )
        for one in findings_of(store, pipeline)
        if one.severity == "alarm"
    ]
    for answer in answers_of(store, pipeline):
        acts = ", ".join(act.do for act in answer.actions)
        words = f"{acts or 'nothing'}, because of {answer.finding[:12]}"
        found.append(Event(at_s=answer.at_s, what="answer", words="; ".join([words, *answer.withheld])))
    for request in requests(store):
        if request.pipeline == pipeline:
            runs = runs_of(store, request.finding)
            link = run_url(adapters.settings, runs[0]) if runs else ""
            words = f"wanted because of {request.finding[:12]}; {len(runs)} run(s)"
            found.append(Event(at_s=request.at_s, what="retrain", words=words, link=link))
    for entry in adapters.ledger.entries(pipeline):
        words = (
            f"{entry.action}: version {entry.version} (generation {entry.generation}), {entry.actor}: {entry.reason}"
        )
        link = f"ratchet decision {pipeline} {entry.version}"
        found.append(Event(at_s=entry.at_s, what="ledger", words=words, link=link))
    for one in canary_entries(adapters, pipeline):
        share = f", {100 * one.share:g} % of the clients" if one.share else ""
        outcome = f" ({one.outcome})" if one.outcome else ""
        words = f"version {one.version}: {one.phase}{share}{outcome}: {one.reason}"
        link = run_url(adapters.settings, one.run)
        found.append(Event(at_s=one.at_s, what="canary", words=words, link=link))
    for hold in hold_book(adapters).entries(pipeline):
        words = f"{hold.action}: {hold.finding[:12]}: {hold.words}"
        found.append(Event(at_s=hold.at_s, what="hold", words=words))
    return sorted(found)


def lines_of(events: list[Event]) -> list[str]:
    """For a console of rich that does not wrap: when, what and words, and below them where to look, whole."""
    from rich.markup import escape

    colours = {"finding": "yellow", "ledger": "green", "hold": "red", "canary": "cyan", "done": "dim"}
    found = []
    for one in events:
        line = f"{utc(one.at_s)[11:19]}  {one.what:<{WIDTH}}  {escape(one.words)}"
        style = colours.get(one.what)
        found.append(f"[{style}]{line}[/]" if style else line)
        if one.link:
            found.append(f"{'':<{8 + 2 + WIDTH + 2}}[dim]{escape(one.link)}[/]")
    return found
