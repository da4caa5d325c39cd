"""Power: what a number of rows can tell.

Sources: Connor (1987), Biometrics 43, for paired proportions; Schuirmann (1987) for the non-inferiority of a
difference with a known standard error.
"""

from __future__ import annotations

import math

from mlratchet.models.evaluation.statistics.special import ndtri


def _spread(confidence: float, power: float) -> float:
    for name, value in (("confidence", confidence), ("power", power)):
        if not 0.5 < value < 1:
            raise ValueError(f"{name} must be between 0.5 and 1, got {value}")
    return float(ndtri(confidence) + ndtri(power))


def detectable_margin(n: int, *, disagreement: float, confidence: float, power: float = 0.8) -> float:
    """Smallest margin that an equally good candidate passes with probability `power`, on accuracy.

    Normal approximation for paired proportions: (z_conf + z_power) * sqrt(disagreement / n); `disagreement` is the
    share of rows on which exactly one of the two models is right, `confidence` one-sided.
    """
    if n <= 0:
        raise ValueError(f"n must be positive, got {n}")
    return _spread(confidence, power) * math.sqrt(disagreement / n)


def rows_needed(margin: float, *, disagreement: float, confidence: float, power: float = 0.8) -> int:
    """The reverse of `detectable_margin`: rows from which an equally good candidate passes `margin`."""
    if margin <= 0:
        raise ValueError(f"margin must be positive, got {margin}")
    return math.ceil(disagreement * (_spread(confidence, power) / margin) ** 2)


def detectable_difference(
    standard_error: float, *, measured_n: int, n: int, confidence: float, power: float = 0.8
) -> float:
    """Smallest margin (or true gain, for superiority) that is shown with probability `power` on `n` units, for any
    metric, from the standard error of the paired difference measured on `measured_n` units
    (`paired_standard_error`). In the metric's unit."""
    if n <= 0 or measured_n <= 0 or not standard_error >= 0:
        raise ValueError(f"expected positive n and a standard error, got {n}, {measured_n}, {standard_error}")
    return _spread(confidence, power) * standard_error * math.sqrt(measured_n / n)


def units_needed(
    difference: float, standard_error: float, *, measured_n: int, confidence: float, power: float = 0.8
) -> int:
    """The reverse of `detectable_difference`."""
    if difference <= 0:
        raise ValueError(f"difference must be positive, got {difference}")
    return math.ceil(measured_n * (_spread(confidence, power) * standard_error / difference) ** 2)
