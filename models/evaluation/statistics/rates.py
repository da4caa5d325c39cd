"""Bounds of a rate that may be looked at after every observation, from the two counts alone.

The Bernoulli likelihood mixed over a Beta(1/2, 1/2) distribution of the rate, divided by the likelihood of one rate p,
is a nonnegative martingale when p is the true rate. By Ville's inequality it ever reaches 1 / (1 - confidence) with a
probability of at most 1 - confidence, so that the rates for which it has not are a confidence sequence: looking as
often as one likes, and stopping when one likes, keeps the stated error.

Sources: Ville (1939); Robbins (1970), Statistical methods related to the law of the iterated logarithm, Annals of
Mathematical Statistics 41, section 4; Howard, Ramdas, McAuliffe and Sekhon (2021), Time-uniform, nonparametric,
nonasymptotic confidence sequences, Annals of Statistics 49, on the beta-binomial mixture.
"""

from __future__ import annotations

import math

from mlratchet.models.evaluation.statistics.interval import Interval
from mlratchet.models.evaluation.statistics.special import brentq

METHOD = "beta-binomial mixture sequence"
EDGE = 1e-12  # of the rates between which a bound is looked for


def rate_bounds(yes: int, n: int, confidence: float) -> Interval:
    """Of the rate behind `yes` among n independent observations of one rate; [0, 1] before the first.

    Both ends together are wrong with a probability of at most 1 - confidence, over all n at once.
    """
    _check(yes, n, confidence)
    if n == 0:
        return Interval(low=0.0, high=1.0, method=METHOD, units=0)
    mixed = math.lgamma(yes + 0.5) + math.lgamma(n - yes + 0.5) - math.lgamma(n + 1.0) - math.log(math.pi)
    limit = -math.log(1 - confidence)

    def beyond(rate: float) -> float:
        """Positive where the martingale has reached the limit."""
        likelihood = (yes * math.log(rate) if yes else 0.0) + ((n - yes) * math.log1p(-rate) if n > yes else 0.0)
        return mixed - likelihood - limit

    seen = min(max(yes / n, EDGE), 1 - EDGE)
    low = 0.0 if yes == 0 or beyond(EDGE) <= 0 else float(brentq(beyond, EDGE, seen))
    high = 1.0 if yes == n or beyond(1 - EDGE) <= 0 else float(brentq(beyond, seen, 1 - EDGE))
    return Interval(low=low, high=high, method=METHOD, units=n)


def rate_difference(ours: tuple[int, int], theirs: tuple[int, int], confidence: float) -> Interval:
    """Of our rate less theirs, each (yes, n); the two may be dependent: half of the error goes to either.

    As wide as [-1, 1] while either has no observation.
    """
    each = (1 + confidence) / 2
    a, b = rate_bounds(*ours, each), rate_bounds(*theirs, each)
    method = f"difference of two, each a {METHOD}"
    return Interval(low=a.low - b.high, high=a.high - b.low, method=method, units=min(a.units, b.units))


def _check(yes: int, n: int, confidence: float) -> None:
    if not 0 <= yes <= n:
        raise ValueError(f"expected 0 <= yes <= n, got {yes} of {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
