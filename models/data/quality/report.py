"""All that was found out about a delivery: measures for the gate, broken rules, and what a page shows beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlratchet.models.data.quality.distributions import Drift
from mlratchet.models.data.quality.measure import Measure
from mlratchet.models.data.quality.noise import Noise


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """Of one delivery."""

    measures: dict[str, Measure]
    broken: Mapping[str, str] = field(default_factory=dict)  # rule of a delivery -> how it breaks it
    profile: Mapping[str, Any] = field(default_factory=dict)  # of its fields (`distributions.py`)
    reference: Mapping[str, Any] | None = None  # that of the champion's dataset
    drifts: tuple[Drift, ...] = ()  # from the reference, the largest first
    powers: Mapping[str, float] = field(default_factory=dict)  # by field (`leakage.py`)
    outliers: Mapping[str, int] = field(default_factory=dict)  # by field
    noise: Noise | None = None
