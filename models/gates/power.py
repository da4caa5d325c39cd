"""Power at the time a policy is written: which differences can these test rows show?

For a margin: the smallest that an equally good model passes four times in five (Connor, 1987; Schuirmann, 1987). For a
bound held by an interval: how far beyond it a model must truly be to pass four times in five. Errors are measured on
the rows of the newest comparison where there is one; before that, two trainings of one model are taken to differ on 4 %
of the rows and a share to err like a proportion at its bound, and the note says so.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from mlratchet.models.evaluation.statistics import detectable_difference, paired_standard_error, units_needed
from mlratchet.models.gates.checks.absolute import AbsoluteCheck, CalibrationCheck
from mlratchet.models.gates.checks.fairness import FairnessCheck
from mlratchet.models.gates.checks.paired import AnchorCheck, NonInferiorityCheck, RelativeCheck, SuperiorityCheck
from mlratchet.models.gates.checks.robustness import RobustnessCheck
from mlratchet.models.gates.checks.slices import SliceCheck, labels_of
from mlratchet.models.gates.policy import GatePolicy
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
    metrics: dict[str, Metric] = field(default_factory=dict)

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


def power_notes(policy: GatePolicy, pilot: Pilot) -> list[str]:
    """A note for every statistical check that the test rows cannot support, or of which it cannot be said yet."""
    notes = []
    for gate, number, check in policy.all_checks():
        metric = pilot.metrics.get(getattr(check, "metric", getattr(check, "measure", "")))
        if metric is None:
            continue
        note = ""
        if isinstance(check, SliceCheck):
            note = _slice_note(check, metric, pilot)
        elif isinstance(check, FairnessCheck):
            note = _group_note(check, pilot)
        elif isinstance(check, AbsoluteCheck | CalibrationCheck) and check.compare == "interval":
            note = _bound_note(check, metric, pilot)
        elif (margin := _margin(check)) is not None:
            note = _margin_note(check, metric, margin, pilot)
        if note:
            notes.append(f"gates.{gate}.{number}: {note}")
    return notes


def _margin(check: Any) -> float | None:
    """The difference that a paired check must be able to show; None for another kind."""
    if isinstance(check, NonInferiorityCheck | SuperiorityCheck):
        return check.margin
    if isinstance(check, AnchorCheck):
        return check.maximum_loss
    if isinstance(check, RelativeCheck) and check.compare == "interval":
        return check.margin
    if isinstance(check, RobustnessCheck) and check.compare == "interval":
        return check.maximum_drop
    return None


def _margin_note(check: Any, metric: Metric, margin: float, pilot: Pilot) -> str:
    found = pilot.paired_error(metric)
    if found is None:
        return f"which differences of {metric.name} these rows can show is known once a champion has been compared"
    error, measured_n, where = found
    n = pilot.test_rows
    smallest = detectable_difference(error, measured_n=measured_n, n=n, confidence=check.confidence) if n else None
    if isinstance(check, SuperiorityCheck) or margin == 0:
        if smallest is None:
            return ""
        gain = f"a gain of {margin + smallest:.3f} in {metric.name}"
        return f"with {n} test rows {gain} is shown {TIMES}, a smaller one more seldom ({where})"
    needed = units_needed(margin, error, measured_n=measured_n, confidence=check.confidence)
    if smallest is not None and smallest <= margin:
        return ""
    words = (
        f"an equally good model passes a margin of {margin:g} {TIMES} with {needed} test rows "
        f"({math.ceil(needed / pilot.test_share)} records, {where})"
    )
    if smallest is None:
        return words
    return f"{words}; the champion had {n}: choose a margin of {smallest:.3f} or deliver more"


def _bound_note(check: AbsoluteCheck | CalibrationCheck, metric: Metric, pilot: Pilot) -> str:
    bound = getattr(check, "minimum", None)
    bound = check.maximum if bound is None else bound
    found = pilot.single_error(metric, float(bound or 0.0))
    n, best = pilot.test_rows, metric.span[1] if metric.direction == "higher" else metric.span[0]
    if found is None or n is None or bound is None or not math.isfinite(best):
        return ""
    one_sided = (1 + check.confidence) / 2
    beyond = detectable_difference(found[0], measured_n=found[1], n=n, confidence=one_sided)
    if beyond <= ROOM_SHARE * abs(best - bound):
        return ""
    return (
        f"with {n} test rows a model passes {TIMES} only when its {metric.name} is truly {beyond:.3f} beyond "
        f"{bound:g}; ask the estimate, or deliver more"
    )


def _slice_note(check: SliceCheck, metric: Metric, pilot: Pilot) -> str:
    smallest, n, count = f"a slice of {check.minimum_rows} rows", check.minimum_rows, 1
    if pilot.ours is not None:
        labels = labels_of(pilot.ours, check.by, check.function)
        if isinstance(labels, str):
            return labels
        counts = Counter(label for label in labels if label)
        counts = Counter({label: counts[label] for label in check.slices or counts})
        if not counts:
            return "no row of the newest comparison belongs to a slice"
        label, n = min(counts.items(), key=lambda item: (item[1], item[0]))
        smallest, count = f"the smallest slice, {label}, with {n} rows", len(counts)
        if n < check.minimum_rows:
            return f"{smallest} is below minimum_rows {check.minimum_rows}: the check is inconclusive"
    if check.compare == "estimate":
        return ""
    confidence = 1 - (1 - check.confidence) / count
    if check.margin is not None:
        found = pilot.paired_error(metric)
        shown = detectable_difference(found[0], measured_n=found[1], n=n, confidence=confidence) if found else None
        if shown is None or shown <= check.margin:
            return ""
        words = f"{smallest} shows a difference of {shown:.3f} {TIMES}"
        return f"{words}, the margin is {check.margin:g} (Holm over {count})"
    bound = check.minimum if check.minimum is not None else float(check.maximum or 0.0)
    single, best = pilot.single_error(metric, bound), metric.span[1 if metric.direction == "higher" else 0]
    if single is None or not math.isfinite(best):
        return ""
    beyond = detectable_difference(single[0], measured_n=single[1], n=n, confidence=confidence)
    if beyond <= ROOM_SHARE * abs(best - bound):
        return ""
    needs = f"its {metric.name} is truly {beyond:.3f} beyond {bound:g}"
    return f"{smallest} passes {TIMES} only when {needs} (Holm over {count})"


def _group_note(check: FairnessCheck, pilot: Pilot) -> str:
    labels = labels_of(pilot.ours, check.by, None) if pilot.ours is not None else []
    if isinstance(labels, str) or not labels:
        return labels if isinstance(labels, str) else ""
    label, n = min(Counter(labels).items(), key=lambda item: (item[1], item[0]))
    few = n < check.minimum_rows
    return f"group {label} has {n} rows, below minimum_rows {check.minimum_rows}: inconclusive" if few else ""
