"""Pictures of one number per row."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.png import png_bytes

COLOUR = "#1e5fb3"


def residuals(rows: RowOutputs) -> bytes:
    """Prediction against target."""
    figure = Figure(figsize=(5, 4.5))
    axes = figure.add_subplot()
    axes.scatter(rows.y, rows.output.reshape(rows.y.shape), s=6, alpha=0.5)
    ends = [float(rows.y.min()), float(rows.y.max())]
    axes.plot(ends, ends, "--", color="grey")
    axes.set(title=f"Prediction against target, {len(rows.y):,} test rows", xlabel="target", ylabel="prediction")
    axes.grid(alpha=0.3)
    return png_bytes(figure)


def errors_of_both(a: RowOutputs, b: RowOutputs) -> bytes:
    """Absolute error of B against that of A, a dot a row: below the line B is closer."""
    y = a.y.astype(np.float64)
    error_a, error_b = (np.abs(rows.output.reshape(y.shape) - y) for rows in (a, b))
    figure = Figure(figsize=(4.8, 4.4))
    axes = figure.add_subplot()
    axes.scatter(error_a, error_b, s=6, alpha=0.4, color=COLOUR)
    end = float(max(error_a.max(), error_b.max()))
    axes.plot([0, end], [0, end], "--", color="grey", linewidth=1)
    axes.set(title="Errors of A and B, a dot a row", xlabel="absolute error of A", ylabel="absolute error of B")
    axes.grid(alpha=0.3)
    return png_bytes(figure)
