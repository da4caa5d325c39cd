"""The difference of two shares over the same rows, exact where few rows are decided differently.

Tango's score is normal only for many disagreements: with eight expected ones, of which most are gained, its 5 % are up
to 9 %. Its tail is summed instead over every table of gained and lost rows, at the nuisance parameter that is most
likely under the hypothesis: the estimated p value of Lloyd and Moldovan (2008), Statistics in Medicine 27, "A more
powerful exact test of noninferiority from binary matched-pairs data". By enumeration it is wrong in at most 5.3 % for
5 %, for 30 rows and more and every share of disagreements (docs/statistics.md).

Shape legend: T tables.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
from mlratchet.models.evaluation.statistics.interval import Confidence
from mlratchet.models.evaluation.statistics.proportions import EDGE, PairedScore, tango_scores
from mlratchet.models.evaluation.statistics.special import brentq, gammaln, ndtr, xlogy
from mlratchet.models.metrics.base import Array

FEW = 100  # disagreements; above, the normal tail is wrong in at most 5.6 % for 5 %
FAR = 8.0  # standard errors from which a tail is 0 or 1 to the last digit that matters
LOOKS = 24  # places at which a bound is looked for before it is refined


def paired_share(gained: int, lost: int, n: int) -> Confidence:
    """Of (gained - lost) / n: exact for few disagreements, Tango's score for many."""
    return ExactPairs(gained, lost, n) if gained + lost <= FEW else PairedScore(gained, lost, n)


class ExactPairs(PairedScore):
    """Bounds are where the exact tail of Tango's score reaches alpha."""

    method = "Tango score, exact tail (paired)"

    def low(self, alpha: float) -> float:
        """The least difference that is not rejected."""
        if alpha >= 0.5:
            return self.high(1 - alpha)
        return _least(self.gained, self.lost, self.units, alpha)

    def high(self, alpha: float) -> float:
        """Mirror of `low`."""
        if alpha >= 0.5:
            return self.low(1 - alpha)
        return -_least(self.lost, self.gained, self.units, alpha)

    def p_greater(self, x: float) -> float:
        """Exact upper tail of the score at x."""
        return _tail(self.gained, self.lost, self.units, x)

    def p_less(self, x: float) -> float:
        """Exact lower tail of the score at x."""
        return _tail(self.lost, self.gained, self.units, -x)


def _around(n: int, share: float) -> Array:
    """Counts that a binomial of n takes, but for one in 10^12."""
    half = FAR * math.sqrt(n * share) + FAR
    return np.arange(max(0, math.floor(n * share - half)), min(n, math.ceil(n * share + half)) + 1, dtype=np.float64)


def _tail(gained: int, lost: int, n: int, delta: float) -> float:
    """Probability of a score at least as high as the observed one when the difference is `delta`."""
    if not -1 < delta < 1:
        return 0.0 if delta <= -1 else 1.0
    observed, share = (float(one) for one in tango_scores(gained, lost, n, delta))
    if abs(observed) > FAR:
        return float(ndtr(-observed))
    gains, losses = share + delta, share
    gained_T, lost_T = (side.ravel() for side in np.meshgrid(_around(n, gains), _around(n, losses), indexing="ij"))
    possible = gained_T + lost_T <= n
    gained_T, lost_T = gained_T[possible], lost_T[possible]
    same_T = n - gained_T - lost_T
    log_T = gammaln(n + 1) - gammaln(gained_T + 1) - gammaln(lost_T + 1) - gammaln(same_T + 1)
    log_T += xlogy(gained_T, gains) + xlogy(lost_T, losses) + xlogy(same_T, max(1 - gains - losses, 0.0))
    chance_T = np.exp(log_T)
    below = chance_T[tango_scores(gained_T, lost_T, n, delta)[0] < observed - 1e-9].sum()
    return float(min(max(1.0 - below, 0.0), 1.0))


@lru_cache(maxsize=4096)
def _least(gained: int, lost: int, n: int, alpha: float) -> float:
    """The least difference whose tail is above alpha. The tail rises with the difference but for steps of single
    tables, so it is looked at from below."""
    observed = (gained - lost) / n
    if observed <= -EDGE:
        return -1.0

    def above(delta: float) -> float:
        return _tail(gained, lost, n, delta) - alpha

    start, step = PairedScore(gained, lost, n).low(alpha), 0.0
    while above(max(start - step, -EDGE)) > 0 and start - step > -EDGE:
        step = 2 * step + (observed - start) / 4 + 1 / n
    places = np.linspace(max(start - step, -EDGE), observed, LOOKS)
    for before, here in pairwise(places):
        if above(float(here)) > 0:
            return float(brentq(above, before, here, xtol=1e-9)) if above(float(before)) < 0 else float(before)
    return observed
