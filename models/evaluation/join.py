"""Join: another version's outputs brought to the candidate's classes, labels and columns, by name.

Whatever order the two list their names in, outputs of one name meet. What only one of them knows has no partner: it is
left out of every comparison and told beside it, so that it is never a free win or a free loss.

Shape legend: N rows, C classes or labels, F columns of a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from mlratchet.models.evaluation.slices import take_rows
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.sharded import changed
from mlratchet.models.tensors.spec import ONE, TensorSpec

Array = np.ndarray[Any, Any]
LEAST_CLASSES = 2  # with one class in common every answer is right


class Layout(Protocol):
    """What a version takes and gives; an artifact's signature is one."""

    @property
    def task(self) -> str:
        """As the workload says."""

    @property
    def input(self) -> InputSpec:
        """Shape, kind and column names."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by output."""


def what_differs(ours: Layout, theirs: Layout) -> str:
    """Why no example and no answer of the two can be brought together; empty when they can.

    Columns of tables are no reason: each takes its own.
    """
    if ours.task != theirs.task:
        return f"its task is {theirs.task}, here it is {ours.task}"
    a, b = ours.input, theirs.input
    prepared = [one.example is not None for one in (a, b)]
    if not all(prepared):
        why = _other_inputs(a, b)
        if why:
            return why
    common = [name for name in ours.classes if name in theirs.classes]
    if not ours.classes:
        return ""
    one_each = (
        objective_of(ours.task).refusal(0, ours.classes) == ""
    )  # a row has one class: with one there is no choice
    if len(common) < (LEAST_CLASSES if one_each else 1):
        words = f"only {common[0]!r} in common" if common else "nothing in common"
        return f"it knows {', '.join(theirs.classes)}, here are {', '.join(ours.classes)}: {words}"
    return ""


def _other_inputs(a: InputSpec, b: InputSpec) -> str:
    """What differs of inputs that are compared as they are; where both prepare examples, each takes its own."""
    if (a.example is None) != (b.example is None):
        words = ("takes tensors", "prepares examples by a schema")
        return f"it {words[b.example is not None]}, and this pipeline {words[a.example is not None]}"
    tables = a.kind == b.kind == "table" and bool(a.columns) and bool(b.columns)
    if by_name(a) != by_name(b):
        return f"its inputs are {', '.join(map(str, b.specs))}, here they are {', '.join(map(str, a.specs))}"
    for what in ("kind", "dtype") if tables else ("kind", "shape", "dtype", "columns", "value_range"):
        if getattr(a, what) != getattr(b, what):
            return f"its input's {what} is {getattr(b, what)}, here it is {getattr(a, what)}"
    return ""


def by_name(spec: InputSpec) -> dict[str, TensorSpec]:
    """The named tensors of an input, whatever range its requests may have."""
    return {one.name: replace(one, value_range=None) for one in spec.tensors}


def columns_for(x: Inputs, ours: InputSpec, theirs: InputSpec) -> Inputs:
    """The rows as the other version takes them; every column that it takes is among ours."""
    if ours.columns == theirs.columns:
        return x
    places = [ours.columns.index(name) for name in theirs.columns]
    return changed(x, lambda _, rows: Inputs({ONE: np.ascontiguousarray(rows.array[:, places])}))


def read_for(theirs: Schema, ours: Schema) -> Schema:
    """The schema by which rows of ours are read for a version of theirs: its inputs, and our columns that say who a row
    is and what is learnt of it. So no row is lost for a label that the version does not know, or calls otherwise.

    Theirs as it is where one of its inputs is what is learnt now.
    """
    if set(theirs.inputs) & {*ours.targets, ours.id, ours.group}:
        return theirs
    learnt = {name: ours.fields[name] for name in ours.targets}
    roles: dict[str, Any] = {"label": ours.label, "labels": ours.labels, "id": ours.id, "group": ours.group}
    return theirs.model_copy(update={"fields": {**theirs.inputs, **learnt}, "time": None, **roles})


def join_outputs(rows: RowOutputs, ours: Layout, theirs: Layout) -> RowOutputs:
    """The other version's outputs in our order of classes or labels.

    One that it does not know has the logit minus infinity, probability 0; `unknown` and `beyond` name what only one
    of the two knows. Raises ``ValueError`` when the outputs are not as many as its names.
    """
    if ours.classes == theirs.classes:
        return rows
    if rows.output.ndim != 2 or rows.output.shape[1] != len(theirs.classes):
        raise ValueError(f"outputs of shape {list(rows.output.shape)} for {len(theirs.classes)} names")
    output = np.full((len(rows.ids), len(ours.classes)), -np.inf, dtype=rows.output.dtype)
    for place, name in enumerate(ours.classes):
        if name in theirs.classes:
            output[:, place] = rows.output[:, theirs.classes.index(name)]
    return replace(
        rows,
        output=output,
        unknown=tuple(name for name in ours.classes if name not in theirs.classes),
        beyond=tuple(name for name in theirs.classes if name not in ours.classes),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Common:
    """What two versions share: the rows that both may be judged on, with outputs for the names that both know."""

    ours: RowOutputs
    theirs: RowOutputs
    class_names: tuple[str, ...]
    alone: dict[str, int]  # class or label that only the first knows -> its rows
    words: str  # for a reason: what was left out of the comparison; empty: nothing


def common_part(ours: RowOutputs, theirs: RowOutputs, class_names: Sequence[str]) -> Common:
    """Restrict both to the classes or labels that both know; rows of another class are left out.

    Probabilities are those among the common classes (a softmax over their logits), for both. The two stand row by row.
    """
    if not theirs.unknown and not theirs.beyond:
        return Common(ours=ours, theirs=theirs, class_names=tuple(class_names), alone={}, words="")
    places = [place for place, name in enumerate(class_names) if name not in theirs.unknown]
    names = tuple(class_names[place] for place in places)
    if ours.y.ndim == 2:
        alone = {name: int((ours.y[:, list(class_names).index(name)] > 0).sum()) for name in theirs.unknown}
        ours = replace(ours, y=ours.y[:, places], output=ours.output[:, places])
        theirs = replace(theirs, y=theirs.y[:, places], output=theirs.output[:, places])
    else:
        counts = Counter(class_names[int(y)] for y in ours.y)
        alone = {name: counts[name] for name in theirs.unknown}
        kept = np.isin(ours.y, places)
        y = np.searchsorted(places, ours.y[kept]).astype(ours.y.dtype)
        ours, theirs = take_rows(ours, kept), take_rows(theirs, kept)
        ours = replace(ours, y=y, output=ours.output[:, places])
        theirs = replace(theirs, y=y, output=theirs.output[:, places])
    told = [f"{name} ({count} rows)" for name, count in alone.items()]
    words = f", only the candidate knows {', '.join(told)}" if told else ""
    words += f", only the other knows {', '.join(theirs.beyond)}" if theirs.beyond else ""
    theirs = replace(theirs, unknown=(), beyond=())
    return Common(ours=ours, theirs=theirs, class_names=names, alone=alone, words=words)
