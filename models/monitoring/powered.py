"""Losses of all rows where only some were drawn for labelling.

Sources: Angelopoulos et al. (2023), Prediction-powered inference, Science 382, with the inverse of the drawing's
probability (Horvitz and Thompson 1952).

Shape legend: T rows in the order of their requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.monitoring.bound import row_within

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class PoweredValues:
    """Values whose mean is that of the losses of all rows, and what they lie between."""

    values: Array
    """(T,)."""
    lowest: float
    highest: float


def powered_values(
    estimates_T: Any, drawn_T: Any, probabilities_T: Any, losses_T: Any, *, least_probability: float
) -> PoweredValues:
    """Losses of all rows where only some were drawn for labelling: f + (drawn / p) (y - f).

    Args:
        estimates_T: Estimated losses in [0, 1], fitted on earlier labels alone.
        drawn_T: Whether our own labelling request drew the row.
        probabilities_T: With which probability it could be drawn; recorded at the drawing.
        losses_T: Losses in [0, 1] of the rows with a label, NaN for the others; a drawn row without a label counts as a
            loss of 1.
        least_probability: The least that is ever used, which bounds the values to [1 - 1/p, 1/p].

    Raises ``ValueError`` for estimates or losses out of [0, 1] and probabilities below the least.
    """
    f_T, p_T = row_within(estimates_T, 0, 1), np.asarray(probabilities_T, dtype=np.float64)
    drawn = np.asarray(drawn_T, dtype=bool)
    if not 0 < least_probability <= 1:
        raise ValueError(f"least_probability must be above 0 and at most 1, got {least_probability}")
    if len(p_T) and not (p_T.min() >= least_probability and p_T.max() <= 1):
        raise ValueError(
            f"probabilities must lie within [{least_probability:g}, 1], got {p_T.min():g} to {p_T.max():g}"
        )
    y_T = np.asarray(losses_T, dtype=np.float64)
    y_T = row_within(np.where(np.isnan(y_T), 1.0, y_T), 0, 1)
    values_T = f_T + np.where(drawn, (y_T - f_T) / p_T, 0.0)
    return PoweredValues(values=values_T, lowest=1 - 1 / least_probability, highest=1 / least_probability)
