"""Show: metrics, pictures and decisions, where a person looks for them in MLflow."""

from __future__ import annotations

import logging

import numpy as np
from mlratchet.models.decisions.document import Decision
from mlratchet.models.decisions.page import decision_page
from mlratchet.models.errors import ConfigurationError, InfrastructureError
from mlratchet.models.evaluation.plots import evaluation_plots
from mlratchet.models.evaluation.seen import side_by_side
from mlratchet.models.evaluation.slice_plots import slice_plot
from mlratchet.models.evaluation.slices import slice_labels
from mlratchet.models.gates.judge import metrics_of
from mlratchet.models.gates.needs import Demands
from mlratchet.models.metrics import MetricValue
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_over
from mlratchet.tasks.steps.train import Trained
from mlratchet.tasks.support.attribute import Attributed
from mlratchet.tasks.support.score_versions import Rescored
from mlratchet.tasks.wiring import Run

logger = logging.getLogger(__name__)


def show_evaluation(
    run: Run,
    trained: Trained,
    candidate: RowOutputs,
    compared: Rescored,
    metrics: dict[str, MetricValue],
    demands: Demands,
    attributed: Attributed,
) -> None:
    """Test metrics, pictures and TensorBoard files of the run."""
    run_id = trained.tracking_run
    finite = [(f"test_{name}", metric.value, 0) for name, metric in metrics.items() if np.isfinite(metric.value)]
    run.adapters.tracker.log_metrics(run_id, finite)
    names, objective = run.workload.class_names(), run.workload.objective
    plots = evaluation_plots(candidate, objective, names, history=trained.result.history)
    plots |= slice_pictures(run, candidate, compared, demands)
    log_bytes(
        run,
        run_id,
        {f"plots/{name}": data for name, data in plots.items()}
        | {f"attributions/{name}": data for name, data in attributed.pictures.items()},
    )
    board = trained.tensorboard
    files = {f"tensorboard/{path.name}": path for path in board.rglob("*") if path.is_file()} if board.is_dir() else {}
    if trained.trace.is_file() and not trained.trace.is_symlink():  # a rank wrote it, which runs the user's code
        files["profile/trace.json"] = trained.trace
    run.adapters.tracker.log_files(run_id, files)


def log_bytes(run: Run, run_id: str, files: dict[str, bytes]) -> None:
    """Artifacts of a tracking run by path."""
    places = {}
    for name, data in files.items():
        places[name] = run.scratch / "shown" / name
        places[name].parent.mkdir(parents=True, exist_ok=True)
        places[name].write_bytes(data)
    run.adapters.tracker.log_files(run_id, places)


def slice_pictures(run: Run, candidate: RowOutputs, compared: Rescored, demands: Demands) -> dict[str, bytes]:
    """One per metric and way to slice of the policy; what cannot be sliced is the check's to refuse."""
    checks = (check for _, _, check in run.spec.gates.all_checks())
    candidate, champion, names = side_by_side(candidate, compared.champion, run.workload.class_names())
    metrics = metrics_of(checks, run.workload.objective.reference, run.workload.class_names())
    if names != run.workload.class_names():
        metrics |= metrics_over(run.workload.objective.reference, names)
    models = {"candidate": candidate} | ({"champion": champion} if champion is not None else {})
    pictures = {}
    for metric, columns, function in demands.slices:
        by = "+".join(columns) or str(function).split(":")[-1]
        try:
            labels = slice_labels(candidate, columns=columns, function=function)
            pictures[f"slices-{metric.split(':')[-1]}-{by}.png"] = slice_plot(
                metrics[metric], models, labels, f"by {by}"
            )
        except ConfigurationError as error:
            logger.warning("no picture of %s by %s: %s", metric, by, error)
        except Exception as error:  # noqa: BLE001 - the user's function: the check finds no evidence, the run goes on
            logger.warning("no picture of %s by %s: %s: %s", metric, by, type(error).__name__, error)
    return pictures


def show_decision_page(run: Run, decision: Decision, digest: str) -> None:
    """`decisions/<gate>.html` of the tracking run; that of the data gate waits until there is one.

    MLflow being away is not the reason that a gate fails: the decision is in the bucket.
    """
    run.pages[f"decisions/{decision['gate']}.html"] = decision_page(decision, digest).encode()
    if run.tracking_run is None:
        return
    try:
        log_bytes(run, run.tracking_run, run.pages)
        run.pages.clear()
    except InfrastructureError as error:
        logger.warning("the decision is not shown in MLflow yet: %s", error)
