"""Rules by window that others use, each as one number per window that is larger the more it moved, and their thresholds
by default.

`evidently` computes what Evidently 0.7.23 does by default (its `DataDriftPreset`; numbers of more than 1,000 reference
rows: Wasserstein distance over the standard deviation, 0.1; words: Jensen-Shannon distance, 0.1; fewer rows:
Kolmogorov-Smirnov and chi-squared tests, 0.05); benchmarks/detectors_evidently.py asks Evidently itself on the same
windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from detectors_worlds import Window
from scipy import stats
from scipy.spatial.distance import jensenshannon

Array = np.ndarray[Any, Any]
Columns = Mapping[str, Array]
Measure = Callable[[Array, Array], float]
FEW = 1000
SMALLEST = 1e-4
DEFAULTS = {"PSI": 0.2, "hourly KS": -np.log(0.05), "Evidently, half of the fields": 1.0, "Evidently, any field": 1.0}
"""Name -> threshold by default; p values as minus their logarithm."""


def flat(window: Window) -> dict[str, Array]:
    """Every column as numbers or words: the numbers of a projection are columns of their own."""
    found = dict(window.fields)
    if window.prepared is not None:
        found |= {f"prepared {at}": window.prepared[:, at] for at in range(0, window.prepared.shape[1], 4)}
    return found


class Peers:
    """Against one reference."""

    def __init__(self, reference: Window) -> None:
        self.columns = flat(reference)
        self.measures = {name: _measures(column) for name, column in self.columns.items()}

    def __call__(self, window: Window) -> dict[str, float]:
        """Name of a rule -> its number."""
        found = np.asarray([self.measures[name](column) for name, column in flat(window).items()])
        evidently = np.sort(found[:, 2])[::-1]
        half = evidently[int(np.ceil(len(evidently) / 2)) - 1]
        return dict(zip(DEFAULTS, (found[:, 0].max(), found[:, 1].max(), half, evidently[0]), strict=True))


def _measures(then: Array) -> Callable[[Array], tuple[float, float, float]]:
    return _of_words(then) if then.dtype == object else _of_numbers(then)


def _psi(p: Array, q: Array) -> float:
    p, q = np.maximum(p, SMALLEST), np.maximum(q, SMALLEST)
    return float(((p - q) * np.log(p / q)).sum())


def _of_numbers(then: Array) -> Callable[[Array], tuple[float, float, float]]:
    then = np.sort(then[~np.isnan(then)])
    edges = np.unique(np.quantile(then, np.linspace(0, 1, 11)[1:-1]))
    shares = np.bincount(np.searchsorted(edges, then, side="right"), minlength=len(edges) + 1) / len(then)
    spread, n = max(float(then.std()), 1e-3), len(then)

    def measured(now: Array) -> tuple[float, float, float]:
        now = np.sort(now[~np.isnan(now)])
        m = len(now)
        if m < 2:  # Evidently refuses a column without values
            return 0.0, 0.0, np.inf
        cuts = np.searchsorted(now, edges, side="left")
        psi = _psi(shares, np.diff(np.r_[0, cuts, m]) / m)
        right, left = (np.searchsorted(then, now, side=side) / n for side in ("right", "left"))
        far = max(np.abs(right - np.arange(1, m + 1) / m).max(), np.abs(left - np.arange(m) / m).max())
        surprise = -float(np.log(max(stats.kstwobign.sf(far * np.sqrt(n * m / (n + m))), 1e-300)))
        if n <= FEW:
            return psi, surprise, surprise / -np.log(0.05)
        at = np.interp((np.arange(m) + 0.5) / m, (np.arange(n) + 0.5) / n, then)
        return psi, surprise, float(np.abs(now - at).mean()) / spread / 0.1

    return measured


def _of_words(then: Array) -> Callable[[Array], tuple[float, float, float]]:
    names, counts = np.unique([str(one) for one in then], return_counts=True)
    n = len(then)

    def measured(now: Array) -> tuple[float, float, float]:
        words, held = np.unique([str(one) for one in now], return_counts=True)
        every = np.union1d(names, words)
        p, q = np.zeros(len(every)), np.zeros(len(every))
        p[np.searchsorted(every, names)], q[np.searchsorted(every, words)] = counts, held
        both = stats.chi2_contingency(np.stack([p, q]) + 1e-9, correction=False).pvalue if len(every) > 1 else 1.0
        surprise = -float(np.log(max(both, 1e-300)))
        moved = float(np.nan_to_num(jensenshannon(p / n, q / len(now)))) / 0.1
        return _psi(p / n, q / len(now)), surprise, surprise / -np.log(0.05) if n <= FEW else moved

    return measured
