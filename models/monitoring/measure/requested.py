"""How good all answers were, from the few whose label was asked for: prediction-powered, with bounds.

Every answered row of a request's stretch could be drawn with one known probability, so the rows that were drawn speak
for all, which labels that came by themselves do not. Drawn rows without a label count as wrong.

Sources: Angelopoulos et al. (2023), Prediction-powered inference, Science 382 (`powered.py`); the interval is by
betting (Waudby-Smith and Ramdas 2024; `bound.Bound`), so that few rows are no reason to doubt it.

Shape legend: T rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.inference_log.labels import LabelRequest
from mlratchet.models.metrics.base import Metric
from mlratchet.models.monitoring.bound import Bound
from mlratchet.models.monitoring.measure.answers import TaskFacts, confidences_of, labelled_rows, outputs_of
from mlratchet.models.monitoring.measure.estimate import Reliability
from mlratchet.models.monitoring.measure.row_losses import row_losses, value_of_loss
from mlratchet.models.monitoring.powered import powered_values
from mlratchet.models.monitoring.reference import Promise
from mlratchet.models.monitoring.window import Figure

Array = np.ndarray[Any, Any]
CONFIDENCE = 0.95
LEAST_DRAWN = 10
SEED = 14


def name_of_all(metric: str) -> str:
    """`accuracy of all rows`."""
    return f"{metric} of all rows"


def measure_requested(
    table: pa.Table, labels: pa.Table, requests: Sequence[LabelRequest], facts: TaskFacts, metric: Metric,
    promise: Promise, known: Reliability | None, *, version: int,
) -> Figure | None:  # fmt: skip
    """The metric over all rows that could be drawn; None where too few were.

    Args:
        table: Answered rows whose label is due, with `request_id`, `row`, `received_s`, `status` and `output`.
        labels: Of them, with `label`, `by` and `probability`.
        requests: For labels.
        facts: What the version answers.
        metric: A mean over rows.
        promise: Whose loss stands in for an estimate where `known` is None.
        known: What confidences mean by labels of before.
        version: That answered.
    """
    table = table.filter(pc.equal(table["status"], 200)).sort_by("received_s")
    output, places = outputs_of(table["output"], facts)
    table = table.take(pa.array(places))
    chance_T = _chances(table["received_s"].to_numpy(), requests, version)
    inside = np.flatnonzero(chance_T > 0)
    if not len(inside):
        return None
    table, output, chance_T = table.take(pa.array(inside)), output[inside], chance_T[inside]
    asked = labels.filter(pc.equal(labels["by"], "requested"))
    place = {key: at for at, key in enumerate(zip(*(table[n].to_pylist() for n in ("request_id", "row")), strict=True))}
    drawn_T, loss_T = np.zeros(len(place), dtype=bool), np.full(len(place), np.nan)
    for key in zip(asked["request_id"].to_pylist(), asked["row"].to_pylist(), strict=True):
        if key in place:
            drawn_T[place[key]] = True
    given = labelled_rows(table, asked, facts, after_s=0.0, due=0, columns=())
    losses = row_losses(metric, given.rows) if len(given.rows.ids) else None
    for at, loss in zip(losses.places, losses.losses, strict=True) if losses is not None else ():
        request, _, row = given.rows.ids[int(at)].rpartition("/")
        loss_T[place[request, int(row)]] = loss
    if drawn_T.sum() < LEAST_DRAWN:
        return None
    sure = confidences_of(output, facts)
    estimate_T = np.full(len(place), promise.loss)
    if known is not None and sure is not None:
        estimate_T = 1 - known.chances(sure)
    return _figure(metric, estimate_T, drawn_T, chance_T, loss_T)


def _figure(metric: Metric, estimate_T: Array, drawn_T: Array, chance_T: Array, loss_T: Array) -> Figure:
    powered = powered_values(
        np.clip(estimate_T, 0, 1), drawn_T, chance_T, loss_T, least_probability=float(chance_T.min())
    )
    bound = Bound(confidence=CONFIDENCE, lowest=powered.lowest, highest=powered.highest)
    # in no order of time: a quality that changes within the window is no reason to rule its mean out
    low, high = bound.update(np.random.default_rng(SEED).permutation(powered.values))
    mean = min(max(float(powered.values.mean()), 0.0), 1.0)
    ends = sorted(value_of_loss(metric, min(max(end, 0.0), 1.0)) for end in (low, high))
    labelled = int(np.isfinite(loss_T).sum())
    return Figure(
        value=value_of_loss(metric, mean), low=ends[0], high=ends[1], n=len(drawn_T),
        method=f"prediction-powered, by betting, {CONFIDENCE:.0%}: of all {len(drawn_T)} rows "
        f"from {int(drawn_T.sum())} drawn ones, {labelled} of them labelled",
    )  # fmt: skip


def _chances(received_T: Array, requests: Sequence[LabelRequest], version: int) -> Array:
    """(T,) with which probability each row could be drawn; 0 of such that no request was about."""
    found = np.zeros(len(received_T))
    for one in requests:
        if one.version == version and one.since_s is not None and one.until_s is not None and one.probability:
            inside = (received_T >= one.since_s) & (received_T < one.until_s) & (found == 0)
            found[inside] = one.probability
    return found
