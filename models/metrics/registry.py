"""Which metrics a task has, by name."""

from __future__ import annotations

from typing import get_args

from mlratchet.models.metrics.base import Metric, MetricValue
from mlratchet.models.metrics.classification import Accuracy, Average, Kind, OfClass, OverClasses
from mlratchet.models.metrics.curves import (
    AveragePrecision,
    RocAuc,
    binary_view,
    class_views,
    label_views,
)
from mlratchet.models.metrics.multi_label import (
    BinaryBrier,
    BinaryLogLoss,
    HammingLoss,
    OfLabel,
    OverLabels,
    SubsetAccuracy,
)
from mlratchet.models.metrics.probability import Brier, ExpectedCalibrationError, LogLoss
from mlratchet.models.metrics.ranking import CUTOFFS, Ndcg, RecallAt
from mlratchet.models.metrics.regression import R2, MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError
from mlratchet.models.metrics.rows import RowOutputs

KINDS: tuple[Kind, ...] = get_args(Kind)
AVERAGES: tuple[Average, ...] = get_args(Average)
CURVES = (RocAuc, AveragePrecision)
MANY = 30  # classes beyond which a curve has its mean alone: each class costs a sort of all rows


def _classification(class_names: tuple[str, ...]) -> list[Metric]:
    found: list[Metric] = [Accuracy(), LogLoss(), Brier(), ExpectedCalibrationError()]
    for kind in KINDS:
        found += [OverClasses(kind, average, class_names) for average in AVERAGES]
        found += [OfClass(kind, index, name) for index, name in enumerate(class_names)]
    tasks, everyone = ("classification",), range(len(class_names))
    for curve in CURVES:
        if len(class_names) == 2:
            found.append(curve("", binary_view, tasks))
            continue
        found.append(curve("_macro", class_views(*everyone), tasks))
        if len(class_names) <= MANY:
            found += [curve(f"_class_{name}", class_views(index), tasks) for index, name in enumerate(class_names)]
    return found


def _multi_label(names: tuple[str, ...]) -> list[Metric]:
    found: list[Metric] = [SubsetAccuracy(), HammingLoss(len(names)), BinaryLogLoss(), BinaryBrier()]
    for kind in KINDS:
        found += [OverLabels(kind, average) for average in AVERAGES]
        found += [OfLabel(kind, index, name) for index, name in enumerate(names)]
    tasks, everyone = ("multi_label",), range(len(names))
    for curve in CURVES:
        found.append(curve("_macro", label_views(*everyone), tasks))
        found += [curve(f"_label_{name}", label_views(index), tasks) for index, name in enumerate(names)]
    return found


def metrics_for(task: str, class_names: tuple[str, ...]) -> dict[str, Metric]:
    """Every metric of a task, by name. Raises ``ValueError`` for a task that has none."""
    if task == "classification":
        found = _classification(class_names)
    elif task == "multi_label":
        found = _multi_label(class_names)
    elif task == "regression":
        found = [MeanSquaredError(), RootMeanSquaredError(), MeanAbsoluteError(), R2()]
    elif task == "ranking":
        found = [*(Ndcg(k) for k in CUTOFFS), *(RecallAt(k) for k in CUTOFFS)]
    else:
        raise ValueError(f"no metrics for task {task!r}; there are classification, multi_label, regression and ranking")
    return {metric.name: metric for metric in found}


def metrics_over(task: str, class_names: tuple[str, ...]) -> dict[str, Metric]:
    """Those of the task over some of its classes or labels: two of many still have the means and curves of many."""
    found = metrics_for(task, class_names)
    if task == "classification" and len(class_names) == 2:
        for curve in CURVES:
            made = [curve("_macro", class_views(0, 1), (task,))]
            made += [curve(f"_class_{name}", class_views(index), (task,)) for index, name in enumerate(class_names)]
            found |= {metric.name: metric for metric in made}
    return found


def compute_metrics(rows: RowOutputs, task: str, class_names: tuple[str, ...]) -> dict[str, MetricValue]:
    """All metrics of the task over the rows."""
    return {name: metric.estimate(rows) for name, metric in metrics_for(task, class_names).items()}
