"""The metrics that belong together: of classes, of labels, of numbers, of rankings."""

from __future__ import annotations

from typing import get_args

from mlratchet.models.metrics.base import Metric
from mlratchet.models.metrics.classification import Accuracy, OfClass, OverClasses
from mlratchet.models.metrics.counts import Average, Kind
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

KINDS: tuple[Kind, ...] = get_args(Kind)
AVERAGES: tuple[Average, ...] = get_args(Average)
CURVES = (RocAuc, AveragePrecision)
MANY = 30  # classes beyond which a curve has its mean alone: each class costs a sort of all rows


def of_classes(class_names: tuple[str, ...]) -> list[Metric]:
    """One class per row: `output` (N, C) logits, `y` (N,) the index of the class."""
    found: list[Metric] = [Accuracy(), LogLoss(), Brier(), ExpectedCalibrationError()]
    for kind in KINDS:
        found += [OverClasses(kind, average, class_names) for average in AVERAGES]
        found += [OfClass(kind, index, name) for index, name in enumerate(class_names)]
    everyone = range(len(class_names))
    for curve in CURVES:
        if len(class_names) == 2:
            found.append(curve("", binary_view))
            continue
        found.append(curve("_macro", class_views(*everyone)))
        if len(class_names) <= MANY:
            found += [curve(f"_class_{name}", class_views(index)) for index, name in enumerate(class_names)]
    return found


def of_some_classes(class_names: tuple[str, ...]) -> list[Metric]:
    """Over some classes of a model that knows more: two of many still have the means and curves of many."""
    found = of_classes(class_names)
    if len(class_names) == 2:
        for curve in CURVES:
            found.append(curve("_macro", class_views(0, 1)))
            found += [curve(f"_class_{name}", class_views(index)) for index, name in enumerate(class_names)]
    return found


def of_labels(names: tuple[str, ...]) -> list[Metric]:
    """Any number of labels per row: `output` (N, C) logits, `y` (N, C) of 0 and 1."""
    found: list[Metric] = [SubsetAccuracy(), HammingLoss(len(names)), BinaryLogLoss(), BinaryBrier()]
    for kind in KINDS:
        found += [OverLabels(kind, average) for average in AVERAGES]
        found += [OfLabel(kind, index, name) for index, name in enumerate(names)]
    everyone = range(len(names))
    for curve in CURVES:
        found.append(curve("_macro", label_views(*everyone)))
        found += [curve(f"_label_{name}", label_views(index)) for index, name in enumerate(names)]
    return found


def of_numbers() -> list[Metric]:
    """One number per row: `output` (N,) and `y` (N,) in the target's unit."""
    return [MeanSquaredError(), RootMeanSquaredError(), MeanAbsoluteError(), R2()]


def of_rankings() -> list[Metric]:
    """Rows of a query against each other: `output` (N,) scores, `y` (N,) relevances."""
    return [*(Ndcg(k) for k in CUTOFFS), *(RecallAt(k) for k in CUTOFFS)]
