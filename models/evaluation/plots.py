"""Pictures of an evaluation as PNG bytes: what a person looks for in MLflow."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mlratchet.models.metrics import ECE_BINS, log_probabilities
from mlratchet.models.metrics.rows import RowOutputs

MANY = 30  # classes beyond which cells carry no numbers


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG."""
    FigureCanvasAgg(figure)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=110, bbox_inches="tight")
    return sink.getvalue()


def evaluation_plots(
    rows: RowOutputs, task: str, class_names: tuple[str, ...], *, history: Sequence[dict[str, Any]]
) -> dict[str, bytes]:
    """File name -> PNG."""
    plots = {"training_curves.png": training_curves(history)}
    if task == "classification":
        plots["confusion_matrix.png"] = confusion_matrix(rows, class_names)
        plots["reliability.png"] = reliability(rows)
    elif task == "multi_label":
        plots["labels.png"] = labels(rows, class_names)
    elif task == "ranking":
        plots["relevance.png"] = relevance(rows)
    else:
        plots["residuals.png"] = residuals(rows)
    return plots


def training_curves(history: Sequence[dict[str, Any]]) -> bytes:
    """Loss and accuracy per epoch, train beside validation."""
    figure = Figure(figsize=(9, 3.5))
    for place, quantity in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, place)
        for side in ("train", "validation"):
            points = [(e["epoch"], e[f"{side}_{quantity}"]) for e in history if e.get(f"{side}_{quantity}") is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=side)
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity)
        axes.grid(alpha=0.3)
        if axes.get_lines():
            axes.legend()
    return png_bytes(figure)


def confusion_matrix(rows: RowOutputs, class_names: tuple[str, ...]) -> bytes:
    """Counts, label by prediction."""
    count = len(class_names)
    table = np.zeros((count, count), dtype=np.int64)
    np.add.at(table, (rows.y.astype(np.int64), rows.output.argmax(axis=1)), 1)
    figure = Figure(figsize=(6, 5.4))
    axes = figure.add_subplot()
    image = axes.imshow(table, cmap="Blues")
    figure.colorbar(image, ax=axes, label="rows")
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
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.grid(alpha=0.3)
    axes.legend()
    return png_bytes(figure)


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
    axes.set_ylabel("share")
    axes.legend()
    return png_bytes(figure)


def relevance(rows: RowOutputs) -> bytes:
    """Scores by relevance: apart is good."""
    grades = np.unique(rows.y)
    if len(grades) > MANY:
        return residuals(rows)
    figure = Figure(figsize=(6, 4.5))
    axes = figure.add_subplot()
    axes.boxplot([rows.output[rows.y == grade] for grade in grades], tick_labels=[f"{grade:g}" for grade in grades])
    axes.set_xlabel("relevance")
    axes.set_ylabel("score")
    axes.grid(alpha=0.3)
    return png_bytes(figure)


def residuals(rows: RowOutputs) -> bytes:
    """Prediction against target."""
    figure = Figure(figsize=(5, 4.5))
    axes = figure.add_subplot()
    axes.scatter(rows.y, rows.output.reshape(rows.y.shape), s=6, alpha=0.5)
    ends = [float(rows.y.min()), float(rows.y.max())]
    axes.plot(ends, ends, "--", color="grey")
    axes.set_xlabel("target")
    axes.set_ylabel("prediction")
    axes.grid(alpha=0.3)
    return png_bytes(figure)
