"""A study stops anywhere and goes on as if it had not; equal trainings are done once; the best is said honestly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.launch import local
from mlratchet.infra.search.slots import free_slots
from mlratchet.models.errors import ConfigurationError, InfrastructureError
from mlratchet.models.fault_points import InjectedFault, arm
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.training.job import TrainingError, TrainJob
from mlratchet.models.tuning.optimism import Corrected, corrected_best
from mlratchet.models.tuning.plots import study_plots
from mlratchet.models.tuning.space import require_tune
from mlratchet.models.tuning.study import TrialFacts, best_of
from mlratchet.models.tuning.summary import Summary
from mlratchet.tasks.steps.conclude import outputs_of

from .conftest import Tuner, told

Fresh = Callable[[], Tuner]


def test_trial_0_is_the_file_and_the_best_is_no_worse(tuner: Tuner) -> None:
    stop, trials = tuner.run()
    assert stop == "trials"
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    assert trials[0].values == {"train.optimizer.learning_rate": 0.01, "workload.parameters.hidden": 4}
    best = best_of(trials, higher_is_better=False)
    assert best is not None
    assert best.value == min(float(trial.value or 0) for trial in trials)
    assert all(len(trial.curve) == 4 and trial.weights_sha256 for trial in trials)


@pytest.mark.parametrize("point", ["search.asked", "search.told", "journal.before_entry", "work_dies"])
def test_a_study_that_is_killed_and_goes_on_is_the_undisturbed_one(tuner: Tuner, another: Fresh, point: str) -> None:
    _, undisturbed = another().run()
    tuner.run(trials=2)

    def die(job: TrainJob) -> None:
        tuner.launcher.fail = lambda job: None
        raise InjectedFault("the machine")

    if point == "work_dies":
        tuner.launcher.fail = die
    else:
        arm(point, "raise")
    with pytest.raises(InjectedFault):
        tuner.run(trials=4)
    stop, trials = tuner.run()
    assert stop == "trials"
    assert told(trials) == told(undisturbed)


def test_ctrl_c_keeps_the_study(tuner: Tuner, another: Fresh) -> None:
    _, undisturbed = another().run(trials=3)

    def press(trials: list[TrialFacts], ended: TrialFacts | None) -> None:
        if ended is not None and ended.number == 1:
            raise KeyboardInterrupt

    tuner.tell = press
    stop, trials = tuner.run(trials=3)
    assert stop == "interrupted"
    assert len(trials) == 2
    tuner.tell = lambda trials, ended: None
    assert told(tuner.run(trials=3)[1]) == told(undisturbed)


def test_more_trials_extend_a_study_and_train_nothing_again(tuner: Tuner) -> None:
    _, before = tuner.run(trials=3)
    trained = len(tuner.launcher.jobs)
    stop, same = tuner.run(trials=3)
    assert (stop, same) == ("trials", before)
    assert len(tuner.launcher.jobs) == trained == 3
    _, more = tuner.run(trials=5)
    assert more[:3] == before
    assert len(tuner.launcher.jobs) == 5


def test_equal_configurations_are_trained_once_and_an_empty_space_ends_the_study(tuner: Tuner) -> None:
    space = {"workload.parameters.hidden": require_tune(tuner.spec).space["workload.parameters.hidden"]}
    stop, trials = tuner.run(space=space, trials=10, sampler="random")
    assert stop == "exhausted"
    complete = [trial for trial in trials if trial.state == "complete"]
    assert sorted(str(trial.values["workload.parameters.hidden"]) for trial in complete) == ["2", "4", "[8, 4]"]
    assert len(tuner.launcher.jobs) == 3
    assert {trial.state for trial in trials} == {"complete", "duplicate"}


def test_a_grid_visits_every_point_once(tuner: Tuner) -> None:
    space = {"workload.parameters.hidden": require_tune(tuner.spec).space["workload.parameters.hidden"]}
    stop, trials = tuner.run(space=space, trials=10, sampler="grid")
    assert stop == "exhausted"
    assert sum(trial.state == "complete" for trial in trials) == 3
    assert len(trials) == 4  # the baseline, and the grid that holds it once more


def test_what_an_earlier_study_trained_is_reused(tuner: Tuner) -> None:
    tuner.run(trials=3)
    trained = len(tuner.launcher.jobs)
    for info in list(tuner.store.list("studies/")):
        tuner.store.delete(info.key)  # another study: the trainings are still there
    tuner.epoch = 0
    _, trials = tuner.run(trials=3)
    assert len(tuner.launcher.jobs) == trained
    assert all(trial.reused and trial.value is not None and len(trial.curve) == 4 for trial in trials)


def test_a_trial_that_falls_behind_is_pruned_at_the_same_epoch_each_time(tuner: Tuner, another: Fresh) -> None:
    from mlratchet.models.pipeline.tune import MedianPruning

    median = MedianPruning(kind="median", startup_trials=1, warmup_epochs=0)
    _, trials = tuner.run(trials=8, pruning=median)
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned
    assert all(0 < len(trial.curve) < 4 and trial.value is None for trial in pruned)
    assert trials[0].state == "complete"  # the file's own values are what all is compared with
    _, again = another().run(trials=8, pruning=median)
    assert told(again) == told(trials)


def test_a_configuration_that_cannot_be_trained_ends_no_study(tuner: Tuner) -> None:
    def diverge(job: TrainJob) -> None:
        if job.workload.parameters["hidden"] == 2:
            raise TrainingError("loss is nan at step 3")

    tuner.launcher.fail = diverge
    space = {"workload.parameters.hidden": require_tune(tuner.spec).space["workload.parameters.hidden"]}
    _, trials = tuner.run(space=space, sampler="grid")
    bad = next(trial for trial in trials if trial.values["workload.parameters.hidden"] == 2)
    assert (bad.state, bad.reason) == ("infeasible", "loss is nan at step 3")
    assert sum(trial.state == "complete" for trial in trials) == 2


def test_a_machine_that_fails_every_trial_ends_the_study_and_keeps_it(tuner: Tuner) -> None:
    def break_down(job: TrainJob) -> None:
        raise InfrastructureError("the ranks ended with code 137")

    tuner.launcher.fail = break_down
    with pytest.raises(InfrastructureError, match=r"3 trials in a row failed.*137.*goes on with the same command"):
        tuner.run()
    assert len(tuner.launcher.jobs) == 9  # three attempts at each
    tuner.launcher.fail = lambda job: None
    stop, trials = tuner.run(trials=5)
    assert stop == "trials"
    assert [trial.state for trial in trials] == ["failed"] * 3 + ["complete"] * 2


def test_no_time_left_ends_what_trains_and_keeps_it_for_later(tuner: Tuner) -> None:
    stop, trials = tuner.run(timeout_seconds=1e-9)
    assert stop == "timeout"
    assert [trial.state for trial in trials] in ([], ["running"])
    stop, trials = tuner.run()
    assert (stop, len(trials)) == ("trials", 5)


def test_trials_side_by_side_are_each_done_once(tuner: Tuner) -> None:
    _, trials = tuner.run(parallel=3, trials=6)
    assert [trial.state for trial in trials] == ["complete"] * 6
    assert len({job.work_key for job in tuner.launcher.jobs}) == len(tuner.launcher.jobs) == 6


def test_mlflow_shows_every_trial_below_the_study(tuner: Tuner) -> None:
    tuner.run(trials=2)
    runs = tuner.tracker._runs
    parent = tuner.tracking.parent
    assert parent is not None
    children = {identity: run for identity, run in runs.items() if run.tags.get("mlflow.parentRunId") == parent}
    assert len(children) == 2
    assert all(run.status == "FINISHED" and run.params["trial.state"] == "complete" for run in children.values())
    for run in children.values():
        steps = [step for name, _, step in run.metrics if name == "validation_log_loss"]
        assert sorted(steps) == [1, 2, 3, 4]


def test_a_run_that_a_kill_left_open_is_ended_by_the_next_process(tuner: Tuner) -> None:
    _, trials = tuner.run(trials=2)
    children = [run for run in tuner.tracker._runs.values() if "mlflow.parentRunId" in run.tags]
    children[0].status = "RUNNING"  # killed between the trial's end in the journal and that of its run
    _, again = tuner.run(trials=2)
    assert again == trials  # nothing was left to do
    for trial in again:
        tuner.tracking.settle(trial)
    assert [run.status for run in children] == ["FINISHED", "FINISHED"]


def summary_of(tuner: Tuner, trials: list[TrialFacts]) -> Summary:
    run: Any = type("Run", (), {"adapters": type("A", (), {"store": tuner.store})})
    metric = metrics_for("classification", ("0", "1"))["log_loss"]
    best = best_of(trials, higher_is_better=False)
    return Summary(
        study="a" * 64, pipeline="three", metric=metric, tune=require_tune(tuner.spec), trials=trials,
        importances=tuner.search.importances(), corrected=corrected_best(metric, outputs_of(run, trials), seed=0),
        scoring_rows=tuner.rows.rows["validation"], stopped="trials", mlflow_url=None,
        assignments=tuple(f"{key}={value}" for key, value in best.values.items()) if best else (),
    )  # fmt: skip


def test_the_report_says_the_improvement_and_what_it_is_worth(tuner: Tuner) -> None:
    _, trials = tuner.run(trials=8)
    summary = summary_of(tuner, trials)
    assert summary.best is not None
    assert summary.improvement == pytest.approx(float(trials[0].value or 0) - float(summary.best.value or 0))
    assert summary.found_better
    assert sum(summary.importances.values()) == pytest.approx(1.0)
    words = "\n".join(summary.lines())
    assert "is optimistic: its score was what chose it" in words
    assert "The gates judge on other rows." in words
    assert (
        f"ratchet run three --set train.optimizer.learning_rate={summary.best.values['train.optimizer.learning_rate']}"
        in words
    )
    assert summary.markdown().count("\n| ") >= 9
    pictures = study_plots(summary)
    assert set(pictures) == {
        "history.png", "learning_curves.png", "slices.png", "parallel_coordinates.png", "importance.png",
    }  # fmt: skip
    assert all(data.startswith(b"\x89PNG") and len(data) > 5000 for data in pictures.values())


def test_an_improvement_that_may_be_luck_is_said_to_be(tuner: Tuner) -> None:
    trials = [TrialFacts(number=n, state="complete", values={}, value=value) for n, value in enumerate((0.5, 0.4))]
    summary = summary_of(tuner_without_rows(tuner), trials)
    for value, low, high, words in (
        (0.55, 0.3, 0.7, "That is not better than the file's 0.5000"),
        (0.45, 0.3, 0.7, "cannot tell the two apart"),
        (0.41, 0.3, 0.45, "bootstrap resamples). The gates judge on other rows."),
    ):
        corrected = Corrected(value=value, low=low, high=high, confidence=0.95, resamples=200)
        assert words in replace(summary, corrected=corrected).caveat()


def test_a_tie_keeps_the_file(tuner: Tuner) -> None:
    trials = [TrialFacts(number=n, state="complete", values={}, value=0.5) for n in range(3)]
    best = best_of(trials, higher_is_better=True)
    assert best is not None
    assert best.number == 0
    summary = summary_of(tuner_without_rows(tuner), trials)
    assert not summary.found_better
    assert "the file's values stand" in "\n".join(summary.lines())


def tuner_without_rows(tuner: Tuner) -> Tuner:
    tuner.search = type("Search", (), {"importances": staticmethod(dict)})()  # type: ignore[assignment]
    return tuner


def test_the_best_of_many_equal_models_is_corrected_to_what_they_are_worth() -> None:
    """30 models that are each right on 80 % of 200 rows, independently: the best of them looks like 85 %."""
    rng = np.random.default_rng(3)
    metric = metrics_for("classification", ("0", "1"))["accuracy"]
    y = rng.integers(0, 2, 200)
    trials = {}
    for number in range(30):
        right = rng.random(200) < 0.8
        output = np.zeros((200, 2), np.float32)
        output[np.arange(200), np.where(right, y, 1 - y)] = 1.0
        trials[number] = RowOutputs(ids=[str(i) for i in range(200)], y=y, output=output)
    apparent = max(metric.estimate(rows).value for rows in trials.values())
    corrected = corrected_best(metric, trials, seed=0)
    assert corrected is not None
    assert apparent > 0.83
    assert abs(corrected.value - 0.8) < 0.6 * (apparent - 0.8)  # most of the luck is taken off
    assert corrected.low < corrected.value < corrected.high
    assert corrected_best(metric, {0: trials[0]}, seed=0) is None


def test_slots_fill_the_cores_and_refuse_more(spec: PipelineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    tune = require_tune(spec)
    monkeypatch.setattr(local.os, "sched_getaffinity", lambda _pid: set(range(4)))
    four = free_slots(tune.model_copy(update={"parallel": "auto"}), spec.train)
    assert (four.count, four.processes) == (4, 1)  # exact: one process gives the same bits as more
    alone = free_slots(tune.model_copy(update={"parallel": 1}), spec.train.model_copy(update={"shards": 4}))
    assert (alone.count, alone.processes) == (1, 4)
    fast = spec.train.model_copy(update={"mode": "fast", "processes": 2})
    assert free_slots(tune.model_copy(update={"parallel": "auto"}), fast).count == 2
    with pytest.raises(ConfigurationError, match="room for 4 trials"):
        free_slots(tune.model_copy(update={"parallel": 5}), spec.train)


def test_every_slot_sees_gpus_of_its_own(spec: PipelineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    fast = spec.train.model_copy(update={"mode": "fast", "processes": 2})
    slots = free_slots(require_tune(spec).model_copy(update={"parallel": "auto"}), fast)
    assert [e["CUDA_VISIBLE_DEVICES"] for e in slots.environments] == ["0,1", "2,3"]
