"""Pictures of attributions as PNG bytes, the candidate beside the champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from mlratchet.models.evaluation.explain import Attributions
from mlratchet.models.png import png_bytes
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.base import InputSpec

Array = np.ndarray[Any, Any]
EXAMPLES = 6
MOST_BARS, MOST_SLICES = 25, 12
COLOURS = {"candidate": "#1f77b4", "champion": "#aaaaaa"}


def attribution_plots(
    x: Inputs, found: Mapping[str, Attributions], input_spec: InputSpec, slices: Sequence[str], titles: Sequence[str]
) -> dict[str, bytes]:
    """File name -> PNG. `slices` and `titles` name the slice of each row and the row itself."""
    if input_spec.kind == "image":
        plots = {"examples.png": image_examples(x.array, found, titles), "importance.png": image_importance(found)}
        by_slice = image_slices(found, slices)
    else:
        values = next(iter(found.values())).values
        names = input_spec.columns or tuple(f"value {n}" for n in range(values[0].size))
        plots = {"importance.png": bars(found, names)}
        by_slice = slice_table(found, slices, names)
    return plots | ({"slices.png": by_slice} if len(set(slices)) > 1 else {})


def _map(values: Array) -> Array:
    """(K, H, W) -> (H, W), the sum over channels."""
    return np.asarray(values.sum(axis=0))


def _show(axes: Any, values: Array, limit: float, title: str) -> Any:
    axes.set_title(title, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
    return axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)


def image_examples(x: Array, found: Mapping[str, Attributions], titles: Sequence[str]) -> bytes:
    """Inputs beside heat maps: red speaks for the label, blue against it; each map has a scale of its own."""
    count = min(EXAMPLES, len(x))
    figure = Figure(figsize=(1.9 * (1 + len(found)), 1.9 * count))
    for row in range(count):
        axes = figure.add_subplot(count, 1 + len(found), row * (1 + len(found)) + 1)
        image = x[row].transpose(1, 2, 0)
        axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=1)
        axes.set_title(titles[row], fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
        for place, (name, one) in enumerate(found.items(), start=2):
            heat = _map(one.values[row])
            axes = figure.add_subplot(count, 1 + len(found), row * (1 + len(found)) + place)
            _show(axes, heat, float(np.abs(heat).max()) or 1.0, name)
    return png_bytes(figure)


def image_importance(found: Mapping[str, Attributions]) -> bytes:
    """Mean share of |attribution| per pixel, and what the candidate has more of (red) or less (blue)."""
    maps = {name: _map(one.importance().reshape(one.values.shape[1:])) for name, one in found.items()}
    if len(maps) == 2:
        maps["candidate - champion"] = maps["candidate"] - maps["champion"]
    figure = Figure(figsize=(3.2 * len(maps), 3))
    top = max(float(np.abs(one).max()) for one in maps.values()) or 1.0
    for place, (name, values) in enumerate(maps.items(), start=1):
        axes = figure.add_subplot(1, len(maps), place)
        figure.colorbar(_show(axes, values, top, name), ax=axes, shrink=0.8)
    return png_bytes(figure)


def _importance_by_slice(one: Attributions, slices: Sequence[str]) -> dict[str, Array]:
    shares, labels = one.shares(), np.asarray(slices, dtype=object)
    names = sorted({label for label in slices if label}, key=lambda label: (-list(slices).count(label), label))
    return {name: np.asarray(shares[labels == name].mean(axis=0)) for name in names[:MOST_SLICES]}


def image_slices(found: Mapping[str, Attributions], slices: Sequence[str]) -> bytes:
    """Importance per slice, a row per model."""
    tables = {name: _importance_by_slice(one, slices) for name, one in found.items()}
    labels = sorted(next(iter(tables.values())))
    figure = Figure(figsize=(1.5 * len(labels), 1.7 * len(tables)))
    for row, (name, table) in enumerate(tables.items()):
        shape = found[name].values.shape[1:]
        for column, label in enumerate(labels):
            values = _map(table[label].reshape(shape))
            axes = figure.add_subplot(len(tables), len(labels), row * len(labels) + column + 1)
            _show(axes, values, float(values.max()) or 1.0, f"{label}\n{name}")
    return png_bytes(figure)


def bars(found: Mapping[str, Attributions], names: Sequence[str]) -> bytes:
    """Mean share of |attribution| per input value, the most important of either model first."""
    importance = {name: one.importance() for name, one in found.items()}
    order = np.argsort(-np.max(list(importance.values()), axis=0))[:MOST_BARS][::-1]
    figure = Figure(figsize=(7, 1.2 + 0.3 * len(order)))
    axes = figure.add_subplot()
    height = 0.8 / len(importance)
    for number, (name, values) in enumerate(reversed(importance.items())):
        places = np.arange(len(order)) + (number - (len(importance) - 1) / 2) * height
        axes.barh(places, values[order], height, label=name, color=COLOURS[name])
    axes.set_yticks(range(len(order)), [names[i] for i in order])
    axes.set_xlabel("mean share of |attribution|")
    axes.legend()
    axes.grid(axis="x", alpha=0.3)
    return png_bytes(figure)


def slice_table(found: Mapping[str, Attributions], slices: Sequence[str], names: Sequence[str]) -> bytes:
    """Importance per slice and input value, a panel per model."""
    tables = {name: _importance_by_slice(one, slices) for name, one in found.items()}
    order = np.argsort(-next(iter(found.values())).importance())[:MOST_BARS]
    labels = sorted(next(iter(tables.values())))
    figure = Figure(figsize=(1.5 + (1 + 0.35 * len(order)) * len(tables), 1.5 + 0.35 * len(labels)))
    for place, (name, table) in enumerate(tables.items(), start=1):
        axes = figure.add_subplot(1, len(tables), place)
        image = axes.imshow(np.stack([table[label][order] for label in labels]), cmap="Blues", vmin=0, aspect="auto")
        axes.set_title(name, fontsize=9)
        axes.set_xticks(range(len(order)), [names[i] for i in order], rotation=60, ha="right", fontsize=7)
        axes.set_yticks(range(len(labels)), labels if place == 1 else [], fontsize=8)
        figure.colorbar(image, ax=axes)
    return png_bytes(figure)
