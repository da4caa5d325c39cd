"""The tuning flow: a study over the pipeline's search space, on rows that no gate judges on.

It moves no alias and registers nothing. What it found goes through the same gates as any candidate: as the settings
of a retrain.
"""

from __future__ import annotations

import itertools
import time
from contextvars import ContextVar
from typing import Any

from mlratchet.flows.parameters import RetrainParameters, TuneParameters
from mlratchet.flows.retrain import whoever_started
from mlratchet.flows.runs.naming import name_of_run
from mlratchet.flows.runs.report import leave_report, tag_run
from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.snapshot import Snapshot
from mlratchet.models.errors import GateRefusedError, RatchetError
from mlratchet.models.identity.canonical import digest
from mlratchet.models.pipeline.store import load_pipeline, publish_order, publish_pipeline
from mlratchet.models.tuning.space import require_tune
from mlratchet.models.tuning.study import by_study
from mlratchet.models.tuning.summary import Summary
from mlratchet.tasks.steps.conclude import conclude
from mlratchet.tasks.steps.gate import pass_gate
from mlratchet.tasks.steps.ingest import ingest
from mlratchet.tasks.steps.preprocess import preprocess
from mlratchet.tasks.steps.recognise import recognise
from mlratchet.tasks.steps.search import Listener, search
from mlratchet.tasks.steps.study import open_study
from mlratchet.tasks.steps.validate import validate
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Adapters, Run, open_adapters, open_run
from prefect import flow, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run as current

AS_IN_THE_FILE = TuneParameters()
LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
"""Who watches from the same process: the progress bar of the command line."""


@flow(name="tune", flow_run_name=name_of_run, validate_parameters=True)
def tune(pipeline: str, parameters: TuneParameters = AS_IN_THE_FILE, order: str = "") -> State[Any]:
    """Search for better settings of one pipeline, or go on with a study that was stopped.

    Args:
        pipeline: Name of the pipeline.
        parameters: Budget of this run, and whether the best is applied.
        order: Of `ratchet tune --set`: a revision that was signed for this run; empty for the newest deployment.
    """
    run_id, began_s = str(current.id), time.time()
    facts: dict[str, Any] = {"run_id": run_id, "pipeline": pipeline}
    adapters = open_adapters()
    run: Run | None = None
    try:
        actor = parameters.requested_by or whoever_started()
        run = open_run(adapters, pipeline, order, parameters.changes(), run_id=run_id, actor=actor)
        require_tune(run.spec)
        summary = study(run)
        facts |= summary.document() | {"exit_code": 0, "line": "\n".join(summary.lines())}
        facts["outcome"] = outcome_of(summary)
        if parameters.apply and summary.found_better:
            facts["retrain_run"] = start_retrain(run, summary)
    except RatchetError as error:
        facts |= {"outcome": "failed", "exit_code": error.exit_code, "line": error.line()}
    finally:
        if run is not None:
            facts["reading"] = run.reading
            run.close(failed="outcome" not in facts)
    return finish(facts, adapters, seconds=time.time() - began_s)


def study(run: Run) -> Summary:
    """The rows, prepared once; the trials; what they say."""
    snapshot = ingest(run)
    work = recognise(run, snapshot)
    opened = open_study(run, work, dataset_of(run, snapshot, work))
    return conclude(run, opened, search(run, opened, LISTENER.get()))


def dataset_of(run: Run, snapshot: Snapshot, work: Work) -> DatasetManifest:
    """The pipeline's dataset; made behind the data gate where it is not there yet, as a retrain makes it."""
    if run.adapters.store.exists(f"datasets/{work.dataset_id}.json"):
        dataset = load_dataset(run.adapters.store, work.dataset_id)
        run.prepared_by(dataset)
        return dataset
    checked = validate(run, snapshot, work)
    gate = pass_gate(run, work, "data", checked.evidence, checked.digests)
    if gate.verdict != "pass":
        raise GateRefusedError(
            f"data gate of {run.spec.name}: {gate.verdict}: {'; '.join(gate.reasons)}; nothing is searched on such rows"
        )
    return preprocess(run, work, snapshot, checked)


def outcome_of(summary: Summary) -> str:
    """In one word."""
    if summary.stopped == "interrupted":
        return "interrupted"
    return "improved" if summary.found_better else "nothing_better"


def start_retrain(run: Run, summary: Summary) -> str:
    """A run of the pipeline's retrain deployment with the best values; asked twice, it is the same run, unless that was
    killed, cancelled or refused."""
    store, actor = run.adapters.store, by_study(run.actor, summary.study)
    best = load_pipeline(store, publish_pipeline(store, run.spec), overrides=summary.assignments)
    order = publish_order(store, summary.pipeline, publish_pipeline(store, best), actor=actor, at_s=time.time())
    parameters = RetrainParameters(requested_by=actor)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"retrain/{summary.pipeline}")
        asked = {"pipeline": summary.pipeline, "parameters": parameters.model_dump(mode="json"), "order": order}
        key = digest([summary.study, list(summary.assignments)])
        for again in itertools.count():
            made = client.create_flow_run_from_deployment(
                deployment.id, parameters=asked, idempotency_key=f"{key}-{again}" if again else key
            )
            if made.state is None or not made.state.is_final() or made.state.is_completed():
                break
    return str(made.id)


def finish(facts: dict[str, Any], adapters: Adapters, *, seconds: float) -> State[Any]:
    """Publish the report and turn it into the flow run's final state."""
    facts["seconds"] = round(seconds, 2)
    leave_report(adapters, facts)
    match facts["outcome"]:
        case "failed":
            return State(type=StateType.FAILED, message=facts["line"])
        case "interrupted":
            return State(type=StateType.CANCELLED, message=facts["line"])
        case outcome:
            said = outcome.replace("_", " ")
            tag_run(facts["run_id"], said)
            return State(type=StateType.COMPLETED, message=f"{said}: {facts['line']}")
