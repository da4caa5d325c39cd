"""What travels with a row of a schema for slices: its fields, its group, and whether an entity of it is new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from mlratchet.models.preparation.base import tensor_name
from mlratchet.models.preparation.categories import UNKNOWN
from mlratchet.models.preparation.parts import parts_of
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import GROUP_COLUMN, ExampleSpec, Split
from mlratchet.models.tensors.named import Ragged

SLICED = ("category", "entity")  # kinds of inputs that travel with a row as they are
COLD = "cold_"  # begins the name of the column that says it of an entity


def carried_fields(schema: Schema) -> tuple[str, ...]:
    """Fields that travel with a row as they are delivered."""
    others = ((name, field) for name, field in schema.fields.items() if name not in schema.targets)
    return tuple(name for name, field in others if not field.input or field.kind in SLICED)


def carried_columns(schema: Schema, section: PreparationSection) -> tuple[str, ...]:
    """Everything that a slice can be by."""
    group = (GROUP_COLUMN,) if schema.group is not None else ()
    return (*carried_fields(schema), *cold_columns(schema, section), *group)


def cold_columns(schema: Schema, section: PreparationSection) -> Mapping[str, str]:
    """``cold_item`` -> the tensor of the codes of the entity, where a preparation of ours makes them."""
    parts = [part for part in parts_of(schema, section) if part.built_in]
    names = [name for part in parts for name, field in part.fields.items() if field.kind == "entity"]
    return {COLD + name: tensor_name(name) for name in names if COLD + name not in schema.fields}


def entities_beside(about: ExampleSpec | None) -> tuple[str, ...]:
    """Entities that travel with a row and are no input: who is asked for, where a model is told what they did."""
    if about is None:
        return ()
    schema = Schema.model_validate_json(about.schema)
    return tuple(
        name for name in carried_fields(schema) if (one := schema.fields[name]).kind == "entity" and not one.input
    )


def with_cold_start(rows: Split, about: ExampleSpec | None) -> Split:
    """The rows with a column per entity: `yes` where it is in the cold-start bucket, as nobody, or too few, of the
    training rows have it."""
    if about is None or not about.fitted:
        return rows
    schema = Schema.model_validate_json(about.schema)
    columns = dict(rows.columns)
    for column, tensor in cold_columns(schema, PreparationSection.model_validate_json(about.preparation)).items():
        codes = rows.x.columns[tensor]
        if not isinstance(codes, Ragged):
            columns[column] = ["yes" if cold else "no" for cold in np.asarray(codes == UNKNOWN).tolist()]
    return replace(rows, columns=columns)
