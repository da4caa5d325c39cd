"""Worlds whose truth is known, by the name that `benchmarks/simulations.py --check` takes."""

from __future__ import annotations

from collections.abc import Callable

from populations.base import Population
from populations.classes import count_metric, nearly_faultless, one_share, paired_accuracy
from populations.clusters import clustered, clustered_pairs, clustered_share
from populations.few import many_classes, users
from populations.rare import RARE_METRICS, rare_class, rare_class_pairs
from populations.scores import auc, average_precision, log_loss, ndcg, rmse
from populations.tails import KINDS, grouped_loss, sure_and_wrong, tail

POPULATIONS: dict[str, Callable[[], list[Population]]] = {
    "accuracy-paired": lambda: [
        paired_accuracy(0.0, 0.04, 0.9),
        paired_accuracy(-0.02, 0.04, 0.9),
        paired_accuracy(0.02, 0.04, 0.9),
        paired_accuracy(0.0, 0.2, 0.7),
    ],
    "accuracy": lambda: [one_share(0.8), one_share(0.99)],
    "f1_macro-paired": lambda: [
        count_metric("f1_macro", 0.0, 0.2, paired=True),
        count_metric("f1_macro", 0.03, 0.2, paired=True),
        count_metric("f1_macro", 0.0, 0.05, paired=True),
    ],
    "f1_macro": lambda: [count_metric("f1_macro", 0.0, 0.2, paired=False)],
    "log_loss-paired": lambda: [
        log_loss("log_loss", 0.7, 0.7, paired=True),
        log_loss("log_loss", 1.0, 0.7, paired=True),
    ],
    "log_loss": lambda: [log_loss("log_loss", 0.7, 0.7, paired=False)],
    "ece-paired": lambda: [log_loss("ece", 1.5, 1.5, paired=True), log_loss("ece", 1.5, 0.7, paired=True)],
    "ece": lambda: [log_loss("ece", 1.5, 1.5, paired=False)],
    "roc_auc-paired": lambda: [
        auc(1.5, 1.5, 0.5, paired=True),
        auc(1.3, 1.5, 0.5, paired=True),
        auc(2.5, 2.5, 0.2, paired=True),
    ],
    "roc_auc": lambda: [
        auc(1.5, 1.5, 0.5, paired=False),
        auc(2.5, 2.5, 0.2, paired=False),
        auc(4.0, 4.0, 0.03, paired=False),
    ],
    "average_precision-paired": lambda: [average_precision()],
    "rmse-paired": lambda: [
        rmse(1.0, "normal", paired=True),
        rmse(1.1, "normal", paired=True),
        rmse(1.0, "heavy", paired=True),
    ],
    "rmse": lambda: [rmse(1.0, "normal", paired=False), rmse(1.0, "heavy", paired=False)],
    "clusters": lambda: [clustered(), clustered_pairs(), clustered_share(0.9, 1.0), clustered_share(0.98, 2.0)],
    "faultless": lambda: [nearly_faultless("f1_macro", 0.005), nearly_faultless("precision_macro", 0.02)],
    "ndcg": lambda: [ndcg()],
    "rare": lambda: [world for metric in RARE_METRICS for world in rare_class(metric)],
    "tails": lambda: [tail(metric, kind, paired=False) for metric in ("mae", "rmse") for kind in KINDS],
    "tails-paired": lambda: [tail(metric, kind, paired=True) for metric in ("mae", "rmse") for kind in KINDS],
    "sure-and-wrong": lambda: [
        sure_and_wrong(metric, 0.01, 14, paired=paired) for metric in ("brier", "log_loss") for paired in (False, True)
    ],
    "few-rows": lambda: [
        *(many_classes("f1_macro", 10, rows, 0.9, paired=False) for rows in (1, 2, 3)),
        *(many_classes("recall_macro", 10, rows, 0.9, paired=False) for rows in (2, 3)),
        *(users("ndcg_at_10", paired=paired) for paired in (False, True)),
        *(grouped_loss("mae", paired=paired) for paired in (False, True)),
    ],
    "rare-paired": lambda: [world for metric in RARE_METRICS for world in rare_class_pairs(metric)],
}
