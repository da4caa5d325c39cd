"""What the monitoring of a version would find, and how soon: from its stored test rows, before it is deployed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from mlratchet.models.data.quality.distributions import profile_of_dataset
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.intervals import estimate_of
from mlratchet.models.metrics.base import Metric
from mlratchet.models.metrics.rows import RowOutputs, load_rows
from mlratchet.models.monitoring.column_watch import OF_NUMBERS, OF_VALUES, scores_of
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.measure.row_losses import (
    first_of_means,
    loss_of_value,
    row_losses,
    value_of_loss,
)
from mlratchet.models.monitoring.measure.service import service_limits
from mlratchet.models.monitoring.power import Delay, DriftRule, Setting, power_of_drift, power_of_quality
from mlratchet.models.monitoring.sketches import NumberSketch, ValueSketch
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.registration.record import Registration
from mlratchet.models.schema.fields import Kind
from mlratchet.tasks.actions.backtest import registrations_of
from mlratchet.tasks.support.open_version import signature_of_version
from mlratchet.tasks.support.pipelines import require_pipeline
from mlratchet.tasks.support.versions import registration_of
from mlratchet.tasks.wiring import Adapters

DROPS = (0.01, 0.02, 0.05, 0.1, 0.2)
EFFECTS = (0.15, 0.25, 0.5, 1.0)
ANSWERS = 2  # streams: what is predicted, and how sure
SCORES_OF_ANSWERS = OF_VALUES + OF_NUMBERS  # at most, of the prediction and of the confidence
BY_FIELD = 2  # streams: its drift, and its missing values
CONFIDENCE = 0.95
KINDS: Mapping[str, Kind] = {"number": "number", "word": "category"}  # of a dataset's profile


@dataclass(frozen=True, kw_only=True)
class PowerPlan:
    """What would come in."""

    rate: float = 1.0
    """Rows per second."""
    share: float = 1.0
    """Of the rows that get a label."""
    labels_after_s: float = 0.0
    drops: Sequence[float] = DROPS
    effects: Sequence[float] = EFFECTS
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Power:
    """What would be found."""

    pipeline: str
    version: int
    rows: int
    """Test rows."""
    false_alarms_per_year: float
    streams: int
    metric: str | None
    value: float | None
    promised: float | None
    """Bound of the metric that the alarm holds the version to."""
    quality: tuple[Delay, ...]
    drift: tuple[Delay, ...]
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def power(adapters: Adapters, name: str, plan: PowerPlan) -> Power:
    """Of the champion, or of the newest version where there is none.

    Raises ``ConfigurationError`` for an unknown pipeline and for one without versions.
    """
    record = _judged(adapters, name)
    spec = load_pipeline(adapters.store, record.revision)
    rows = load_rows(adapters.store, record.rows_key)
    signature = signature_of_version(adapters, record, adapters.ledger.entries(name))
    objective = objective_of(signature.task)
    metrics = objective.metrics(signature.classes)
    fields = _fields(adapters, record, len(rows.ids))
    config = spec.monitoring or MonitoringConfig()
    # as many as the alarm has: they share its rate
    watched = [name for name in fields if name not in config.ignore]
    quality = 2 if objective.logged.has_confidence else 1  # the metric, and what a confidence means
    streams = len(service_limits(config)) + ANSWERS + quality + BY_FIELD * len(watched)
    setting = Setting(
        false_alarms_per_year=config.false_alarms_per_year, streams=streams, rows_per_s=plan.rate, seed=plan.seed
    )
    metric, promised, delays, notes = _quality(rows, metrics, config, plan, setting)
    drifts, words = _drifts(fields, config, plan, setting)
    return Power(
        pipeline=name, version=record.version, rows=len(rows.ids),
        false_alarms_per_year=config.false_alarms_per_year, streams=streams,
        metric=metric.name if metric is not None else None,
        value=metric.estimate(rows).value if metric is not None else None, promised=promised,
        quality=tuple(delays), drift=tuple(drifts), notes=(*notes, *words),
    )  # fmt: skip


def _judged(adapters: Adapters, name: str) -> Registration:
    head = adapters.ledger.head(name)
    if head is not None:
        return registration_of(adapters, name, head.version)
    records = registrations_of(adapters, name)
    if not records:
        require_pipeline(adapters, name)
        raise ConfigurationError(f"{name} has no version whose test rows could be used; `ratchet run {name}` makes one")
    return records[-1]


def _quality(
    rows: RowOutputs, metrics: Sequence[Metric], config: MonitoringConfig, plan: PowerPlan, setting: Setting
) -> tuple[Metric | None, float | None, list[Delay], list[str]]:
    wanted = config.quality.metric
    metric = next((one for one in metrics if one.name == wanted), None) if wanted else first_of_means(metrics, rows)
    held = row_losses(metric, rows) if metric is not None else None
    if metric is None or held is None:
        return None, None, [], ["no metric of the task is a mean over rows, so quality raises no alarm"]
    if plan.share == 0:
        return metric, None, [], ["without labels no loss of quality is found"]
    promised = _promised(metric, rows, config)
    if promised is None:
        return metric, None, [], [f"{metric.name}: its interval on the test rows has no end that could be promised"]
    limit = min(max(loss_of_value(metric, promised), 1e-3), 1 - 1e-3)
    labelled = Setting(
        **asdict(setting) | {"rows_per_s": setting.rows_per_s * plan.share, "after_s": plan.labels_after_s}
    )
    drops = [drop for drop in plan.drops if drop < 1 - float(np.mean(held.losses))]
    return metric, value_of_loss(metric, limit), power_of_quality(metric.name, held.losses, limit, drops, labelled), []


def _promised(metric: Metric, rows: RowOutputs, config: MonitoringConfig) -> float | None:
    """The bound that the alarm would hold the version to."""
    if isinstance(config.quality.at_least, float):
        return config.quality.at_least
    ends = estimate_of(metric, rows, resamples=1000, seed=0).interval(CONFIDENCE)
    return None if ends is None else ends[1] if metric.direction == "lower" else ends[0]


def _drifts(
    fields: Mapping[str, tuple[Kind, NumberSketch | ValueSketch]],
    config: MonitoringConfig,
    plan: PowerPlan,
    setting: Setting,
) -> tuple[list[Delay], list[str]]:
    found: list[Delay] = []
    watched = {name: one for name, one in fields.items() if name not in config.ignore}
    scores = SCORES_OF_ANSWERS + sum(scores_of(sketch, kind) for kind, sketch in watched.values())
    seconds = config.windows.seconds or (config.windows.rows or 0) / setting.rows_per_s
    for name, (kind, sketch) in watched.items():
        rule = DriftRule(
            window_s=seconds, minimum_rows=config.windows.minimum_rows, minimum_effect=config.effect_of(name),
            scores=scores, quiet_up_to=config.quiet_up_to,
        )  # fmt: skip
        found += power_of_drift(name, sketch, kind, plan.effects, rule, setting)
    return found, [] if fields else ["the dataset has no profile of fields that rows could be drawn from"]


def _fields(adapters: Adapters, record: Registration, rows: int) -> dict[str, tuple[Kind, NumberSketch | ValueSketch]]:
    """Sketches of as many values as there are test rows, from the profile that the dataset kept."""
    profile = profile_of_dataset(adapters.store, record.dataset_id) or {"fields": {}}
    found: dict[str, tuple[Kind, NumberSketch | ValueSketch]] = {}
    for name, about in profile["fields"].items():
        kind = KINDS.get(about["kind"])
        if kind == "number" and about.get("quantiles"):
            levels = (np.arange(rows) + 0.5) / rows
            values = np.interp(levels, np.linspace(0, 1, len(about["quantiles"])), about["quantiles"])
            numbers = NumberSketch.fitted(values)
            numbers.update(values)
            found[name] = (kind, numbers)
        elif kind == "category" and about.get("counts"):
            total, words = sum(about["counts"].values()), ValueSketch()
            words.update([word for word, count in about["counts"].items() for _ in range(round(rows * count / total))])
            found[name] = (kind, words)
    return found
