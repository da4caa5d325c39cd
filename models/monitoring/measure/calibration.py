"""Whether a confidence still means what it meant on the test rows: the gap between how often answers of each confidence
are right now and how often they were then.

Expected calibration error (Naeini et al. 2015) compares a confidence with the truth; a model that was overconfident on
its test rows, too, has not changed. So what is held against a limit is the change: the mean over the bins of the
reference, weighted by the window's rows, of |right now - right then|. Sampling adds to such a mean of absolute values:
the interval is a basic bootstrap of both sides (Davison and Hinkley 1997, sec. 5.2), which takes it off.

Shape legend: T rows, B bins, R resamples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mlratchet.models.monitoring.measure.estimate import Reliability
from mlratchet.models.monitoring.window import Figure

Array = np.ndarray[Any, Any]
CALIBRATION = "calibration_drift"
MOST = 0.05  # of the rows: as many more or fewer are right as their confidence meant
LEAST_ROWS = 100
RESAMPLES = 1000
SEED = 14


def calibration_drift(confidence_T: Array, right_T: Array, then: Reliability) -> Figure | None:
    """How far right answers are from what their confidence meant; None for fewer than 100 labelled rows.

    Args:
        confidence_T: Of the labelled rows.
        right_T: 1.0 where the answer was right.
        then: Of the test rows, without labels that came since.
    """
    if len(confidence_T) < LEAST_ROWS:
        return None
    now = np.searchsorted(np.asarray(then.edges), confidence_T, side="right")
    count = len(then.rows)
    rows_B = np.bincount(now, minlength=count).astype(np.int64)
    right_B = np.bincount(now, weights=right_T, minlength=count)
    known_B = np.asarray(then.rows).astype(np.int64)
    held = (rows_B > 0) & (known_B > 0)
    if not held.any():
        return None
    rows_B, right_B, known_B = rows_B[held], right_B[held], known_B[held]
    share_B, usual_B = right_B / rows_B, np.asarray(then.right)[held] / known_B
    weights_B = rows_B / rows_B.sum()
    rng = np.random.default_rng(SEED)
    # where all of a bin were right a resample would say that nothing else is possible: half a row of each kind more
    soft, soft_usual = (right_B + 0.5) / (rows_B + 1), (usual_B * known_B + 0.5) / (known_B + 1)
    resampled_RB = rng.binomial(rows_B, soft, (RESAMPLES, len(rows_B))) / rows_B
    usual_RB = rng.binomial(known_B, soft_usual, (RESAMPLES, len(rows_B))) / known_B
    effect = float(weights_B @ np.abs(share_B - usual_B))
    drawn_R = np.abs(resampled_RB - usual_RB) @ weights_B
    low, high = (max(0.0, 2 * effect - float(end)) for end in np.quantile(drawn_R, [0.975, 0.025]))
    return Figure(
        value=effect, low=min(low, effect), high=max(high, effect), n=int(rows_B.sum()),
        method="mean |right now - right on the test rows| by confidence; basic bootstrap, 95 %",
    )  # fmt: skip
