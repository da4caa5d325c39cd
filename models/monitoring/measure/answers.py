"""Answers of the log as the metrics take them: outputs as arrays, labels as targets, and what was predicted as a word.

Shape legend: T rows, C classes or labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.metrics.probability import log_probabilities
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.monitoring.measure.quality import LabelledRows
from mlratchet.models.sources.record import GROUP_COLUMN

Array = np.ndarray[Any, Any]
CLASSIFICATION, MULTI_LABEL = "classification", "multi_label"
MOST_JOINED = 4  # labels of one answer that make its word
KEYS = ["request_id", "row"]


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """What the watched version answers."""

    task: str
    """Name of a built-in objective, or `package.module:Class`."""
    classes: tuple[str, ...] = ()
    by_query: bool = False
    """Rows of one request belong together."""


def outputs_of(column: pa.ChunkedArray, facts: TaskFacts) -> tuple[Array, Array]:
    """(T', C) or (T',) outputs of the rows that have one of the expected width, and (T',) which rows they are."""
    lengths = pa.compute.fill_null(pa.compute.list_value_length(column), 0).to_numpy()
    width = len(facts.classes) or (int(np.median(lengths[lengths > 0])) if (lengths > 0).any() else 1)
    places = np.flatnonzero(lengths == width)
    flat = pa.compute.list_flatten(column.take(pa.array(places))).to_numpy().astype(np.float64)
    output = flat.reshape(len(places), width) if len(places) else np.zeros((0, width))
    finite = np.isfinite(output).all(axis=1)
    output, places = output[finite], places[finite]
    return (output[:, 0] if width == 1 and not facts.classes else output), places


def predictions_of(output: Array, facts: TaskFacts) -> tuple[list[str] | Array, str]:
    """What was predicted, and of which kind that is: a class or a set of labels (`category`), or a number."""
    names = np.asarray(facts.classes, dtype=object)
    if facts.task == CLASSIFICATION:
        return [str(name) for name in names[output.argmax(axis=1)]] if len(output) else [], "category"
    if facts.task == MULTI_LABEL:
        return [" + ".join(names[row > 0][:MOST_JOINED]) or "none" for row in output], "category"
    return output if output.ndim == 1 else output.reshape(len(output), -1).mean(axis=1), "number"


def confidences_of(output: Array, facts: TaskFacts) -> Array | None:
    """(T,) the largest probability of each answer; None for a task that has none."""
    if facts.task != CLASSIFICATION or output.ndim != 2:
        return None
    return np.exp(log_probabilities(output).max(axis=1)) if len(output) else np.zeros(0)


def target_of(label: str, facts: TaskFacts) -> Any:
    """The target that a label says: a class index, 0 or 1 per label, a number or several. None for one that says
    nothing to this version, such as a class that it does not know."""
    if facts.task == CLASSIFICATION:
        return facts.classes.index(label) if label in facts.classes else None
    try:
        said = json.loads(label)
    except ValueError:
        said = None
    if facts.task == MULTI_LABEL:
        chosen = said if isinstance(said, list) else ([] if label == "" else [label])
        known = all(isinstance(one, str) and one in facts.classes for one in chosen)
        return [float(name in chosen) for name in facts.classes] if known else None
    if isinstance(said, bool) or said is None:
        return None
    if isinstance(said, list):
        return [float(one) for one in said] if all(isinstance(one, int | float) for one in said) else None
    return float(said) if isinstance(said, int | float) and np.isfinite(said) else None


def labelled_rows(
    table: pa.Table, labels: pa.Table, facts: TaskFacts, *, after_s: float, due: int, columns: Sequence[str]
) -> LabelledRows:
    """The answers whose label is known and says something.

    Args:
        table: Rows of the log with `request_id`, `row`, `received_s`, `output` and the fields of slices.
        labels: Columns `request_id`, `row`, `label`, `by`; a null label is none.
        facts: What the version answers.
        after_s: Seconds after its request at which a label counts.
        due: Answered rows that had the time to get one.
        columns: Fields by which slices are made, without what begins their columns.
    """
    known = labels.filter(pa.compute.is_valid(labels["label"])).select([*KEYS, "label", "by"])
    joined = table.join(known, KEYS, join_type="inner").sort_by(
        [("received_s", "ascending"), ("request_id", "ascending"), ("row", "ascending")]
    )
    output, places = outputs_of(joined["output"], facts)
    words = joined["label"].take(pa.array(places)).to_pylist()
    targets = [target_of(word, facts) for word in words]
    kept = np.asarray([at for at, target in enumerate(targets) if target is not None], dtype=np.int64)
    chosen = joined.take(pa.array(places[kept]))
    y = np.asarray([targets[at] for at in kept], dtype=np.int64 if facts.task == CLASSIFICATION else np.float64)
    if facts.task == MULTI_LABEL:
        y = y.reshape(len(kept), len(facts.classes))
    rows = RowOutputs(ids=_ids(chosen), y=y, output=output[kept], columns=_columns(chosen, columns, facts))
    by = chosen["by"].to_pylist()
    due_s = chosen["received_s"].to_numpy().astype(np.float64) + after_s
    return LabelledRows(rows=rows, due_s=due_s, due=due, volunteered=by.count("volunteered"))


def _ids(table: pa.Table) -> list[str]:
    return [f"{request}/{row}" for request, row in zip(*(table[key].to_pylist() for key in KEYS), strict=True)]


def _columns(table: pa.Table, wanted: Sequence[str], facts: TaskFacts) -> Mapping[str, Sequence[str]]:
    there = [name for name in wanted if FIELD + name in table.column_names]
    found = {name: ["" if one is None else str(one) for one in table[FIELD + name].to_pylist()] for name in there}
    return found | ({GROUP_COLUMN: table["request_id"].to_pylist()} if facts.by_query else {})
