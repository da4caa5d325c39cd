"""Train: claim the work, start ranks, forward what they report."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from mlratchet.infra.launch.local import resolve_processes
from mlratchet.models.artifact.weights import initial_weights_key
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.claim import take_claim
from mlratchet.models.registration.record import Registration, find_registration
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.result import TrainResult, find_result
from mlratchet.tasks.progress import Progress, show_link
from mlratchet.tasks.recognise import Work
from mlratchet.tasks.step import step
from mlratchet.tasks.wiring import Run


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The weights of a work key and where their history is."""

    result: TrainResult
    tracking_run: str
    parent_version: int | None
    tensorboard: Path  # event files, if this run trained


@step("Train", run_name="Train {run.spec.name}")
def train(run: Run, work: Work) -> Trained:
    """Take the next epoch of the work key and train, or resume, to the end."""
    spec, adapters = run.spec, run.adapters
    wants_parent = spec.train.warm_start == "champion" and work.champion is not None
    claim = take_claim(
        adapters.store,
        work.key,
        parent_version=work.champion.version if wants_parent and work.champion else None,
        owner=f"{run.actor}/{run.run_id}",
        now_s=time.time(),
    )
    tracking_run = adapters.tracker.open_run(
        spec.name,
        work_key=work.key,
        flow_run=run.run_id,
        name=f"{spec.name}-{work.key[:8]}",
        tags={"ratchet.pipeline": spec.name},
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
    scratch = run.scratch / f"train-{claim.epoch}"
    job = TrainJob(
        work_key=work.key,
        epoch=claim.epoch,
        dataset_id=work.dataset_id,
        workload=spec.workload,
        train=spec.train,
        processes=resolve_processes(spec.train),
        scratch=str(scratch),
        parent_weights_key=parent_key,
        parent_weights_sha256=parent_sha256,
    )
    result = find_result(adapters.store, work.key)
    if result is None:
        forward = Forwarder(run, tracking_run, epochs=spec.train.epochs)
        result = adapters.launcher.train(job, on_event=forward)
    return Trained(
        result=result,
        tracking_run=tracking_run,
        parent_version=claim.parent_version,
        tensorboard=scratch / "tensorboard",
    )


def parent_record(run: Run, version: int | None) -> Registration | None:
    """The record of a version. The parent may have stopped being champion meanwhile."""
    if version is None:
        return None
    parent = run.adapters.registry.get_version(run.spec.name, version)
    return find_registration(run.adapters.store, parent.tags["ratchet.work_key"])


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


class Forwarder:
    """Turns the events of the ranks into MLflow metrics and a progress artifact."""

    def __init__(self, run: Run, tracking_run: str, *, epochs: int) -> None:
        self._tracker = run.adapters.tracker
        self._tracking_run = tracking_run
        self._epochs = epochs
        self._logged = self._tracker.logged_steps(tracking_run, "train_loss")
        self._progress = Progress("training-progress", f"Training {run.spec.name}")
        self._progress.report(0, epochs)

    def __call__(self, event: dict[str, Any]) -> None:
        """An epoch event: forward its numbers under MLflow's step = epoch."""
        if event.get("event") != "epoch":
            return
        epoch = int(event["epoch"])
        points = [
            (name, float(value), epoch)
            for name, value in event.items()
            if name not in ("event", "epoch") and isinstance(value, int | float) and math.isfinite(value)
        ]
        points.append(("system/cpu_utilization_percentage", psutil.cpu_percent(), epoch))
        points.append(("system/system_memory_usage_megabytes", psutil.virtual_memory().used / 1e6, epoch))
        if epoch not in self._logged:  # a resume replays the history
            self._tracker.log_metrics(self._tracking_run, points)
        self._progress.report(epoch, self._epochs)
