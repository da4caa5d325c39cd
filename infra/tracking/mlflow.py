"""The tracker over MLflow's client. Artifacts go to S3 directly, never through the tracking server."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mlflow.entities import Dataset, DatasetInput, InputTag, LifecycleStage, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.infra.reasons import brief
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.ports.tracker import NOTE, LoggedModel, RunningRun, TrackingRunGoneError
from requests.exceptions import RequestException

logger = logging.getLogger(__name__)
T = TypeVar("T")
WORK_KEY = "ratchet.work_key"
FLOW_RUN = "ratchet.flow_run"
KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"  # without it the page of an experiment asks
VIEW = "workflowType=machine_learning"  # a browser without a choice of its own shows the GenAI view, whatever the kind
MOST_RUNNING = 1000  # looked at by one call
BATCH_METRICS = 1000  # MLflow's limit per request
LONGEST_PARAM = 6000  # characters
ABSENT, DELETED = "RESOURCE_DOES_NOT_EXIST", "Current state is deleted"  # of a run: an error code, and a reason
NOT_IN_A_NAME = re.compile(r"[^/\w.\- :]")


def metric_name(name: str) -> str:
    """A name that MLflow takes: the class `<=50K` is `-3c--3d-50K` there, so that two names stay two."""
    return NOT_IN_A_NAME.sub(lambda found: f"-{ord(found[0]):x}-", name)


class TrackingError(InfrastructureError):
    """MLflow failed."""

    code = "TRACKING"


class MlflowTracker:
    """One run per work key."""

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri.rstrip("/")
        self._client = MlflowClient(tracking_uri)

    def _call(self, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except (MlflowException, RequestException) as exc:
            if getattr(exc, "error_code", "") == ABSENT or DELETED in str(exc):
                raise TrackingRunGoneError(f"{what} at {self._uri}: {brief(exc)}; the next run opens another") from exc
            raise TrackingError(f"{what} at {self._uri}: {brief(exc)}; see `ratchet logs mlflow`") from exc

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == LifecycleStage.DELETED:  # by a person; its name is taken all the same
                self._client.restore_experiment(found.experiment_id)
                logger.warning("experiment %s was deleted in MLflow, and is restored: its pipeline runs again", name)
            if KIND not in found.tags:  # of before this tag was set
                self._client.set_experiment_tag(found.experiment_id, KIND, TRAINING)
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name, tags={KIND: TRAINING}))
        except MlflowException:
            again = self._client.get_experiment_by_name(name)  # someone else made it meanwhile
            if again is None:
                raise
            return str(again.experiment_id)

    def open_run(self, experiment: str, *, work_key: str, flow_run: str, name: str, tags: Mapping[str, str]) -> str:
        """See the port."""

        def open_() -> str:
            identity = self._experiment(experiment)
            found = self._client.search_runs(
                [identity],
                f"tags.`{WORK_KEY}` = '{work_key}'",
                max_results=1,
                order_by=["attributes.start_time ASC"],
            )
            if found:
                run_id = str(found[0].info.run_id)
                if found[0].info.status != "RUNNING":
                    self._client.update_run(run_id, status="RUNNING")
                for tag, value in {FLOW_RUN: flow_run, **{k: v for k, v in tags.items() if k == NOTE}}.items():
                    self._client.set_tag(run_id, tag, value)
                return run_id
            signed = {**tags, WORK_KEY: work_key, FLOW_RUN: flow_run}
            return str(self._client.create_run(identity, run_name=name, tags=signed).info.run_id)

        return self._call("open run", open_)

    def running_runs(self) -> list[RunningRun]:
        """See the port."""

        def search() -> list[RunningRun]:
            experiments = [str(e.experiment_id) for e in self._client.search_experiments()]
            found = self._client.search_runs(experiments, "attributes.status = 'RUNNING'", max_results=MOST_RUNNING)
            return [
                RunningRun(run_id=r.info.run_id, work_key=r.data.tags[WORK_KEY], flow_run=r.data.tags[FLOW_RUN])
                for r in found
                if WORK_KEY in r.data.tags and FLOW_RUN in r.data.tags
            ]

        return self._call("search running runs", search)

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """See the port. A parameter that has another value already is left as it was first logged."""

        def log() -> None:
            held = self._client.get_run(run_id).data.params
            new = [Param(k, v[:LONGEST_PARAM]) for k, v in params.items() if k not in held]
            if new:
                self._client.log_batch(run_id, params=new)

        self._call("log parameters", log)

    def logged_steps(self, run_id: str, name: str) -> set[int]:
        """Steps at which a metric has a value already."""
        return self._call("read metric", lambda: {int(m.step) for m in self._client.get_metric_history(run_id, name)})

    def log_metrics(
        self, run_id: str, points: list[tuple[str, float, int]], *, times_s: list[float] | None = None
    ) -> None:
        """See the port."""
        for name, value, step in points:
            if not math.isfinite(value):
                raise ValueError(f"metric {name} is {value} at step {step}: only finite values are logged")
        when = times_s if times_s is not None else [time.time()] * len(points)
        metrics = [
            Metric(metric_name(name), value, int(at_s * 1000), step)
            for (name, value, step), at_s in zip(points, when, strict=True)
        ]
        for at in range(0, len(metrics), BATCH_METRICS):
            batch = metrics[at : at + BATCH_METRICS]
            self._call("log metrics", partial(self._client.log_batch, run_id, metrics=batch))

    def log_dataset(self, run_id: str, *, name: str, digest: str, source_uri: str) -> None:
        """See the port."""
        dataset = Dataset(name, digest, "s3", json.dumps({"uri": source_uri}))
        tag = InputTag(MLFLOW_DATASET_CONTEXT, "training")
        self._call("log dataset", lambda: self._client.log_inputs(run_id, [DatasetInput(dataset, [tag])]))

    def log_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        """See the port."""
        with temporary_folder("artifacts") as scratch:
            for number, (place, file) in enumerate(files.items()):
                folder, _, name = place.rpartition("/")
                if file.name != name:  # MLflow keeps the name of the local file
                    renamed = Path(scratch) / str(number) / name
                    renamed.parent.mkdir()
                    renamed.symlink_to(file.resolve())
                    file = renamed
                self._call(f"upload {place}", partial(self._client.log_artifact, run_id, str(file), folder or None))

    def log_model(self, run_id: str, *, model_dir: Path, name: str) -> LoggedModel:
        """See the port."""

        def log() -> Any:
            experiment = self._client.get_run(run_id).info.experiment_id
            made = self._client.create_logged_model(experiment, name=name, source_run_id=run_id, model_type="pytorch")
            self._client.log_model_artifacts(made.model_id, str(model_dir))
            return self._client.finalize_logged_model(made.model_id, "READY")

        model = self._call("log model", log)
        files = {p.relative_to(model_dir).as_posix(): p for p in sorted(model_dir.rglob("*")) if p.is_file()}
        return LoggedModel(
            model_id=str(model.model_id),
            source_uri=str(model.artifact_location).rstrip("/"),
            files={place: hashlib.sha256(path.read_bytes()).hexdigest() for place, path in files.items()},
            sizes_bytes={place: path.stat().st_size for place, path in files.items()},
        )

    def end_run(self, run_id: str, *, status: str) -> None:
        """See the port. Idempotent."""

        def end() -> None:
            if self._client.get_run(run_id).info.status != status:
                self._client.set_terminated(run_id, status)

        self._call("end run", end)

    def run_url(self, run_id: str, tab: str = "") -> str:
        """See the port."""
        run = self._call("read run", lambda: self._client.get_run(run_id))
        place = f"experiments/{run.info.experiment_id}/runs/{run_id}"
        return self._page(f"{place}/{tab}" if tab else place)

    def version_url(self, name: str, version: int) -> str:
        """See the port."""
        return self._page(f"models/{name}/versions/{version}")

    def experiment_url(self, name: str) -> str | None:
        """See the port."""
        found = self._call("read experiment", lambda: self._client.get_experiment_by_name(name))
        return self._page(f"experiments/{found.experiment_id}/runs") if found is not None else None

    def _page(self, place: str) -> str:
        return f"{self._uri}/#/{place}?{VIEW}"
