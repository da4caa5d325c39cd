"""What a gate judges: everything measured, nothing decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlratchet.models.data.quality import Measure
from mlratchet.models.evaluation.rows import RowOutputs


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Fields that were not measured stay None or empty; a check that needs them does not pass."""

    version: int | None = None
    candidate: RowOutputs | None = None
    champion: RowOutputs | None = None  # scored now, on the same rows
    data_measures: Mapping[str, Measure] = field(default_factory=dict)
    latency_ms: Mapping[str, float] = field(default_factory=dict)  # p50, p95, p99 of one row
    latency_n: int = 0
    size_bytes: int | None = None
    parity_max_difference: float | None = None
    parity_n: int = 0
