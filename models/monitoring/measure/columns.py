"""What came in and what was answered in a window, against the reference: a sketch of every column, its drift, what is
missing, and in words what moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.monitoring.drift import DriftEffect, drift
from mlratchet.models.monitoring.measure.answers import TaskFacts, confidences_of, outputs_of, predictions_of
from mlratchet.models.monitoring.reference import Reference
from mlratchet.models.monitoring.sketches import (
    NumberSketch,
    Sketch,
    ValueSketch,
    VectorSketch,
    merged,
    of,
    sketch_from_json,
)

PREDICTION, CONFIDENCE, PREPARED = "prediction", "confidence", "prepared"
TAKEN = "field "  # begins what a field is called whose name is taken, or begins so itself
MOVED = 3  # values that are named
SEED = 14
LEAST_MOVED = 0.005  # share of the rows


def told_as(column: str) -> str:
    """What a column is called beside all others: a field by its name, but where one that is no field has that."""
    field = column.removeprefix(FIELD)
    taken = column != field and (field in (PREDICTION, CONFIDENCE, PREPARED) or field.startswith(TAKEN))
    return f"{TAKEN}{field}" if taken else field


def column_told_as(name: str) -> str:
    """The inverse of `told_as`."""
    return name if name in (PREDICTION, CONFIDENCE, PREPARED) else FIELD + name.removeprefix(TAKEN)


def drift_figure(column: str) -> str:
    """What the figure of a column's drift is called: no field has that of an output."""
    return f"drift {told_as(column)}"


def input_subject(column: str) -> str:
    """What an input is called beside all other inputs: no field has the name of what was prepared."""
    field = column.removeprefix(FIELD)
    taken = column != field and (field == PREPARED or field.startswith(TAKEN))
    return f"{TAKEN}{field}" if taken else field


def column_of_input(subject: str) -> str:
    """The inverse of `input_subject`."""
    return PREPARED if subject == PREPARED else FIELD + subject.removeprefix(TAKEN)


def figure_of(kind: str, subject: str) -> str:
    """The figure of the drift that a finding of a kind is about."""
    return drift_figure(column_of_input(subject) if kind == "inputs" else subject)


@dataclass(frozen=True, kw_only=True)
class ColumnDrift:
    """Of one column."""

    column: str
    kind: str
    found: DriftEffect
    moved: str
    """What moved, in words."""

    @property
    def field(self) -> str:
        """As people call it."""
        return self.column.removeprefix(FIELD)

    @property
    def is_output(self) -> bool:
        """Whether it is of the answers."""
        return self.column in (PREDICTION, CONFIDENCE)

    @property
    def subject(self) -> str:
        """What findings about it are about, beside whether it is an input or an output."""
        return self.column if self.is_output else input_subject(self.column)

    def reliance(self, importance: Mapping[str, float]) -> float | None:
        """What the model relies on it for, where that was measured. `importance`: by field."""
        return importance.get(self.field) if self.column.startswith(FIELD) else None


def sketches_of(table: pa.Table, reference: Reference, facts: TaskFacts) -> dict[str, Sketch]:
    """One for each column that the reference has and the rows hold, in constant size."""
    like = {name: sketch_from_json(state) for name, state in reference.sketches.items()}
    found: dict[str, Sketch] = {}
    for name, kind in reference.kinds.items():
        if name in table.column_names and name in like:
            found[name] = of(table[name], kind, like=like[name])  # type: ignore[arg-type]  # a kind of a field
    if "output" in table.column_names and PREDICTION in like:
        output, _ = outputs_of(table["output"], facts)
        for name, (values, kind) in answer_columns(output, facts).items():
            if name in like:
                found[name] = of(values, kind, like=like[name])  # type: ignore[arg-type]  # as above
    return found


def answer_columns(output: np.ndarray[Any, Any], facts: TaskFacts) -> dict[str, tuple[Any, str]]:
    """What was predicted and how sure it was, each with its kind."""
    predicted, kind = predictions_of(output, facts)
    found: dict[str, tuple[Any, str]] = {PREDICTION: (pa.array(predicted), kind)}
    sure = confidences_of(output, facts)
    return found | ({CONFIDENCE: (sure, "number")} if sure is not None else {})


def together(parts: Iterable[Mapping[str, Sketch]]) -> dict[str, Sketch]:
    """Of several files, or of several windows."""
    found: dict[str, list[Sketch]] = {}
    for part in parts:
        for name, sketch in part.items():
            found.setdefault(name, []).append(sketch)
    return {name: merged(sketches) for name, sketches in found.items()}


def kept(sketches: Mapping[str, Sketch]) -> dict[str, Any]:
    """As the record of a window holds them: samples of vectors are not, they are too large for what they tell later."""
    return {name: one.to_json() for name, one in sketches.items() if not isinstance(one, VectorSketch)}


def drifts(
    reference: Mapping[str, Sketch], window: Mapping[str, Sketch], kinds: Mapping[str, str], *, least: int
) -> list[ColumnDrift]:
    """Of every column of which both have rows enough."""
    found = []
    for name, then in reference.items():
        now = window.get(name)
        if now is None or now.n < least or type(now) is not type(then):
            continue
        told = drift(then, now, kinds[name], seed=SEED)  # type: ignore[arg-type]  # a kind of a field
        if not told.doubt:
            moved = what_moved(then, now, kinds[name])
            new = f"; new: {', '.join(word[:40] for word in told.new[:MOVED])}" if told.new else ""
            found.append(ColumnDrift(column=name, kind=kinds[name], found=told, moved=f"{moved}{new}"))
    return found


def what_moved(then: Sketch, now: Sketch, kind: str) -> str:
    """Examples, the largest first: values whose share changed, or where half of the numbers lie now."""
    if isinstance(then, ValueSketch) and isinstance(now, ValueSketch):
        names = {*then.counts, *now.counts}
        before = {name: then.counts.get(name, 0) / max(then.n, 1) for name in names}
        after = {name: now.counts.get(name, 0) / max(now.n, 1) for name in names}
        largest = sorted(names, key=lambda name: (-abs(after[name] - before[name]), name))[:MOVED]
        told = [name for name in largest if abs(after[name] - before[name]) >= LEAST_MOVED]
        return ", ".join(f"{name[:40]} {before[name]:.1%} -> {after[name]:.1%}" for name in told)
    if isinstance(then, NumberSketch) and isinstance(now, NumberSketch):
        what = "" if kind in ("number", "time") else "length "
        middle = f"median {_figure(then.quantile(0.5), kind)} -> {_figure(now.quantile(0.5), kind)}"
        ends = [f"{_figure(one.quantile(0.05), kind)} to {_figure(one.quantile(0.95), kind)}" for one in (then, now)]
        return f"{what}{middle}, 5 % to 95 % {ends[0]} -> {ends[1]}"
    return ""


def _figure(value: float, kind: str) -> str:
    if kind == "time" and np.isfinite(value):
        return str(np.datetime64(int(value), "s"))
    return f"{value:.4g}"


def missing_share(sketch: Sketch) -> float:
    """Share of the rows without a value."""
    return sketch.missing / sketch.rows if sketch.rows else 0.0
