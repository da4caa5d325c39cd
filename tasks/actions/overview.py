"""Every pipeline in a line: who is champion, since when, how good, and how its server is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypedDict

from mlratchet.infra.serving.client import readiness, way_back
from mlratchet.models.decisions.waiting import is_settled
from mlratchet.models.errors import ConfigurationError, RatchetError
from mlratchet.models.ledger.chain import ledger_names
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import deployed_names, load_pipeline, newest_deployment
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.registration.record import Registration, find_registration
from mlratchet.models.registration.tracking import load_tracking
from mlratchet.tasks.actions.approving import open_requests
from mlratchet.tasks.support.answers import standings
from mlratchet.tasks.support.holds import hold_book
from mlratchet.tasks.wiring import Adapters

TESTED = "test_"  # how a run calls a metric on the test rows


class PipelineLine(TypedDict):
    """One pipeline."""

    pipeline: str
    champion: int | None
    metric: str | None  # the one that the champion gate asks first
    value: float | None  # on the test rows, when it was judged
    age_s: float | None  # since it became champion
    schedule: str | None
    health: str
    waits: str | None  # which version waits for whom, where people are asked
    held: list[str]  # by which findings, in words


def overview(adapters: Adapters, *, ask: Callable[[str], str] = readiness) -> list[PipelineLine]:
    """Of every pipeline that has a file here, a deployment or a ledger. `ask`: how a server is, from its URL."""
    here = {path.stem for path in adapters.settings.pipelines_dir.glob("*.yaml")}
    names = sorted(here | deployed_names(adapters.store) | ledger_names(adapters.store))
    return list(side_by_side(lambda name: line_of(adapters, name, ask), names))


def line_of(adapters: Adapters, name: str, ask: Callable[[str], str]) -> PipelineLine:
    """One pipeline; a ledger that does not verify is its health."""
    line = PipelineLine(
        pipeline=name,
        champion=None,
        metric=None,
        value=None,
        age_s=None,
        schedule=None,
        health="no champion yet",
        waits=None,
        held=[],
    )
    try:
        line["waits"] = asked_in(adapters, name)
        line["held"] = [hold.in_words() for hold in hold_book(adapters).standing(name)]
        line["schedule"] = schedule_of(adapters, name)
        head = adapters.ledger.head(name)
        if head is None:
            return line
        line |= {"champion": head.version, "age_s": time.time() - head.at_s, "health": health_of(adapters, name, ask)}
        record = find_registration(adapters.store, head.work_key)
        if record is not None:
            line |= measured(adapters, record)
    except RatchetError as error:
        line["health"] = error.line()
    return line


def asked_in(adapters: Adapters, name: str) -> str | None:
    """The newest question of a pipeline that people have still to answer."""
    for request in reversed(open_requests(adapters, name)):
        found = standings(adapters, request)
        if not is_settled(found):
            reasons = "; ".join(one.reason for one in found if one.verdict == "inconclusive")
            return f"version {request.subject.version} {reasons}"
    return None


def health_of(adapters: Adapters, name: str, ask: Callable[[str], str]) -> str:
    """In words."""
    withdrawn = adapters.servers.withdrawn(name)
    if withdrawn:
        return f"{withdrawn}; {way_back(name)}"
    url = adapters.servers.url(name)
    return ask(url) if url is not None else "no server"


def schedule_of(adapters: Adapters, name: str) -> str | None:
    """As it was deployed last, whoever is champion."""
    deployed = newest_deployment(adapters.store, name)
    try:
        spec = load_pipeline(adapters.store, deployed.revision) if deployed is not None else None
    except ConfigurationError:  # of a release that this one cannot read
        return None
    return spec.schedule.cron if spec is not None and spec.schedule else None


def measured(adapters: Adapters, record: Registration) -> Any:
    """Metric and value of a champion, as its run wrote them down."""
    try:
        spec: PipelineSpec | None = load_pipeline(adapters.store, record.revision)
    except ConfigurationError:
        spec = None
    points = load_tracking(adapters.store, record.tracking).points if record.tracking else ()
    values = {name.removeprefix(TESTED): value for name, value, _, _ in points if name.startswith(TESTED)}
    asked = [getattr(check, "metric", None) for check in spec.gates.checks("champion")] if spec is not None else []
    metric = next((name for name in [*asked, *sorted(values)] if name in values), None)
    return {
        "metric": metric,
        "value": values[metric] if metric is not None else None,
    }
