"""Ask people: the run waits until the documents in the bucket decide, or the wait of the policy is over.

Prefect's form is where a person is asked, and no more: what counts is read from the bucket, so a run that is killed
while it waits loses nothing, and `ratchet approve` needs neither Prefect nor a process of the run. A run of the worker
ends its process while it waits (`flows/suspension.py`); one of `ratchet run --local` pauses in the terminal that asked.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal
from uuid import UUID

from mlratchet.flows.suspension import Waits, answer_in_form, wait_without_a_process
from mlratchet.models.decisions.approval_page import form_description, hint
from mlratchet.models.decisions.approval_request import ApprovalRequest
from mlratchet.models.decisions.waiting import is_settled
from mlratchet.models.errors import RatchetError
from mlratchet.models.gates.evidence import Evidence
from mlratchet.tasks.showing.prefect_page import run_url
from mlratchet.tasks.steps.approval import attest, metric_rows
from mlratchet.tasks.support.answers import standings
from mlratchet.tasks.wiring import Run
from prefect import get_client, get_run_logger, pause_flow_run
from prefect.exceptions import FlowPauseTimeout
from prefect.input import RunInput
from prefect.runtime import deployment
from prefect.states import Running
from pydantic import Field, ValidationError, create_model

POLL_S = 2  # seconds between two looks, at the bucket and at the run's state
GRACE_S = 600  # seconds by which Prefect's own time-out comes later than ours, which leaves the run alive

logger = logging.getLogger(__name__)


def wait_for_people(run: Run, request: ApprovalRequest, evidence: Evidence) -> bool:
    """Whether they decided; False when the wait was over first. A form that is filled in goes to the bucket.

    Raises ``Waits`` when this process has to end until they answer.
    """
    asked_before = run.waited is not None and run.waited.request == request.key
    until_s = run.waited.until_s if run.waited is not None and asked_before else time.time() + longest_wait_s(request)
    form = approval_form(request, form_description(request, metric_rows(run, evidence)))
    get_run_logger().info(hint(request, run_url(run.adapters.settings, run.run_id)))  # all that --local shows of it

    def over() -> bool:
        return is_settled(standings(run.adapters, request)) or time.time() >= until_s

    if run.waited is not None and asked_before:
        take(run, request, answer_in_form(form, run.waited))
    while not over():
        if deployment.id is not None:  # the worker started it, and starts it again
            raise Waits(wait_without_a_process(run, request, until_s=until_s), form)
        take(run, request, pause(form, run.run_id, over, timeout_s=until_s - time.time()))
    return is_settled(standings(run.adapters, request))


def longest_wait_s(request: ApprovalRequest) -> float:
    """Seconds, of the checks that ask."""
    return 3600 * max(check.wait_hours for check in request.checks())


def take(run: Run, request: ApprovalRequest, answer: Any | None) -> None:
    """Put a form that was filled in into the bucket."""
    if answer is not None:
        attest(
            run.adapters,
            request,
            decision=answer.decision,
            approver=answer.approver,
            reason=answer.reason,
            hours=answer.counts_for_hours,
        )


def approval_form(request: ApprovalRequest, description: str) -> type[RunInput]:
    """The typed form that Prefect's UI shows. Where a signature is required it can only say no."""
    checks = request.checks()
    approvers = tuple(dict.fromkeys(name for check in checks for name in check.approvers))
    hours = min(check.expires_after_hours for check in checks)
    answers = ("approve", "reject") if any(check.require == "ui" for check in checks) else ("reject",)
    fields: dict[str, Any] = {
        "decision": (Literal[answers], Field(title="Decision", description="Rejecting ends the run.")),
        "approver": (Literal[approvers], Field(title="Approver", description="Who you are; one of those asked.")),
        "reason": (
            str,
            Field(pattern=r"\S", max_length=2000, title="Reason", description="Required; kept in the decision."),
        ),
        "counts_for_hours": (
            float,
            Field(default=hours, gt=0, le=hours, title="Counts for (hours)", description="An approval expires."),
        ),
    }
    form = create_model("Approval", __base__=RunInput, **fields)
    form._description = description
    return form


def pause(form: type[RunInput], run_id: str, over: Callable[[], bool], *, timeout_s: float) -> Any | None:
    """The form as it was filled in; None when the run goes on without one, because `over` said so."""
    with resume_when(over, UUID(run_id)):
        try:
            return pause_flow_run(wait_for_input=form, timeout=int(timeout_s) + GRACE_S, poll_interval=POLL_S)
        except (ValidationError, FlowPauseTimeout):
            return None


@contextmanager
def resume_when(over: Callable[[], bool], run_id: UUID) -> Iterator[None]:
    """A thread that sets the paused run running once `over` is true."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(POLL_S):
            try:
                if over() and resume(run_id):
                    return
            except (RatchetError, OSError):
                logger.warning("could not look for an approval; trying again", exc_info=True)
            except Exception:
                logger.exception("could not resume the run; trying again")  # Prefect may be away for a while

    # the thread must know this run's Prefect settings, which live in context variables
    thread = threading.Thread(target=contextvars.copy_context().run, args=(look,), daemon=True, name="approval")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=30)


def resume(run_id: UUID) -> bool:
    """Paused becomes Running; a run that somebody cancelled stays so. Returns whether there is nothing left to do."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run_id).state
        if state is None or state.is_running() or state.is_pending():
            return False  # the pause has not begun, or a form ended it
        if not (state.is_cancelled() or state.is_cancelling()):  # declared crashed meanwhile, it lives all the same
            said = "the answer is in the bucket, or the wait is over"
            client.set_flow_run_state(run_id, Running(message=said), force=True)
        return True
