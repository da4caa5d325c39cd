"""The tracker port: runs, metrics, artifacts and datasets, one tracking run per work key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from mlratchet.models.errors import InfrastructureError

NOTE = "mlflow.note.content"  # a tag that pages show as the run's description; Markdown, of whoever opened it last


class TrackingRunGoneError(InfrastructureError):
    """A person deleted the run, or the server never had it: no later try will find it."""

    code = "TRACKING"


@dataclass(frozen=True, kw_only=True)
class LoggedModel:
    """An artifact that has been uploaded, before it is a version."""

    model_id: str | None
    source_uri: str  # s3://bucket/prefix
    files: Mapping[str, str]  # path under the prefix -> SHA-256 hex
    sizes_bytes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class RunningRun:
    """A tracking run that has not been ended."""

    run_id: str
    work_key: str
    flow_run: str  # who opened it last


@runtime_checkable
class Tracker(Protocol):
    """One tracking run per work key, found again by it."""

    def open_run(self, experiment: str, *, work_key: str, flow_run: str, name: str, tags: Mapping[str, str]) -> str:
        """The run id of the work key, created or reopened, signed with the flow run that writes to it now."""
        ...

    def running_runs(self) -> list[RunningRun]:
        """Every run of ours that has not been ended."""
        ...

    def logged_steps(self, run_id: str, name: str) -> set[int]:
        """Steps at which a metric has a value already."""
        ...

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Idempotent for equal values."""
        ...

    def log_metrics(
        self, run_id: str, points: list[tuple[str, float, int]], *, times_s: list[float] | None = None
    ) -> None:
        """(name, finite value, step) triples, batched. Raises ``ValueError`` for a non-finite value, and
        ``TrackingRunGoneError``.

        `times_s`: when each was measured; a point sent again with the same time is kept once.
        """
        ...

    def log_dataset(self, run_id: str, *, name: str, digest: str, source_uri: str) -> None:
        """The snapshot that the run was trained on."""
        ...

    def log_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        """Artifact path -> local file."""
        ...

    def log_model(self, run_id: str, *, model_dir: Path, name: str) -> LoggedModel:
        """Upload a finished MLflow model directory as a logged model of the run."""
        ...

    def end_run(self, run_id: str, *, status: str) -> None:
        """`status` is FINISHED, FAILED or KILLED."""
        ...

    def run_url(self, run_id: str, tab: str = "") -> str:
        """Where a person looks at it; `tab` is `artifacts`, `artifacts/PATH` of one of them, or "" for the first."""
        ...

    def version_url(self, name: str, version: int) -> str:
        """Where a person looks at it."""
        ...

    def experiment_url(self, name: str) -> str | None:
        """Where a person looks at all runs of a pipeline; None before its first."""
        ...
