"""`absolute` and `calibration`: a metric of the candidate against a fixed bound."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import Bounded, Statistical
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.intervals import estimate_of
from mlratchet.models.gates.result import CheckResult, bound_words, unknown
from mlratchet.models.metrics.rows import RowOutputs


class AbsoluteCheck(Bounded, Statistical):
    """A metric of the candidate against a fixed bound. Exactly one of `minimum` and `maximum`."""

    kind: Literal["absolute"]
    metric: str
    compare: Literal["estimate", "interval"] = "estimate"  # not `on`, which YAML reads as true
    """`interval`: the worse end of the confidence interval must hold the bound."""


class CalibrationCheck(Statistical):
    """How well the candidate's probabilities fit what happens; all measures are better when lower."""

    kind: Literal["calibration"]
    measure: Literal["ece", "brier", "log_loss"]
    maximum: float
    compare: Literal["estimate", "interval"] = "estimate"
    """`interval`: the upper end of the confidence interval must hold the bound."""


def judge_absolute(check: AbsoluteCheck, case: Case) -> CheckResult:
    """The estimate, or the worse end of its interval, against the bound."""
    return _bounded(check, case, check.metric, check.minimum, check.maximum)


def judge_calibration(check: CalibrationCheck, case: Case) -> CheckResult:
    """The measure, or the upper end of its interval, against the maximum."""
    return _bounded(check, case, check.measure, None, check.maximum)


def _bounded(
    check: AbsoluteCheck | CalibrationCheck, case: Case, name: str, minimum: float | None, maximum: float | None
) -> CheckResult:
    threshold = bound_words(minimum, maximum)
    metric, rows = case.metrics.get(name), case.evidence.candidate
    if metric is None:
        return unknown(check.kind, name, "?", f"unknown metric; there are {', '.join(case.metrics)}")
    why = case.rows_refused(rows, "candidate")
    if why or not isinstance(rows, RowOutputs):
        return unknown(check.kind, name, threshold, why)
    confidence = case.confidence(check)
    found = estimate_of(metric, rows, resamples=case.resamples(check, (1 + confidence) / 2), seed=check.seed)
    interval = found.interval(confidence)
    if found.why:
        return unknown(check.kind, name, threshold, found.why, found.n)
    value, what = found.value, "estimate"
    if case.compare(check.compare) == "interval":
        if interval is None:
            return unknown(check.kind, name, threshold, found.span(confidence), found.n)
        which, value = ("lower", interval[0]) if minimum is not None else ("upper", interval[1])
        what = f"{which} end ({100 * confidence:.4g} %)"
    holds = value >= minimum if minimum is not None else maximum is not None and value <= maximum
    relation = threshold if holds else f"{'<' if minimum is not None else '>'} {threshold.split(' ')[1]}"
    return CheckResult(
        kind=check.kind,
        metric=name,
        verdict="pass" if holds else "fail",
        reason=f"{name} {what} {value:.4f} {relation} (n={found.n}, {found.span(confidence)})",
        threshold=threshold,
        value=found.value,
        interval=interval,
        n=found.n,
        method=found.bounds.method,
        seed=found.seed,
    )
