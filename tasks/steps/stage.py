"""Stage: the exact artifact, downloaded and measured in a clean process."""

from __future__ import annotations

from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.infra.artifact.measure import Measurement, measure_artifact
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.promotion.move import raise_alias
from mlratchet.models.registration.record import Registration
from mlratchet.models.serving.contract import contract_requests, served_signature
from mlratchet.tasks.step import step
from mlratchet.tasks.steps.evaluate import Evaluation
from mlratchet.tasks.support.recorded_requests import requests_of
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run


@step("Measure the artifact", retries=1)
def measure(run: Run, work: Work, record: Registration, evaluation: Evaluation) -> Measurement:
    """Latency, size, memory and parity of what would be served, and its contract with clients: its own recorded rows
    and what the champion's clients send."""
    directory = run.scratch / "staged"
    manifest = fetch_artifact(run.adapters.bucket, record, directory)
    requests = contract_requests(
        served_signature(run.workload, run.spec.serving),
        evaluation.sample_x,
        evaluation.sample_output,
        instances=evaluation.instances,
    )
    if work.incumbent is not None:
        requests += requests_of(run.adapters.store, run.adapters.ledger.entries(run.spec.name), work.incumbent.version)
    return measure_artifact(
        directory,
        manifest,
        sample_x=evaluation.sample_x,
        expected=evaluation.sample_output,
        threads=run.spec.serving.threads,
        requests=requests,
        home=run.adapters.settings.home,
    )


@step("Move to staging")
def to_staging(run: Run, record: Registration, gate: GateRun) -> None:
    """The alias follows the staging gate's decision."""
    registry, name = run.adapters.registry, run.spec.name
    raise_alias(registry, name, "staging", record.version)
    registry.set_tags(name, record.version, {"ratchet.decision.staging": gate.decision})
