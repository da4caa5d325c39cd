"""Conclude a study: what was found, where people look for it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mlratchet.models.metrics.rows import RowOutputs, load_rows
from mlratchet.models.tuning.optimism import corrected_best
from mlratchet.models.tuning.plots import study_plots
from mlratchet.models.tuning.study import COUNTED, TrialFacts, best_of, publish_finished
from mlratchet.models.tuning.summary import Summary
from mlratchet.tasks.showing.prefect_page import show_link, show_markdown
from mlratchet.tasks.step import step
from mlratchet.tasks.steps.search import Searched
from mlratchet.tasks.steps.study import Study
from mlratchet.tasks.wiring import Run

READERS = 8  # threads


@step("Conclude the study")
def conclude(run: Run, study: Study, searched: Searched) -> Summary:
    """Correct the best for having been chosen, draw the pictures, show the table."""
    best = best_of(searched.trials, higher_is_better=study.higher_is_better)
    summary = Summary(
        study=study.id,
        pipeline=run.spec.name,
        metric=study.metric,
        tune=study.tune,
        trials=searched.trials,
        importances=searched.importances,
        corrected=corrected_best(study.metric, outputs_of(run, searched.trials), seed=study.tune.seed),
        scoring_rows=study.rows.rows["validation"],
        stopped=searched.stopped,
        mlflow_url=searched.mlflow_url,
        assignments=study.assignments(best.values) if best is not None else (),
    )
    for trial in searched.trials:
        if trial.state in COUNTED:
            searched.tracking.settle(trial)
    finished = searched.stopped in ("trials", "exhausted")
    if finished:
        publish_finished(run.adapters.store, study.id, run.spec.name)
    searched.tracking.close(
        best=summary.best_so_far(), files=write_files(run.scratch / "study", summary), finished=finished
    )
    show_markdown("study", summary.markdown(), f"Study of {run.spec.name}")
    if searched.mlflow_url:
        show_link("mlflow-study", searched.mlflow_url, "The study in MLflow")
    return summary


def outputs_of(run: Run, trials: list[TrialFacts]) -> dict[int, RowOutputs]:
    """Per-row outputs of the complete trials."""
    keys = {trial.number: trial.rows_key for trial in trials if trial.state == "complete" and trial.rows_key}
    with ThreadPoolExecutor(READERS) as pool:
        rows = list(pool.map(lambda key: load_rows(run.adapters.store, key), keys.values()))
    return dict(zip(keys, rows, strict=True))


def write_files(folder: Path, summary: Summary) -> dict[str, Path]:
    """Pictures, table and facts as files: artifact path -> file."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = dict(study_plots(summary))
    contents["study.md"] = summary.markdown().encode()
    contents["study.json"] = json.dumps(summary.document(), indent=2).encode()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {f"study/{name}": folder / name for name in contents}
