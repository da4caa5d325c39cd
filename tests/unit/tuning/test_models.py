"""A study that chooses among models, each with a space of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.changes import Changes, changed_pipeline
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.tuning.plots import study_plots
from mlratchet.models.tuning.space import baseline, check_tune, objective, require_tune
from mlratchet.models.tuning.study import TrialFacts
from mlratchet.models.tuning.summary import Summary
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.steps.search import Stop

from .conftest import TEXT, Tuner

OPTIMIZERS = """train.optimizer.name:
      kind: models
      choices:
        sgd: {train.optimizer.momentum: {kind: float, low: 0.0, high: 0.9, step: 0.3}}
        adamw:
          train.optimizer.weight_decay: {kind: float, low: 0.0, high: 0.1}
          train.optimizer.momentum: {kind: float, low: 0.0, high: 0.0001}
"""
HIDDEN = "workload.parameters.hidden: {kind: categorical, choices: [2, 4, [8, 4]]}"
MODELS = """workload.parameters.hidden:
      kind: models
      choices:
        a: {}
        b: {}
"""
OF_SGD, OF_ADAMW = {"train.optimizer.momentum"}, {"train.optimizer.momentum", "train.optimizer.weight_decay"}


@pytest.fixture
def spec() -> PipelineSpec:
    """Which optimizer, and what each of them has of its own."""
    text = TEXT.replace(HIDDEN, OPTIMIZERS).replace("optimizer: {name: sgd,", "optimizer: {name: sgd, momentum: 0.3,")
    return parse_pipeline(text.replace("trials: 5", "trials: 7"), where="three.yaml")


def notes(text: str) -> list[str]:
    spec = parse_pipeline(text, where="three.yaml")
    return check_tune(spec, load_workload(spec.workload.use, dict(spec.workload.parameters)))


@pytest.mark.slow
def test_a_trial_varies_what_its_own_model_has_and_trial_0_is_the_file(tuner: Tuner, spec: PipelineSpec) -> None:
    assert check_tune(spec, tuner.workload) == []
    stopped, trials = tuner.run()
    assert stopped == "trials"
    own = {"sgd": OF_SGD, "adamw": OF_ADAMW}
    shared = {"train.optimizer.learning_rate", "train.optimizer.name"}
    for trial in trials:
        assert set(trial.values) == shared | own[trial.values["train.optimizer.name"]]
    assert {trial.values["train.optimizer.name"] for trial in trials} == set(own)
    assert trials[0].values == baseline(spec)
    assert trials[0].values["train.optimizer.momentum"] == 0.3
    ranges = {"sgd": 0.9, "adamw": 0.0001}
    assert all(t.values["train.optimizer.momentum"] <= ranges[t.values["train.optimizer.name"]] for t in trials)
    assert {trial.state for trial in trials} == {"complete"}
    its_page_shows_every_key_and_the_best_is_a_command(tuner, stopped, trials)


def test_a_study_of_models_that_is_stopped_goes_on_as_it_would_have(tuner: Tuner, another: Any) -> None:
    tuner.run(trials=3)
    _, resumed = tuner.run(trials=5)
    _, whole = another().run(trials=5)
    assert [trial.values for trial in resumed] == [trial.values for trial in whole]
    assert [trial.value for trial in resumed] == [trial.value for trial in whole]


def its_page_shows_every_key_and_the_best_is_a_command(tuner: Tuner, stopped: Stop, trials: list[TrialFacts]) -> None:
    best = min(trials, key=lambda trial: trial.value or 9.0)
    summary = Summary(
        study="s" * 64, pipeline="three", metric=objective(tuner.spec, tuner.workload), tune=require_tune(tuner.spec),
        trials=trials,
        importances=tuner.search.importances(), corrected=None, scoring_rows=60, stopped=stopped, mlflow_url=None,
        assignments=tuple(f"{key}={value}" for key, value in best.values.items()),
    )  # fmt: skip
    page = summary.markdown()
    assert page.count("`train.optimizer.momentum`") == 1
    assert "| None |" not in page
    assert set(summary.importances) <= {"train.optimizer.learning_rate", "train.optimizer.name"}
    plots = study_plots(summary)
    assert {"slices.png", "parallel_coordinates.png"} <= set(plots)
    of_one = replace(summary, trials=[trial for trial in trials if trial.values["train.optimizer.name"] == "sgd"])
    assert "slices.png" in study_plots(of_one)
    if summary.found_better:
        assert f"--set train.optimizer.name={best.values['train.optimizer.name']}" in summary.command()


def test_a_grid_visits_the_points_of_each_model_once(tuner: Tuner) -> None:
    text = TEXT.replace(HIDDEN, "workload.parameters.hidden: {kind: categorical, choices: [2, 4]}").replace(
        "train.optimizer.learning_rate: {kind: float, low: 0.001, high: 1.0, log: true}",
        "train.optimizer.name: {kind: models, choices: {sgd: {train.optimizer.momentum: "
        "{kind: float, low: 0.0, high: 0.8, step: 0.4}}, adamw: {}}}",
    )
    text = text.replace("learning_rate: 0.01}", "learning_rate: 0.01, momentum: 0.4}")
    tuner.spec = parse_pipeline(text.replace("trials: 5", "trials: 50\n  sampler: grid"), where="three.yaml")
    assert any("8 points" in note for note in check_tune(tuner.spec, tuner.workload))
    stopped, trials = tuner.run()
    assert stopped == "exhausted"
    drawn = [tuple(sorted(trial.values.items())) for trial in trials if trial.state == "complete"]
    assert len(drawn) == len(set(drawn)) == 8  # three of sgd and one of adamw, each with two widths


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (MODELS, "own value 4 is not in the space"),
        (OPTIMIZERS.replace("weight_decay", "wieght_decay"), "did you mean 'train.optimizer.weight_decay'"),
        (OPTIMIZERS.replace("high: 0.9,", "high: 1.5,"), "momentum of sgd: value 1.5 is refused"),
        (OPTIMIZERS.replace("train.optimizer.weight_decay", "train.optimizer.learning_rate"), "the space itself, too"),
        (OPTIMIZERS.replace("low: 0.0, high: 0.9, step: 0.3", "low: 0.4, high: 0.9"), "own value 0.3 is not in"),
        ("train.optimizer.name: {kind: models, choices: {sgd: {}}}", "at least 2"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_searched_are_refused(models: str, words: str) -> None:
    text = TEXT.replace(HIDDEN, models).replace("name: sgd,", "name: sgd, momentum: 0.3,")
    with pytest.raises(ConfigurationError) as caught:
        notes(text)
    assert words in str(caught.value)


def test_a_run_may_be_told_a_value_of_a_model_within_its_range(spec: PipelineSpec) -> None:
    tuned = {"train.optimizer.name": "adamw", "train.optimizer.weight_decay": 0.05}
    made = changed_pipeline(spec, Changes(tuned=tuned))
    assert (made.train.optimizer.name, made.train.optimizer.weight_decay) == ("adamw", 0.05)
    with pytest.raises(ConfigurationError, match=r"not in tune\.space"):
        changed_pipeline(spec, Changes(tuned={"train.optimizer.weight_decay": 0.2}))


SCHEMA = """
name: four
source: {prefix: f/, format: csv}
schema:
  fields: {a: {kind: number, decimal: "."}, word: {kind: category}, label: {kind: category, values: ["0", "1"]}}
  label: label
