"""Answer findings: decide by the rules of the file, write the decision down, do it. Safe to repeat at every point.

Whoever looks calls this: the monitor after each look, `ratchet reconcile` for what a killed one left.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from mlratchet.models.errors import ConfigurationError, RatchetError, SecurityError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.ledger.entry import LedgerConflict
from mlratchet.models.ledger.undo import version_before
from mlratchet.models.monitoring.actions import (
    ActionRule,
    FindingAnswer,
    SeenWindow,
    Serving,
    decide,
    decide_again,
    is_recent,
)
from mlratchet.models.monitoring.answers import answers_of, is_resolved, publish_answer
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.finding import Finding, at_least, findings_of, load_finding
from mlratchet.models.monitoring.retraining import request_retrain, requests, runs_of
from mlratchet.models.monitoring.window import windows_of
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.promotion.canary.chain import newest_canary
from mlratchet.models.promotion.canary.verify import why_over
from mlratchet.tasks.actions.roll_back import roll_back
from mlratchet.tasks.actions.start_retrains import announce, has_ended, lives
from mlratchet.tasks.support.because import reason_of
from mlratchet.tasks.support.holds import hold_book
from mlratchet.tasks.wiring import Adapters

ACTOR = "monitoring"
RECENT_S = 86_400.0  # a finding that nobody answered for longer is history

logger = logging.getLogger(__name__)


def answer_findings(
    adapters: Adapters,
    pipeline: str,
    config: MonitoringConfig,
    *,
    now_s: float | None = None,
) -> list[FindingAnswer]:
    """What is done about every finding of late that has no answer; what earlier answers left undone is done, too.

    Args:
        adapters: Where.
        pipeline: Whose findings.
        config: The `monitoring` section that is deployed.
        now_s: Seconds since the epoch; the clock of this process without it.
    """
    now = time.time() if now_s is None else now_s
    store = adapters.store
    history = list(answers_of(store, pipeline))
    answered = {one.finding for one in history}
    known = list(findings_of(store, pipeline))
    windows = seen_windows(store, pipeline, config)
    fresh = [
        one for one in known
        if one.id not in answered and (now - one.at_s < RECENT_S or is_recent(one, config.actions, windows))
    ]  # fmt: skip
    by_id = {one.id: one for one in known}
    carry_out_again(adapters, [one for one in history if now - one.at_s < RECENT_S], by_id)
    made: list[FindingAnswer] = []
    withheld = withheld_still(adapters, pipeline, history, by_id, rules=config.actions, now_s=now)
    busy = under_way(adapters, pipeline, now_s=now) if fresh or withheld else ""
    facts: dict[str, Any] = {
        "windows": windows, "under_way": busy, "serving": serving(adapters, pipeline) if fresh or withheld else None,
        "now_s": now,
    }  # fmt: skip
    answers = decide(fresh, config.actions, history, **facts)
    answers += decide_again(withheld, config.actions, [*history, *answers], **facts)
    for answer in answers:
        answer, _ = publish_answer(store, answer)
        fault_point("answer.after_publish")
        carry_out(adapters, by_id[answer.finding], answer)
        made.append(answer)
    return made


def serving(adapters: Adapters, pipeline: str) -> Serving | None:
    """Who serves; None where nothing was ever promoted."""
    entries = adapters.ledger.entries(pipeline)
    if not entries:
        return None
    head = entries[-1]
    return Serving(head.version, head.generation, has_before=version_before(entries) is not None)


def withheld_still(
    adapters: Adapters,
    pipeline: str,
    history: Iterable[FindingAnswer],
    findings: Mapping[str, Finding],
    *,
    rules: Sequence[ActionRule],
    now_s: float,
) -> list[tuple[Finding, FindingAnswer]]:
    """Alarms of late on the champion, and what rules over several windows act on, that go on in the newest window, of
    whose first answer something was withheld."""
    store = adapters.store
    first = {one.finding: one for one in history if one.withheld and one.finding in findings}
    recent = [(findings[name], answer) for name, answer in first.items() if _may_act(findings[name], rules, now_s)]
    head = adapters.ledger.head(pipeline) if recent else None
    newest = windows_of(store, pipeline, most=1) if head is not None else ()
    if head is None or not newest or newest[-1].generation != head.generation:
        return []
    open_now = newest[-1].open
    return [
        (finding, answer)
        for finding, answer in recent
        if finding.generation == head.generation
        and (state := open_now.get(f"{finding.kind}:{finding.subject}")) is not None
        and finding.window.to_s > state["since_s"]  # of one that ended and came back, the later finding speaks
        and at_least(state["severity"], finding.severity)
        and not is_resolved(store, pipeline, finding.id)
    ]


def _may_act(finding: Finding, rules: Iterable[ActionRule], now_s: float) -> bool:
    """Whether it is an alarm of late (one that goes on is told again), or one of those that a rule counts windows of,
    which are told once."""
    late = finding.severity == "alarm" and now_s - finding.at_s < RECENT_S
    return late or any(rule.of_windows is not None and rule.fits(finding) for rule in rules)


def under_way(adapters: Adapters, pipeline: str, *, now_s: float) -> str:
    """What may replace the champion already: a retrain that an earlier finding asked for, or a version in its canary.
    Empty where nothing does."""
    store, chain = adapters.store, adapters.ledger.chain(pipeline)
    if chain.head is None:
        return ""
    for request in requests(store):
        if (request.pipeline, request.champion) == (pipeline, chain.head.entry.generation):
            runs = runs_of(store, request.finding)
            if any(not has_ended(store, run) and lives(store, pipeline, run) for run in runs):
                return f"the retrain because of finding {request.finding[:12]} is under way"
    with suppress(SecurityError):  # one that cannot be relied on is followed by nobody
        entry = newest_canary(store, pipeline)
        if entry is not None and not why_over(entry, chain, now_s=now_s):
            return f"version {entry.version} is in its canary"
    return ""


def seen_windows(store: ObjectStore, pipeline: str, config: MonitoringConfig) -> list[SeenWindow]:
    """The newest windows of the version that answered the last of them, for rules over several; nothing is read without
    such a rule."""
    most = max((rule.of_windows.n for rule in config.actions if rule.of_windows is not None), default=0)
    records = windows_of(store, pipeline, most=most) if most else ()
    return [
        SeenWindow(one.window.to_s, {key: state["severity"] for key, state in one.open.items()})
        for one in records
        if one.version == records[-1].version
    ]


def carry_out_again(adapters: Adapters, answers: Iterable[FindingAnswer], findings: dict[str, Finding]) -> None:
    """What a process that was killed may have left."""
    for answer in answers:
        if answer.finding in findings:
            try:
                carry_out(adapters, findings[answer.finding], answer)
            except RatchetError as error:
                logger.warning("finding %s of %s: %s", answer.finding[:12], answer.pipeline, error.line())


def carry_out(adapters: Adapters, finding: Finding, answer: FindingAnswer) -> None:
    """Everything of one answer that changes something; each is done once, however often it is asked for."""
    for act in answer.actions:
        if act.do == "hold":
            hold_book(adapters).place(
                finding.pipeline,
                finding=finding.id,
                kind=finding.kind,
                words=finding.reason,
                actor=ACTOR,
                at_s=answer.at_s,
            )
        elif act.do == "rollback":
            go_back(adapters, finding)
        elif act.do == "retrain":
            want_retrain(adapters, finding, at_s=answer.at_s)
        fault_point(f"answer.after_{act.do}")


def go_back(adapters: Adapters, finding: Finding) -> None:
    """Back from the version that the finding is about; nothing where another serves since, or none was before."""
    try:
        roll_back(
            adapters,
            finding.pipeline,
            to=None,
            reason=reason_of(finding),
            actor=ACTOR,
            from_generation=finding.generation,
        )
    except (LedgerConflict, ConfigurationError) as error:
        logger.warning("finding %s: no rollback: %s", finding.id[:12], error)


def want_retrain(adapters: Adapters, finding: Finding, *, at_s: float, actor: str = ACTOR) -> str | None:
    """The request, and the event that starts its run; returns the finding whose run answers it, None where nothing was
    ever promoted."""
    head = adapters.ledger.head(finding.pipeline)
    if head is None:
        return None
    request, answered_by = request_retrain(adapters.store, finding, champion=head.generation, actor=actor, at_s=at_s)
    fault_point("retrain.after_request")
    if answered_by == request.finding:
        announce(adapters, request)
    return answered_by


def finding_of(adapters: Adapters, pipeline: str, identity: str) -> Finding | None:
    """A finding that verifies, or None."""
    try:
        return load_finding(adapters.store, pipeline, identity)
    except ObjectNotFound:
        return None
