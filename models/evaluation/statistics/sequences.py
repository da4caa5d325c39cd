"""Confidence sequences: bounds that hold at every moment at once, for data that arrives over time (probation, live
labels). Looking as often as one likes and stopping when one likes keeps the stated error; an ordinary interval looked
at fifty times is wrong a quarter of the time.

Sources: Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting, JRSS B 86, theorem 2
(empirical Bernstein, predictable plug-in); Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Time-uniform central
limit theory and asymptotic confidence sequences, Annals of Statistics 52, theorem 2.2 and section 2.4.

Shape legend: T observations in the order of their arrival.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from mlratchet.models.metrics.base import Array

LARGEST_BET = 0.5  # the truncation of theorem 2; any value below 1 is valid


@dataclass(frozen=True, kw_only=True, eq=False)
class ConfidenceSequence:
    """(T,) bounds of the mean after each observation; with the stated probability the mean lies within all of them."""

    low: Array
    high: Array
    method: str

    def first_above(self, x: float) -> int | None:
        """Observations after which the mean is surely above x; None if it never was."""
        above = np.flatnonzero(self.low > x)
        return int(above[0]) + 1 if len(above) else None

    def first_below(self, x: float) -> int | None:
        """Observations after which the mean is surely below x; None if it never was."""
        below = np.flatnonzero(self.high < x)
        return int(below[0]) + 1 if len(below) else None


def _checked(values_T: Array, confidence: float) -> tuple[Array, float]:
    values = np.asarray(values_T, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"expected a row of finite numbers, got shape {values.shape}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    return values, 1 - confidence


def bounded_mean_sequence(values_T: Array, *, lowest: float, highest: float, confidence: float) -> ConfidenceSequence:
    """For values within [lowest, highest], such as gained less lost in [-1, 1]: no assumption but that bound and a
    constant conditional mean. Non-asymptotic; two-sided, each side alone is wrong with half of 1 - confidence."""
    values, alpha = _checked(values_T, confidence)
    if not lowest < highest or values.min() < lowest or values.max() > highest:
        raise ValueError(f"values must lie within [{lowest}, {highest}], got {values.min()} to {values.max()}")
    x = (values - lowest) / (highest - lowest)
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    mean_before, variance_before = np.append(0.5, mean[:-1]), np.append(0.25, variance[:-1])
    bet = np.minimum(np.sqrt(2 * math.log(2 / alpha) / (variance_before * t * np.log1p(t))), LARGEST_BET)
    penalty = (x - mean_before) ** 2 * (-np.log1p(-bet) - bet)  # v_t psi_E(bet) = 4 (x - mean)^2 (...) / 4
    total = np.cumsum(bet)
    centre = np.cumsum(bet * x) / total
    half = (math.log(2 / alpha) + np.cumsum(penalty)) / total
    low = np.maximum.accumulate(np.clip(centre - half, 0, 1))
    high = np.minimum.accumulate(np.clip(centre + half, 0, 1))
    span = highest - lowest
    return ConfidenceSequence(low=lowest + span * low, high=lowest + span * high, method="empirical Bernstein sequence")


def mean_sequence(values_T: Array, *, confidence: float, tuned_to: int = 500, burn_in: int = 100) -> ConfidenceSequence:
    """For values without a known bound, such as paired differences of log loss or squared error: asymptotic, with a
    normal mixture that is tightest after `tuned_to` observations. Infinite before `burn_in`, where the variance is not
    known well enough."""
    values, alpha = _checked(values_T, confidence)
    t = np.arange(1, len(values) + 1)
    mean = np.cumsum(values) / t
    deviation = np.sqrt(np.maximum(np.cumsum(values**2) / t - mean**2, 0.0))
    rho2 = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / tuned_to
    half = deviation * np.sqrt(2 * (t * rho2 + 1) / (t**2 * rho2) * np.log(np.sqrt(t * rho2 + 1) / alpha))
    half = np.where(t < burn_in, np.inf, half)
    return ConfidenceSequence(
        low=np.maximum.accumulate(mean - half),
        high=np.minimum.accumulate(mean + half),
        method="asymptotic normal-mixture sequence",
    )
