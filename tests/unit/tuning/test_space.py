"""A search space is refused, with the nearest name, before anything trains."""

from __future__ import annotations

from typing import Any

import pytest
from mlratchet.infra.search.study import distribution
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.tune import FloatRange
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.tuning.space import baseline, check_tune, ends, overrides, require_tune, searchable, trial_spec
from mlratchet.models.workloads.loading import load_workload
from pydantic import ValidationError

from .conftest import TEXT

HIDDEN = "workload.parameters.hidden: {kind: categorical, choices: [2, 4, [8, 4]]}"
RATE = "train.optimizer.learning_rate: {kind: float, low: 0.001, high: 1.0, log: true}"


def notes(text: str) -> list[str]:
    spec = parse_pipeline(text, where="three.yaml")
    return check_tune(spec, load_workload(spec.workload.use, dict(spec.workload.parameters)))


def test_the_spaces_that_ship_are_valid(digits_spec: PipelineSpec, digits_workload: Any) -> None:
    assert check_tune(digits_spec, digits_workload) == []
    assert baseline(digits_spec)["workload.parameters.base_width"] == 16  # the class's default: the file says nothing


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("train.optimizer.learning_rate:", "train.optimizer.lerning_rate:", "mean 'train.optimizer.learning_rate'"),
        ("workload.parameters.hidden:", "workload.parameters.hiden:", "did you mean 'workload.parameters.hidden'"),
        (HIDDEN, "gates.champion.0.minimum: {kind: float, low: 0.1, high: 0.9}", "train.* and workload.parameters.*"),
        (HIDDEN, "data.split.test: {kind: float, low: 0.1, high: 0.9}", "train.* and workload.parameters.*"),
        (HIDDEN, "train.seed: {kind: int, low: 0, high: 9}", "the best of several seeds is luck"),
        (HIDDEN, "train.processes: {kind: int, low: 1, high: 2}", "does not change the weights"),
        (HIDDEN, "train.checkpoint.keep: {kind: int, low: 1, high: 4}", "does not change the weights"),
        (HIDDEN, "train.early_stopping.patience_epochs: {kind: int, low: 1, high: 3}", "is not set in the file"),
        (HIDDEN, "train.ema_decay: {kind: float, low: 0.9, high: 0.99}", "own value None is not in the space"),
        (HIDDEN, "train.epochs: {kind: int, low: 0, high: 8}", "value 0 is refused"),
        (HIDDEN, "train.global_batch_size: {kind: int, low: 2, high: 64, step: 2}", "needs a row per shard"),
        (HIDDEN, "train.label_smoothing: {kind: float, low: 0.0, high: 1.0}", "value 1.0 is refused"),
        (HIDDEN, "train.loss: {kind: categorical, choices: [task, mse]}", "mse does not fit a classification"),
        (HIDDEN, "train.optimizer.name: {kind: categorical, choices: [sgd, sdg]}", "value 'sdg' is refused"),
        (HIDDEN, "workload.parameters.hidden: {kind: int, low: 0, high: 8}", "hidden must be at least 1"),
        (HIDDEN, "workload.parameters.hidden: {kind: int, low: 5, high: 8}", "own value 4 is not in the space"),
        (HIDDEN, "workload.parameters.columns: {kind: categorical, choices: [[a, b, c], [a, b]]}", "what a row is"),
        ("metric: log_loss", "metric: log_los", "did you mean 'log_loss'"),
        ("metric: log_loss", "metric: loss", "unknown metric 'loss'"),
    ],
)  # fmt: skip
def test_a_space_that_cannot_be_searched_is_refused(old: str, new: str, words: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigurationError) as caught:
        notes(TEXT.replace("shards: 1", "shards: 4").replace(old, new))
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (RATE, "train.optimizer.learning_rate: {kind: float, low: 1.0, high: 0.001}", "low must be below high"),
        (RATE, "train.optimizer.learning_rate: {kind: float, low: 0.0, high: 1.0, log: true}", "log needs low > 0"),
        (RATE, "train.optimizer.learning_rate: {kind: float, low: 0.1, high: .inf}", "finite"),
        (RATE, "train.optimizer.learning_rate: {kind: flaot, low: 0.1, high: 1.0}", "'flaot'"),
        (RATE, "train.epochs: {kind: int, low: 1, high: 8, step: 3}", "try 7"),
        (RATE, "train.epochs: {kind: int, low: 1.5, high: 8}", "integer"),
        (HIDDEN, "workload.parameters.hidden: {kind: categorical, choices: [4]}", "at least 2"),
        (HIDDEN, "workload.parameters.hidden: {kind: categorical, choices: [4, 4]}", "differ from each other"),
        ("trials: 5", "trails: 5", "did you mean 'trials'"),
        ("trials: 5", "trials: 0", "greater than or equal to 1"),
        ("trials: 5", "trials: 5\n  sampler: grid", "needs a step"),
        ("pruning: {kind: none}", "pruning: {kind: medain}", "'medain'"),
        ("parallel: 1", "parallel: all", "auto"),
    ],
)  # fmt: skip
def test_a_section_that_is_not_sound_is_refused_with_its_line(old: str, new: str, words: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigurationError, match=r"three\.yaml:\d+: ") as caught:
        parse_pipeline(TEXT.replace(old, new), where="three.yaml")
    assert words in str(caught.value)


