"""What the columns of a window say to the joint alarm: a stream for the drift of each, one for its missing values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.monitoring.column_watch import ColumnWatch, Score, scores_of, watch_of, watch_of_missing
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.measure.columns import CONFIDENCE, PREDICTION, input_subject
from mlratchet.models.monitoring.reference import Reference
from mlratchet.models.monitoring.sequential import EvidenceStream
from mlratchet.models.monitoring.sketches import Sketch, sketch_from_json

Array = np.ndarray[Any, Any]

MORE_MISSING = 0.05  # share of the rows, beyond what the reference has
MISSING = EvidenceStream(parts=("missing",))
REFUSED, LOG = "refused", "log"  # subjects of `data` that are no fields


def most_missing(reference: Reference, field: str) -> float:
    """The share of a window's rows that may lack a field: the upper end of the reference's, and a margin."""
    then = reference.missing.get(field)
    return (then.high if then is not None and then.high is not None else 0.0) + MORE_MISSING


def missing_subject(field: str) -> str:
    """What the missing values of a field are told of by: its name, but where that is taken."""
    return f"missing {field}" if field in (REFUSED, LOG) or field.startswith("missing ") else field


def field_of_missing(subject: str) -> str:
    """The reverse of `missing_subject`."""
    return subject.removeprefix("missing ")


def column_streams(reference: Reference, config: MonitoringConfig) -> dict[str, EvidenceStream]:
    """Stream -> what it is given: `inputs/<input_subject>`, `outputs/<prediction or confidence>` and
    `data/<missing_subject>`."""
    found = {_stream_of(column): one.stream for column, one in _watches(reference, config).items()}
    return found | {f"data/{missing_subject(field)}": MISSING for field in _missing_watches(reference, config)}


def evidence_of(
    reference: Reference, config: MonitoringConfig, window: Mapping[str, Sketch], moved: Mapping[str, bool]
) -> dict[str, Array]:
    """Stream -> (1, K) logarithms of the e-values of a window, for the streams of `column_streams` that it has rows of.

    Args:
        reference: What it is compared with.
        config: The policy.
        window: Column -> its sketch, made `like` the reference's.
        moved: Column -> whether its drift is surely above what matters; without those of which nothing is said.
    """
    found: dict[str, Array] = {}
    for column, watch in _watches(reference, config).items():
        now = window.get(column)
        if now is not None and now.form == reference.sketches[column]["form"]:
            found[_stream_of(column)] = watch.logarithms(now, moved.get(column))
    for field, score in _missing_watches(reference, config).items():
        if FIELD + field in window:
            found[f"data/{missing_subject(field)}"] = score.logarithms(window[FIELD + field])[None]
    return found


def _stream_of(column: str) -> str:
    return f"outputs/{column}" if column in (PREDICTION, CONFIDENCE) else f"inputs/{input_subject(column)}"


def _watches(reference: Reference, config: MonitoringConfig) -> dict[str, ColumnWatch]:
    columns = _watched(reference, config)
    among, found = scores_among(reference, config), {}
    for column, sketch in columns.items():
        effect = config.effect_of(column.removeprefix(FIELD))
        watch = watch_of(
            sketch, reference.kinds[column], minimum_effect=effect, among=among,  # type: ignore[arg-type]  # a kind
            quiet_up_to=config.quiet_up_to,
        )  # fmt: skip
        if watch is not None:
            found[column] = watch
    return found


def scores_among(reference: Reference, config: MonitoringConfig) -> int:
    """Of all columns that are watched: they share the chance that the reference made a limit too low."""
    columns = _watched(reference, config)
    return sum(scores_of(sketch, reference.kinds[column]) for column, sketch in columns.items())  # type: ignore[arg-type, misc]  # a kind


def _watched(reference: Reference, config: MonitoringConfig) -> dict[str, Sketch]:
    return {
        column: sketch_from_json(reference.sketches[column])
        for column in reference.kinds
        if column in reference.sketches and column.removeprefix(FIELD) not in config.ignore
    }


def _missing_watches(reference: Reference, config: MonitoringConfig) -> dict[str, Score]:
    found = {
        field: watch_of_missing(most_missing(reference, field))
        for field in reference.missing
        if field not in config.ignore
    }
    return {field: one for field, one in found.items() if one is not None}
