"""Train: claim the work, start ranks, forward what they report."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mlratchet.infra.machine.hardware import check_hardware
from mlratchet.infra.machine.scratch import is_gone
from mlratchet.models.artifact.weights import initial_weights_key
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.claim import take_claim
from mlratchet.models.identity.lease import wait_until_free
from mlratchet.models.promotion.registered import refuse_changed_registration
from mlratchet.models.registration.record import Registration, find_registration
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.result import TrainResult, find_result
from mlratchet.tasks.showing.prefect_page import show_link, show_table
from mlratchet.tasks.showing.training_events import Forwarder
from mlratchet.tasks.step import step
from mlratchet.tasks.support.open_version import signature_of_version
from mlratchet.tasks.support.score_versions import ancestor_of
from mlratchet.tasks.support.seen_rows import seen_rows
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run

KINDS = ("reshaped", "new", "left", "taken")  # of a tensor in a warm start: what asks for a look comes first
READING = "ratchet.reading"  # tags of the run in MLflow; the second is the one that it shows as a description
NOTE = "mlflow.note.content"
MOST_ROWS = 500  # of a table in Prefect


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The weights of a work key and where their history is."""

    result: TrainResult
    tracking_run: str
    parent_version: int | None
    parent_registration: str | None = None  # digest of the parent's record
    tensorboard: Path  # event files, if this run trained
    trace: Path  # of the profiler, if it was switched on


@step("Train", run_name="Train {run.spec.name}")
def train(run: Run, work: Work) -> Trained:
    """Take the next epoch of the work key and train, or resume, to the end."""
    spec, adapters = run.spec, run.adapters
    wait_until_free(adapters.store, work.key, run=run.run_id, is_gone=is_gone)
    claim = take_claim(
        adapters.store,
        work.key,
        parent_version=wanted_parent(run, work),
        owner=f"{run.actor}/{run.run_id}",
        now_s=time.time(),
        run=run.run_id,
        refers=(work.snapshot_id, work.dataset_id),
    )
    run.claim = claim
    tracking_run = adapters.tracker.open_run(
        spec.name,
        work_key=work.key,
        flow_run=run.run_id,
        name=f"{spec.name}-{work.key[:8]}",
        tags={"ratchet.pipeline": spec.name, **({READING: run.reading, NOTE: run.reading} if run.reading else {})},
    )
    run.tracking_run = tracking_run
    show_link("mlflow-run", adapters.tracker.run_url(tracking_run), "The run in MLflow")
    adapters.tracker.log_params(tracking_run, training_parameters(run, work, claim.parent_version))
    adapters.tracker.log_dataset(
        tracking_run,
        name=f"{spec.name} {work.snapshot_id[:12]}",
        digest=work.snapshot_id[:36],
        source_uri=f"s3://{run.raw.bucket}/{spec.source.prefix}",
    )
    parent = parent_record(run, claim.parent_version)
    parent_key, parent_sha256 = (parent.weights_key, parent.weights_sha256) if parent else initial_weights(run)
    classes, columns = names_of_parent(run, parent)
    scratch = run.scratch / f"train-{claim.epoch}"
    job = TrainJob(
        work_key=work.key,
        epoch=claim.epoch,
        dataset_id=work.dataset_id,
        workload=spec.workload,
        train=spec.train,
        processes=adapters.launcher.processes(spec.train),
        scratch=str(scratch),
        parent_weights_key=parent_key,
        parent_weights_sha256=parent_sha256,
        parent_classes=classes,
        parent_columns=columns,
    )
    result = find_result(adapters.store, work.key)
    if result is None:
        if parent is not None:
            refuse_seen_rows(run, work, parent)
        check_hardware(adapters.settings.home, adapters.store)
        with Forwarder(run, tracking_run, scratch, epochs=spec.train.epochs) as forward:
            result = adapters.launcher.train(job, on_event=forward)
    show_warm_start(run, tracking_run, result)
    return Trained(
        result=result,
        tracking_run=tracking_run,
        parent_version=claim.parent_version,
        parent_registration=parent.digest() if parent is not None else None,
        tensorboard=scratch / "tensorboard",
        trace=scratch / "trace.json",
    )


