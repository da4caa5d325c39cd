"""A study as a user runs it: killed in the middle, gone on with, and its best sent through the gates."""

from __future__ import annotations

from typing import Any

import mlflow
import optuna
import pytest
from mlratchet.infra.machine.processes import WORK_MARK, marked_processes
from mlratchet.infra.search.journal import BucketJournal

from tests.conftest import wait_for

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(1500)]
SPACE = """
tune:
  metric: accuracy
  trials: 4
  parallel: 2
  startup_trials: 2
  space:
    train.optimizer.learning_rate: {kind: float, low: 0.00001, high: 0.3, log: true}
    train.optimizer.momentum: {kind: float, low: 0.0, high: 0.9, step: 0.1}
"""


def ended(store: Any) -> int:
    """Trials of the one study whose end is in the bucket."""
    studies = {info.key.split("/")[1] for info in store.list("studies/") if "/journal/" in info.key}
    total = 0
    for study in studies:
        try:
            storage = optuna.storages.JournalStorage(BucketJournal(store, study))
            loaded = optuna.load_study(study_name="study", storage=storage)
        except KeyError:
            continue  # its first entry is not there yet
        total += sum(trial.state.is_finished() for trial in loaded.get_trials())
    return total


def test_a_killed_study_goes_on_and_its_best_passes_the_gates(stack: Any) -> None:
    name = stack.pipeline(
        "tuned", "epochs: 20 -> epochs: 6", "processes: 2 -> processes: 1",
        "learning_rate: 0.1 -> learning_rate: 0.00001",
    )  # fmt: skip
    file = stack.pipelines / f"{name}.yaml"
    file.write_text(file.read_text() + SPACE)
    stack("upload", name, "rows.csv")
    store = stack.adapters.store

    # it stops as soon as one trial is told, so that it is killed in the middle however late this process is
    first = stack.start("tune", name, RATCHET_FAULT="search.told:stop")
    wait_for("the first trial's end", lambda: ended(store) >= 1 or first.poll() is not None)
    assert first.poll() is None, first.communicate()
    first.kill()
    first.communicate()
    claims = [info.key for info in store.list("work/") if "/claim-" in info.key]
    keys = {key.split("/")[1] for key in claims}
    wait_for("no process of a trial", lambda: not any(marked_processes(WORK_MARK, key) for key in keys))
    before = ended(store)
    assert before == 1

    report = stack.json("tune", name)

    assert [trial["number"] for trial in report["trials"]] == [0, 1, 2, 3]
    assert report["counts"].get("complete", 0) >= 2
    assert sum(report["counts"].values()) == ended(store) == 4
    assert report["trials"][0]["values"]["train.optimizer.learning_rate"] == 0.00001
    assert report["outcome"] == "improved"
    assert report["improvement"] > 0.05
    assert not any(marked_processes(WORK_MARK, key) for key in keys)
    # every trial is a run below the study's, with its epochs and pictures
    client = mlflow.MlflowClient(stack.settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name(f"{name}-tuning")
    runs = client.search_runs([experiment.experiment_id])
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in children) == [f"trial {n:03d}" for n in range(4)]
    statuses = {run.info.run_name: run.info.status for run in [parent, *children]}
    assert set(statuses.values()) <= {"FINISHED", "KILLED"}, statuses
    assert all(client.get_metric_history(run.info.run_id, "validation_accuracy") for run in children)
    shown = {artifact.path for artifact in client.list_artifacts(parent.info.run_id, "study")}
    assert {"study/history.png", "study/slices.png", "study/parallel_coordinates.png", "study/study.md"} <= shown

    again = stack.json("tune", name, "--apply")  # no trial is left to do
    assert again["trials"] == report["trials"]
    # the best went through the gates as the settings of a retrain
    applied = again["applied"]
    assert [gate["verdict"] for gate in applied["gates"]] == ["pass"] * len(applied["gates"]) != []
    head = stack.adapters.ledger.head(name)
    assert head is not None
    assert head.version == applied["version"]
