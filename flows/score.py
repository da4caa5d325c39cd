"""The score flow: a batch of rows by one verified version, from a place of S3 to another."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

from mlratchet.flows.parameters import ScoreParameters
from mlratchet.flows.runs.naming import name_of_run
from mlratchet.flows.runs.report import leave_report, tag_run
from mlratchet.models.errors import ConfigurationError, RatchetError
from mlratchet.models.scoring.outcome import ScoredBatch
from mlratchet.tasks.showing.prefect_page import show_table
from mlratchet.tasks.steps.score import Tell, score_rows
from mlratchet.tasks.wiring import open_adapters
from prefect import flow
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run as current

AS_ASKED = ScoreParameters()
LISTENER: ContextVar[Tell | None] = ContextVar("listener", default=None)
"""Who watches from the same process: the progress bar of the command line."""


@flow(name="score", flow_run_name=name_of_run, validate_parameters=True)
def score(pipeline: str, parameters: ScoreParameters = AS_ASKED) -> State[Any]:
    """Score every row below one place of S3, and write below another.

    A run that was killed is started again with the same words, and scores what is not finished.

    Args:
        pipeline: Name of the pipeline.
        parameters: From where, to where, by which version.
    """
    run_id, began_s = str(current.id), time.time()
    facts: dict[str, Any] = {"run_id": run_id, "pipeline": pipeline, "requested_by": parameters.requested_by}
    adapters = open_adapters()
    try:
        if not parameters.source or not parameters.target:
            raise ConfigurationError("from where and to where? fill in both places, as s3://bucket/prefix")
        found = score_rows(adapters, pipeline, parameters.source, parameters.target, parameters.version,
                           parameters.format, LISTENER.get())  # fmt: skip
        show(found)
        facts |= found.document() | {"outcome": "scored", "exit_code": 0}
    except RatchetError as error:
        facts |= {"outcome": "failed", "exit_code": error.exit_code, "line": error.line()}
    facts["seconds"] = round(time.time() - began_s, 2)
    leave_report(adapters, facts)
    if facts["outcome"] == "failed":
        return State(type=StateType.FAILED, message=facts["line"])
    tag_run(run_id, "scored")
    return State(type=StateType.COMPLETED, message=facts["line"])


def show(found: ScoredBatch) -> None:
    """On the run's page: what became of the rows."""
    rows: list[dict[str, Any]] = [{"rows": "scored", "number": found.scored}]
    rows += [{"rows": f"set aside: {rule}", "number": count} for rule, count in found.rules.items()]
    rows += [
        {"rows": f"{name} (of {found.labelled:,} labelled)", "number": f"{value:.6g}"}
        for name, value in found.metrics.items()
    ]
    words = f"{found.line()}; version {found.version} of {found.pipeline}; {found.target}manifest.json names every file"
    show_table("scores", rows, words)
