"""Train: claim the work, start ranks, forward what they report."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlratchet.infra.launch.rehearsal import rehearse_before_training
from mlratchet.infra.machine.hardware import check_hardware
from mlratchet.infra.machine.scratch import is_gone
from mlratchet.models.artifact.weights import initial_weights_key
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.prepared_shards import with_fitted
from mlratchet.models.data.shards import first_rows
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.claim import take_claim
from mlratchet.models.identity.lease import wait_until_free
from mlratchet.models.moments import utc
from mlratchet.models.ports.storage import DigestMismatch, ObjectNotFound
from mlratchet.models.ports.tracker import NOTE
from mlratchet.models.sources.log_rows import logged_weight
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.result import TrainResult, find_result, results_of
from mlratchet.tasks.showing.prefect_page import run_url, show_link, show_table
from mlratchet.tasks.showing.training_events import Forwarder
from mlratchet.tasks.step import step
from mlratchet.tasks.support.because import because, because_tags
from mlratchet.tasks.support.beginning import FRESH, as_claimed, beginning_of
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run

logger = logging.getLogger(__name__)
KINDS = ("reshaped", "new", "left", "taken")  # of a tensor in a warm start: what asks for a look comes first
READING = "ratchet.reading"  # a tag of the run in MLflow
ROWS_OF_A_REHEARSAL = 64
MOST_ROWS = 500  # of a table in Prefect


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The weights of a work key and where their history is."""

    result: TrainResult
    tracking_run: str
    parent_version: int | None
    parent_registration: str | None = None  # digest of the parent's record
    began_fresh: str = ""  # why not from the champion, although the file asks for it
    tensorboard: Path  # event files, if this run trained
    trace: Path  # of the profiler, if it was switched on


@step("Train", run_name="Train {run.spec.name}")
def train(run: Run, work: Work) -> Trained:
    """Take the next epoch of the work key and train, or resume, to the end."""
    spec, adapters = run.spec, run.adapters
    wait_until_free(adapters.store, work.key, run=run.run_id, is_gone=is_gone)
    if find_result(adapters.store, work.key) is None:
        rehearse_on_first_rows(run, work)
    beginning = beginning_of(run, work)
    claim = take_claim(
        adapters.store,
        work.key,
        parent_version=beginning.version,
        began_fresh=beginning.began_fresh,
        owner=f"{run.actor}/{run.run_id}",
        now_s=time.time(),
        run=run.run_id,
        refers=(work.snapshot_id, work.dataset_id),
    )
    run.claim = claim
    if (claim.parent_version, claim.began_fresh) != (beginning.version, beginning.began_fresh):
        beginning = as_claimed(run, work, claim)  # another attempt was first
    parent = beginning.parent
    tracking_run = open_tracking(run, work, claim.parent_version)
    parent_key, parent_sha256 = (parent.weights_key, parent.weights_sha256) if parent else initial_weights(run)
    scratch = run.scratch / f"train-{claim.epoch}"  # the ranks write here, and
    board = run.scratch / f"tensorboard-{claim.epoch}"  # not here
    job = TrainJob(
        work_key=work.key,
        epoch=claim.epoch,
        dataset_id=work.dataset_id,
        workload=with_fitted(run.spec.workload, run.fitted),
        train=spec.train,
        logged_weight=logged_weight(spec.source.inference_log),
        processes=adapters.launcher.processes(spec.train),
        scratch=str(scratch),
        parent_weights_key=parent_key,
        parent_weights_sha256=parent_sha256,
        parent_classes=beginning.classes,
        parent_columns=beginning.columns,
        parent_example=beginning.example,
        code=run.training_code if spec.train.nodes > 1 else {},
        fresh_if_nothing_fits=parent is not None and spec.train.warm_start == "champion",
    )
    result = whole_result(run, work)
    if result is None:
        check_hardware(adapters.settings.home, adapters.store)
        with Forwarder(run, tracking_run, board, epochs=spec.train.epochs) as forward:
            result = adapters.launcher.train(job, on_event=forward)
    show_warm_start(run, tracking_run, result)
    began_fresh = beginning.began_fresh
    if result.began_fresh:
        began_fresh, parent = f"{FRESH}version {claim.parent_version}: {result.began_fresh}", None
    if began_fresh:
        logger.warning("%s", began_fresh)
    return Trained(
        result=result,
        tracking_run=tracking_run,
        parent_version=parent.version if parent is not None else None,
        parent_registration=parent.digest() if parent is not None else None,
        began_fresh=began_fresh,
        tensorboard=board,
        trace=scratch / "trace.json",
    )


def whole_result(run: Run, work: Work) -> TrainResult | None:
    """What an attempt before trained: of work that has a version the one whose weights it holds. Weights that were
    changed or are gone are trained again, as long as no version holds them: else this training would end so for
    ever."""
    store, found = run.adapters.store, list(results_of(run.adapters.store, work.key))
    if work.done is not None:
        ours = [one for one in found if one.weights_key == work.done.weights_key]
        return next(iter([*ours, *found]), None)
    for result in found:
        try:
            store.get(result.weights_key, sha256=result.weights_sha256)
        except (DigestMismatch, ObjectNotFound) as error:
            logger.warning("%s; what another attempt trained is taken, or it is trained again", error)
        else:
            return result
    return None


def open_tracking(run: Run, work: Work, parent_version: int | None) -> str:
    """The run in MLflow, with its parameters and its dataset; returns its id."""
    spec, tracker = run.spec, run.adapters.tracker
    tracking_run = tracker.open_run(
        spec.name,
        work_key=work.key,
        flow_run=run.run_id,
        name=f"{spec.name} {utc(time.time())[:16].replace('T', ' ')}",
        tags={
            "ratchet.pipeline": spec.name,
            NOTE: described(run),
            **({READING: run.reading} if run.reading else {}),
            **because_tags(run),
        },
    )
    run.tracking_run = tracking_run
    show_link("mlflow-run", tracker.run_url(tracking_run), "The run in MLflow")
    tracker.log_params(tracking_run, training_parameters(run, work, parent_version))
    tracker.log_dataset(
        tracking_run,
        name=f"{spec.name} {work.snapshot_id[:12]}",
        digest=work.snapshot_id[:36],
        source_uri=f"s3://{run.raw.bucket}/{spec.source.prefix}",
    )
    return tracking_run


def described(run: Run) -> str:
    """What MLflow shows above a run: where it is in Prefect, and what was read of the delivery."""
    link = f"[The run in Prefect]({run_url(run.adapters.settings, run.run_id)})"
    return "\n\n".join(filter(None, (link, *because(run), run.reading)))


def rehearse_on_first_rows(run: Run, work: Work) -> None:
    """A training in small, a resume and an export, on a few of the training rows, in a process of its own.

    Raises ``ConfigurationError`` for a mistake in the workload, with its line: before a claim, and before ranks start.
    """
    store, train = run.adapters.store, run.spec.train
    rehearse_before_training(
        with_fitted(run.spec.workload, run.fitted),
        train,
        world=run.adapters.launcher.processes(train) * train.nodes,
        rows=first_rows(store, load_dataset(store, work.dataset_id), "train", ROWS_OF_A_REHEARSAL),
        home=run.adapters.settings.home,
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
    if (weight := logged_weight(run.spec.source.inference_log)) != 1:
        flat["source.inference_log.weight"] = f"{weight:g}"
    flat["snapshot"] = work.snapshot_id
    flat["dataset"] = work.dataset_id
    flat["workload"] = run.spec.workload.use
    flat["parent_version"] = str(parent_version) if parent_version is not None else "none"
    return flat
