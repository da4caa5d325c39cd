"""What a statistical method answers: bounds at any confidence, and p values; one class per kind of answer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from mlratchet.models.evaluation.statistics.special import stdtr, stdtrit


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A two-sided interval and how it was made."""

    low: float
    high: float
    method: str
    undefined: int = 0
    """Resamples in which the metric was undefined. They count as the worst value at either end, so that a bound stays
    valid; it is infinite when they reach it."""
    units: int = 0
    """Independent units behind the interval: rows, queries, clusters, or the rows of the smaller class."""
    doubt: str = ""
    """Why the method does not hold its confidence here (too few units); a check must not pass on such an interval."""


class Confidence(ABC):
    """All bounds of one quantity: what an interval and a p value are read from.

    `low(alpha)` is a one-sided lower bound that is wrong with probability alpha; `p_greater(x)` is the p value of
    "the quantity is at most x", which is small when it is greater. The two are inverses: p_greater(low(a)) = a.
    """

    method: str
    units: int
    doubt: str = ""
    undefined: int = 0

    @abstractmethod
    def low(self, alpha: float) -> float:
        """One-sided lower bound at confidence 1 - alpha."""

    @abstractmethod
    def high(self, alpha: float) -> float:
        """One-sided upper bound at confidence 1 - alpha."""

    @abstractmethod
    def p_greater(self, x: float) -> float:
        """P value against "the quantity is at most x"."""

    @abstractmethod
    def p_less(self, x: float) -> float:
        """P value against "the quantity is at least x"."""

    def interval(self, confidence: float) -> Interval:
        """Two-sided, with equal tails."""
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
        alpha = (1 - confidence) / 2
        return Interval(
            low=self.low(alpha), high=self.high(alpha), method=self.method,
            undefined=self.undefined, units=self.units, doubt=self.doubt,
        )  # fmt: skip


class StudentConfidence(Confidence):
    """Estimate plus or minus a multiple of the standard error by Student's t, on the logit scale when `logit`."""

    def __init__(
        self, estimate: float, error: float, *, degrees: float, method: str, units: int, doubt: str, logit: bool
    ) -> None:
        self.method, self.units, self.doubt, self.logit, self.degrees = method, units, doubt, logit, degrees
        self.centre = math.log(estimate / (1 - estimate)) if logit else estimate
        self.error = error / (estimate * (1 - estimate)) if logit else error

    def low(self, alpha: float) -> float:
        """Centre + t(alpha) * error."""
        found = self.centre + float(stdtrit(self.degrees, alpha)) * self.error
        return 1 / (1 + math.exp(-found)) if self.logit else found

    def high(self, alpha: float) -> float:
        """Centre - t(alpha) * error."""
        return self.low(1 - alpha)

    def p_greater(self, x: float) -> float:
        """Tail of Student's t."""
        if self.logit:
            if not 0 < x < 1:
                return 0.0 if x <= 0 else 1.0
            x = math.log(x / (1 - x))
        return float(stdtr(self.degrees, (x - self.centre) / self.error))

    def p_less(self, x: float) -> float:
        """Tail of Student's t."""
        return 1.0 - self.p_greater(x)


class WiderConfidence(Confidence):
    """Of two methods the wider bound, end by end: wrong no more often than the better of the two."""

    def __init__(self, first: Confidence, second: Confidence, *, method: str) -> None:
        self._both, self.method = (first, second), method
        self.units, self.undefined = first.units, max(first.undefined, second.undefined)
        self.doubt = first.doubt or second.doubt

    def low(self, alpha: float) -> float:
        """The lower of the two."""
        return min(one.low(alpha) for one in self._both)

    def high(self, alpha: float) -> float:
        """The higher of the two."""
        return max(one.high(alpha) for one in self._both)

    def p_greater(self, x: float) -> float:
        """The larger of the two."""
        return max(one.p_greater(x) for one in self._both)

    def p_less(self, x: float) -> float:
        """The larger of the two."""
        return max(one.p_less(x) for one in self._both)


class EndByEnd(Confidence):
    """The lower bound of one answer and the upper bound of another, where each end is made for itself."""

    def __init__(self, lower: Confidence, upper: Confidence, *, method: str, units: int) -> None:
        self._lower, self._upper, self.method, self.units = lower, upper, method, units
        self.undefined, self.doubt = max(lower.undefined, upper.undefined), lower.doubt or upper.doubt

    def low(self, alpha: float) -> float:
        """Of the one for this end."""
        return self._lower.low(alpha)

    def high(self, alpha: float) -> float:
        """Of the one for this end."""
        return self._upper.high(alpha)

    def p_greater(self, x: float) -> float:
        """As `low`."""
        return self._lower.p_greater(x)

    def p_less(self, x: float) -> float:
        """As `high`."""
        return self._upper.p_less(x)


class NoConfidence(Confidence):
    """Nothing can be said: bounds are NaN and p values 1."""

    method = "none"

    def __init__(self, doubt: str, *, units: int = 0, undefined: int = 0) -> None:
        self.doubt, self.units, self.undefined = doubt, units, undefined

    def low(self, alpha: float) -> float:  # noqa: ARG002
        """NaN."""
        return math.nan

    def high(self, alpha: float) -> float:  # noqa: ARG002
        """NaN."""
        return math.nan

    def p_greater(self, x: float) -> float:  # noqa: ARG002
        """No evidence."""
        return 1.0

    def p_less(self, x: float) -> float:  # noqa: ARG002
        """No evidence."""
        return 1.0
