"""Shares of rows: one proportion, and the difference of two proportions over the same rows.

Sources: Wilson (1927), JASA 22; Clopper and Pearson (1934), Biometrika 26; McNemar (1947), Psychometrika 12; Tango
(1998), Statistics in Medicine 17; Fagerland, Lydersen and Laake (2013), BMC Medical Research Methodology 13, on which
to use when.
"""

from __future__ import annotations

import math

import numpy as np
from mlratchet.models.evaluation.statistics.interval import Confidence, Interval
from mlratchet.models.evaluation.statistics.special import bdtr, betainc, betaincinv, brentq, ndtr, ndtri
from mlratchet.models.metrics.base import Array

EDGE = 1 - 1e-9
Counts = int | Array  # of rows


def wilson(successes: int, n: int, confidence: float) -> Interval:
    """Two-sided Wilson score interval of a proportion: short, right on average, a little short near 0 and 1."""
    if n <= 0:
        raise ValueError(f"n must be positive, got {n}")
    z = float(ndtri(0.5 + confidence / 2))
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(low=max(0.0, centre - half), high=min(1.0, centre + half), method="Wilson score", units=n)


class ExactBinomial(Confidence):
    """Clopper and Pearson: never wrong more often than stated, whatever n and the proportion."""

    method = "Clopper-Pearson (exact binomial)"

    def __init__(self, successes: float, n: float) -> None:
        """Counts; not whole where rows are worth less than one each."""
        if n <= 0 or not 0 <= successes <= n:
            raise ValueError(f"expected 0 <= successes <= n and n > 0, got {successes}, {n}")
        self.successes, self.n, self.units = successes, n, int(n)

    def low(self, alpha: float) -> float:
        """Where so many successes or more have probability alpha."""
        k, n = self.successes, self.n
        return 0.0 if k == 0 else float(betaincinv(k, n - k + 1, alpha))

    def high(self, alpha: float) -> float:
        """Where so few successes or fewer have probability alpha."""
        k, n = self.successes, self.n
        return 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - alpha))

    def p_greater(self, x: float) -> float:
        """Binomial upper tail."""
        k, n = self.successes, self.n
        return 1.0 if k == 0 else float(betainc(k, n - k + 1, min(max(x, 0.0), 1.0)))

    def p_less(self, x: float) -> float:
        """Binomial lower tail."""
        k, n = self.successes, self.n
        return 1.0 if k == n else float(betainc(n - k, k + 1, 1 - min(max(x, 0.0), 1.0)))


def clopper_pearson(successes: int, n: int, confidence: float) -> Interval:
    """Two-sided exact interval of a proportion."""
    return ExactBinomial(successes, n).interval(confidence)


def tango_scores(gained: Counts, lost: Counts, n: int, delta: float) -> tuple[Array, Array]:
    """Score of one table or of many: standardised distance of (gained - lost) / n from `delta`, and the share of lost
    rows that is most likely when the difference is `delta`. Shapes as `gained` and `lost`."""
    a = 2.0 * n
    b = -gained - lost + (2 * n - gained + lost) * delta
    c = -lost * delta * (1 - delta)
    share = np.maximum((np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)) - b) / (2 * a), max(0.0, -delta))
    variance = n * (2 * share + delta * (1 - delta))
    return (gained - lost - n * delta) / np.sqrt(np.maximum(variance, 1e-300)), share


class PairedScore(Confidence):
    """Tango's score for (gained - lost) / n: inverts the test in which the nuisance parameter is its constrained
    maximum-likelihood estimate, so that a pair without any disagreement still has an interval."""

    method = "Tango score (paired)"

    def __init__(self, gained: int, lost: int, n: int) -> None:
        if n <= 0 or gained < 0 or lost < 0 or gained + lost > n:
            raise ValueError(f"expected 0 <= gained + lost <= n and n > 0, got {gained}, {lost}, {n}")
        self.gained, self.lost, self.units = gained, lost, n

    def score(self, delta: float) -> float:
        """Standardised distance of the observed difference from `delta`."""
        return float(tango_scores(self.gained, self.lost, self.units, delta)[0])

    def low(self, alpha: float) -> float:
        """Where the score is the normal quantile; the score falls as delta grows."""
        observed, z = (self.gained - self.lost) / self.units, float(ndtri(1 - alpha))
        if z < 0:
            return self.high(1 - alpha)
        return -1.0 if observed <= -EDGE else float(brentq(lambda d: self.score(d) - z, -EDGE, observed - 1e-12))

    def high(self, alpha: float) -> float:
        """Mirror of `low`."""
        observed, z = (self.gained - self.lost) / self.units, float(ndtri(1 - alpha))
        if z < 0:
            return self.low(1 - alpha)
        return 1.0 if observed >= EDGE else float(brentq(lambda d: self.score(d) + z, observed + 1e-12, EDGE))

    def p_greater(self, x: float) -> float:
        """Normal tail of the score at x."""
        if not -1 < x < 1:
            return 0.0 if x <= -1 else 1.0
        return float(ndtr(-self.score(x)))

    def p_less(self, x: float) -> float:
        """Normal tail of the score at x."""
        return 1.0 - self.p_greater(x)


def tango(gained: int, lost: int, n: int, confidence: float) -> Interval:
    """Two-sided score interval of (gained - lost) / n, the difference of paired proportions.

    Args:
        gained: Rows that only the candidate has right.
        lost: Rows that only the champion has right.
        n: All rows.
        confidence: Of the two-sided interval; each end alone is a one-sided bound at (1 + confidence) / 2.
    """
    return PairedScore(gained, lost, n).interval(confidence)


def mcnemar(gained: int, lost: int, *, mid_p: bool = False) -> float:
    """Two-sided exact p value that two models are right equally often, from the rows on which only one is.

    Under equality `gained` is binomial(gained + lost, 1/2). `mid_p` halves the probability of the observed outcome:
    closer to the stated level, no longer a guarantee (Fagerland et al. 2013).
    """
    if gained < 0 or lost < 0:
        raise ValueError(f"counts must not be negative, got {gained}, {lost}")
    n, fewer = gained + lost, min(gained, lost)
    if n == 0:
        return 1.0
    tail = float(bdtr(fewer, n, 0.5))
    if mid_p:
        observed = tail - (float(bdtr(fewer - 1, n, 0.5)) if fewer > 0 else 0.0)
        return 1.0 - observed if gained == lost else 2 * tail - observed
    return min(1.0, 2 * tail)