def show_warm_start(run: Run, tracking_run: str, result: TrainResult) -> None:
    """What became of the parent's tensors, as a file in MLflow and a table in Prefect."""
    found = result.warm_start_tensors
    if not found:
        return
    file = run.scratch / "warm_start.json"
    file.write_text(json.dumps(found, indent=2))
    run.adapters.tracker.log_files(tracking_run, {"warm_start.json": file})
    rows = [{"tensor": name, "what became of it": kind} for kind in KINDS for name in found.get(kind, ())]
    show_table("warm-start", rows[:MOST_ROWS], f"Warm start: {result.warm_start}")


def wanted_parent(run: Run, work: Work) -> int | None:
    """The version that the pipeline file wants to begin from. Raises ``ConfigurationError`` for one not ours."""
    wanted = run.spec.train.warm_start
    if isinstance(wanted, int):
        found = run.adapters.registry.get_version(run.spec.name, wanted)
        if "ratchet.work_key" not in found.tags:
            raise ConfigurationError(f"train.warm_start: version {wanted} of {run.spec.name} was not made by Ratchet")
        return wanted
    return work.champion.version if wanted == "champion" and work.champion is not None else None


def parent_record(run: Run, version: int | None) -> Registration | None:
    """The record of a version. The parent may have stopped being champion meanwhile.

    Raises ``SecurityError`` when it was champion and its record was changed since: it names the weights to begin from.
    """
    if version is None:
        return None
    parent = run.adapters.registry.get_version(run.spec.name, version)
    record = find_registration(run.adapters.store, parent.tags["ratchet.work_key"])
    if record is not None:
        refuse_changed_registration(run.adapters.store, record, run.adapters.ledger.entries(run.spec.name))
    return record


def names_of_parent(run: Run, parent: Registration | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Classes and columns of the parent: heads and first layers are taken by name. Empty without a parent."""
    if parent is None:
        return (), ()
    entries = run.adapters.ledger.entries(run.spec.name)
    signature = signature_of_version(run.adapters, parent, entries)
    return signature.classes, signature.input.columns


def refuse_seen_rows(run: Run, work: Work, parent: Registration) -> None:
    """Raises ``ConfigurationError`` when the parent was trained on rows that are test rows now: gates would judge the
    new model on what it has seen. Rows are read only where the rule of the split may have moved them."""
    store = run.adapters.store
    entries = run.adapters.ledger.entries(run.spec.name)
    try:
        seen = seen_rows(
            store, run.spec, work.dataset_id, parent, partial(ancestor_of, run.adapters, run.spec.name, entries)
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"train.warm_start: {error}; write train.warm_start: none") from error
    if not seen:
        return
    test = load_split(store, load_dataset(store, work.dataset_id), "test").ids
    both = sum(identity in seen for identity in test)
    if both:
        raise ConfigurationError(
            f"train.warm_start: version {parent.version} was trained on {both} of the {len(test)} test rows, because "
            "data.split, or what says which row is which, changed since: gates would judge the new model on rows that "
            "it has seen; write "
            "train.warm_start: none"
        )


def initial_weights(run: Run) -> tuple[str | None, str | None]:
    """Key and digest of the weights that the pipeline file names. Raises ``ConfigurationError`` when not imported."""
    sha256 = run.spec.train.initial_weights
    if sha256 is None:
        return None, None
    key = initial_weights_key(sha256)
    if not run.adapters.store.exists(key):
        raise ConfigurationError(
            f"train.initial_weights: no weights {sha256[:12]} in {run.adapters.store.bucket}; "
            "`ratchet import-weights FILE.pth` puts them there and prints the digest"
        )
    return key, sha256


def training_parameters(run: Run, work: Work, parent_version: int | None) -> dict[str, str]:
    """What MLflow shows as the run's parameters."""
    flat: dict[str, str] = {}

    def flatten(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                flatten(f"{prefix}{name}.", inner)
        else:
            flat[prefix[:-1]] = str(value)

    flatten("", run.spec.train.model_dump(mode="json"))
    flat["snapshot"] = work.snapshot_id
    flat["dataset"] = work.dataset_id
    flat["workload"] = run.spec.workload.use
    flat["parent_version"] = str(parent_version) if parent_version is not None else "none"
    return flat
