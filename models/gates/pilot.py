"""What is known of the test rows when a policy is written, and what can be said of a margin or a bound from it.

For a margin: the smallest that an equally good model passes four times in five (Connor, 1987; Schuirmann, 1987). For a
bound held by an interval: how far beyond it a model must truly be to pass four times in five. Errors are measured on
the rows of the newest comparison where there is one; before that, two trainings of one model are taken to differ on 4 %
of the rows and a share to err like a proportion at its bound, and the note says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlratchet.models.evaluation.statistics import detectable_difference, paired_standard_error, units_needed
from mlratchet.models.evaluation.statistics.unseen import rows_for_an_answer, too_few_rows
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.rows import RowOutputs

TYPICAL_DISAGREEMENT = 0.04  # share of rows on which exactly one of two trainings of one model is right
ROOM_SHARE = 0.5  # of the way from a bound to the best value; a check that needs more than it hardly ever passes
TIMES = "four times in five"


@dataclass(frozen=True, kw_only=True, eq=False)
class Pilot:
    """What is known of the test rows: their number, and the two models of the newest comparison on them."""

    test_share: float  # of all records
    test_rows: int | None = None  # of the champion's dataset; None: nothing has been promoted yet
    ours: RowOutputs | None = None
    theirs: RowOutputs | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    def paired_error(self, metric: Metric) -> tuple[float, int, str] | None:
        """(standard error of a difference, rows it is of, where it comes from); None when nothing can be said."""
        if self.ours is not None and self.theirs is not None and _defined(metric, self.ours, self.theirs):
            error = paired_standard_error(metric, self.ours, self.theirs)
            if math.isfinite(error) and error > 0:
                return error, len(self.ours.ids), "as the newest comparison measured it"
        if not _errs_like_a_share_of_rows(metric):
            return None
        where = f"where two trainings differ on {TYPICAL_DISAGREEMENT:.0%} of the rows"
        return math.sqrt(TYPICAL_DISAGREEMENT), 1, where

    def single_error(self, metric: Metric, bound: float) -> tuple[float, int] | None:
        """(standard error of one model's value, rows it is of)."""
        if self.ours is not None and _defined(metric, self.ours):
            influence = metric.influence(self.ours)
            error = float(influence.std()) / math.sqrt(len(influence))
            if math.isfinite(error) and error > 0:
                return error, len(self.ours.ids)
        return (math.sqrt(max(bound * (1 - bound), 0.0)), 1) if _errs_like_a_share_of_rows(metric) else None


def _errs_like_a_share_of_rows(metric: Metric) -> bool:
    """Not where a query is the unit: how many rows one has is not known before a model was scored."""
    return metric.span == (0.0, 1.0) and metric.group_column is None


def _defined(metric: Metric, *sides: RowOutputs) -> bool:
    """Whether the metric has a value for each: none for a class that is newer than a model."""
    return all(math.isfinite(metric.estimate(side).value) for side in sides)


def margin_note(metric: Metric, margin: float, pilot: Pilot, *, confidence: float, gain: bool = False) -> str:
    """Whether these rows can show a paired difference of `margin` at a one-sided `confidence`; empty when they can.

    `gain`: the candidate must be better by more than the margin, instead of at most so much worse.
    """
    if few := no_answer_note(metric, pilot):
        return few
    found = pilot.paired_error(metric)
    if found is None:
        fewest = rows_for_an_answer(metric)
        none = (
            f", and that {fewest} are needed for any: {math.ceil(fewest / pilot.test_share)} records" if fewest else ""
        )
        return (
            f"which differences of {metric.name} these rows can show is known once a champion has been compared{none}"
        )
    error, measured_n, where = found
    n = pilot.test_rows
    smallest = detectable_difference(error, measured_n=measured_n, n=n, confidence=confidence) if n else None
    if gain or margin == 0:
        if smallest is None:
            return ""
        words = f"a gain of {margin + smallest:.3f} in {metric.name}"
        return f"with {n} test rows {words} is shown {TIMES}, a smaller one more seldom ({where})"
    needed = units_needed(margin, error, measured_n=measured_n, confidence=confidence)
    if smallest is not None and smallest <= margin:
        return ""
    words = (
        f"an equally good model passes a margin of {margin:g} {TIMES} with {needed} test rows "
        f"({math.ceil(needed / pilot.test_share)} records, {where})"
    )
    if smallest is None:
        return words
    return f"{words}; the champion had {n}: choose a margin of {smallest:.3f} or deliver more"


def bound_note(metric: Metric, bound: float, pilot: Pilot, *, confidence: float) -> str:
    """Whether a good model passes a bound that the worse end of a two-sided interval must hold; empty when it does."""
    if few := no_answer_note(metric, pilot):
        return few
    found, n = pilot.single_error(metric, bound), pilot.test_rows
    if found is None or n is None:
        return ""
    one_sided = (1 + confidence) / 2
    beyond = detectable_difference(found[0], measured_n=found[1], n=n, confidence=one_sided)
    if within_reach(metric, bound, beyond):
        return ""
    return (
        f"with {n} test rows a model passes {TIMES} only when its {metric.name} is truly {beyond:.3f} beyond "
        f"{bound:g}; ask the estimate, or deliver more"
    )


def no_answer_note(metric: Metric, pilot: Pilot) -> str:
    """Why no model can pass on so few test rows, whatever they show; empty where one may."""
    few = too_few_rows(metric, pilot.test_rows) if pilot.test_rows is not None else ""
    records = math.ceil(rows_for_an_answer(metric) / pilot.test_share)
    return f"inconclusive for every model: {few} ({records} records)" if few else ""


def within_reach(metric: Metric, bound: float, beyond: float) -> bool:
    """Whether a model can be so far beyond a bound: there is room up to the metric's best value."""
    best = metric.span[1] if metric.direction == "higher" else metric.span[0]
    return not math.isfinite(best) or beyond <= ROOM_SHARE * abs(best - bound)
