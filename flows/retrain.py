"""The retraining flow: from raw objects to a served champion, behind gates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlratchet.flows.approval_pause import wait_for_people
from mlratchet.flows.canary import end_canary, resume_canary, stand_canary
from mlratchet.flows.holding import stop_if_held, tell_holds
from mlratchet.flows.parameters import RetrainParameters
from mlratchet.flows.probation import prove
from mlratchet.flows.runs.naming import name_of_run
from mlratchet.flows.runs.report import Report, finish
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.errors import GateRefusedError, RatchetError
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.policy import approval_checks
from mlratchet.models.monitoring.retraining import AlreadyAnsweredError
from mlratchet.models.promotion.canary.evidence import live_digest
from mlratchet.models.promotion.registered import REGISTRATION
from mlratchet.tasks.actions.answer_findings import ACTOR
from mlratchet.tasks.actions.start_retrains import asked_by_monitoring
from mlratchet.tasks.steps.approval import ask_for_approval
from mlratchet.tasks.steps.deploy import deploy
from mlratchet.tasks.steps.evaluate import evaluate
from mlratchet.tasks.steps.gate import before_asking, pass_gate
from mlratchet.tasks.steps.ingest import ingest
from mlratchet.tasks.steps.preprocess import preprocess
from mlratchet.tasks.steps.promote import promote
from mlratchet.tasks.steps.recognise import recognise
from mlratchet.tasks.steps.register import register
from mlratchet.tasks.steps.stage import measure, to_staging
from mlratchet.tasks.steps.train import train
from mlratchet.tasks.steps.validate import validate
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run, open_adapters, open_run
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.exceptions import Pause
from prefect.runtime import flow_run as current

AS_IN_THE_FILE = RetrainParameters()


@flow(name="retrain", flow_run_name=name_of_run, validate_parameters=True)
def retrain(
    pipeline: str, parameters: RetrainParameters = AS_IN_THE_FILE, order: str = "", finding: str = ""
) -> State[Any]:
    """Retrain one pipeline and promote the new model if every gate passes.

    Args:
        pipeline: Name of the pipeline.
        parameters: Changes for this run alone.
        order: Of `ratchet run --set`: a revision that was signed for this run; empty for the newest deployment.
        finding: Of a retrain that monitoring asked for: the digest of what it found. The run verifies that it was asked
            for and takes its reason from there; empty for any other.
    """
    run_id = str(current.id)
    report = Report(run_id=run_id, pipeline=pipeline)
    adapters = open_adapters()
    run: Run | None = None
    ended = False
    try:
        because = asked_by_monitoring(adapters, pipeline, finding, run_id=run_id) if finding else None
        run = open_run(
            adapters,
            pipeline,
            order,
            parameters.changes(),
            run_id=run_id,
            actor=ACTOR if because is not None else parameters.requested_by or whoever_started(),
            because=because,
        )
        resume_canary(run)
        report.because(because)
        climb(run, report)
        ended = True
    except Pause:  # it asks people, its version is in its canary, or somebody suspended it: another process goes on
        ended = True
        raise
    except AlreadyAnsweredError as error:
        report.answered(str(error))
        ended = True
    except RatchetError as error:
        report = report.failed(error)
        ended = isinstance(error, GateRefusedError)
        if run is not None:
            end_canary(run, error.line())
    finally:
        if run is not None:
            report.read(run.reading)
            run.close(failed=not ended)
    return finish(report, adapters)


def whoever_started() -> str:
    """Prefect's server knows no users: a run that nobody signed is the schedule's or the UI's."""
    return "schedule" if "auto-scheduled" in (current.tags or []) else "Prefect UI"


def climb(run: Run, report: Report) -> None:
    """The road, step by step. Fills in `report`; raises ``GateRefusedError`` at the gate that says no."""
    snapshot = ingest(run)
    run.snapshot_id = snapshot.id
    work = recognise(run, snapshot)
    report.begin(work)
    if work.done is not None and work.champion is not None and (work.is_champion or work.was_champion):
        url = deploy(run, work.champion.version)
        report.recognised(work.done, work.champion, url)
        tell_holds(run, report)
        if work.is_champion:  # the run that promoted it may have been killed before its probation
            prove(run, work, work.done, work.champion, url, report)
        return

    checked = validate(run, snapshot, work)
    data = guard(run, work, "data", checked.evidence, checked.digests, report)
    stop_if_held(run, work, data, report)
    dataset = preprocess(run, work, snapshot, checked)
    trained = train(run, work)
    report.trained(trained, run.adapters.tracker.run_url(trained.tracking_run))
    evaluation = evaluate(run, work, dataset, trained)
    report.evaluated(evaluation)

    rows = evaluation.digests()
    candidate = guard(
        run, work, "candidate", evaluation.evidence(), {**rows, "weights": trained.result.weights_sha256}, report
    )
    record = register(run, work, trained, evaluation, candidate)
    report.registered(record)
    judged = {"manifest": record.manifest_digest, REGISTRATION: record.digest()}
    staged = measure(run, work, record, evaluation)
    staging = guard(
        run,
        work,
        "staging",
        evaluation.evidence(version=record.version, staged=staged),
        {**rows, **judged},
        report,
    )
    to_staging(run, record, staging)
    live = stand_canary(run, work, record, staging)
    champion = guard(
        run,
        work,
        "champion",
        replace(evaluation.evidence(version=record.version, staged=staged), canary=live),
        {
            **rows,
            **judged,
            **live_digest(live),
            **{f"gate.{earlier.gate}": earlier.decision for earlier in (data, candidate, staging)},
        },
        report,
    )
    entry = promote(run, work, record, champion)
    url = deploy(run, record.version)
    report.promoted(entry, url)
    prove(run, work, record, entry, url, report)


def guard(run: Run, work: Work, gate: str, evidence: Evidence, digests: dict[str, str], report: Report) -> GateRun:
    """Pass the gate or stop the run: only `pass` moves anything."""
    people = bool(approval_checks(run.spec.gates, gate))
    gate_run = (before_asking if people else pass_gate)(run, work, gate, evidence, digests)
    if people and gate_run.verdict != "pass":
        request = ask_for_approval(run, gate_run, evidence)
        if request is not None:
            wait_for_people(run, request, evidence)
        gate_run = pass_gate(run, work, gate, evidence, digests)
    report.gated(gate_run, run.adapters.store)
    if gate_run.verdict != "pass":
        reasons = "; ".join(gate_run.reasons) or "no reason given"
        raise GateRefusedError(
            f"{gate} gate of {run.spec.name}: {gate_run.verdict}: {reasons}; "
            f"all of it: `ratchet decision {run.spec.name} --run {run.run_id}`"
        )
    return gate_run
