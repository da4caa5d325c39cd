"""One model's metric against a fixed bound: what `absolute` and `calibration` share."""

from __future__ import annotations

from typing import ClassVar, Literal

from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.statistical import Statistical
from mlratchet.models.gates.intervals import estimate_of
from mlratchet.models.gates.pilot import Pilot, bound_note
from mlratchet.models.gates.result import CheckResult, bound_words, unknown
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.rows import RowOutputs


class Level(Statistical):
    """The estimate, or the worse end of its interval, against the one of `levels` that is given."""

    margins: ClassVar[tuple[str, ...]] = ()
    compare: Literal["estimate", "interval"] = "estimate"

    def power_of(self, metric: Metric, pilot: Pilot) -> str:
        """Where the interval is asked: how far beyond the bound a model must truly be."""
        if self.compare == "estimate":
            return ""
        bound = next(given for name in self.levels if (given := getattr(self, name)) is not None)
        return bound_note(metric, bound, pilot, confidence=self.confidence)

    def judge_between(self, case: Case, minimum: float | None, maximum: float | None) -> CheckResult:
        """Exactly one of the two is given."""
        name, threshold = self.subject, bound_words(minimum, maximum)
        metric, rows = case.metrics.get(name), case.evidence.candidate
        if metric is None:
            return unknown(self.kind, name, "?", f"unknown metric; there are {', '.join(case.metrics)}")
        why = case.rows_refused(rows, "candidate")
        if why or not isinstance(rows, RowOutputs):
            return unknown(self.kind, name, threshold, why)
        confidence = case.confidence(self)
        found = estimate_of(metric, rows, resamples=case.resamples(self, (1 + confidence) / 2), seed=self.seed)
        interval = found.interval(confidence)
        if found.why:
            return unknown(self.kind, name, threshold, found.why, found.n)
        value, what = found.value, "estimate"
        if case.compare(self.compare) == "interval":
            if interval is None:
                return unknown(self.kind, name, threshold, found.span(confidence), found.n)
            which, value = ("lower", interval[0]) if minimum is not None else ("upper", interval[1])
            what = f"{which} end ({100 * confidence:.4g} %)"
        holds = value >= minimum if minimum is not None else maximum is not None and value <= maximum
        relation = threshold if holds else f"{'<' if minimum is not None else '>'} {threshold.split(' ')[1]}"
        return CheckResult(
            kind=self.kind,
            metric=name,
            verdict="pass" if holds else "fail",
            reason=f"{name} {what} {value:.4f} {relation} (n={found.n}, {found.span(confidence)})",
            threshold=threshold,
            value=found.value,
            interval=interval,
            interval_level=confidence,
            n=found.n,
            method=found.bounds.method,
            seed=found.seed,
        )
