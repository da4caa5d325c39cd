"""Pictures of any number of labels per row."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.pictures.curves import curves
from mlratchet.models.png import png_bytes


def labels(rows: RowOutputs, class_names: tuple[str, ...]) -> bytes:
    """Per label: share of rows that have it, that are said to have it, and recall and precision where defined."""
    actual, predicted = rows.y > 0, rows.output > 0
    hit = (actual & predicted).sum(axis=0)
    figure = Figure(figsize=(max(6.0, 0.5 * len(class_names)), 4.5))
    axes = figure.add_subplot()
    places = np.arange(len(class_names))
    axes.bar(places - 0.2, actual.mean(axis=0), 0.4, label="rows that have it", alpha=0.6)
    axes.bar(places + 0.2, predicted.mean(axis=0), 0.4, label="rows said to have it", alpha=0.6)
    for name, of, marker in (("recall", actual, "o"), ("precision", predicted, "x")):
        count = of.sum(axis=0)
        axes.plot(places[count > 0], (hit[count > 0] / count[count > 0]), marker, color="black", label=name)
    axes.set_xticks(places, class_names, rotation=45, ha="right")
    axes.set(title="Labels: what rows have, and what is said of them", ylabel="share")
    axes.legend()
    return png_bytes(figure)


def label_curves(rows: RowOutputs, class_names: tuple[str, ...]) -> bytes:
    """ROC and precision-recall of every label."""
    return curves({name: (rows.output[:, c], rows.y[:, c] > 0) for c, name in enumerate(class_names)})
