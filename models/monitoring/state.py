"""What one window hands on to the next: the joint alarm, the bound of the quality, and what confidences mean by now.

It stands in the signed record of each window. A new version begins anew: what was true of another says nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.metrics.base import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.monitoring.bound import Bound
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.measure.answers import TaskFacts, confidences_of
from mlratchet.models.monitoring.measure.estimate import Reliability
from mlratchet.models.monitoring.measure.row_losses import value_of_loss
from mlratchet.models.monitoring.sequential import AnyStream, JointAlarm
from mlratchet.models.monitoring.window import Figure, WindowRecord

if TYPE_CHECKING:
    from mlratchet.models.monitoring.look import Watched

CONFIDENCE = 0.95


@dataclass(kw_only=True)
class WatchState:
    """Goes on from window to window."""

    alarm: JointAlarm
    quality: Bound
    reliability: Reliability | None

    @classmethod
    def after(
        cls, before: WindowRecord | None, watched: Watched, config: MonitoringConfig, *, started_s: float,
        streams: Mapping[str, AnyStream],
    ) -> WatchState:  # fmt: skip
        """Of the record before; begun anew for the first and for another version, and each stream that is another."""
        begun = cls(
            alarm=JointAlarm(streams, false_alarms_per_year=config.false_alarms_per_year, started_s=started_s),
            quality=Bound(confidence=CONFIDENCE),
            reliability=watched.reference.reliability,
        )
        if before is None or (before.version, before.reference) != (watched.version, watched.reference_digest):
            return begun
        held = before.state
        known = held["reliability"]
        return cls(
            alarm=JointAlarm.from_json(held["alarm"]).continued(
                streams, false_alarms_per_year=config.false_alarms_per_year, started_s=started_s
            ),
            quality=Bound.from_json(held["quality"]),
            reliability=Reliability(**known) if known is not None else None,
        )

    def bound(self, metric: Metric, losses: np.ndarray[Any, Any]) -> Figure:
        """Take up losses; the metric over all labelled rows of this version so far."""
        low, high = self.quality.update(losses)
        ends = sorted((value_of_loss(metric, low), value_of_loss(metric, high)))
        return Figure(
            value=value_of_loss(metric, self.quality.mean) if self.quality.n else sum(ends) / 2,
            low=ends[0],
            high=ends[1],
            n=self.quality.n,
            method=f"of the labelled rows, by betting, {CONFIDENCE:.0%}, anytime-valid",
        )

    def learn(self, rows: RowOutputs, facts: TaskFacts) -> None:
        """Labels say what a confidence means."""
        sure = confidences_of(rows.output, facts)
        if self.reliability is not None and sure is not None and len(sure):
            self.reliability = self.reliability.with_labels(sure, facts.logged.right(rows))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "alarm": self.alarm.to_json(),
            "quality": self.quality.to_json(),
            "reliability": self.reliability.model_dump(mode="json") if self.reliability is not None else None,
        }
