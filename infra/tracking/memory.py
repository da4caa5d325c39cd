"""The tracker port over the storage port, for tests: a run is a dictionary, an artifact an object."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.ports.tracker import LoggedModel, RunningRun, TrackingRunGoneError


@dataclass
class _Run:
    experiment: str
    work_key: str
    flow_run: str
    tags: dict[str, str]
    status: str = "RUNNING"
    params: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, float, int]] = field(default_factory=list)
    datasets: list[tuple[str, str, str]] = field(default_factory=list)


class MemoryTracker:
    """Runs in this process, artifacts in a store."""

    def __init__(self, artifacts: ObjectStore) -> None:
        self._artifacts = artifacts
        self._runs: dict[str, _Run] = {}

    def open_run(self, experiment: str, *, work_key: str, flow_run: str, name: str, tags: Mapping[str, str]) -> str:
        """See the port."""
        for run_id, run in self._runs.items():
            if run.experiment == experiment and run.work_key == work_key:
                run.status, run.flow_run = "RUNNING", flow_run
                return run_id
        run_id = uuid.uuid4().hex
        self._runs[run_id] = _Run(
            experiment=experiment, work_key=work_key, flow_run=flow_run, tags={**tags, "name": name}
        )
        return run_id

    def running_runs(self) -> list[RunningRun]:
        """See the port."""
        return [
            RunningRun(run_id=run_id, work_key=run.work_key, flow_run=run.flow_run)
            for run_id, run in self._runs.items()
            if run.status == "RUNNING"
        ]

    def logged_steps(self, run_id: str, name: str) -> set[int]:
        """See the port."""
        return {step for metric, _, step in self._runs[run_id].metrics if metric == name}

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """See the port."""
        self._runs[run_id].params = {**params, **self._runs[run_id].params}

    def log_metrics(
        self, run_id: str, points: list[tuple[str, float, int]], *, times_s: list[float] | None = None
    ) -> None:
        """See the port."""
        for name, value, step in points:
            if not math.isfinite(value):
                raise ValueError(f"metric {name} is {value} at step {step}: only finite values are logged")
        if run_id not in self._runs:
            raise TrackingRunGoneError(f"no run {run_id}")
        held = self._runs[run_id].metrics
        held += [point for point in points if times_s is None or point not in held]

    def log_dataset(self, run_id: str, *, name: str, digest: str, source_uri: str) -> None:
        """See the port."""
        self._runs[run_id].datasets.append((name, digest, source_uri))

    def log_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        """See the port."""
        for place, file in files.items():
            self._artifacts.put(f"{run_id}/{place}", file.read_bytes())

    def log_model(self, run_id: str, *, model_dir: Path, name: str) -> LoggedModel:
        """See the port."""
        prefix = f"{run_id}/models/{name}-{uuid.uuid4().hex}"
        files = {p.relative_to(model_dir).as_posix(): p.read_bytes() for p in model_dir.rglob("*") if p.is_file()}
        for place, data in files.items():
            self._artifacts.put(f"{prefix}/{place}", data)
        return LoggedModel(
            model_id=None,
            source_uri=f"s3://{self._artifacts.bucket}/{prefix}",
            files={place: hashlib.sha256(data).hexdigest() for place, data in files.items()},
            sizes_bytes={place: len(data) for place, data in files.items()},
        )

    def end_run(self, run_id: str, *, status: str) -> None:
        """See the port."""
        self._runs[run_id].status = status

    def run_url(self, run_id: str, tab: str = "") -> str:
        """See the port."""
        return f"memory://tracker/runs/{run_id}" + (f"/{tab}" if tab else "")

    def version_url(self, name: str, version: int) -> str:
        """See the port."""
        return f"memory://tracker/models/{name}/{version}"

    def experiment_url(self, name: str) -> str | None:
        """See the port."""
        known = any(run.experiment == name for run in self._runs.values())
        return f"memory://tracker/experiments/{name}" if known else None
