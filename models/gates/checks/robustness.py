"""`robustness`: how much a metric drops when the input is perturbed in a declared way."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.evaluation.perturb import PerturbationSpec, perturbation_name
from mlratchet.models.gates.checks.base import Statistical
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.intervals import gain_of
from mlratchet.models.gates.result import CheckResult, Verdict, unknown
from pydantic import Field


class RobustnessCheck(Statistical):
    """The candidate on perturbed rows against itself on the rows as they are (paired)."""

    kind: Literal["robustness"]
    perturbation: PerturbationSpec
    metric: str
    maximum_drop: float = Field(gt=0)
    """In the metric's unit, in the direction that is worse."""
    compare: Literal["estimate", "interval"] = "estimate"
    """`interval`: the upper bound of the drop must hold."""


def judge_robustness(check: RobustnessCheck, case: Case) -> CheckResult:
    """The drop, or its upper bound, against the maximum."""
    name = perturbation_name(check.perturbation)
    threshold = f"<= {check.maximum_drop:g} under {name}"
    metric, clean = case.metrics.get(check.metric), case.evidence.candidate
    if metric is None:
        return unknown(check.kind, check.metric, "?", f"unknown metric; there are {', '.join(case.metrics)}")
    perturbed = case.evidence.perturbed.get(name)
    who = f"candidate under {name}"
    why = case.pair_refused(clean, perturbed, who)
    if why or clean is None or perturbed is None:
        return unknown(check.kind, check.metric, threshold, why)
    confidence = case.confidence(check)
    two_sided = 2 * confidence - 1
    found = gain_of(metric, perturbed, clean, resamples=case.resamples(check, confidence), seed=check.seed)
    gained, compare = found.interval(two_sided), case.compare(check.compare)
    if found.why or (compare == "interval" and gained is None):
        return unknown(check.kind, check.metric, threshold, found.why or found.span(two_sided), found.n)
    drop = 0.0 - found.value
    interval = (0.0 - gained[1], 0.0 - gained[0]) if gained is not None else None
    verdict: Verdict = "pass" if drop <= check.maximum_drop else "fail"
    words = "<=" if verdict == "pass" else ">"
    if compare == "interval" and interval is not None:
        lower, upper = interval
        verdict = "pass" if upper <= check.maximum_drop else "fail" if lower > check.maximum_drop else "inconclusive"
        relation = {"pass": "<=", "fail": "surely >", "inconclusive": "not surely <="}[verdict]
        words = f"upper bound {upper:+.4f} {relation}"
    spread = (
        f"drop {interval[0]:.4f} to {interval[1]:.4f}, {found.bounds.method}" if interval else found.span(two_sided)
    )
    return CheckResult(
        kind=check.kind,
        metric=check.metric,
        verdict=verdict,
        reason=(
            f"{check.metric} drop {drop:+.4f} under {name}: {words} {check.maximum_drop:g} (n={found.n}, {spread})"
        ),
        threshold=threshold,
        value=drop,
        interval=interval,
        n=found.n,
        method=found.bounds.method,
        seed=found.seed,
    )
