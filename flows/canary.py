"""Between staging and the champion gate: a version stands its canary, and its run holds no process meanwhile.

A run of the worker looks for a short while, writes down that it waits and ends its process; the worker takes it up
again when a look shows that something follows (`infra/stack/suspended_runs.py`). One of `ratchet run --local` goes on
looking.
"""

from __future__ import annotations

import contextlib
import logging

from mlratchet.flows.suspension import Waits, wait_in_canary
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.errors import RatchetError
from mlratchet.models.gates.live import LiveEvidence
from mlratchet.models.registration.record import Registration
from mlratchet.tasks.steps.canary import WatchedCanary, begin_canary, close_canary, watch_canary
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run
from prefect import get_run_logger
from prefect.runtime import deployment

FOLLOW_S = 60.0  # seconds for which a run of the worker looks before its process ends; a short canary is over by then:
# what a log holds of a moment is complete half a minute later, or sooner (`serving.read_seconds`)

logger = logging.getLogger(__name__)


def stand_canary(run: Run, work: Work, record: Registration, staging: GateRun) -> LiveEvidence | None:
    """What the champion gate reads of it; None where the file declares no canary, or nobody serves yet.

    Raises ``Waits`` when this process has to end until something follows.
    """
    if run.spec.serving.canary is None:
        return None
    if work.champion is None:
        get_run_logger().info("no champion yet: the canary does not apply")
        return None
    begin_canary(run, work, record, staging)
    return watch(run)


def watch(run: Run) -> LiveEvidence:
    """Look until it is over."""
    while True:
        watched: WatchedCanary = watch_canary(run, FOLLOW_S)
        if watched.live is not None:
            return watched.live
        get_run_logger().info("version %d in its canary: %s", watched.entry.version, watched.words)
        if deployment.id is not None:  # the worker started it, and starts it again
            raise Waits(wait_in_canary(run, watched.entry))


def resume_canary(run: Run) -> None:
    """First thing in a process that goes on with a run in its canary: what follows, a pull-back above all, needs none
    of the road before it. Raises ``Waits`` to wait on."""
    if run.waited is not None and run.waited.watch:
        watch(run)


def end_canary(run: Run, why: str) -> None:
    """The run ends and has promoted nothing: no client is given to its version any more. What keeps it from being ended
    is left to `ratchet reconcile`."""
    if run.spec.serving.canary is None:
        return
    with contextlib.suppress(RatchetError, OSError):
        close_canary(run, why)
