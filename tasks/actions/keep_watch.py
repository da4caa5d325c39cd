"""What the loop does between looks of the monitor: findings without an answer, promotions that are watched, retrains
that are wanted, people who are to be told. `ratchet reconcile` calls it, which the stack runs by itself."""

from __future__ import annotations

import logging

from mlratchet.models.errors import ConfigurationError, RatchetError
from mlratchet.models.identity.lease import earlier_clock_s
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import deployed_revisions, load_pipeline
from mlratchet.tasks.actions.answer_findings import answer_findings
from mlratchet.tasks.actions.start_retrains import start_wanted
from mlratchet.tasks.actions.tell_findings import tell_findings
from mlratchet.tasks.actions.watch_promotion import in_words, watch_promotion
from mlratchet.tasks.wiring import Adapters, deployed_revision

logger = logging.getLogger(__name__)


def keep_watch(adapters: Adapters) -> list[str]:
    """What was done, one line each; what one pipeline raises stops no other."""
    lines: list[str] = []
    for name, revision in deployed_revisions(adapters.store).items():
        try:
            spec = load_pipeline(adapters.store, revision)
            if spec.monitoring is not None:
                lines += watch_pipeline(adapters, spec, spec.monitoring)
        except ConfigurationError as error:  # of a release that this one cannot read
            logger.info("%s: %s", name, error)
        except RatchetError as error:
            logger.warning("%s is not watched: %s", name, error.line())
    return lines + start_wanted(adapters)


def follow_up(adapters: Adapters, name: str) -> list[str]:
    """The same of one pipeline, after a look at its log. Raises what stands in the way."""
    spec = load_pipeline(adapters.store, deployed_revision(adapters, name))
    lines = watch_pipeline(adapters, spec, spec.monitoring) if spec.monitoring is not None else []
    return lines + start_wanted(adapters)


def watch_pipeline(adapters: Adapters, spec: PipelineSpec, config: MonitoringConfig) -> list[str]:
    """Of one pipeline, by a clock that is not ahead."""
    lines, now_s = list[str](), earlier_clock_s(adapters.store)
    try:
        lines += [
            f"{spec.name}: finding {answer.finding[:12]}: {', '.join(act.do for act in answer.actions) or 'nothing'}"
            for answer in answer_findings(adapters, spec.name, config, now_s=now_s)
        ]
        if config.probation is not None:
            watched = watch_promotion(adapters, spec.name, config.probation, spec.serving.labels, now_s=now_s)
            if watched is not None and watched.went_back is not None:
                lines.append(f"{spec.name}: {in_words(watched)}")
    finally:  # an alarm is told whatever stands in the way of the rest
        lines += tell_findings(adapters, spec.name, config, now_s=now_s)
    return lines
