"""Pictures of one class per row.

Shape legend: N rows, C classes.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from mlratchet.models.metrics import ECE_BINS, log_probabilities
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.pictures.curves import curves
from mlratchet.models.png import png_bytes

MANY = 30  # classes beyond which cells carry no numbers
BINS = 10  # of the calibration of two models
COLOURS = ("#b36b1e", "#1e5fb3")  # A, B


def confusion_matrix(rows: RowOutputs, class_names: tuple[str, ...]) -> bytes:
    """Counts, label by prediction."""
    count = len(class_names)
    table = np.zeros((count, count), dtype=np.int64)
    np.add.at(table, (rows.y.astype(np.int64), rows.output.argmax(axis=1)), 1)
    figure = Figure(figsize=(6, 5.4))
    axes = figure.add_subplot()
    image = axes.imshow(table, cmap="Blues")
    figure.colorbar(image, ax=axes, label="rows")
    axes.set_title(f"Confusion matrix of {len(rows.y):,} test rows")
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    if count <= MANY:
        axes.set_xticks(range(count), class_names, rotation=45)
        axes.set_yticks(range(count), class_names)
        for (i, j), value in np.ndenumerate(table):
            if value:
                colour = "white" if value > table.max() / 2 else "black"
                axes.text(j, i, str(value), ha="center", va="center", color=colour, fontsize=8)
    return png_bytes(figure)


def class_curves(rows: RowOutputs, class_names: tuple[str, ...]) -> bytes:
    """ROC and precision-recall of every class; of two classes, of the second one, which the first mirrors."""
    scores = log_probabilities(rows.output)
    wanted = range(len(class_names)) if len(class_names) > 2 else range(1, len(class_names))
    return curves({class_names[c]: (scores[:, c], rows.y == c) for c in wanted})


def reliability(rows: RowOutputs) -> bytes:
    """Accuracy against confidence in equal-width bins."""
    confidence = np.exp(log_probabilities(rows.output).max(axis=1))
    correct = rows.output.argmax(axis=1) == rows.y
    bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    used = [b for b in range(ECE_BINS) if (bins == b).any()]
    figure = Figure(figsize=(5, 4.5))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], "--", color="grey", label="calibrated")
    axes.plot(
        [confidence[bins == b].mean() for b in used],
        [correct[bins == b].mean() for b in used],
        marker="o",
        label="model",
    )
    axes.set(title="Reliability: is it as sure as it is right?", xlabel="confidence", ylabel="accuracy")
    axes.grid(alpha=0.3)
    axes.legend()
    return png_bytes(figure)


def reliability_of_both(a: RowOutputs, b: RowOutputs) -> bytes:
    """Accuracy against confidence in equal-width bins; the size of a dot is its rows."""
    figure = Figure(figsize=(5.2, 4.4))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1, label="calibrated")
    for rows, name, colour in zip((a, b), ("A", "B"), COLOURS, strict=True):
        confidence = np.exp(log_probabilities(rows.output).max(axis=1))
        correct = rows.output.argmax(axis=1) == rows.y
        bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        used = [i for i in range(BINS) if (bins == i).any()]
        x = [float(confidence[bins == i].mean()) for i in used]
        y = [float(correct[bins == i].mean()) for i in used]
        sizes = [20 + 180 * float((bins == i).mean()) for i in used]
        axes.plot(x, y, color=colour, linewidth=1, alpha=0.6)
        axes.scatter(x, y, s=sizes, color=colour, label=name)
    axes.set(title="Reliability of A and B", xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    return png_bytes(figure)
