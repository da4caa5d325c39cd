"""What a delivery changes against a schema: compatible, breaking, or a question that a person answers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.errors import DataError
from mlratchet.models.schema.cells import one_array, text_of
from mlratchet.models.schema.column_kind import SPELLINGS, Guessed
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.schema.infer import columns_of
from mlratchet.models.schema.kinds import Column, Fault, read_column
from mlratchet.models.schema.notation import WHERE, seen_in
from mlratchet.models.schema.numbers import TOLERATED
from mlratchet.models.schema.several import lists_as_text, strangers_in
from mlratchet.models.schema.times import iso

Effect = Literal["compatible", "question", "breaking"]
SOME = 5  # values that a line names
ALIKE = 0.6  # ratio of `difflib` from which a column may be another that was renamed


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference."""

    field: str
    effect: Effect
    """compatible: read as before. question: rows are set aside, or tell nothing. breaking: the delivery cannot be read
    as it was meant."""
    words: str


@dataclass(frozen=True, kw_only=True)
class SchemaChanges:
    """All of a delivery, and the schema that would take it."""

    changes: tuple[Change, ...]
    proposed: Schema

    @property
    def compatible(self) -> bool:
        """Whether nothing stops."""
        return all(one.effect == "compatible" for one in self.changes)


def difference(schema: Schema, raw: pa.Table) -> SchemaChanges:
    """Of raw columns, as for `typed`. Raises ``DataError`` for a table without rows."""
    raw = lists_as_text(raw, schema)
    columns, _ = columns_of(raw)
    new = {name: one for name, one in columns.items() if name not in schema.columns}
    found: list[Change] = []
    fields: dict[str, Field] = {}
    renamed: dict[str, str] = {}
    for name, field in schema.fields.items():
        if name not in columns:
            other = _renamed(name, field, {one: is_ for one, is_ in new.items() if one not in renamed.values()})
            found.append(_gone(name, other))
            if other is not None:
                renamed[name] = other
                fields[other] = field
            continue
        changes, fields[name] = _of_field(name, field, raw, schema, columns[name])
        found += changes
    for role, held in (("id", schema.id), ("group", schema.group)):
        if held is not None and held not in columns and held not in schema.fields:
            found.append(Change(field=held, effect="breaking", words=f"the {role} column is gone"))
    for name, one in new.items():
        if name not in renamed.values():
            words = f"a new column ({one.reason}); it is not read until the schema has it"
            found.append(Change(field=name, effect="compatible", words=words))
            fields[name] = one.field.model_copy(update={"input": False})
    return SchemaChanges(changes=tuple(found), proposed=_proposed(schema, fields, renamed, set(columns)))


def _proposed(schema: Schema, fields: dict[str, Field], renamed: Mapping[str, str], there: set[str]) -> Schema:
    """The schema with these fields; as it was where none of them is an input."""
    roles = {role: getattr(schema, role) for role in ("label", "id", "group", "time")}
    roles = {role: renamed.get(name, name) if name else None for role, name in roles.items()}
    roles = {role: name if name in there else None for role, name in roles.items()}
    labels = tuple(name for name in (renamed.get(one, one) for one in schema.labels) if name in there)
    if not any(field.input for name, field in fields.items() if name not in (roles["label"], *labels)):
        return schema
    if roles["time"] is not None and fields[roles["time"]].kind != "time":
        roles["time"] = None
    return Schema(fields=fields, missing=schema.missing, labels=labels, **roles)


def _renamed(name: str, field: Field, new: Mapping[str, Guessed]) -> str | None:
    same = {one.casefold(): one for one, seen in new.items() if _could_be(field, seen)}
    close = difflib.get_close_matches(name.casefold(), same, n=1, cutoff=ALIKE)
    return same[close[0]] if close else None


def _could_be(field: Field, seen: Guessed) -> bool:
    words = ("category", "entity", "text")
    return field.kind == seen.field.kind or (field.kind in words and seen.field.kind in words)


def _gone(name: str, other: str | None) -> Change:
    words = "the column is gone" if other is None else f"the column is gone, and {other!r} is new: was it renamed?"
    return Change(field=name, effect="breaking", words=words)


