"""Tell people of findings: whoever looks tells what nobody was told yet, also what an earlier look could not."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence

from mlratchet.infra.notify import notify
from mlratchet.models.errors import RatchetError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.monitoring.answers import answers_of, is_resolved
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.finding import Finding, findings_of
from mlratchet.models.monitoring.telling import begin_to_tell, was_told
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.printable import one_line
from mlratchet.tasks.wiring import Adapters

RECENT_S = 2 * 86_400.0  # what nobody could be told of for longer is history; the last try is sooner

logger = logging.getLogger(__name__)


def tell_findings(
    adapters: Adapters, pipeline: str, config: MonitoringConfig, *, now_s: float | None = None
) -> list[str]:
    """Everything that is to be told and was not, in one message; what became of it, a line. Fails nothing.

    Args:
        adapters: Where.
        pipeline: Whose findings.
        config: The `monitoring` section that is deployed.
        now_s: Seconds since the epoch; the clock of this process without it.
    """
    if config.notify is None:
        return []
    now, by, store = time.time() if now_s is None else now_s, uuid.uuid4().hex, adapters.store
    due = [
        one for one in to_be_told(store, pipeline, config, now_s=now)
        if begin_to_tell(store, pipeline, one.id, by=by, now_s=now)
    ]  # fmt: skip
    if not due:
        return []
    fault_point("tell.before_message")
    try:
        notify(adapters.settings, config.notify, f"{pipeline}: {len(due)} finding(s)", message_of(due),
               {"pipeline": pipeline, "findings": [one.id for one in due]})  # fmt: skip
    except RatchetError as error:
        words = f"{pipeline}: nobody was told of {len(due)} finding(s), which is tried again: {error.line()}"
        logger.error("%s", words)
        return [words]
    fault_point("tell.after_message")
    for one in due:
        was_told(store, pipeline, one.id, by=by, now_s=now)
    return [f"{pipeline}: {config.notify} was told of {len(due)} finding(s)"]


def to_be_told(store: ObjectStore, pipeline: str, config: MonitoringConfig, *, now_s: float) -> list[Finding]:
    """Findings of late that a rule says `notify` of, whether they were told or not; without such a rule every alarm.
    Those that a person has said something about are known to people."""
    known = list(findings_of(store, pipeline))
    if any(rule.do == "notify" for rule in config.actions):  # by its answer, which comes later
        answers = [one for one in answers_of(store, pipeline) if now_s - one.at_s < RECENT_S]
        wanted = {one.finding for one in answers if any(act.do == "notify" for act in one.actions)}
        recent = [one for one in known if one.id in wanted]
    else:
        recent = [one for one in known if one.severity == "alarm" and now_s - one.at_s < RECENT_S]
    return [one for one in recent if not is_resolved(store, pipeline, one.id)]


def message_of(findings: Sequence[Finding]) -> str:
    """A line each."""
    return "\n".join(f"- {one.severity}: {one_line(one.words)} (ratchet finding {one.id[:12]})" for one in findings)
