"""Propose a schema from a table, with a reason per field. Nobody is asked; whoever reads it changes what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from mlratchet.models.errors import DataError
from mlratchet.models.schema.cells import is_text, one_array, text_of
from mlratchet.models.schema.column_kind import SPELLINGS, Guessed, kind_of
from mlratchet.models.schema.fields import CELLS, RESERVED, Field, Schema
from mlratchet.models.schema.notation import WHERE
from mlratchet.models.schema.number_cells import see_numbers
from mlratchet.models.schema.numbers import Mark, Seen, decide
from mlratchet.models.schema.roles import FEWEST_GROUPS, Label, group_of, id_of, label_of, leaks, like_ids


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A schema, and why."""

    schema: Schema
    reasons: Mapping[str, str]  # by field
    label: Label | None
    suspects: Mapping[str, str]  # columns that tell the label beforehand
    open: Mapping[str, str]  # columns that a person has to decide on
    left_out: Mapping[str, str]  # columns that are no field
    remarks: Mapping[str, str]  # what a person should know of inputs
    columns: Mapping[str, Guessed]
    rows: int


def infer(raw: pa.Table, *, label: str | None = None) -> Proposal:
    """Of raw columns, as for `typed`; ``@where`` may be missing.

    Raises ``DataError`` for a label that is not there or cannot be learnt, and where no column can be
    learnt from.
    """
    columns, left_out = columns_of(raw)
    return _composed(columns, label, left_out, len(raw))


def columns_of(raw: pa.Table) -> tuple[dict[str, Guessed], dict[str, str]]:
    """What each column looks like, and why some are no field. Raises ``DataError`` for a table without rows."""
    where = one_array(raw[WHERE]) if WHERE in raw.column_names else pa.array([f"row {n}" for n in range(len(raw))])
    if not len(raw):
        raise DataError("no rows; expected some to look at")
    left_out: dict[str, str] = {}
    arrays = {}
    for name in raw.column_names:
        if not name.strip() or name != name.strip():
            left_out[name] = "has no name"
        elif not name.startswith(RESERVED):
            arrays[name] = one_array(raw[name])
    marks = _marks(arrays, where)
    columns: dict[str, Guessed] = {}
    for name, array in arrays.items():
        try:
            columns[name] = kind_of(name, array, where, marks)
        except DataError as error:
            left_out[name] = str(error)
    return columns, left_out


def _marks(arrays: Mapping[str, pa.Array], where: pa.Array) -> dict[str, Mark]:
    """Decimal marks, decided over all columns; none for a column whose numbers can be read in two ways."""
    seen: dict[str, Seen] = {}
    for name, array in arrays.items():
        if is_text(array.type):
            see_numbers(seen.setdefault(name, Seen()), text_of(name, array, SPELLINGS), where)
    found: dict[str, Mark] = {}
    for name, one in seen.items():  # alone first: an ambiguous column takes no other with it
        try:
            found |= decide({name: one})
        except DataError:
            continue
    known = {name: mark for name, mark in found.items() if mark == ","}
    for name in [name for name in found if name not in known]:
        try:
            found |= decide({name: seen[name]}, known=known)
        except DataError:
            del found[name]
    return found


def _composed(columns: dict[str, Guessed], asked: str | None, left_out: Mapping[str, str], rows: int) -> Proposal:
    names = set(like_ids(columns)) - {asked}
    label = label_of({name: one for name, one in columns.items() if name not in names}, asked)
    others = {name: one for name, one in columns.items() if label is None or name != label.name}
    key = id_of(others)
    aside = {**dict.fromkeys(like_ids(others), "tells rows apart and nothing else")}
    suspects = {} if label is None else {n: w for n, w in leaks(columns, label).items() if n not in aside}
    group = group_of(others, {*aside, *suspects})
    times = [name for name, one in others.items() if one.field.kind == "time"]
    remarks = {name: one.remark for name, one in columns.items() if one.remark}
    if group is not None and columns[group].different < FEWEST_GROUPS:
        words = f"names {columns[group].different} groups, too few to divide rows by: those of one are on all sides"
        remarks[group], group = f"{words}; drop it, or write group: {group}, where that tells too much", None
    if group is not None:
        aside[group] = "names a group: its rows stay on one side of the split"
    aside |= {name: one.reason for name, one in others.items() if one.different <= 1 and one.field.kind in CELLS}
    aside |= {name: f"{words}, so it is no input unless it is known beforehand" for name, words in suspects.items()}
    fields, reasons = {}, {}
    for name, one in columns.items():
        if label is not None and name == label.name:
            fields[name], reasons[name] = _label_field(one, label), f"the label, {label.reason}"
            continue
        field = one.field if name not in aside else one.field.model_copy(update={"input": False})
        reason = one.reason if name not in aside else f"no input: {aside[name]}"
        fields[name], reasons[name] = field, f"{reason}. {one.open}" if one.open else reason
    if not any(field.input for name, field in fields.items() if label is None or name != label.name):
        what = "; ".join(f"{name!r} {words}" for name, words in [*reasons.items(), *left_out.items()][:5])
        raise DataError(f"no column to learn from: {what}")
    schema = Schema(
        fields=fields,
        label=None if label is None else label.name,
        id=key,
        group=group,
        time=times[0] if len(times) == 1 else None,
    )
    return Proposal(
        schema=schema,
        reasons=reasons,
        label=label,
        suspects=suspects,
        open={name: one.open for name, one in columns.items() if one.open},
        left_out=left_out,
        remarks={name: words for name, words in remarks.items() if fields[name].input},
        columns=columns,
        rows=rows,
    )


def _label_field(one: Guessed, label: Label) -> Field:
    if label.is_number:
        return one.field.model_copy(update={"nullable": False, "input": True, "whole": False})
    return Field(kind="category", values=label.classes, missing=one.field.missing)