def _of_field(name: str, field: Field, raw: pa.Table, schema: Schema, seen: Guessed) -> tuple[list[Change], Field]:
    one_value = {"input": True, "several": False, "separator": None}
    alone = Schema(fields={name: field.model_copy(update=one_value)}, missing=schema.missing)
    array = one_array(raw[name])
    try:
        column = read_column(name, array, field, seen_in(raw.select([name, WHERE]), alone), schema.missing_in(name))
    except DataError as error:
        words = str(error).split(f"column {name!r}: ")[-1]
        return [Change(field=name, effect="breaking", words=words)], _of_kind(field, seen)
    found: list[Change] = []
    proposed = field
    for fault in column.faults:
        rows = np.flatnonzero(fault.rows)
        if len(rows):
            change, update = _of_fault(name, proposed, column, fault, rows, seen, label=name in schema.targets)
            found.append(change)
            proposed = _of_kind(field, seen) if update is None else proposed.model_copy(update=update)
    found += _dull(name, field, column, seen) if field.input else []
    return found, proposed


def _of_kind(field: Field, seen: Guessed) -> Field:
    """As the delivery looks, an input where it was one."""
    return seen.field.model_copy(update={"input": field.input and seen.field.input, "description": field.description})


Update = Mapping[str, Any] | None
"""What would have to be different in a field; None: its kind."""


def _of_fault(
    name: str, field: Field, column: Column, fault: Fault, rows: np.ndarray[Any, Any], seen: Guessed, *, label: bool
) -> tuple[Change, Update]:
    rule, words = fault.told(int(rows[0]))
    count = f"{len(rows):,} rows ({len(rows) / len(column.raw):.1%})"
    update: Update
    effect: Effect = "question"
    if rule == "unknown_value":
        values = _values(column.raw, rows, name)
        if field.several:
            values = strangers_in(values, name, field)
        told = ", ".join(f"{value!r} ({n:,})" for value, n in [*values.items()][:SOME])
        words, update = (
            f"new {'classes' if label else 'categories'}: {told}",
            {"values": (*(field.values or ()), *values)},
        )
        effect = "breaking" if label else effect
    elif rule == "missing_value":
        words, update = f"{count} lack it", {} if label else {"nullable": True}
    elif rule in ("below_minimum", "above_maximum"):
        option = rule.partition("_")[2]
        bound = (pc.min if option == "minimum" else pc.max)(column.values.filter(pa.array(fault.rows))).as_py()
        bound = bound if isinstance(bound, float) else iso(bound)
        words, update = f"{count} are beyond {option}, as far as {bound}", {option: bound}
    elif rule == "not_whole":
        words, update = f"{count} have a fraction", {"whole": False}
    else:
        return _of_unread(name, field, column, (rule, words), rows, seen)
    return Change(field=name, effect=effect, words=words), update


def _of_unread(
    name: str, field: Field, column: Column, told: tuple[str, str], rows: np.ndarray[Any, Any], seen: Guessed
) -> tuple[Change, Update]:
    """Of cells that cannot be read as the field's kind."""
    rule, words = told
    count = f"{len(rows):,} rows ({len(rows) / len(column.raw):.1%})"
    values = _values(column.raw, rows, name)
    if values and all(value in SPELLINGS for value in values):
        spelled = ", ".join(map(repr, values))
        update = {"missing": (*(field.missing or ()), *values), "nullable": True}
        question = f"{count} hold {spelled}: does it mean not given?"
        return Change(field=name, effect="question", words=question), update
    words = f"{count} cannot be read: {words}"
    share = len(rows) / max(len(column.raw) - column.raw.null_count, 1)
    if share <= TOLERATED or rule == "non_finite":
        return Change(field=name, effect="question", words=words), {}
    looks = f"; it looks like {seen.field.kind} ({seen.reason})" if seen.field.kind != field.kind else ""
    return Change(field=name, effect="breaking", words=words + looks), None


def _values(raw: pa.Array, rows: np.ndarray[Any, Any], name: str) -> dict[str, int]:
    """Cells of these rows, the most frequent first."""
    try:
        text = text_of(name, raw.take(pa.array(rows)))
    except DataError:
        return {}
    counts = {one["values"].as_py(): one["counts"].as_py() for one in pc.value_counts(text)}
    return dict(sorted(((k, n) for k, n in counts.items() if k is not None), key=lambda one: (-one[1], one[0])))


def _dull(name: str, field: Field, column: Column, seen: Guessed) -> list[Change]:
    if seen.given == 0 and field.nullable:
        return [Change(field=name, effect="question", words="is never given in this delivery")]
    if seen.different == 1 and seen.rows > 1:
        return [Change(field=name, effect="question", words=f"is the same in every row: {seen.reason}")]
    if field.values is not None and pa.types.is_string(column.values.type):
        gone = [one for one in field.values if one not in set(pc.unique(column.values).to_pylist())]
        if gone:
            words = f"no row has {', '.join(map(repr, gone[:SOME]))}"
            return [Change(field=name, effect="compatible", words=words)]
    return []
