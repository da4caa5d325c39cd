"""Register: weights, exported program, signature, card and manifest become one version per work key."""

from __future__ import annotations

import math
import time
from pathlib import Path

from mlratchet.infra.artifact.fetch import verify_artifact
from mlratchet.infra.artifact.package import build_model_directory
from mlratchet.models.artifact.card import model_card
from mlratchet.models.artifact.manifest import ArtifactManifest, load_manifest, publish_manifest
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.errors import SecurityError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.ports.registry import ModelVersion
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.promotion.move import raise_alias
from mlratchet.models.registration.record import Registration, find_registration, publish_registration
from mlratchet.models.registration.tracking import TrackingRecord, publish_tracking
from mlratchet.tasks.showing.prefect_page import show_link
from mlratchet.tasks.showing.training_events import points
from mlratchet.tasks.step import step
from mlratchet.tasks.steps.evaluate import Evaluation, load_candidate
from mlratchet.tasks.steps.train import Trained, training_parameters
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run

MANIFEST, MODEL_ID = "ratchet.manifest", "ratchet.model_id"  # tags of a version
WORK_KEY, SOURCE = "ratchet.work_key", "ratchet.source_uri"  # which the registry itself adds


@step("Register in MLflow")
def register(run: Run, work: Work, trained: Trained, evaluation: Evaluation, gate: GateRun) -> Registration:
    """Once per work key, whatever reply was lost."""
    spec, adapters = run.spec, run.adapters
    done = find_registration(adapters.store, work.key)
    if done is None:
        done = create(run, work, trained, evaluation, gate)
    raise_alias(adapters.registry, spec.name, "candidate", done.version)
    show_link(
        "mlflow-version",
        adapters.tracker.version_url(spec.name, done.version),
        f"Version {done.version} in MLflow",
    )
    return done


def create(run: Run, work: Work, trained: Trained, evaluation: Evaluation, gate: GateRun) -> Registration:
    """The version of this work key, made or found again, and the record that names it."""
    spec, adapters = run.spec, run.adapters
    run.refuse_if_stale()
    version = intact_version(run, work.key)
    if version is None:
        version = make_version(run, work, trained, evaluation, gate)
    # of the version that stands: a try before this one may have uploaded other bytes
    manifest = load_manifest(adapters.store, version.tags[MANIFEST])
    record = Registration(
        name=spec.name,
        version=version.version,
        work_key=work.key,
        run_id=version.run_id,
        model_id=version.tags.get(MODEL_ID),
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
        parent_registration=trained.parent_registration,
        registered_s=time.time(),
        made_of=work.made_of,
        description=card_of(run, work, trained, evaluation),
        tags={name: value for name, value in version.tags.items() if name not in (WORK_KEY, SOURCE)},
        tracking=publish_tracking(adapters.store, tracking_of(run, work, trained, evaluation)),
    )
    return publish_registration(adapters.store, record)


def tracking_of(run: Run, work: Work, trained: Trained, evaluation: Evaluation) -> TrackingRecord:
    """Parameters, one point per epoch and metric, and the test metrics: enough to show the run again."""
    spec, now_s = run.spec, time.time()
    history = [point for entry in trained.result.history for point in points(entry, "", int(entry["epoch"]))]
    tested = [(f"test_{name}", m.value, 0, now_s) for name, m in evaluation.metrics.items() if math.isfinite(m.value)]
    return TrackingRecord(
        experiment=spec.name,
        run_name=f"{spec.name}-{work.key[:8]}",
        work_key=work.key,
        parameters=training_parameters(run, work, trained.parent_version),
        points=(*history, *tested),
        dataset_name=f"{spec.name} {work.snapshot_id[:12]}",
        dataset_digest=work.snapshot_id[:36],
        dataset_uri=f"s3://{run.raw.bucket}/{spec.source.prefix}",
    )


def intact_version(run: Run, work_key: str) -> ModelVersion | None:
    """The version that a try before this one made and could not record, if its bytes are all there."""
    adapters, name = run.adapters, run.spec.name
    found = adapters.registry.find_version(name, work_key)
    if found is None:
        return None
    try:
        manifest = load_manifest(adapters.store, found.tags[MANIFEST])
        verify_artifact(adapters.bucket, manifest, found.source_uri)
    except (KeyError, SecurityError, ObjectNotFound):
        adapters.registry.delete_version(name, found.version)  # nobody was ever promised it
        return None
    return found


def announce_upload(store: ObjectStore, work_key: str, source_uri: str, manifest: ArtifactManifest) -> None:
    """An artifact that belongs to unfinished work is not garbage: the version may stand already."""
    body = canonical_json({"source_uri": source_uri, "manifest": manifest.digest()})
    store.create(f"work/{work_key}/uploads/{digest_bytes(body)}.json", body)


def make_version(run: Run, work: Work, trained: Trained, evaluation: Evaluation, gate: GateRun) -> ModelVersion:
    """Package, upload, publish the manifest, register."""
    spec, adapters = run.spec, run.adapters
    directory, manifest, card = package(run, work, trained, evaluation)
    logged = adapters.tracker.log_model(trained.tracking_run, model_dir=directory, name="model")
    publish_manifest(adapters.store, manifest)
    announce_upload(adapters.store, work.key, logged.source_uri, manifest)
    run.refuse_if_stale()
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
            "ratchet.snapshot": work.snapshot_id,
            "ratchet.dataset": work.dataset_id,
            "ratchet.pipeline_revision": spec.revision(),
            "ratchet.code": run.workload_digest,
            MANIFEST: manifest.digest(),
            "ratchet.decision.candidate": gate.decision,
            "ratchet.parent": str(trained.parent_version or "none"),
            **({MODEL_ID: logged.model_id} if logged.model_id else {}),
            **({"ratchet.test_accuracy": f"{accuracy.value:.4f}"} if accuracy else {}),
        },
    )
    fault_point("register.after_create")
    return version


def package(run: Run, work: Work, trained: Trained, evaluation: Evaluation) -> tuple[Path, ArtifactManifest, str]:
    """The model directory, its manifest and the card."""
    spec, adapters = run.spec, run.adapters
    module = load_candidate(run, trained.result.weights_key, trained.result.weights_sha256)
    weights = run.scratch / "weights.safetensors"
    adapters.store.download_file(trained.result.weights_key, weights, sha256=trained.result.weights_sha256)
    card = card_of(run, work, trained, evaluation)
    directory = run.scratch / "model"
    manifest = build_model_directory(
        module,
        run.workload,
        evaluation.sample_x[:2],
        out=directory,
        card=card,
        weights_file=weights,
        defaults=spec.serving.defaults,
        ranges=spec.serving.ranges,
    )
    return directory, manifest, card


def card_of(run: Run, work: Work, trained: Trained, evaluation: Evaluation) -> str:
    """The model card."""
    spec = run.spec
    return model_card(
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
