"""A window against windows before it: what drifted from each, and whether the watched metrics are worse than then.

One window against another has no stated rate of false alarms under continuous looking, so all of it warns and acts on
nothing. It has subjects of its own (`price against last_good`), so that no rule counts it for a field twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlratchet.models.monitoring.config import AGAINST, MonitoringConfig
from mlratchet.models.monitoring.judging import INTERVAL_METHOD, Concern, of_drift, span
from mlratchet.models.monitoring.measure.columns import CONFIDENCE, PREDICTION, drifts, told_as
from mlratchet.models.monitoring.past import PastWindow
from mlratchet.models.monitoring.reference import Promise, Reference
from mlratchet.models.monitoring.sketches import Sketch, sketch_from_json
from mlratchet.models.monitoring.window import Figure, WindowRecord


@dataclass(frozen=True, kw_only=True)
class ComparedWithPast:
    """What came of it."""

    figures: dict[str, Figure] = field(default_factory=dict)
    """`against last_good price` -> how far it is from there."""
    concerns: list[Concern] = field(default_factory=list)


def compared(
    past: Sequence[PastWindow], sketches: Mapping[str, Sketch], figures: Mapping[str, Figure], reference: Reference,
    config: MonitoringConfig, *, version: int, lower: bool,
    importance: Mapping[str, float],
) -> ComparedWithPast:  # fmt: skip
    """With every window of the past that there is.

    Args:
        past: The references that the policy names.
        sketches: Of the window, by column.
        figures: Of the window.
        reference: The test rows, for kinds and for what the model relies on.
        config: The policy.
        version: That is watched; what another one answered is compared with nothing.
        importance: Field -> what the model relies on.
        lower: A lower value of the watched metric is better.
    """
    found = ComparedWithPast()
    for one in past:
        if one.record is not None:
            _drifted(found, one, one.record, sketches, reference, config, version, importance)
            if one.record.version == version:
                _worse(found, one, one.record, figures, reference.promises, lower=lower)
    return found


def _drifted(
    found: ComparedWithPast, one: PastWindow, record: WindowRecord, sketches: Mapping[str, Sketch],
    reference: Reference, config: MonitoringConfig, version: int, importance: Mapping[str, float],
) -> None:  # fmt: skip
    answers = () if record.version == version else (PREDICTION, CONFIDENCE)
    then = {name: sketch_from_json(state) for name, state in record.sketches.items() if name not in answers}
    kinds = {name: kind for name, kind in reference.kinds.items() if name in then}
    moved = drifts({name: then[name] for name in kinds}, sketches, kinds, least=config.windows.minimum_rows)
    for drift in moved:
        low, high = drift.found.interval
        found.figures[f"against {one.name} {told_as(drift.column)}"] = Figure(
            value=drift.found.effect, low=low, high=high, n=drift.found.n, method=drift.found.measure
        )
    for concern in of_drift(moved, config, importance):
        found.concerns.append(_told(concern, one, record))


def _worse(
    found: ComparedWithPast, one: PastWindow, record: WindowRecord, figures: Mapping[str, Figure],
    promises: Sequence[Promise], *, lower: bool,
) -> None:  # fmt: skip
    """The watched metric of all rows, whose intervals then and now have nothing in common."""
    for promise in promises:
        if promise.column:  # slices are held against what was promised
            continue
        name = promise.metric
        now, then = figures.get(name), record.figures.get(name)
        if now is None or then is None or None in (now.low, now.high, then.low, then.high):
            continue
        assert now.low is not None
        assert now.high is not None
        assert then.low is not None
        assert then.high is not None
        if (now.low > then.high) if lower else (now.high < then.low):
            concern = Concern(
                kind="quality", subject=name, severity="warning", measure=promise.metric, effect=now.value,
                interval=(now.low, now.high), n=now.n, threshold=f"{then.low:.4g} to {then.high:.4g}",
                method=INTERVAL_METHOD, words=f"{name} {span(now)} is worse than {span(then)}",
            )  # fmt: skip
            found.concerns.append(_told(concern, one, record))


def _told(concern: Concern, one: PastWindow, record: WindowRecord) -> Concern:
    return Concern(
        kind=concern.kind, subject=f"{concern.subject}{AGAINST}{one.name}", severity="warning",
        measure=concern.measure, effect=concern.effect, interval=concern.interval, n=concern.n,
        threshold=concern.threshold, method=concern.method, words=f"{concern.words}, against {one.words}",
        reference=one.words, evidence={one.name: record.digest()},
    )  # fmt: skip
