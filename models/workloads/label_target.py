"""What the label of a schema says: the task, the names of its classes or labels, and the target of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlratchet.models.objectives.base import Task
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import Target

FEWEST = 2  # classes


def task_of(schema: Schema, asked: str | None) -> Task:
    """`asked`: `ranking`, which a number can be, too. Raises ``ValueError`` for a label that cannot be learnt."""
    if not schema.targets:
        raise ValueError("schema.label: nothing is learnt without; name the field that holds it")
    found = "multi_label" if schema.labels else _of_one(schema)
    if asked is not None and (schema.labels or schema.fields[schema.label or ""].kind != "number"):
        raise ValueError(
            f"task: a {asked} learns a number, and schema.{'labels' if schema.labels else 'label'} is none"
        )
    return asked or found


def _of_one(schema: Schema) -> str:
    name = schema.label or ""
    label = schema.fields[name]
    if label.kind not in ("category", "number"):
        raise ValueError(f"schema.label: {name!r} is a {label.kind}, expected category or number")
    if label.kind == "number":
        return "regression"
    if len(label.values or ()) < (1 if label.several else FEWEST):
        raise ValueError(f"schema.fields.{name}.values: a class needs a name; list two or more")
    return "multi_label" if label.several else "classification"


def class_names_of(schema: Schema) -> tuple[str, ...]:
    """Names by class or label index; empty for a number."""
    if schema.labels:
        return schema.labels
    label = schema.fields[schema.label] if schema.label is not None else None
    return label.values or () if label is not None and label.kind == "category" else ()


def holds_several(schema: Schema) -> bool:
    """Whether a row has any number of labels."""
    return bool(schema.labels) or (schema.label is not None and schema.fields[schema.label].several)


def target_reader(names: Sequence[str], *, several: bool) -> Callable[[Any], Target]:
    """The target of a row, of what stands in its typed label: a number, a name, or a list of names."""
    if several:
        return lambda cell: tuple(float(name in (cell or ())) for name in names)
    numbers = {name: number for number, name in enumerate(names)}
    return (lambda cell: numbers[cell]) if names else float
