"""A run that waits holds no process: it writes down what it goes on with, its process ends, and the worker takes it up
again.

One that asked people goes on when the answer is in the bucket, a form was filled in, or the wait is over; one whose
version is in its canary when a look shows that something follows. In Prefect the run is `Suspended`, with the form
where people are asked; *Resume* there schedules it, as the worker does otherwise.
"""

from __future__ import annotations

import uuid
from typing import Any
from uuid import UUID

from mlratchet.models.decisions.approval_request import ApprovalRequest
from mlratchet.models.decisions.waiting import IN_CANARY, WaitingRun, publish_waiting
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.models.serving.canary_look import Watch
from mlratchet.tasks.wiring import Run
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Pause
from prefect.input import RunInput
from prefect.input.actions import read_flow_run_input
from prefect.input.run_input import Keyset, keyset_from_base_key
from prefect.states import Suspended
from pydantic import ValidationError


class Waits(Pause):
    """The flow has ended for now; `suspend` tells Prefect once nothing of it runs any more."""

    def __init__(self, waiting: WaitingRun, form: type[RunInput] | None = None) -> None:
        """`form`: of whoever is asked; None where a run waits for no person."""
        super().__init__(f"run {waiting.run} waits")
        self.waiting, self.form = waiting, form


def wait_without_a_process(run: Run, request: ApprovalRequest, *, until_s: float) -> WaitingRun:
    """Write down what the run goes on with."""
    waiting = WaitingRun(
        run=run.run_id,
        pipeline=run.spec.name,
        revision=run.spec.revision(),
        snapshot=run.snapshot_id,
        actor=run.actor,
        request=request.key,
        form=uuid.uuid4().hex,
        until_s=until_s,
    )
    publish_waiting(run.adapters.store, waiting)
    return waiting


def wait_in_canary(run: Run, entry: CanaryEntry) -> WaitingRun:
    """Write down what the run goes on with, and what a look at its canary needs."""
    watch = Watch.of(run.spec.serving, run.spec.policy)
    assert watch is not None, "its file declares a canary"
    waiting = WaitingRun(
        run=run.run_id,
        pipeline=run.spec.name,
        revision=run.spec.revision(),
        snapshot=run.snapshot_id or (run.waited.snapshot if run.waited is not None else ""),
        actor=run.actor,
        request="",
        form=f"{IN_CANARY}{uuid.uuid4().hex}",
        until_s=entry.expires_s,
        watch=watch.model_dump_json(),
    )
    publish_waiting(run.adapters.store, waiting)
    return waiting


def suspended_state(form: str) -> State[Any]:
    """Prefect's, without an end of its own: a stack that was down for that long would find the run failed."""
    if form.startswith(IN_CANARY):
        return Suspended(pause_key=form, message="its version is in its canary; its process has ended")
    state: State[Any] = Suspended(pause_key=form, message="waits for approval; its process has ended")
    state.state_details.run_input_keyset = {str(name): key for name, key in keyset_of(form).items()}
    return state


def keyset_of(form: str) -> Keyset:
    """Under which names Prefect keeps a form and its answer."""
    return keyset_from_base_key(f"suspended-{form}")


def suspend(waits: Waits) -> None:
    """Tell Prefect that the run waits. Call it when the flow's heartbeats have stopped: one that came later would have
    the run declared crashed.

    Raises ``InfrastructureError`` where Prefect does not let it wait, as after a cancellation.
    """
    run_id, state = UUID(waits.waiting.run), suspended_state(waits.waiting.form)
    if waits.form is not None:
        waits.form.save(keyset_of(waits.waiting.form), flow_run_id=run_id)
    with get_client(sync_client=True) as client:
        said = client.set_flow_run_state(run_id, state)
    if said.status != SetStateStatus.ACCEPT:
        why = getattr(said.details, "reason", None) or said.status.value
        stands = "the question stands: `ratchet approvals` shows it" if waits.form is not None else (
            "its canary ends at the next `ratchet reconcile`"
        )  # fmt: skip
        raise InfrastructureError(f"run {run_id} cannot wait in Prefect: {why}; {stands}")


def answer_in_form(form: type[RunInput], waiting: WaitingRun) -> Any | None:
    """The form as it was filled in since, or None."""
    said = read_flow_run_input(keyset_of(waiting.form)["response"], flow_run_id=UUID(waiting.run))
    if not isinstance(said, dict):
        return None
    try:
        return form(**said)
    except (ValidationError, TypeError):  # an API without a form's checks in front of it took anything
        return None
