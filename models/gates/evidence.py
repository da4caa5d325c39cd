"""What a gate judges: everything measured, nothing decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlratchet.models.approval.standing import Approvals
from mlratchet.models.data.quality.measure import Measure
from mlratchet.models.evaluation.baselines import Baseline
from mlratchet.models.gates.live import LiveEvidence
from mlratchet.models.metrics.rows import RowOutputs


@dataclass(frozen=True, kw_only=True)
class ContractReplay:
    """Requests replayed against the artifact: its signature, its example and what was asked before."""

    n: int
    failures: tuple[str, ...] = ()  # one line each: which request, got, expected


def column_failure(names: Sequence[str], line: str) -> str:
    """A failed request whose only fault is that it lacks, or holds in vain, these columns."""
    return f"columns {', '.join(names)}: {line}"


def failing_columns(line: str) -> tuple[str, ...]:
    """The columns of such a failure; none of another one."""
    head, colon, _ = line.partition(": ")
    return tuple(head.removeprefix("columns ").split(", ")) if colon and head.startswith("columns ") else ()


@dataclass(frozen=True, kw_only=True)
class AttributionShift:
    """How far the importance of the inputs moved from the champion's (0..1)."""

    value: float
    n: int  # rows attributed
    method: str = ""
    detail: str = ""  # which inputs moved most
    interval: tuple[float, float] | None = None  # 95 %


@dataclass(frozen=True, kw_only=True)
class LiveReplay:
    """Probation: requests answered by the serving champion."""

    n: int
    failures: tuple[str, ...] = ()
    latency_ms: Mapping[str, float] = field(default_factory=dict)  # p50, p95, p99 of one request


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Fields that were not measured stay None or empty; a check that needs them does not pass.

    Every RowOutputs must carry `dataset_id`: rows of another dataset are refused by the judge.
    """

    version: int | None = None
    dataset_id: str = ""
    candidate: RowOutputs | None = None
    champion: RowOutputs | None = None  # scored now, on the same rows
    data_measures: Mapping[str, Measure] = field(default_factory=dict)
    latency_ms: Mapping[str, float] = field(default_factory=dict)  # p50, p95, p99 of one row
    latency_n: int = 0
    size_bytes: int | None = None
    memory_mb: float | None = None  # peak resident set of the clean process, 1 MB = 1,000,000 bytes
    parity_max_difference: float | None = None
    parity_n: int = 0
    contract: ContractReplay | None = None
    perturbed: Mapping[str, RowOutputs] = field(default_factory=dict)  # by `perturbation_name`, the candidate's
    versions: Mapping[int, RowOutputs] = field(default_factory=dict)  # named versions, scored now on the same rows
    anchor_version: int | None = None  # the first champion
    previous_version: int | None = None  # the champion before this one
    cost: Mapping[str, float] = field(default_factory=dict)  # train_seconds, core_seconds, gpu_seconds, steps, ...
    attribution_shift: AttributionShift | None = None
    approval: Approvals | None = None  # signed documents; the judge verifies them
    holdout_uses: int | None = None  # how often these rows have gated before
    live: LiveReplay | None = None
    canary: LiveEvidence | None = None  # of the candidate beside the champion, on real requests
    baselines: Mapping[str, Baseline] = field(default_factory=dict)  # by model, trained in this run
    missing: Mapping[str, str] = field(default_factory=dict)  # `champion`, `version 3`, `attributions` -> why
