"""Register: weights, exported program, signature, card and manifest become one version per work key."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlratchet.infra.artifact.fetch import verify_artifact
from mlratchet.infra.artifact.package import complete
from mlratchet.models.artifact.card import model_card
from mlratchet.models.artifact.files import PROGRAM
from mlratchet.models.artifact.manifest import ArtifactManifest, load_manifest, publish_manifest
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.decisions.decision import load_decision, table
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.errors import SecurityError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.ports.registry import VERSION, WORK_KEY, ModelVersion
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.promotion.move import raise_alias
from mlratchet.models.registration.numbers import take_number
from mlratchet.models.registration.record import Registration, find_registration, publish_registration
from mlratchet.models.registration.tracking import TrackingRecord, publish_tracking
from mlratchet.models.serving.contract import served_signature
from mlratchet.models.sources.log_rows import in_words, weighed
from mlratchet.tasks.showing.prefect_page import show_link
from mlratchet.tasks.showing.training_events import points
from mlratchet.tasks.step import step
from mlratchet.tasks.steps.evaluate import Evaluation
from mlratchet.tasks.steps.train import Trained, training_parameters
from mlratchet.tasks.support.because import because_tags
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run

MANIFEST, MODEL_ID = "ratchet.manifest", "ratchet.model_id"  # tags of a version
SOURCE = "ratchet.source_uri"  # which the registry itself adds, as WORK_KEY


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
        adapters.tracker.version_url(spec.name, adapters.registry.get_version(spec.name, done.version).number),
        f"Version {done.version} in MLflow",
    )
    return done


def create(run: Run, work: Work, trained: Trained, evaluation: Evaluation, gate: GateRun) -> Registration:
    """The version of this work key, made or found again, and the record that names it."""
    spec, adapters = run.spec, run.adapters
    run.refuse_if_stale()
    card = card_of(run, work, trained, evaluation, gate)
    # of the version that stands: a try before this one may have uploaded other bytes
    version, manifest = intact_version(run, work.key, evaluation.keys["program"]) or make_version(
        run, work, trained, evaluation, gate, card
    )
    record = Registration(
        name=spec.name,
        version=number_of(run, work.key),
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
        began_fresh=trained.began_fresh,
        registered_s=time.time(),
        made_of=work.made_of,
        description=card,
        tags={name: value for name, value in version.tags.items() if name not in (WORK_KEY, SOURCE, VERSION)},
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


def intact_version(run: Run, work_key: str, program: str) -> tuple[ModelVersion, ArtifactManifest] | None:
    """The version that a try before this one made and could not record, if its bytes are all there and its program is
    the one that was scored.

    Which files are this work's is said by what was signed before they were registered, never by the registry: whoever
    has its API could name another version's.
    """
    adapters, name = run.adapters, run.spec.name
    for info in adapters.store.list(f"work/{work_key}/uploads/"):
        with suppress(SecurityError, ObjectNotFound, ValueError, KeyError):
            upload = stored_document(adapters.store, info.key, "source_uri", "manifest")
            manifest = load_manifest(adapters.store, upload["manifest"])
            if manifest.files.get(PROGRAM) != program:
                continue
            for one in adapters.registry.list_versions(name):
                ours = one.source_uri == upload["source_uri"] and one.tags.get(WORK_KEY) == work_key
                if ours and is_source(one.origin, upload):
                    verify_artifact(adapters.bucket, manifest, upload["source_uri"])
                    return one, manifest
    return None


def is_source(origin: str, upload: Mapping[str, Any]) -> bool:
    """Whether the registry was given just this upload."""
    model_id = upload.get("model_id")
    return origin == upload["source_uri"] or (isinstance(model_id, str) and model_id != "" and model_id in origin)


def announce_upload(
    store: ObjectStore, work_key: str, source_uri: str, manifest: ArtifactManifest, model_id: str | None = None
) -> None:
    """An artifact that belongs to unfinished work is not garbage: the version may stand already. Signed, so that a
    later try knows it again."""
    body = canonical_json({"source_uri": source_uri, "manifest": manifest.digest(), "model_id": model_id or ""})
    store.create(f"work/{work_key}/uploads/{digest_bytes(body)}.json", body)


def number_of(run: Run, work_key: str) -> int:
    """Our number of this work's version."""
    name, ledger = run.spec.name, run.adapters.ledger
    known = ledger.heads.mark(name, "version")[0] if ledger.heads is not None else 0  # whose record somebody may remove
    taken = [known, *(entry.version for entry in ledger.entries(name))]
    number = take_number(run.adapters.store, name, work_key, taken=taken)
    if ledger.heads is not None and number > known:
        ledger.heads.keep_mark(name, "version", number, work_key)
    return number


