"""Losses fit their task, add up over shards, and what cannot train is refused with the choices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.sources.record import Split
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.configured_loss import build_loss, class_weight
from mlratchet.models.training.fitting import check_fits
from mlratchet.models.workloads.tabular import TableClassifier, TableMultiLabel, TableRanker, TableRegressor

CLASSIFIER = TableClassifier(columns=["a"], classes=["x", "y", "z"])
REGRESSOR = TableRegressor(columns=["a"])
LABELS = TableMultiLabel(columns=["a"], labels=["x", "y", "z"])
RANKER = TableRanker(columns=["a"])


class OwnLoss(TableClassifier):
    def loss(self, output: Any, target: Any, *, label_smoothing: float) -> Any:
        return output.mean()


def config(**changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(changes)


@pytest.mark.parametrize("name", ["task", "cross_entropy", "bce", "mse", "mae", "huber"])
@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 0.5)])
def test_the_loss_of_a_batch_is_the_weighted_mean_of_its_shards(name: str, weights: Any) -> None:
    classes = name in ("task", "cross_entropy", "bce")
    workload = LABELS if name == "bce" else CLASSIFIER if classes else REGRESSOR
    torch.manual_seed(0)
    output = torch.randn(10, 3 if classes else 1, dtype=torch.float64)
    target = torch.randint(0, 3, (10,)) if classes else torch.randn(10, dtype=torch.float64)
    if name == "bce":
        target = torch.randint(0, 2, (10, 3)).double()
    weight = torch.tensor(weights, dtype=torch.float64) if weights and classes else None
    loss = build_loss(config(loss=name, label_smoothing=0.1 if classes else 0.0), workload, weight)
    parts = [loss(o, t) * len(t) / 10 for o, t in zip(output.split(4), target.split(4), strict=True)]
    assert float(sum(parts)) == pytest.approx(float(loss(output, target)), rel=1e-12)


def test_balanced_weights_give_every_class_the_same_share() -> None:
    y = np.array([0] * 60 + [1] * 30 + [2] * 10)
    weight = class_weight(config(class_weights="balanced"), CLASSIFIER, Split(ids=[""] * 100, x=y, y=y))
    assert weight is not None
    shares = [float(weight[c]) * int((y == c).sum()) for c in range(3)]
    assert shares == pytest.approx([100 / 3] * 3)


@pytest.mark.parametrize(
    ("workload", "changes", "words"),
    [
        (CLASSIFIER, {"loss": "mse"}, "mse does not fit a classification; there are: task, cross_entropy"),
        (CLASSIFIER, {"loss": "hinge"}, "hinge does not fit a classification; there are: task, cross_entropy"),
        (REGRESSOR, {"loss": "cross_entropy"}, "there are: task, mse, mae, huber"),
        (CLASSIFIER, {"early_stopping": {"metric": "acuracy"}}, "unknown metric 'acuracy'; there are: loss, accuracy"),
        (CLASSIFIER, {"class_weights": [1.0]}, "got 1 weights for 3 classes"),
        (REGRESSOR, {"class_weights": "balanced"}, "a regression has no classes"),
        (RANKER, {"label_smoothing": 0.1}, "label_smoothing: a ranking has no classes"),
        (RANKER, {"loss": "mse"}, "there are: task, listwise, pairwise"),
        (LABELS, {"loss": "cross_entropy"}, "does not fit a multi_label; there are: task, bce"),
        (
            OwnLoss(columns=["a"], classes=["x", "y"]),
            {"class_weights": "balanced"},
            "OwnLoss has a loss of its own, which takes no weights; .* write train.loss: cross_entropy",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_choices(workload: Any, changes: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_fits(config(**changes), workload)
    check_fits(config(), workload)
