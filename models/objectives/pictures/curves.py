"""ROC and precision-recall curves of a class, or of a label, against the rest.

Shape legend: N rows, T thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from mlratchet.models.png import png_bytes

Array = np.ndarray[Any, Any]
MOST_POINTS = 500  # of a drawn curve
MOST_CURVES = 12  # beyond which only the classes with the most rows are drawn


def operating_points(scores: Array, is_positive: Array) -> tuple[Array, Array, Array]:
    """False-positive rate, true-positive rate (recall) and precision at every threshold, highest first.

    Args:
        scores: Shape (N,); higher speaks for the class.
        is_positive: Shape (N,), bool; both values occur.

    Returns:
        Three arrays of shape (T,), T the number of different scores: rows of equal score are said yes to together
        (Fawcett, "An introduction to ROC analysis", 2006, algorithm 1).
    """
    order = np.argsort(-scores, kind="stable")
    ordered, hit = scores[order], is_positive[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of each group of equal scores
    true, said = np.cumsum(hit)[last], last + 1
    positives, negatives = hit.sum(), len(hit) - hit.sum()
    return (said - true) / negatives, true / positives, true / said


def curves(named: Mapping[str, tuple[Array, Array]]) -> bytes:
    """ROC beside precision-recall, one line per name; names whose rows are all of one side are left out.

    Args:
        named: Class or label -> scores (N,) and whether each row is of it (N,).
    """
    drawable = {name: pair for name, pair in named.items() if 0 < int(pair[1].sum()) < len(pair[1])}
    chosen = sorted(drawable, key=lambda name: -int(drawable[name][1].sum()))[:MOST_CURVES]
    figure = Figure(figsize=(10, 4.6))
    roc, recall = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    for name in (one for one in drawable if one in chosen):
        false, true, precise = operating_points(*drawable[name])
        area = float(np.trapezoid([0.0, *true], [0.0, *false]))
        average = float(np.sum(np.diff([0.0, *true]) * precise))
        kept = np.unique(np.linspace(0, len(true) - 1, MOST_POINTS).astype(np.int64))
        roc.plot([0.0, *false[kept]], [0.0, *true[kept]], linewidth=1.3, label=f"{name} (area {area:.3f})")
        recall.step(true[kept], precise[kept], where="pre", linewidth=1.3, label=f"{name} (average {average:.3f})")
    left = f"; the {MOST_CURVES} largest of {len(drawable)}" if len(drawable) > MOST_CURVES else ""
    roc.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
    roc.set(title=f"ROC, each against the rest{left}", xlabel="false-positive rate", ylabel="true-positive rate")
    recall.set(title="Precision and recall, each against the rest", xlabel="recall", ylabel="precision")
    for axes in (roc, recall):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        axes.grid(alpha=0.3)
        if len(axes.get_lines()) > 1 or (axes is recall and axes.get_lines()):
            axes.legend(fontsize=7)
    return png_bytes(figure)
