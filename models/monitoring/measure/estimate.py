"""How good the answers of a window probably were, where no label says it: from the model's own confidence.

Confidence-based performance estimation: the mean, over the rows of a window, of how often answers of that confidence
were right. How often that is was seen on the champion's test rows and is corrected with labels as they come. It holds
while what a confidence means has not changed, which nobody can see without labels: an estimate may warn, and decides
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mlratchet.models.config import StrictModel
from mlratchet.models.monitoring.window import Figure
from pydantic import Field

Array = np.ndarray[Any, Any]
BINS = 10
PRIOR_ROWS = 2.0  # by which an empty bin is as good as all are
MARK = "estimated from confidence, without labels"


class Reliability(StrictModel):
    """How often answers of a confidence are right."""

    edges: tuple[float, ...] = Field(strict=False)
    """(B - 1,) between the bins."""
    right: tuple[float, ...] = Field(strict=False)
    """(B,) rows that were right, in each bin."""
    rows: tuple[float, ...] = Field(strict=False)
    """(B,)"""

    @classmethod
    def of(cls, confidence_T: Array, right_T: Array) -> Reliability:
        """Bins of equally many rows."""
        edges = np.unique(np.quantile(confidence_T, np.linspace(0, 1, BINS + 1)[1:-1]))
        place = np.searchsorted(edges, confidence_T, side="right")
        count = len(edges) + 1
        return cls(
            edges=tuple(edges.tolist()),
            right=tuple(np.bincount(place, weights=right_T, minlength=count).tolist()),
            rows=tuple(np.bincount(place, minlength=count).astype(float).tolist()),
        )

    def with_labels(self, confidence_T: Array, right_T: Array) -> Reliability:
        """Corrected by rows whose label came: they count like those before."""
        place = np.searchsorted(np.asarray(self.edges), confidence_T, side="right")
        count = len(self.rows)
        right = np.asarray(self.right) + np.bincount(place, weights=right_T, minlength=count)
        rows = np.asarray(self.rows) + np.bincount(place, minlength=count)
        return Reliability(edges=self.edges, right=tuple(right.tolist()), rows=tuple(rows.tolist()))

    def chances(self, confidence_T: Array) -> Array:
        """(T,) how probably each answer is right."""
        right, rows = np.asarray(self.right), np.asarray(self.rows)
        overall = right.sum() / max(rows.sum(), 1.0)
        share = (right + PRIOR_ROWS * overall) / (rows + PRIOR_ROWS)
        return np.asarray(share[np.searchsorted(np.asarray(self.edges), confidence_T, side="right")])


def estimated_accuracy(confidence: Sequence[float] | Array, known: Reliability) -> Figure | None:
    """Of all answered rows of a window; the interval is of the mean alone, and not of what the confidence means."""
    held = np.asarray(confidence, dtype=np.float64)
    held = held[np.isfinite(held)]
    if not len(held):
        return None
    chances = known.chances(held)
    value, n = float(chances.mean()), len(held)
    # a row is right or not: the spread of the truth, and that of what is known of each bin
    rows = np.asarray(known.rows)
    right = (np.asarray(known.right) + 1) / (rows + 2)
    place = np.searchsorted(np.asarray(known.edges), held, side="right")
    weights = np.bincount(place, minlength=len(rows)) / n
    variance = float((chances * (1 - chances)).mean()) / n + float(
        (weights**2 * right * (1 - right) / (rows + 1)).sum()
    )
    half = 1.96 * variance**0.5
    return Figure(value=value, low=max(0.0, value - half), high=min(1.0, value + half), n=n, method=MARK)
