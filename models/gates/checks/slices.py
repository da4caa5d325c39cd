"""`slice`: the metric holds on every slice of the rows, with Holm's correction over the slices.

Holm (1979), Scandinavian Journal of Statistics 6. With m slices and error probability alpha, a slice is shown to be
good when its one-sided test is rejected by the step-down procedure; the gate passes when all are, and the chance that
any slice was called good that is not stays below alpha. Slices are shown to be bad in the same way.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Literal

import numpy as np
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.slices import require_columns, slice_labels, take_rows
from mlratchet.models.evaluation.statistics import detectable_difference
from mlratchet.models.evaluation.statistics.multiplicity import holm
from mlratchet.models.evaluation.statistics.unseen import too_few_rows
from mlratchet.models.functions import REFERENCE, load_function
from mlratchet.models.gates.checks.base import SCORED_GATES, Needs, PolicyContext
from mlratchet.models.gates.checks.case import NO_CHAMPION, Case, CommonGround
from mlratchet.models.gates.checks.pairing import alone_of
from mlratchet.models.gates.checks.statistical import OnMetric
from mlratchet.models.gates.intervals import estimate_of, gain_of
from mlratchet.models.gates.pilot import TIMES, Pilot, within_reach
from mlratchet.models.gates.result import CheckResult, Part, Verdict, bound_words, not_applicable, unknown
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.rows import RowOutputs
from pydantic import Field, model_validator

MOST_SLICES = 500  # more come from a column that is not one to slice by, an id for example
SHOWN = 3  # slices named in the reason; the decision holds all


class SliceCheck(OnMetric):
    """On every slice: the metric within a bound, or at most `margin` worse than the champion."""

    gates = SCORED_GATES
    wears = True
    levels = ("minimum", "maximum")
    margins = ("margin",)

    kind: Literal["slice"]
    by: tuple[str, ...] = Field(default=(), strict=False)
    """Columns; a slice is every combination of their values that occurs, e.g. `region=eu, device=phone`."""
    function: str | None = Field(default=None, pattern=REFERENCE)
    """Instead of `by`: `package.module:function`, called with the rows, gives a label per row ("" leaves it out)."""
    slices: tuple[str, ...] = Field(default=(), strict=False)
    """Only these labels; one without rows never passes. Empty: every slice that occurs."""
    minimum: float | None = None
    maximum: float | None = None
    margin: float | None = Field(default=None, gt=0)
    """Against the champion on the same rows of the slice."""
    compare: Literal["estimate", "interval"] = "interval"
    minimum_rows: int = Field(default=30, ge=2)
    """A slice with fewer is inconclusive."""

    @model_validator(mode="after")
    def _one_bound_one_source(self) -> SliceCheck:
        if sum(bound is not None for bound in (self.minimum, self.maximum, self.margin)) != 1:
            raise ValueError("give exactly one of minimum, maximum and margin")
        if bool(self.by) == (self.function is not None):
            raise ValueError("give exactly one of by (columns) and function")
        for name, given in (("by", self.by), ("slices", self.slices)):
            if len(set(given)) != len(given):
                raise ValueError(f"{name}: every name once, got {', '.join(given)}")
        return self

    @property
    def compares(self) -> bool:
        """With a margin."""
        return self.margin is not None

    @property
    def user_code(self) -> tuple[str, ...]:
        """With the function that labels the rows."""
        return super().user_code + ((self.function,) if self.function is not None else ())

    def needs(self) -> Needs:
        """The columns, and the metric of every slice."""
        return Needs(columns=self.by, slices=((self.metric, self.by, self.function),))

    def validate_in(self, context: PolicyContext, where: str) -> None:
        """A function that there is, and columns that a row carries."""
        super().validate_in(context, where)
        if self.function is not None:
            load_function(self.function, where)
        if context.columns is not None:
            require_columns(self.by, context.columns, where)

    def power_of(self, metric: Metric, pilot: Pilot) -> str:
        """What the smallest slice can show, all slices counted."""
        smallest, n, count = f"a slice of {self.minimum_rows} rows", self.minimum_rows, 1
        if pilot.ours is not None:
            labels = labels_of(pilot.ours, self.by, self.function)
            if isinstance(labels, str):
                return labels
            counts = Counter(label for label in labels if label)
            counts = Counter({label: counts[label] for label in self.slices or counts})
            if not counts:
                return "no row of the newest comparison belongs to a slice"
            label, n = min(counts.items(), key=lambda item: (item[1], item[0]))
            smallest, count = f"the smallest slice, {label}, with {n} rows", len(counts)
            if n < self.minimum_rows:
                return f"{smallest} is below minimum_rows {self.minimum_rows}: the check is inconclusive"
        return self._shown_by(smallest, n, count, metric, pilot) if self.compare == "interval" else ""

    def _shown_by(self, smallest: str, n: int, count: int, metric: Metric, pilot: Pilot) -> str:
        if few := too_few_rows(metric, n):
            return f"{smallest}: {few}"
        confidence = 1 - (1 - self.confidence) / count
        if self.margin is not None:
            found = pilot.paired_error(metric)
            shown = detectable_difference(found[0], measured_n=found[1], n=n, confidence=confidence) if found else None
            if shown is None or shown <= self.margin:
                return ""
            words = f"{smallest} shows a difference of {shown:.3f} {TIMES}"
            return f"{words}, the margin is {self.margin:g} (Holm over {count})"
        bound = self.minimum if self.minimum is not None else float(self.maximum or 0.0)
        single = pilot.single_error(metric, bound)
        if single is None:
            return ""
        beyond = detectable_difference(single[0], measured_n=single[1], n=n, confidence=confidence)
        if within_reach(metric, bound, beyond):
            return ""
        needs = f"its {metric.name} is truly {beyond:.3f} beyond {bound:g}"
        return f"{smallest} passes {TIMES} only when {needs} (Holm over {count})"

    def judge(self, case: Case) -> CheckResult:
        """Every wanted slice must hold; one that is empty, too small or undefined is inconclusive."""
        threshold = _threshold(self)
        metric, ours, theirs = case.metrics.get(self.metric), case.evidence.candidate, None
        pair: CommonGround | str = ""
        if metric is None:
            return unknown(self.kind, self.metric, "?", f"unknown metric; there are {', '.join(case.metrics)}")
        if self.margin is not None:
            if case.first_model:
                return not_applicable(self.kind, self.metric, threshold, NO_CHAMPION)
            pair = case.compared(self.metric, case.evidence.champion, "champion")
            why = pair if isinstance(pair, str) else ""
        else:
            why = case.rows_refused(ours, "candidate")
        if why or ours is None:
            return unknown(self.kind, self.metric, threshold, why)
        labels = labels_of(ours, self.by, self.function)
        if isinstance(labels, str):
            return unknown(self.kind, self.metric, threshold, labels, len(ours.ids))
        wanted = self.slices or tuple(sorted({label for label in labels_known(labels, ours, pair, case) if label}))
        if not 0 < len(wanted) <= MOST_SLICES:
            many = f"{len(wanted)} slices, expected 1 to {MOST_SLICES}; name those that matter in `slices`"
            return unknown(self.kind, self.metric, threshold, many, len(ours.ids))
        left_out, alone = "", tuple[Part, ...]()
        if not isinstance(pair, str):  # a slice of nothing but rows that are left out stays, empty: inconclusive
            label_of = dict(zip(ours.ids, labels, strict=True))
            metric, common = pair.metric, pair.common
            ours, theirs, left_out, alone = common.ours, common.theirs, common.words, alone_of(case, common.alone)
            labels = [label_of[identity] for identity in ours.ids]
        tests = [_SliceTest(self, case, metric, label, labels, ours, theirs, len(wanted)) for label in wanted]
        found = _summary(self, case, threshold + left_out, tests, len(ours.ids))
        return replace(found, parts=found.parts + alone)


def labels_known(labels: list[str], ours: RowOutputs, pair: CommonGround | str, case: Case) -> list[str]:
    """Labels of the rows whose class the champion knows: a slice of nothing else is no slice to compare on."""
    if isinstance(pair, str) or not pair.common.alone or ours.y.ndim != 1:
        return labels
    foreign = {case.class_names.index(name) for name in pair.common.alone}
    return [label for label, y in zip(labels, ours.y, strict=True) if int(y) not in foreign]


def labels_of(rows: RowOutputs, by: tuple[str, ...], function: str | None) -> list[str] | str:
    """A label per row, or why there is none. The function is the user's: whatever it does, nothing passes by it."""
    try:
        return slice_labels(rows, columns=by, function=function)
    except ConfigurationError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - the user's code: its failure is evidence missing, not a crash
        return f"{function}: {type(error).__name__}: {error}"