def make_version(
    run: Run, work: Work, trained: Trained, evaluation: Evaluation, gate: GateRun, card: str
) -> tuple[ModelVersion, ArtifactManifest]:
    """Package, upload, publish the manifest, register."""
    spec, adapters = run.spec, run.adapters
    directory, manifest = package(run, work, trained, evaluation, card)
    logged = adapters.tracker.log_model(trained.tracking_run, model_dir=directory, name="model")
    publish_manifest(adapters.store, manifest)
    announce_upload(adapters.store, work.key, logged.source_uri, manifest, logged.model_id)
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
        version=number_of(run, work.key),
        tags={
            "ratchet.snapshot": work.snapshot_id,
            "ratchet.dataset": work.dataset_id,
            "ratchet.pipeline_revision": spec.revision(),
            "ratchet.code": run.workload_digest,
            MANIFEST: manifest.digest(),
            "ratchet.decision.candidate": gate.decision,
            "ratchet.parent": str(trained.parent_version or "none"),
            **because_tags(run),
            **({MODEL_ID: logged.model_id} if logged.model_id else {}),
            **({"ratchet.test_accuracy": f"{accuracy.value:.4f}"} if accuracy else {}),
        },
    )
    fault_point("register.after_create")
    return replace(version, source_uri=logged.source_uri), manifest


def package(run: Run, work: Work, trained: Trained, evaluation: Evaluation, card: str) -> tuple[Path, ArtifactManifest]:
    """The model directory and its manifest."""
    spec, adapters = run.spec, run.adapters
    weights = run.scratch / "weights.safetensors"
    adapters.store.download_file(trained.result.weights_key, weights, sha256=trained.result.weights_sha256)
    directory = evaluation.export
    if directory is None:
        raise SecurityError(f"work {work.key[:12]} has a version, and its record is gone; nothing is registered anew")
    signature = served_signature(run.workload, spec.serving)
    manifest = complete(
        directory,
        signature,
        evaluation.sample_x.rows(slice(2)),
        card=card,
        weights_file=weights,
        instances=evaluation.instances[:2] if evaluation.instances is not None else None,
    )
    refuse_other_program(manifest, evaluation)
    return directory, manifest


def refuse_other_program(manifest: ArtifactManifest, evaluation: Evaluation) -> None:
    """Raises ``SecurityError`` unless the files hold the very program that the gates judged."""
    ours, judged = manifest.files.get(PROGRAM), evaluation.keys["program"]
    if ours != judged:
        raise SecurityError(f"{PROGRAM}: {str(ours)[:12]} is not the program that was scored, {judged[:12]}")


def card_of(run: Run, work: Work, trained: Trained, evaluation: Evaluation, gate: GateRun) -> str:
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
        began_fresh=trained.began_fresh,
        metrics={name: metric.value for name, metric in evaluation.metrics.items()},
        workload=spec.workload.use,
        logged=logged_line(run, work.dataset_id),
        checks=table(load_decision(run.adapters.store, gate.decision)),
        plots=run.adapters.tracker.run_url(trained.tracking_run, "artifacts"),
    )


def logged_line(run: Run, dataset_id: str) -> str:
    """How many rows of the inference log are in the dataset of a version; empty where none is."""
    words = in_words(load_dataset(run.adapters.store, dataset_id).logged_rows)
    return weighed(words, run.spec.source.inference_log)
