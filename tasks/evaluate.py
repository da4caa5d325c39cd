"""Evaluate: candidate and champion scored now, on the same test rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlratchet.infra.exported import load_exported
from mlratchet.infra.fetch import fetch_artifact
from mlratchet.infra.measure import Measurement
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.shards import Split, load_split
from mlratchet.models.evaluation.metrics import MetricValue, compute_metrics
from mlratchet.models.evaluation.plots import evaluation_plots
from mlratchet.models.evaluation.rows import RowOutputs, load_rows, save_rows
from mlratchet.models.evaluation.score import score
from mlratchet.models.gates.evidence import Evidence
from mlratchet.tasks.recognise import Work
from mlratchet.tasks.step import step
from mlratchet.tasks.train import Trained
from mlratchet.tasks.wiring import Run
from safetensors.torch import load


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Per-row outputs and metrics on the test rows."""

    candidate: RowOutputs
    champion: RowOutputs | None
    metrics: dict[str, MetricValue]
    rows_key: str
    champion_rows_key: str | None
    sample_x: np.ndarray[Any, Any]  # rows for the staging gate
    sample_output: np.ndarray[Any, Any]  # eager outputs of the same rows

    def digests(self) -> dict[str, str]:
        """What the verdicts depend on."""
        return {"rows": self.rows_key, "champion_rows": self.champion_rows_key or "none"}

    def evidence(self, *, version: int | None = None, staged: Measurement | None = None) -> Evidence:
        """For a gate."""
        return Evidence(
            version=version,
            candidate=self.candidate,
            champion=self.champion,
            latency_ms=staged.latency_ms if staged else {},
            latency_n=staged.latency_n if staged else 0,
            size_bytes=staged.size_bytes if staged else None,
            parity_max_difference=staged.parity_max_difference if staged else None,
            parity_n=staged.parity_n if staged else 0,
        )


@step("Evaluate on the test rows")
def evaluate(run: Run, work: Work, dataset: DatasetManifest, trained: Trained) -> Evaluation:
    """Score both models on the same rows, in one pass each."""
    store = run.adapters.store
    rows = load_split(store, dataset, "test")
    candidate = candidate_rows(run, trained, rows)
    champion = None
    if work.incumbent is not None and work.incumbent.work_key != work.key:
        directory = run.scratch / "champion"
        fetch_artifact(run.adapters.bucket, work.incumbent, directory)
        champion = score(load_exported(directory), rows)
    metrics = compute_metrics(candidate, run.workload.task, run.workload.class_names())
    log_evaluation(run, trained, candidate, metrics)
    return Evaluation(
        candidate=candidate,
        champion=champion,
        metrics=metrics,
        rows_key=save_rows(store, candidate),
        champion_rows_key=save_rows(store, champion) if champion is not None else None,
        sample_x=rows.x[:256],
        sample_output=candidate.output[:256],
    )


def candidate_rows(run: Run, trained: Trained, rows: Split) -> RowOutputs:
    """The test rows as the ranks scored them, each once; scored here when the ranks did not."""
    if trained.result.rows_key is not None:
        return load_rows(run.adapters.store, trained.result.rows_key)
    return score(load_candidate(run, trained.result.weights_key, trained.result.weights_sha256), rows)


def load_candidate(run: Run, weights_key: str, weights_sha256: str) -> torch.nn.Module:
    """The trained module in eval mode. Raises ``DigestMismatch`` for changed weights."""
    module = run.workload.build_model()
    module.load_state_dict(load(run.adapters.store.get(weights_key, sha256=weights_sha256)))
    return module.eval()


def log_evaluation(run: Run, trained: Trained, candidate: RowOutputs, metrics: dict[str, MetricValue]) -> None:
    """Test metrics, pictures and TensorBoard files, where a person looks for them in MLflow."""
    tracker, run_id = run.adapters.tracker, trained.tracking_run
    finite = [(f"test_{name}", metric.value, 0) for name, metric in metrics.items() if np.isfinite(metric.value)]
    tracker.log_metrics(run_id, finite)
    files: dict[str, Path] = {}
    plots = evaluation_plots(candidate, run.workload.task, run.workload.class_names(), history=trained.result.history)
    for name, png in plots.items():
        files[f"plots/{name}"] = run.scratch / name
        files[f"plots/{name}"].write_bytes(png)
    board = trained.tensorboard
    if board.is_dir():
        files.update({f"tensorboard/{path.name}": path for path in board.rglob("*") if path.is_file()})
    if trained.trace.is_file():
        files["profile/trace.json"] = trained.trace
    tracker.log_files(run_id, files)
