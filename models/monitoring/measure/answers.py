"""Answers of the log as the metrics take them: outputs as arrays, labels as targets, and what was predicted as a word.

Shape legend: T rows, C classes or labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.monitoring.measure.quality import LabelledRows
from mlratchet.models.objectives.logged import LoggedNumbers
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.sources.record import GROUP_COLUMN

Array = np.ndarray[Any, Any]
KEYS = ["request_id", "row"]


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """What the watched version answers."""

    task: str
    """Name of a built-in objective, or `package.module:Class`."""
    classes: tuple[str, ...] = ()
    by_query: bool = False
    """Rows of one request belong together."""

    @property
    def logged(self) -> LoggedNumbers:
        """What the log holds of such answers."""
        return objective_of(self.task).logged


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
    logged = facts.logged
    return logged.predicted(output, facts.classes), "category" if logged.says_words else "number"


def confidences_of(output: Array, facts: TaskFacts) -> Array | None:
    """(T,) the largest probability of each answer; None for a task that has none."""
    return facts.logged.confidences(output)


def labelled_rows(
    table: pa.Table,
    labels: pa.Table,
    facts: TaskFacts,
    *,
    after_s: float,
    due: int,
    columns: Sequence[str],
    not_before_s: float = 0.0,
) -> LabelledRows:
    """The answers whose label is known and says something.

    Args:
        table: Rows of the log with `request_id`, `row`, `received_s`, `output` and the fields of slices.
        labels: Columns `request_id`, `row`, `label`, `by`; a null label is none.
        facts: What the version answers.
        after_s: Seconds after its request at which a label counts.
        due: Answered rows that had the time to get one.
        columns: Fields by which slices are made, without what begins their columns.
        not_before_s: The moment from which labels are due; what a sum of floats puts before it is due then.
    """
    known = labels.filter(pa.compute.is_valid(labels["label"])).select([*KEYS, "label", "by"])
    joined = _joined(table, known)
    output, places = outputs_of(joined["output"], facts)
    words = joined["label"].take(pa.array(places)).to_pylist()
    logged = facts.logged
    targets = [logged.target(word, facts.classes) for word in words]
    kept = np.asarray([at for at, target in enumerate(targets) if target is not None], dtype=np.int64)
    chosen = joined.take(pa.array(places[kept]))
    y = logged.targets([targets[at] for at in kept], facts.classes)
    rows = RowOutputs(ids=_ids(chosen), y=y, output=output[kept], columns=_columns(chosen, columns, facts))
    by = chosen["by"].to_pylist()
    due_s = np.maximum(chosen["received_s"].to_numpy().astype(np.float64) + after_s, not_before_s)
    return LabelledRows(rows=rows, due_s=due_s, due=due, volunteered=by.count("volunteered"))


def _joined(table: pa.Table, known: pa.Table) -> pa.Table:
    """Rows with their labels in the order of request. Arrow joins no lists: they are taken by their place."""
    places = table.select([*KEYS, "received_s"]).append_column("place", pa.array(range(table.num_rows), pa.int64()))
    order = [("received_s", "ascending"), ("request_id", "ascending"), ("row", "ascending")]
    found = places.join(known, KEYS, join_type="inner").sort_by(order)
    chosen = table.take(found["place"])
    return chosen.append_column("label", found["label"]).append_column("by", found["by"])


def _ids(table: pa.Table) -> list[str]:
    return [f"{request}/{row}" for request, row in zip(*(table[key].to_pylist() for key in KEYS), strict=True)]


def _columns(table: pa.Table, wanted: Sequence[str], facts: TaskFacts) -> Mapping[str, Sequence[str]]:
    there = [name for name in wanted if FIELD + name in table.column_names]
    found = {name: ["" if one is None else str(one) for one in table[FIELD + name].to_pylist()] for name in there}
    return found | ({GROUP_COLUMN: table["request_id"].to_pylist()} if facts.by_query else {})
