"""`robustness`: how much a metric drops when the input is perturbed in a declared way."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.perturb import PerturbationSpec, check_perturbation, perturbation_name
from mlratchet.models.gates.checks.base import SCORED_GATES, Needs, PolicyContext
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.statistical import OnMetric
from mlratchet.models.gates.intervals import Estimate, gain_of
from mlratchet.models.gates.pilot import Pilot, margin_note
from mlratchet.models.gates.result import CheckResult, Verdict, unknown
from mlratchet.models.metrics import Metric
from mlratchet.models.objectives.naming import objective_of
from pydantic import Field


class RobustnessCheck(OnMetric):
    """The candidate on perturbed rows against itself on the rows as they are (paired)."""

    gates = SCORED_GATES
    wears = True
    levels = ()
    margins = ("maximum_drop",)

    kind: Literal["robustness"]
    perturbation: PerturbationSpec
    maximum_drop: float = Field(gt=0)
    """In the metric's unit, in the direction that is worse."""
    compare: Literal["estimate", "interval"] = "estimate"
    """`interval`: the upper bound of the drop must hold."""

    @property
    def user_code(self) -> tuple[str, ...]:
        """With a perturbation that is a function of the user's."""
        function = getattr(self.perturbation, "function", None)
        return super().user_code + ((function,) if function is not None else ())

    def needs(self) -> Needs:
        """The candidate on perturbed rows."""
        return Needs(perturbations=(self.perturbation,))

    def validate_in(self, context: PolicyContext, where: str) -> None:
        """A perturbation that the input and the objective allow."""
        super().validate_in(context, where)
        kind, objective = self.perturbation.kind, objective_of(context.task)
        if kind in objective.unfit_perturbations:
            why = objective.unfit_perturbations[kind]
            raise ConfigurationError(f"{where}: {kind} does not fit a {objective.name}: {why}; remove the check")
        if context.input_spec is not None:
            check_perturbation(self.perturbation, context.input_spec, where)

    def power_of(self, metric: Metric, pilot: Pilot) -> str:
        """Of the interval alone."""
        if self.compare == "estimate":
            return ""
        return margin_note(metric, self.maximum_drop, pilot, confidence=self.confidence)

    def judge(self, case: Case) -> CheckResult:
        """The drop, or its upper bound, against the maximum."""
        name = perturbation_name(self.perturbation)
        threshold = f"<= {self.maximum_drop:g} under {name}"
        metric, clean = case.metrics.get(self.metric), case.evidence.candidate
        if metric is None:
            return unknown(self.kind, self.metric, "?", f"unknown metric; there are {', '.join(case.metrics)}")
        perturbed = case.evidence.perturbed.get(name)
        why = case.pair_refused(clean, perturbed, f"candidate under {name}")
        if why or clean is None or perturbed is None:
            return unknown(self.kind, self.metric, threshold, why)
        confidence = case.confidence(self)
        two_sided = 2 * confidence - 1
        found = gain_of(metric, perturbed, clean, resamples=case.resamples(self, confidence), seed=self.seed)
        if found.why or (case.compare(self.compare) == "interval" and found.interval(two_sided) is None):
            return unknown(self.kind, self.metric, threshold, found.why or found.span(two_sided), found.n)
        return self._judged(case, name, threshold, found, two_sided)

    def _judged(self, case: Case, name: str, threshold: str, found: Estimate, two_sided: float) -> CheckResult:
        gained, drop = found.interval(two_sided), 0.0 - found.value
        interval = (0.0 - gained[1], 0.0 - gained[0]) if gained is not None else None
        verdict: Verdict = "pass" if drop <= self.maximum_drop else "fail"
        words = "<=" if verdict == "pass" else ">"
        if case.compare(self.compare) == "interval" and interval is not None:
            low, high = interval
            verdict = "pass" if high <= self.maximum_drop else "fail" if low > self.maximum_drop else "inconclusive"
            relation = {"pass": "<=", "fail": "surely >", "inconclusive": "not surely <="}[verdict]
            words = f"upper bound {high:+.4f} {relation}"
        spread = found.span(two_sided)
        if interval:
            spread = f"drop {interval[0]:.4f} to {interval[1]:.4f}, {found.bounds.method}"
        shown = f"{self.metric} drop {drop:+.4f} under {name}: {words} {self.maximum_drop:g}"
        return CheckResult(
            kind=self.kind,
            metric=self.metric,
            verdict=verdict,
            reason=f"{shown} (n={found.n}, {spread})",
            threshold=threshold,
            value=drop,
            interval=interval,
            interval_level=two_sided,
            n=found.n,
            method=found.bounds.method,
            seed=found.seed,
        )
