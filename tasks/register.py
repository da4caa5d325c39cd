"""Register: weights, exported program, signature, card and manifest become one version per work key."""

from __future__ import annotations

import time

from mlratchet.infra.package import build_model_directory
from mlratchet.models.artifact.card import model_card
from mlratchet.models.fault_points import fault_point
from mlratchet.models.gates.record import GateRun
from mlratchet.models.registration.record import Registration, find_registration, publish_registration
from mlratchet.tasks.evaluate import Evaluation, load_candidate
from mlratchet.tasks.progress import show_link
from mlratchet.tasks.recognise import Work
from mlratchet.tasks.step import step
from mlratchet.tasks.train import Trained
from mlratchet.tasks.wiring import Run


@step("Register in MLflow")
def register(run: Run, work: Work, trained: Trained, evaluation: Evaluation, gate: GateRun) -> Registration:
    """Once per work key, whatever reply was lost."""
    spec, adapters = run.spec, run.adapters
    done = find_registration(adapters.store, work.key)
    if done is None:
        done = create(run, work, trained, evaluation, gate)
    adapters.registry.set_alias(spec.name, "candidate", done.version)
    show_link(
        "mlflow-version",
        adapters.tracker.version_url(spec.name, done.version),
        f"Version {done.version} in MLflow",
    )
    return done


def create(run: Run, work: Work, trained: Trained, evaluation: Evaluation, gate: GateRun) -> Registration:
    """Package, upload, register, publish the record."""
    spec, adapters = run.spec, run.adapters
    module = load_candidate(run, trained.result.weights_key, trained.result.weights_sha256)
    weights = run.scratch / "weights.safetensors"
    adapters.store.download_file(trained.result.weights_key, weights, sha256=trained.result.weights_sha256)
    card = model_card(
        name=spec.name,
        description=spec.description,
        owner=spec.owner,
        work_key=work.key,
        snapshot_id=work.snapshot_id,
        dataset_id=work.dataset_id,
        parent_version=trained.parent_version,
        metrics={name: metric.value for name, metric in evaluation.metrics.items()},
        workload=spec.workload.use,
    )
    directory = run.scratch / "model"
    manifest = build_model_directory(
        module, run.workload, evaluation.sample_x[:2], out=directory, card=card, weights_file=weights
    )
    logged = adapters.tracker.log_model(trained.tracking_run, model_dir=directory, name="model")
    fault_point("register.before_create")
    accuracy = evaluation.metrics.get("accuracy")
    version = adapters.registry.create_version(
        spec.name,
        work_key=work.key,
        run_id=trained.tracking_run,
        source_uri=logged.source_uri,
        model_id=logged.model_id,
        description=card,
        tags={
            "ratchet.work_key": work.key,
            "ratchet.snapshot": work.snapshot_id,
            "ratchet.dataset": work.dataset_id,
            "ratchet.pipeline_revision": spec.revision(),
            "ratchet.code": run.workload_digest,
            "ratchet.manifest": manifest.digest(),
            "ratchet.decision.candidate": gate.decision,
            "ratchet.parent": str(trained.parent_version or "none"),
            **({"ratchet.test_accuracy": f"{accuracy.value:.4f}"} if accuracy else {}),
        },
    )
    fault_point("register.after_create")
    record = Registration(
        name=spec.name,
        version=version.version,
        work_key=work.key,
        run_id=trained.tracking_run,
        model_id=logged.model_id,
        source_uri=version.source_uri,
        manifest=manifest.model_dump(mode="json"),
        manifest_digest=manifest.digest(),
        weights_key=trained.result.weights_key,
        weights_sha256=trained.result.weights_sha256,
        snapshot_id=work.snapshot_id,
        dataset_id=work.dataset_id,
        rows_key=evaluation.rows_key,
        revision=spec.revision(),
        parent_version=trained.parent_version,
        registered_s=time.time(),
    )
    publish_registration(adapters.store, record)
    return record
