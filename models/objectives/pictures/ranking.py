"""Pictures of scores within queries."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.pictures.regression import residuals
from mlratchet.models.png import png_bytes

MANY = 30  # grades beyond which the picture is one of numbers


def relevance(rows: RowOutputs) -> bytes:
    """Scores by relevance: apart is good."""
    grades = np.unique(rows.y)
    if len(grades) > MANY:
        return residuals(rows)
    figure = Figure(figsize=(6, 4.5))
    axes = figure.add_subplot()
    axes.boxplot([rows.output[rows.y == grade] for grade in grades], tick_labels=[f"{grade:g}" for grade in grades])
    axes.set(title="Scores by relevance", xlabel="relevance", ylabel="score")
    axes.grid(alpha=0.3)
    return png_bytes(figure)
