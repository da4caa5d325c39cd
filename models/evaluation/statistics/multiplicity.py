"""Several tests at once. Holm (1979), Scandinavian Journal of Statistics 6."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values: rejecting those below alpha keeps the chance of any false rejection at alpha, however the
    tests depend on each other. A p value that is not in [0, 1] (NaN included) is refused."""
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p values must be in [0, 1], got {[float(v) for v in p if not 0 <= v <= 1]}")
    if not len(p):
        return []
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]