workload: {parameters: {model: mlp, hidden: [8]}}
train: {epochs: 3, global_batch_size: 64, shards: 1, optimizer: {name: adamw, learning_rate: 0.01}}
gates:
  data: [{kind: data, measure: rows, minimum: 10}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.001}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
tune:
  metric: log_loss
  trials: 6
  sampler: grid
  parallel: 1
  pruning: {kind: none}
  space:
    workload.parameters.model:
      kind: models
      choices:
        mlp: {workload.parameters.hidden: {kind: categorical, choices: [[8], [16, 8]]}}
        resnet: {workload.parameters.depth: {kind: int, low: 1, high: 2}}
        ft_transformer: {workload.parameters.width: {kind: int, low: 8, high: 16, step: 8}}
"""


def test_models_over_a_schema_are_trained_on_rows_that_are_prepared_once(
    raw: MemoryStore, store: MemoryStore, tmp_path: Path
) -> None:
    spec = parse_pipeline(SCHEMA, where="four.yaml")
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    assert check_tune(spec, workload) == []
    rows = [f"{at % 40 / 10 - 2},{'xyz'[at % 3]},{int(at % 40 > 19)}" for at in range(240)]
    raw.put("f/rows.csv", "\n".join(["a,word,label", *rows]).encode())
    snapshot = take_snapshot(raw, store, prefix="f/")
    records, _ = read_dataset_records(store, snapshot, workload, spec.source)
    dataset = write_dataset(
        store, snapshot, records, "code", spec.workload, spec.data, spec.source,
        class_names=workload.class_names(), tensors=workload.tensors(), prepared=True,
    )  # fmt: skip
    stopped, trials = Tuner(store, spec, dataset, tmp_path).run()
    assert stopped in ("trials", "exhausted")
    assert {trial.state for trial in trials} <= {"complete", "duplicate"}, trials  # the file's own is in the grid, too
    done = [trial.values["workload.parameters.model"] for trial in trials if trial.state == "complete"]
    assert sorted(done) == ["ft_transformer"] * 2 + ["mlp"] * 2 + ["resnet"] * 2
