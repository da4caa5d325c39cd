"""The case a check judges: the evidence and the rules that hold for the whole gate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from mlratchet.models.evaluation.join import Common
from mlratchet.models.evaluation.seen import SEEN, SEEN_COLUMN, comparable, leaves_nothing
from mlratchet.models.gates.checks.readable import unreadable
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for, metrics_over

LEAST_TAIL = 10  # resamples that must lie beyond a bound, else a percentile is a guess
MOST_RESAMPLES = 1_000_000
NO_CHAMPION = "no champion yet; bootstrap rule: absolute checks alone decide"


class HasInterval(Protocol):
    """A check that computes an interval."""

    @property
    def confidence(self) -> float:
        """Declared, of a one-sided bound."""

    @property
    def resamples(self) -> int:
        """Declared, of a bootstrap."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CommonGround:
    """The candidate and another version on what both know, and the metric over it."""

    metric: Metric
    common: Common


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """What every check of a gate is judged in."""

    gate: str
    evidence: Evidence
    metrics: Mapping[str, Metric]
    task: str = ""
    class_names: tuple[str, ...] = ()
    first_model: bool = False  # there is no champion: the bootstrap rule applies
    now_s: float | None = None  # the clock, for what expires
    policy_digest: str = ""
    divisor: int = 1  # every error probability is divided by it: the test rows are worn (wear.py)

    def confidence(self, check: HasInterval) -> float:
        """The declared one, or stricter on worn rows."""
        return 1 - (1 - check.confidence) / self.divisor

    def compare(self, declared: Literal["estimate", "interval"]) -> Literal["estimate", "interval"]:
        """On worn rows an estimate alone is not enough."""
        return declared if self.divisor == 1 else "interval"

    def resamples(self, check: HasInterval, confidence: float) -> int:
        """The declared number, or as many as leave ten resamples beyond a one-sided bound at `confidence`."""
        return min(MOST_RESAMPLES, max(check.resamples, math.ceil(LEAST_TAIL / (1 - confidence))))

    def rows_refused(self, rows: RowOutputs | None, who: str) -> str:
        """Why these rows are no evidence; empty when they are."""
        if rows is None:
            why = self.evidence.missing.get(who, "")
            return f"the {who} was not scored on these rows" + (f": {why}" if why else "")
        if not rows.ids:
            return f"the {who} was scored on 0 rows"
        if rows.dataset_id != self.evidence.dataset_id:
            got, wanted = rows.dataset_id[:12] or "no dataset", self.evidence.dataset_id[:12] or "none"
            return f"the {who} was scored on rows of another dataset: got {got}, expected {wanted}"
        if len(set(rows.ids)) != len(rows.ids):
            return f"the {who}'s rows have an id twice"
        output = rows.output
        if rows.unknown:  # minus infinity there by construction
            output = output[:, [place for place, name in enumerate(self.class_names) if name not in rows.unknown]]
        if not (np.isfinite(output).all() and np.isfinite(rows.y).all()):
            return f"the {who}'s outputs or targets hold NaN or infinity"  # one is enough, whatever slice it is in
        why = unreadable(rows, self.task, self.class_names) if self.task else ""
        return f"the {who}: {why}" if why else ""

    def pair_refused(self, ours: RowOutputs | None, theirs: RowOutputs | None, who: str) -> str:
        """Why the candidate cannot be compared with `who` row by row; empty when it can."""
        why = self.rows_refused(ours, "candidate") or self.rows_refused(theirs, who)
        if why or ours is None or theirs is None:
            return why
        if ours.ids != theirs.ids or not np.array_equal(ours.y, theirs.y):
            return f"candidate and {who} were not scored on the same rows"
        if leaves_nothing(theirs):
            if set(theirs.columns[SEEN_COLUMN]) != {SEEN}:
                return f"no test row is left to compare with the {who} on: {comparable(ours, theirs, ()).words[2:]}"
            return (
                f"the {who} was trained on every one of these {len(theirs.ids)} test rows: data.split, or "
                "what says which row is which, changed, and only rows that neither has seen can compare the two; "
                "deliver some"
            )
        return ""

    def compared(self, name: str, theirs: RowOutputs | None, who: str) -> CommonGround | str:
        """Candidate and `who` on what both know, row by row, with the metric `name` over it; or why there is none."""
        ours = self.evidence.candidate
        why = self.pair_refused(ours, theirs, who)
        if why or ours is None or theirs is None:
            return why
        common = comparable(ours, theirs, self.class_names)
        if not common.ours.ids:
            return f"no test row is of a class that the {who} knows{common.words}"
        if common.class_names == self.class_names:
            return CommonGround(metric=self.metrics[name], common=common)
        own = name not in metrics_for(self.task, self.class_names)  # the user's: it says itself what it is about
        metric = self.metrics[name] if own else metrics_over(self.task, common.class_names).get(name)
        if metric is None:
            return f"the {who} knows nothing of what {name} is about{common.words}"
        return CommonGround(metric=metric, common=common)