class _SliceTest:
    """One slice: its estimate, and the p values of "no better than the bound" and "no worse"."""

    def __init__(
        self,
        check: SliceCheck,
        case: Case,
        metric: Metric,
        label: str,
        labels: list[str],
        ours: RowOutputs,
        theirs: RowOutputs | None,
        count: int,
    ) -> None:
        chosen = np.asarray([one == label for one in labels], dtype=bool)
        self.check, self.label, self.n = check, label, int(chosen.sum())
        self.compare = case.compare(check.compare)
        each = 1 - (1 - case.confidence(check)) / count
        self.two_sided = 2 * each - 1
        self.found, self.why = None, f"{self.n} rows, fewer than {check.minimum_rows}" if self.n else "no rows"
        if self.n < check.minimum_rows:
            return
        resamples, part = case.resamples(check, each), take_rows(ours, chosen)
        if theirs is None:
            self.found = estimate_of(metric, part, resamples=resamples, seed=check.seed)
        else:
            self.found = gain_of(metric, part, take_rows(theirs, chosen), resamples=resamples, seed=check.seed)
        self.why = self.found.why_no_bound if self.compare == "interval" else self.found.why

    @property
    def bound(self) -> float:
        """What the value is held against."""
        check = self.check
        given = check.minimum if check.minimum is not None else check.maximum
        return given if given is not None else 0.0 - float(check.margin or 0.0)

    @property
    def headroom(self) -> float:
        """How far the estimate is on the good side of the bound; minus infinity where there is none."""
        if self.found is None or self.why:
            return -math.inf
        above = self.found.value - self.bound
        return above if self.check.maximum is None else -above

    @property
    def p_good(self) -> float:
        """Small when the slice is shown to hold."""
        if self.found is None or self.why:
            return 1.0
        bounds = self.found.bounds
        return bounds.p_greater(self.bound) if self.check.maximum is None else bounds.p_less(self.bound)

    @property
    def p_bad(self) -> float:
        """Small when the slice is shown not to hold."""
        if self.found is None or self.why:
            return 1.0
        bounds = self.found.bounds
        return bounds.p_less(self.bound) if self.check.maximum is None else bounds.p_greater(self.bound)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Simultaneous over the slices (Bonferroni)."""
        return self.found.interval(self.two_sided) if self.found is not None else None

    @property
    def words(self) -> str:
        """For the reason."""
        if self.found is None or self.why:
            return f"{self.label}: {self.why}"
        return f"{self.label} {self.found.value:.4f} (n={self.n}, {self.found.span(self.two_sided)})"


def verdicts_of(tests: list[_SliceTest], alpha: float) -> list[Verdict]:
    """One per slice: Holm over all of them, those without a p value included. Estimates are held as they are."""
    good = holm([test.p_good for test in tests])
    bad = holm([test.p_bad for test in tests])
    found: list[Verdict] = []
    for test, p_good, p_bad in zip(tests, good, bad, strict=True):
        if test.why:
            found.append("inconclusive")
        elif test.compare == "estimate":
            found.append("pass" if test.headroom >= 0 else "fail")
        else:
            found.append("pass" if p_good <= alpha else "fail" if p_bad <= alpha else "inconclusive")
    return found


def _threshold(check: SliceCheck) -> str:
    if check.margin is not None:
        return f"> {-check.margin:g} against the champion on every slice"
    return f"{bound_words(check.minimum, check.maximum)} on every slice"


def _summary(check: SliceCheck, case: Case, threshold: str, tests: list[_SliceTest], n: int) -> CheckResult:
    verdicts = verdicts_of(tests, 1 - case.confidence(check))
    verdict: Verdict = "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"
    told = sorted((t for t, one in zip(tests, verdicts, strict=True) if one == verdict), key=lambda t: t.headroom)
    words = {"fail": "not", "inconclusive": "not surely", "pass": "weakest"}[verdict]
    named = "; ".join([test.words for test in told[:SHOWN]] + [f"{len(told) - SHOWN} more"] * (len(told) > SHOWN))
    worst = told[0]
    how = f"Holm over {len(tests)} slices at {case.confidence(check):.4g}"
    return CheckResult(
        kind=check.kind,
        metric=check.metric,
        verdict=verdict,
        reason=(
            f"{check.metric} {threshold}: {verdicts.count('pass')} of {len(tests)} hold, {words}: {named} "
            f"({'estimates' if worst.compare == 'estimate' else how})"
        ),
        threshold=threshold,
        value=worst.found.value if worst.found is not None else None,
        interval=worst.interval,
        interval_level=worst.two_sided,
        n=n,
        method=f"{how}; {worst.found.bounds.method}" if worst.found is not None else how,
        seed=worst.found.seed if worst.found is not None else None,
        parts=tuple(
            Part(
                label=test.label,
                verdict=one,
                n=test.n,
                value=test.found.value if test.found is not None else None,
                interval=test.interval,
            )
            for test, one in zip(tests, verdicts, strict=True)
        ),
    )