def test_a_metric_without_a_value_per_epoch_cannot_prune() -> None:
    text = TEXT.replace("metric: log_loss", "metric: recall_class_1")
    assert notes(text) == notes(TEXT)
    with pytest.raises(ConfigurationError, match="nothing can be pruned by it"):
        notes(text.replace("pruning: {kind: none}", "pruning: {kind: median}"))


def test_a_budget_that_the_sampler_or_the_space_cannot_use_is_noted() -> None:
    assert any("all drawn at random" in note for note in notes(TEXT.replace("trials: 5", "trials: 4")))
    small = TEXT.replace(RATE, "train.epochs: {kind: int, low: 4, high: 4, step: 1}").replace("high: 4", "high: 5")
    assert any(
        "6 points: the study ends before its 50 trials" in n for n in notes(small.replace("trials: 5", "trials: 50"))
    )


def test_a_pipeline_without_a_space_says_where_to_read(spec: PipelineSpec) -> None:
    with pytest.raises(ConfigurationError, match=r"declares no search space.*docs/tuning\.md"):
        require_tune(spec.model_copy(update={"tune": None}))


def test_what_is_searched_is_what_a_run_can_set(spec: PipelineSpec, digits_workload: Any) -> None:
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    values = {"train.optimizer.learning_rate": 1e-05, "workload.parameters.hidden": [8, 4]}
    assert overrides(values) == ("train.optimizer.learning_rate=1e-05", "workload.parameters.hidden=[8, 4]")
    made = trial_spec(spec, workload, values)
    assert made.train.optimizer.learning_rate == 1e-05
    assert made.workload.parameters["hidden"] == [8, 4]
    assert made.gates == spec.gates


def test_every_key_that_is_searchable_decides_the_weights(spec: PipelineSpec) -> None:
    identity = spec.train.identity(world=1)
    for key in searchable(spec):
        section, name, *_ = key.split(".")
        assert name in identity if section == "train" else section == "workload", key
        assert name not in TrainConfig.EXECUTION


def test_both_ends_and_every_choice_can_be_drawn(spec: PipelineSpec) -> None:
    for dimension in require_tune(spec).space.values():
        assert all(dimension.holds(value) for value in ends(dimension))
        assert distribution(dimension) is not None


def test_true_is_not_one(spec: PipelineSpec) -> None:
    with pytest.raises(ValidationError):
        FloatRange(kind="float", low=True, high=2.0)
    dimension = require_tune(spec).space["workload.parameters.hidden"]
    assert dimension.holds(2)
    assert not dimension.holds(True)
    assert not require_tune(spec).space["train.optimizer.learning_rate"].holds(True)
