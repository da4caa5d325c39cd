"""The pictures of an evaluation as PNG bytes: what a person looks for in MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.base import Objective
from mlratchet.models.png import png_bytes


def evaluation_plots(
    rows: RowOutputs, objective: Objective, class_names: tuple[str, ...], *, history: Sequence[dict[str, Any]]
) -> dict[str, bytes]:
    """File name -> PNG."""
    return {"training_curves.png": training_curves(history), **objective.pictures(rows, class_names)}


def training_curves(history: Sequence[dict[str, Any]]) -> bytes:
    """Loss and accuracy per epoch, train beside validation."""
    figure = Figure(figsize=(9, 3.5))
    for place, quantity in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, place)
        for side in ("train", "validation"):
            points = [(e["epoch"], e[f"{side}_{quantity}"]) for e in history if e.get(f"{side}_{quantity}") is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=side)
        axes.set(title=f"{quantity.capitalize()} by epoch", xlabel="epoch", ylabel=quantity)
        axes.grid(alpha=0.3)
        if axes.get_lines():
            axes.legend()
    return png_bytes(figure)
