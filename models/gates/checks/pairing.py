"""The candidate against another version, row by row: what the paired checks share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.statistics.bootstrap import LEAST_UNITS
from mlratchet.models.gates.checks.case import NO_CHAMPION, Case
from mlratchet.models.gates.checks.statistical import OnMetric
from mlratchet.models.gates.intervals import gain_of
from mlratchet.models.gates.pilot import Pilot, margin_note
from mlratchet.models.gates.result import CheckResult, Part, Verdict, not_applicable, unknown
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.rows import RowOutputs


class Paired(OnMetric):
    """The gain over another version, scored now on the same rows, must lie above a floor."""

    levels: ClassVar[tuple[str, ...]] = ()

    @property
    def compares(self) -> bool:
        """With another version."""
        return True

    def power_of(self, metric: Metric, pilot: Pilot) -> str:
        """Whether the rows can show a difference of the margin."""
        (margin,) = (getattr(self, name) for name in self.margins)
        return margin_note(metric, margin, pilot, confidence=self.confidence)

    def judge_against(
        self,
        case: Case,
        theirs: RowOutputs | None,
        who: str,
        floor: float,
        declared: Literal["estimate", "interval"] = "interval",
    ) -> CheckResult:
        """The gain over `who` must lie above `floor`, as must its lower bound unless an estimate is asked for."""
        threshold = threshold_of(floor, who if who.startswith("version") else f"the {who}")
        if self.metric not in case.metrics:
            return unknown(self.kind, self.metric, "?", f"unknown metric; there are {', '.join(case.metrics)}")
        pair = case.compared(self.metric, theirs, who)
        if isinstance(pair, str):
            return unknown(self.kind, self.metric, threshold, pair)
        metric, common = pair.metric, pair.common
        confidence = case.confidence(self)
        two_sided = 2 * confidence - 1  # each end is then a one-sided bound at `confidence`
        resamples = case.resamples(self, confidence)
        found = gain_of(metric, common.ours, common.theirs, resamples=resamples, seed=self.seed)
        interval, compare = found.interval(two_sided), case.compare(declared)
        if compare == "estimate" and common.words and found.n < LEAST_UNITS:
            few = f"{found.n} rows are left to compare on, expected {LEAST_UNITS} for an estimate alone{common.words}"
            return unknown(self.kind, self.metric, threshold, few, found.n)
        if found.why or (compare == "interval" and interval is None):
            return unknown(self.kind, self.metric, threshold, found.why or found.span(two_sided), found.n)
        verdict, words = verdict_of(found.value, interval, floor, compare)
        bound = f", bound ({100 * confidence:.4g} %) {interval[0]:+.4f}" if compare == "interval" and interval else ""
        whom = threshold.split("against ")[1]
        return CheckResult(
            kind=self.kind,
            metric=self.metric,
            verdict=verdict,
            reason=(
                f"{self.metric}: gain over {whom} {found.value:+.4f}{bound} {words} {floor:g} "
                f"(n={found.n}{common.words}{found.detail}, {found.span(two_sided)})"
            ),
            threshold=threshold,
            value=found.value,
            interval=interval,
            interval_level=two_sided,
            n=found.n,
            method=found.bounds.method,
            seed=found.seed,
            parts=alone_of(case, common.alone),
        )

    def judge_against_champion(self, case: Case, floor: float) -> CheckResult:
        """Against the champion, scored now on the same rows."""
        if case.first_model:
            return not_applicable(self.kind, self.metric, threshold_of(floor, "the champion"), NO_CHAMPION)
        return self.judge_against(case, case.evidence.champion, "champion", floor)

    def judge_against_version(
        self,
        case: Case,
        version: int | None,
        unnamed: str,
        floor: float,
        declared: Literal["estimate", "interval"] = "interval",
    ) -> CheckResult:
        """Against a version by its number; None or 0: it is not known which the `unnamed` one is."""
        who = f"version {version}" if version else unnamed
        if not version:
            why = f"it is not known which the {unnamed} is"
            return unknown(self.kind, self.metric, threshold_of(floor, who), why)
        rows = case.evidence.versions.get(version)
        if rows is None and case.first_model:
            return not_applicable(self.kind, self.metric, threshold_of(floor, who), NO_CHAMPION)
        return self.judge_against(case, rows, who, floor, declared)


class Better(Paired):
    """The gain must be more than a margin; what rows cannot show is said beforehand, what cannot be had is refused."""

    def power_of(self, metric: Metric, pilot: Pilot) -> str:
        """Which gain the rows can show."""
        (margin,) = (getattr(self, name) for name in self.margins)
        return margin_note(metric, margin, pilot, confidence=self.confidence, gain=True)

    def refuse_margin(self, where: str, field: str, margin: float, metric: Metric) -> ConfigurationError:
        """A gain as wide as the metric's span cannot be had."""
        low, high = metric.span
        return ConfigurationError(
            f"{where}: {field} {margin:g} never holds: {metric.name} is {low:g} to {high:g}; lower it"
        )


def alone_of(case: Case, alone: Mapping[str, int]) -> tuple[Part, ...]:
    """A slice of its own per class or label that only the candidate knows, with its recall there."""
    ours, names = case.evidence.candidate, case.class_names
    parts = []
    for name, n in alone.items():
        place, share = names.index(name), None
        if ours is not None and n:
            hit = ours.output[:, place] > 0 if ours.y.ndim == 2 else ours.output.argmax(axis=1) == place
            of_it = ours.y[:, place] > 0 if ours.y.ndim == 2 else ours.y == place
            share = float(hit[of_it].mean())
        label = f"only the candidate knows {name} (recall)"
        parts.append(Part(label=label, verdict="not_applicable", n=n, value=share))
    return tuple(parts)


def threshold_of(floor: float, whom: str) -> str:
    """In words."""
    return f"> {floor:g} against {whom}"


def verdict_of(
    gain: float, interval: tuple[float, float] | None, floor: float, compare: Literal["estimate", "interval"]
) -> tuple[Verdict, str]:
    """`pass` when surely above the floor, `fail` when surely below, else inconclusive; and the relation in words."""
    if compare == "estimate" or interval is None:
        holds = gain >= floor or math.isclose(gain, floor, abs_tol=1e-12)
        return ("pass", ">=") if holds else ("fail", "<")
    if interval[0] > floor:
        return "pass", ">"
    return ("fail", "surely <") if interval[1] < floor else ("inconclusive", "not surely >")
